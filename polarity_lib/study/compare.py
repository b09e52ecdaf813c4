"""Somebody's method beside others, with the honesty of the study (`make compare`, notebook 61).

    asked  = asked_for("mine.py", "grpo,psr", "latent", seeds=8)
    check_method(asked.method)                                  every part on a batch by hand, before anything is computed
    print(cost(asked))
    rates  = tune_all(asked)                                    on the validation seeds; nothing is written to data/
    runs   = run_all(asked, rates)                              own rates, one rate, over the rate, controls, the dial
    table  = judged(asked, runs)                                one vocabulary, Holm over the primary sub-tests
    paths  = draw(asked, runs)

Every run is kept in the runs folder and continues where it was stopped, so the same command again goes on. Runs that the study
has committed or that another comparison has made are taken.
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from polarity_lib.claims import Claim, Subtest, after_holm, compare, is_greater, is_less, judge, tail
from polarity_lib.config import ConfigError, RunConfig, Scale, choose, scale_named
from polarity_lib.experiments import Arm, Runs, get_run, is_tuned, load_finished, train_or_load, world_rate
from polarity_lib.outside import strict_json
from polarity_lib.papers.baselines.experiments import TEST_SAMPLES, compared, one_rate, over_rates
from polarity_lib.papers.discovery.clock import compare_times
from polarity_lib.papers.discovery.experiments import TELLING, at_rarity
from polarity_lib.papers.instrument.gates import committed_worlds
from polarity_lib.problems import WORLDS
from polarity_lib.registry import CLAIMS, METHODS, STYLES
from polarity_lib.results import make_folder, runs_root, say, write_atomic
from polarity_lib.study.checking import check_method, find_method, label_of
from polarity_lib.study.costs import run_seconds, start_seconds
from polarity_lib.study.plan import is_finished, start_is_made
from polarity_lib.study.tuning import SEEDS as TUNING_SEEDS
from polarity_lib.study.tuning import best, grid_run, search

SWEPT_SEEDS, CONTROL_SEEDS = 3, 4  # over the rate; of controls
GRID = 4  # rates of a grid, about
CONTROLS = ("tossed", "flipped")
READINGS = {"own": "own rates", "one": "one rate", "over": "over the rate", "controls": "controls", "dial": "the dial"}


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
            choose("world to compare in", world, [w for w in TEST_SAMPLES if w in WORLDS])
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
    def folder(self) -> Path:
        """Where its tables and figures go."""
        return runs_root() / "compare" / f"{self.method}-{'-'.join(self.against)}-{self.scale}"

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
    known = committed_worlds()
    return [world for world in asked.worlds if not known.get(world, {}).get("admitted")]


# ---------------------------------------------------------------- rates


def tune_all(asked: Comparison) -> dict[tuple[str, str], float]:
    """(world, method) -> its own rate: that of data/rates.json, else by the same rule, kept in the comparison's folder."""
    path, rates = asked.folder / "rates.json", {}
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
        for reading, make, seeds in (
                ("own", _own, asked.seeds), ("one", _one, asked.seeds), ("over", _over, min(SWEPT_SEEDS, asked.seeds)),
                ("controls", _controls, min(CONTROL_SEEDS, asked.seeds)), ("dial", _dial, asked.seeds)):
            if reading == "dial" and world != "latent":
                continue
            name = f"{reading}/{world}"
            found[name] = [Arm(f"compare: {name}", arm, config, asked.scale, matched) for seed in range(seeds)
                           for arm, (config, matched) in make(asked, rates, world, seed).items()]
    return found


def _own(asked, rates, world, seed) -> dict[str, tuple[RunConfig, None]]:
    base = compared(asked.size, "base", seed, world, steps=0)
    return {"base": (base, None)} | {label_of(m): (_at(asked, m, world, seed, rates[world, m]), None) for m in asked.methods}


def _one(asked, rates, world, seed):
    return {label_of(m): (_at(asked, m, world, seed, one_rate(world)), None) for m in asked.methods}


def _over(asked, rates, world, seed):
    return {f"{label_of(arm.rpartition('/')[0])}/{arm.rpartition('/')[2]}": (config, None)
            for arm, config in over_rates(asked.size, seed, world, asked.methods).items()}


def _controls(asked, rates, world, seed):
    """Lying verdicts, and the update sizes of the first of the others."""
    mine, other = (_at(asked, m, world, seed, rates[world, m]) for m in asked.methods[:2])
    label = label_of(asked.method)
    lies = {f"{label} {kind}": (mine.but(verdicts=kind), None) for kind in CONTROLS}
    matched = {f"{label} matched": (mine.but(matched_to=other.hash), other)}
    return {label: (mine, None), label_of(asked.against[0]): (other, None)} | lies | matched


def _dial(asked, rates, world, seed):
    runs = {m: _at(asked, m, world, seed, rates[world, m]) for m in asked.methods}
    return {label_of(m): (at_rarity(config, asked.size, TELLING), None) for m, config in runs.items()}


def _at(asked: Comparison, method: str, world: str, seed: int, rate: float) -> RunConfig:
    return compared(asked.size, method, seed, world, learning_rate=rate)


