"""Somebody's method beside others, with the honesty of the study (`make compare`, notebook 61).

    asked  = asked_for("mine.py", "grpo,psr", "latent", seeds=8)
    check_method(asked.method)                                  every part on a batch by hand, before anything is computed
    print(cost(asked))
    rates  = tune_all(asked)                                    on the validation seeds; nothing is written to data/
    runs   = run_all(asked, rates)                              by every reading that papers offer (registry.READINGS)
    table  = judged(asked, runs)                                one vocabulary, Holm over the primary sub-tests
    paths  = draw(asked, runs)

Every run is kept in the runs folder and continues where it was stopped, so the same command again goes on. Runs that the study
has committed or that another comparison has made are taken.
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from polarity_lib.claims import Claim, judge_paper, tail
from polarity_lib.config import ConfigError, Scale, choose, scale_named
from polarity_lib.experiments import Arm, Runs, get_run, is_tuned, load_finished, train_or_load, world_rate
from polarity_lib.outside import strict_json
from polarity_lib.problems import WORLDS
from polarity_lib.registry import CLAIMS, METHODS, READINGS, STYLES
from polarity_lib.results import ROOT, make_folder, runs_root, say, write_atomic
from polarity_lib.study.checking import check_method, find_method, label_of
from polarity_lib.study.costs import run_seconds, start_seconds
from polarity_lib.study.plan import is_finished, start_is_made
from polarity_lib.study.tuning import SEEDS as TUNING_SEEDS
from polarity_lib.study.tuning import best, grid_run, search

GRID = 4  # rates of a grid, about
FIT = [name for name, world in WORLDS.items() if world.protocol.get("minibatches", 1) > 1]  # worlds in which answers are drawn


# ---------------------------------------------------------------- what was asked for


@dataclass(frozen=True)
class Comparison:
    """A method, what it is compared with, where, and on how many seeds.

    Raises:
        ConfigError: unknown name, a world without a protocol, nothing to compare with, or no seeds.
    """

    method: str
    against: tuple[str, ...]
    worlds: tuple[str, ...]
    seeds: int = 8
    scale: str = "tiny"

    def __post_init__(self):
        scale_named(self.scale)
        for name in (self.method, *self.against):
            choose("method", name, METHODS)
        for world in self.worlds:
            choose("world to compare in", world, FIT)
        if not self.against or self.method in self.against:
            raise ConfigError(f"AGAINST names methods other than {self.method}, separated by commas.")
        if not self.worlds:
            raise ConfigError("WORLDS names at least one world.")
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise ConfigError(f"SEEDS is how many replicates to run, a whole number above zero, not {self.seeds!r}.")
        if self.scale == "paper":
            raise ConfigError("A comparison runs at scale smoke, tiny or small.")

    @property
    def methods(self) -> tuple[str, ...]:
        return self.method, *self.against

    @property
    def labelled(self) -> dict[str, str]:
        """Label -> method; the compared one first."""
        return {label_of(method): method for method in self.methods}

    @property
    def rates_file(self) -> Path:
        """Where the grids stand that were measured for it; those of other worlds and numbers of seeds are in it too."""
        return runs_root() / "compare" / f"{self.method}-{'-'.join(self.against)}-{self.scale}" / "rates.json"

    @property
    def folder(self) -> Path:
        """Where its tables and figures go."""
        return self.rates_file.parent / f"{'-'.join(self.worlds)}-n{self.seeds}"

    @property
    def size(self) -> Scale:
        return scale_named(self.scale)


def asked_for(method: str, against: str, worlds: str, seeds: int = 8, scale: str = "tiny") -> Comparison:
    """A comparison from the words of a command line."""
    def listed(text):
        return tuple(part.strip() for part in text.split(",") if part.strip())

    return Comparison(find_method(method), tuple(find_method(name) for name in listed(against)), listed(worlds), seeds, scale)


def not_admitted(asked: Comparison) -> list[str]:
    """Those of its worlds that have not shown that they can tell methods apart."""
    known = json.loads((ROOT / "data" / "worlds.json").read_text(encoding="utf-8"))
    return [world for world in asked.worlds if not known.get(world, {}).get("admitted")]


# ---------------------------------------------------------------- rates


def tune_all(asked: Comparison) -> dict[tuple[str, str], float]:
    """(world, method) -> its own rate: that of data/rates.json, else by the same rule, kept beside its folder."""
    path, rates = asked.rates_file, {}
    grids = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for world in asked.worlds:
        for method in asked.methods:
            key = f"{world}/{method}"
            if asked.scale != "smoke" and is_tuned(world, method):
                rates[world, method] = world_rate(world, method)
                continue
            if key not in grids:
                most = 1 if asked.scale == "smoke" else None
                grids[key] = {f"{rate:g}": cell for rate, cell in search(world, method, asked.scale, most=most).items()}
                make_folder(path.parent)
                write_atomic(path, (strict_json(grids, indent=1) + "\n").encode())
            rates[world, method] = best({float(rate): cell for rate, cell in grids[key].items()})
    return rates


def guessed_rates(asked: Comparison) -> dict[tuple[str, str], float]:
    """Rates to count runs by, before anything is tuned."""
    return {(world, method): world_rate(world, method) for world in asked.worlds for method in asked.methods}


# ---------------------------------------------------------------- runs


def arms(asked: Comparison, rates: dict[tuple[str, str], float]) -> dict[str, list[Arm]]:
    """`reading/world` -> its runs."""
    found = {}
    for world in asked.worlds:
        own = {label: rates[world, method] for label, method in asked.labelled.items()}
        for name, reading in READINGS.items():
            if world not in (reading.worlds or asked.worlds):
                continue
            found[f"{name}/{world}"] = runs = []
            for seed in range(min(asked.seeds, reading.most_seeds or asked.seeds)):
                known = reading.arms(asked.size, seed, world, asked.labelled, own)
                for arm, config in known.items():
                    matched = next((c for c in known.values() if c.hash == config.matched_to), None)
                    runs.append(Arm(f"compare: {name}/{world}", arm, config, asked.scale, matched))
    return found


def cost(asked: Comparison, cores: int = 1) -> str:
    """Runs and hours, before anything is computed; grids count at about GRID rates each.

    Rates are searched one after another, since a grid grows by what it has shown: more cores make that no shorter.
    """
    lines = [f"{'':<12}{'what':<16}{'runs':>6}{'to do':>7}{'hours':>8}"]
    starts, tuning, seen, total = {}, {}, set(), 0.0
    for world in asked.worlds:
        waiting = [m for m in asked.methods if asked.scale == "smoke" or not is_tuned(world, m)]
        configs = [grid_run(asked.size, m, world, 1e-5, seed) for m in waiting for seed in TUNING_SEEDS]
        seconds = GRID * sum(map(run_seconds, configs))
        tuning |= {c.start.name: c.start for c in configs}
        total += seconds
        lines.append(f"{world:<12}{'rates, one core':<16}{GRID * len(configs):>6}{GRID * len(configs):>7}{seconds / 3600:>8.2f}")
    for name, runs in arms(asked, guessed_rates(asked)).items():
        reading, world = name.split("/")
        new = [a.config for a in runs if a.config.hash not in seen]
        seen |= {c.hash for c in new}
        todo = [c for c in new if not is_finished(c, reuse=True)]
        starts |= {c.start.name: c.start for c in todo}
        seconds = sum(map(run_seconds, todo)) / cores
        total += seconds
        lines.append(f"{world:<12}{READINGS[reading].title:<16}{len(new):>6}{len(todo):>7}{seconds / 3600:>8.2f}")
    seconds = sum(start_seconds(s) / (1 if name in tuning else cores)
                  for name, s in (starts | tuning).items() if not start_is_made(s))
    total += seconds
    lines.append(f"{'':<12}{'base policies':<16}{'':>6}{'':>7}{seconds / 3600:>8.2f}")
    sides = ", ".join(map(label_of, asked.against))
    lines.append(f"{label_of(asked.method)} against {sides}, scale {asked.scale}, {asked.seeds} seeds: at most about "
                 f"{total / 3600:.1f} hours on {cores} core{'s' if cores > 1 else ''}; may be stopped and goes on.")
    return "\n".join(lines)


def run_all(asked: Comparison, rates: dict[tuple[str, str], float], cores: int = 1,
            files: tuple[str, ...] = ()) -> dict[str, Runs]:
    """Every run of the comparison, loaded, continued or computed.

    Args:
        files: what `find_method` was given, for further processes to read where there are several cores.
    """
    planned = arms(asked, rates)
    if cores > 1:
        wanted = {a.config.hash: a for runs in planned.values() for a in runs if not is_finished(a.config, reuse=True)}
        # Seeds in turn, so that neighbours do not wait for one base policy; those that copy another's updates come last.
        ordered = sorted(wanted.values(), key=lambda arm: (arm.matched is not None, arm.config.method, arm.seed))
        with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"), _first, (files,)) as pool:
            for i, told in enumerate(pool.map(_compute, ordered), start=1):
                say(f"[compare] run {i}/{len(ordered)}: {told}")
    return {name: train_or_load(runs) for name, runs in planned.items()}


def load_all(asked: Comparison, rates: dict[tuple[str, str], float]) -> dict[str, Runs]:
    """Those of its runs that are there already."""
    return {name: load_finished(runs) for name, runs in arms(asked, rates).items()}


def _first(files: tuple[str, ...]) -> None:
    for text in files:
        find_method(text)


def _compute(arm: Arm) -> str:
    get_run(arm)
    return arm.config.name


# ---------------------------------------------------------------- verdicts


def claims_of(asked: Comparison, planned: dict[str, list[Arm]]) -> list[Claim]:
    """A claim per method that is compared with, of the sub-tests that the readings have for it."""
    mine, found = label_of(asked.method), []
    for other in map(label_of, asked.against):
        tests = []
        for name, runs in planned.items():
            reading, world = name.split("/")
            samples = min(arm.config.final_samples for arm in runs)
            mine_here = READINGS[reading].tests(mine, other, world, list(dict.fromkeys(arm.name for arm in runs)), samples)
            tests += [replace(test, experiment=name, world=world) for test in mine_here]
        where = ", ".join(asked.worlds)
        found.append(Claim(f"COMPARE-{mine}-{other}", f"{mine} is above {other}.", f"own/{asked.worlds[0]}", "61", "61_compare",
                           tuple(tests), where, "a comparison"))
    return found


def judged(asked: Comparison, runs: dict[str, Runs]) -> pd.DataFrame:
    """Every claim of the comparison, a row per sub-test; Holm over all primary ones. Written to verdicts.csv of its folder."""
    claims = claims_of(asked, arms(asked, guessed_rates(asked)))
    CLAIMS.update({claim.name: claim for claim in claims})  # for as long as they are judged
    try:
        tables = judge_paper(claims, runs)
    finally:
        for claim in claims:
            del CLAIMS[claim.name]
    table = pd.concat(tables.values(), ignore_index=True)
    make_folder(asked.folder)
    write_atomic(asked.folder / "verdicts.csv", table.to_csv(index=False).encode())
    return table


def swept_rates(runs: Runs) -> list[str]:
    """The rates of a sweep, as its arms name them."""
    return sorted({arm.name.rpartition("/")[2] for arm in runs.arms}, key=float)


def told(table: pd.DataFrame) -> str:
    """The verdicts as lines to read: estimate, interval, seeds, what could have been seen, word."""
    lines = []
    for row in table.itertuples():
        if row.subtest == "":
            lines.append(f"==> {row.theirs} {row.verdict} ({row.reason})")
            continue
        numbers = f"{row.ours:+.1f} ({row.low:+.1f}, {row.high:+.1f}) n = {row.seeds}" if row.seeds else "-"
        lines.append(f"{'* ' if row.primary else '  '}{row.subtest:<46}{numbers:<34}{row.verdict}")
    lines.append("* primary. replicated: yes; differs here: the other way round; points of pass@1, or per cent of the horizon.")
    return "\n".join(lines)


# ---------------------------------------------------------------- pictures


def draw(asked: Comparison, runs: dict[str, Runs]) -> list[Path]:
    """A figure per world and those of readings that have their own, in the comparison's folder."""
    from polarity_lib import plots
    plots.theme()
    STYLES.setdefault(label_of(asked.method), (label_of(asked.method), "#000000"))  # black, where its folder says no style
    paths = []
    for world in asked.worlds:
        own = runs[f"own/{world}"]
        if own.arms:
            fig = plot_world(asked, world, runs)
            paths.append(plots.save_figure(fig, f"compare_{world}", "61_compare", own, asked.folder))
        for name, reading in READINGS.items():
            found = runs.get(f"{name}/{world}")
            if reading.draw and found is not None and found.arms:
                fig = reading.draw(found, list(asked.labelled))
                paths.append(plots.save_figure(fig, f"compare_{name}", "61_compare", found, asked.folder))
    return paths