def cost(asked: Comparison, cores: int = 1) -> str:
    """Runs and hours, before anything is computed; grids count at about GRID rates each."""
    lines = [f"{'':<12}{'what':<16}{'runs':>6}{'to do':>7}{'hours':>8}"]
    starts, seen, total = {}, set(), 0.0
    for world in asked.worlds:
        waiting = [m for m in asked.methods if asked.scale == "smoke" or not is_tuned(world, m)]
        configs = [grid_run(asked.size, m, world, 1e-5, seed) for m in waiting for seed in TUNING_SEEDS]
        seconds = GRID * sum(map(run_seconds, configs))
        starts |= {c.start.name: c.start for c in configs}
        total += seconds
        lines.append(f"{world:<12}{'rates':<16}{GRID * len(configs):>6}{GRID * len(configs):>7}{seconds / 3600 / cores:>8.2f}")
    for name, runs in arms(asked, guessed_rates(asked)).items():
        reading, world = name.split("/")
        new = [a.config for a in runs if a.config.hash not in seen]
        seen |= {c.hash for c in new}
        todo = [c for c in new if not is_finished(c, reuse=True)]
        starts |= {c.start.name: c.start for c in todo}
        seconds = sum(map(run_seconds, todo))
        total += seconds
        lines.append(f"{world:<12}{READINGS[reading]:<16}{len(new):>6}{len(todo):>7}{seconds / 3600 / cores:>8.2f}")
    seconds = sum(start_seconds(s) for s in starts.values() if not start_is_made(s))
    total += seconds
    lines.append(f"{'':<12}{'base policies':<16}{'':>6}{'':>7}{seconds / 3600 / cores:>8.2f}")
    sides = ", ".join(map(label_of, asked.against))
    lines.append(f"{label_of(asked.method)} against {sides}, scale {asked.scale}, {asked.seeds} seeds: at most about "
                 f"{total / 3600 / cores:.1f} hours on {cores} core{'s' if cores > 1 else ''}; may be stopped and goes on.")
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


def claims_of(asked: Comparison, rates: dict[str, list[str]]) -> list[Claim]:
    """A claim per method that is compared with: above it at pass@1 in every world, and sooner on the clock.

    Primary at own rates; read again at one rate. Secondary: the tail, the papers' temperature, every rate, the controls.

    Args:
        rates: world -> the rates of the sweep, as its arms name them.
    """
    found = []
    for other in asked.against:
        tests = [test for world in asked.worlds for test in _contrasts(asked, label_of(other), world, rates.get(world, ()))]
        if other == asked.against[0]:
            tests += [test for world in asked.worlds for test in _against_controls(asked, label_of(other), world)]
        mine, its, where = label_of(asked.method), label_of(other), ", ".join(asked.worlds)
        found.append(Claim(f"COMPARE-{mine}-{its}", f"{mine} is above {its}.", f"own/{asked.worlds[0]}", "61", "61_compare",
                           tuple(tests), where, "a comparison"))
    return found


def _contrasts(asked: Comparison, other: str, world: str, rates: list[str]) -> list[Subtest]:
    """One method above another in one world."""
    mine, far, first = label_of(asked.method), _far(asked, world), f"above {other}, {world}"

    def above(name, left=mine, right=other, metric=tail(1), where="own", **more):
        return Subtest(name, metric, "", compare(is_greater, left, right, metric), f"{where}/{world}", world, **more)

    tests = [above(first, primary=True), above(f"{first}, one rate", where="one", reading_of=first),
             above(f"{first}, k = {far}", metric=tail(far)), above(f"{first}, temperature 0.6", metric="cool/pass@1")]
    tests += [above(f"{first}, rate {rate}", f"{mine}/{rate}", f"{other}/{rate}", where="over") for rate in rates]
    if world == "latent":
        tests.append(Subtest(f"sooner than {other}, r = {TELLING:g}", "lead, % of the horizon", "",
                             partial(compare_times, is_greater, mine, other), f"dial/{world}", world, primary=True))
    return tests


def _against_controls(asked: Comparison, other: str, world: str) -> list[Subtest]:
    """Lying verdicts must cost something; and what is left at the other's update size."""
    mine, metric = label_of(asked.method), tail(1)
    lies = [(f"{kind} verdicts below true ones, {world}", compare(is_less, f"{mine} {kind}", mine, metric)) for kind in CONTROLS]
    size = (f"above {other}, {world}, at its update size", compare(is_greater, f"{mine} matched", other, metric))
    return [Subtest(name, metric, "", find, f"controls/{world}", world) for name, find in (*lies, size)]


def _far(asked: Comparison, world: str) -> int:
    """Where a world's tail is read: 8 where many answers solve everything, 256 in search; at scale smoke 8."""
    return 256 if world == "search" and asked.scale != "smoke" else 8


def judged(asked: Comparison, runs: dict[str, Runs]) -> pd.DataFrame:
    """Every claim of the comparison, a row per sub-test; Holm over all primary ones. Written to verdicts.csv of its folder."""
    claims = claims_of(asked, {world: swept_rates(runs[f"over/{world}"]) for world in asked.worlds})
    CLAIMS.update({claim.name: claim for claim in claims})  # for as long as they are judged
    try:
        tables = after_holm({claim.name: judge(claim.name, runs) for claim in claims})
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
    """A figure per world and one of the dial, in the comparison's folder."""
    from polarity_lib import plots
    from polarity_lib.papers.discovery.figures import plot_discovery

    plots.theme()
    STYLES.setdefault(label_of(asked.method), (label_of(asked.method), "#000000"))  # black, where its folder says no style
    paths = []
    for world in asked.worlds:
        own = runs[f"own/{world}"]
        if own.arms:
            fig = plot_world(asked, world, runs)
            paths.append(plots.save_figure(fig, f"compare_{world}", "61_compare", own, asked.folder))
        dial = runs.get(f"dial/{world}")
        if dial is not None and dial.arms:
            fig = plot_discovery(dial, [label_of(m) for m in asked.methods])
            paths.append(plots.save_figure(fig, "compare_dial", "61_compare", dial, asked.folder))
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
                groups[f"{other}, {READINGS[reading]}"] = difference(found, mine, other, tail(1))
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