def plot_world(asked: Comparison, world: str, runs: dict[str, Runs]):
    """Held-out accuracy over training, pass@k at the end, and what the method gains over each other one, read three ways."""
    from polarity_lib import plots
    from polarity_lib.claims import difference

    mine, others = label_of(asked.method), [label_of(m) for m in asked.against]
    fig, axes = plots.panels(3, width=4.8, height=3.8)
    own = runs[f"own/{world}"]
    plots.curves(axes[0], own.metrics, "validation/pass@1", [mine, *others], 100.0, in_view=True)
    axes[0].set(title=f"{world}: pass@1, held-out, %", xlabel="batch")
    plots.plot_spectrum(own.metrics, "test", axes[1], ["base", mine, *others])
    axes[1].set_title("pass@k at the end")
    groups = {}
    for other in others:
        for reading in ("own", "one"):
            found = runs[f"{reading}/{world}"]
            if found.arms:
                groups[f"{other}, {READINGS[reading].title}"] = difference(found, mine, other, tail(1))
        swept = runs[f"over/{world}"]
        for rate in swept_rates(swept):
            groups[f"{other}, {rate}"] = difference(swept, f"{mine}/{rate}", f"{other}/{rate}", tail(1))
    plots.differences(axes[2], groups, [plots.arm_colour(key.split(",")[0]) for key in groups], margin=3.0, reach=5.0, aside=0.22)
    axes[2].set(title=f"{mine} minus the other, points")
    plots.legend_below(fig, axes[:2])
    return fig


def write_report(asked: Comparison, table: pd.DataFrame, paths: list[Path]) -> Path:
    """What was found, on one page of markdown beside the figures."""
    head = f"# {label_of(asked.method)} against {', '.join(map(label_of, asked.against))}\n"
    pictures = "\n".join(f"![{path.stem}]({path.name})" for path in paths)
    warned = "".join(f"\n*{world}* has not shown that it can tell methods apart: read it with care.\n"
                     for world in not_admitted(asked))
    text = f"{head}\nScale {asked.scale}, {asked.seeds} seeds.\n{warned}\n```\n{told(table)}\n```\n\n{pictures}\n"
    path = make_folder(asked.folder) / "report.md"
    write_atomic(path, text.encode())
    return path


def compare_methods(asked: Comparison, cores: int = 1, dry_run: bool = False, files: tuple[str, ...] = ()) -> int:
    """Check, print the cost, tune, run, judge, draw, write. Returns the exit status."""
    for name in asked.methods:
        check_method(name)
    print(cost(asked, cores), flush=True)
    for world in not_admitted(asked):
        print(f"{world} has not shown that it can tell methods apart (docs/worlds.md): read it with care.")
    if dry_run:
        return 0
    runs = run_all(asked, tune_all(asked), cores, files)
    table = judged(asked, runs)
    print(told(table))
    for path in (write_report(asked, table, paths := draw(asked, runs)), asked.folder / "verdicts.csv", *paths):
        print(path)
    return 0


