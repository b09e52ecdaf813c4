"""Experiments: which arms at which sizes, and the one call that gets their runs.

    arms = experiment("psr_nsr_latent", scale="tiny", seeds=10)
    runs = train_or_load(arms)

An experiment is a function (scale, seed) -> {arm name: RunConfig}; the papers' folders hold them.
A finished run loads, an interrupted one continues, a missing one is computed. Two
experiments that contain the same configuration share one run.
"""

import functools
import json
import time
from dataclasses import dataclass, replace
from typing import Callable

import pandas as pd

from polarity_lib.config import ConfigError, RunConfig, Scale, StartConfig, at_paper_scale, choose, scale_named
from polarity_lib.digests import say_if_edited
from polarity_lib.methods import method_named
from polarity_lib.problems import world_named
from polarity_lib.registry import AT_PAPER_SCALE, EXPERIMENTS
from polarity_lib.results import ROOT, RunFolder, load_published, published_root, read_lines, say
from polarity_lib.stacking import Wanted, free_memory, stacks_of, train_stacked
from polarity_lib.training import train

RATES_FILE = ROOT / "data" / "rates.json"
UNTUNED = 2.5e-5  # the middle of every grid


@dataclass(frozen=True)
class Experiment:
    """Its arms, how many seeds the committed study has, and which notebooks read it."""

    arms: Callable[[Scale, int], dict[str, RunConfig]]
    seeds: int
    notebook: str  # numbers, separated by commas
    preview: bool = True  # part of `make study` without FULL=1

    @property
    def notebooks(self) -> tuple[str, ...]:
        return tuple(self.notebook.split(","))


def late(arms: Callable[[Scale, int], dict[str, RunConfig]], seeds: int, notebook: str) -> Experiment:
    """An experiment that the preview leaves out."""
    return Experiment(arms, seeds, notebook, preview=False)


@dataclass(frozen=True)
class Reading:
    """One way in which `make compare` reads a method against others; papers offer them.

    Attributes:
        title: as the cost and the figures name it.
        arms: (scale, seed, world, {label: method}, {label: rate}) -> {arm: RunConfig}; the first label is the method compared.
        tests: (its label, another's, world, arms, answers per test problem) -> sub-tests of the first above the other.
        most_seeds: 0: as many as were asked for.
        worlds: where it is read; () for everywhere.
        draw: (runs, labels) -> a figure of its own.
    """

    title: str
    arms: Callable[..., dict[str, RunConfig]]
    tests: Callable[..., tuple]
    most_seeds: int = 0
    worlds: tuple[str, ...] = ()
    draw: Callable | None = None


def experiments_at(scale: str):
    """The experiments there are at a scale: language models have their own."""
    return AT_PAPER_SCALE if at_paper_scale(scale) else EXPERIMENTS


def world_rate(world: str, method: str) -> float:
    """The rate of a method in a world, as `python -m polarity_lib tune` found it.

    Until then (see `is_tuned`) it is GRPO's there and, where nothing has been tuned, UNTUNED.
    """
    rates = rates_record()["worlds"].get(world, {})
    return float((rates.get(method) or rates.get("grpo") or {"rate": UNTUNED})["rate"])


def is_tuned(world: str, method: str) -> bool:
    """Whether a method has a rate of its own in a world. A comparison at own rates counts only if all its arms have."""
    return method == "base" or method in rates_record()["worlds"].get(world, {})


@functools.cache
def rates_record() -> dict:
    """data/rates.json: the rates, and the grids they were chosen from."""
    return json.loads(RATES_FILE.read_text(encoding="utf-8"))


def configure(scale: Scale, method: str, seed: int, world: str = "countdown3", start_steps: int | None = None,
              corpus: str = "", options: dict | None = None, **fields) -> RunConfig:
    """A configuration at a scale; only what differs from the scale's defaults is given. `fields` hold the learning rate."""
    start = StartConfig(corpus or world_named(world).corpus, scale.policy, start_steps or scale.start_steps, seed,
                        batch=scale.start_batch)
    fields = scale.run | fields
    config = RunConfig(
        method=method, world=world, start=start, seed=seed,
        options=tuple(sorted((options or {}).items())), **fields)
    method_named(method, options)  # a misspelt name or option fails here
    return config


def in_world(scale: Scale, method: str, seed: int, world: str, **fields) -> RunConfig:
    """A run by the world's protocol, which all papers share, at the method's own rate there."""
    place = world_named(world)
    sizes = unless_smoke(scale, **place.protocol) | {"minibatches": place.protocol["minibatches"]}
    sizes |= {"learning_rate": 1e-5 if method == "base" else fields.get("learning_rate") or world_rate(world, method)}
    return configure(scale, method, seed, world=world, **(unless_smoke(scale, start_steps=place.start_steps) | sizes | fields))


def unless_smoke(scale: Scale, **fields) -> dict:
    """Fields that an experiment sets at every scale but the tests' own."""
    return {} if scale.policy == "smoke" else fields


def swept(scale: Scale, values: tuple) -> tuple:
    """The values of a sweep; at the tests' own scale the middle one."""
    return (values[len(values) // 2],) if scale.policy == "smoke" else values


@dataclass(frozen=True)
class Arm:
    """One line of a figure: a configuration without its seed fixed, replicated over seeds."""

    experiment: str
    name: str
    config: RunConfig
    scale: str
    matched: RunConfig | None = None  # the run whose update sizes this one copies

    @property
    def seed(self) -> int:
        return self.config.seed


def experiment(name: str, arms: str = "all", scale: str = "tiny", seeds: int = 1) -> list[Arm]:
    """The runs of an experiment, seed after seed.

    Args:
        arms: names separated by commas, or "all".
        seeds: how many replicates, a whole number; replicates are 0, 1, ..., seeds - 1.

    Raises:
        ConfigError: unknown experiment, arm or scale (with the near misses), or a
            seeds that is not a whole number above zero. Nothing has been computed then.
    """
    size = scale_named(scale)
    if at_paper_scale(scale) and not size.model:
        raise ConfigError("Scale paper needs a model: MODEL=<hub id or folder>, or --scale paper:<hub id or folder>. "
                          "`make plan SCALE=paper` prints what the papers' own would take.")
    known_here = experiments_at(scale)
    spec = known_here[choose("experiment", name, known_here)]
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ConfigError(f"seeds is how many replicates to run, a whole number above zero, not {seeds!r}.")
    chosen = []
    for seed in range(seeds):
        known = spec.arms(size, seed)
        wanted = list(known) if arms == "all" else dict.fromkeys(a.strip() for a in arms.split(","))  # one named twice is one
        for arm in wanted:
            config = known[choose(f"arm of {name}", arm, known)]
            matched = next((c for c in known.values() if c.hash == config.matched_to), None)
            chosen.append(Arm(name, arm, config, scale, matched))
    return chosen


@dataclass(frozen=True)
class Runs:
    """The tables of an experiment, each with columns experiment, arm, seed, run, scale."""

    metrics: pd.DataFrame
    problems: pd.DataFrame
    rollouts: pd.DataFrame
    arms: list[Arm]

    def metric(self, name: str, last: bool = True) -> pd.DataFrame:
        """One metric as a table seeds x arms (the last step), or long with its steps."""
        rows = self.metrics[self.metrics.metric == name]
        if not last:
            return rows
        rows = rows.sort_values("step").groupby(["seed", "arm"], sort=False).tail(1)
        return rows.pivot(index="seed", columns="arm", values="value")


TABLES = ("metrics", "problems", "rollouts")


def _labelled(arm: Arm, table: pd.DataFrame) -> pd.DataFrame:
    labels = {"experiment": arm.experiment, "arm": arm.name, "seed": arm.seed, "run": arm.config.hash, "scale": arm.scale}
    table = table.drop(columns=[c for c in labels if c in table])
    return pd.concat([pd.DataFrame(labels, index=table.index), table], axis=1)


def published_run(run: str) -> dict[str, pd.DataFrame] | None:
    """The committed tables of a run, whichever experiment published it; None if there are none."""
    for folder in sorted(published_root().glob("*/metrics.parquet")):
        name = folder.parent.name
        if run in _published_table(name, "metrics"):
            for line in _published_table(name, "runs").get(run, pd.DataFrame()).to_dict("records")[:1]:
                say_if_edited(json.loads(line["identity"]), line, "To compute it here: reuse_published=False")
            return {t: _published_table(name, t).get(run, _empty(name, t)) for t in TABLES}
    return None


_PUBLISHED: dict = {}


def _published_table(name: str, table: str) -> dict[str, pd.DataFrame]:
    """The rows of each run, by its hash; read and split once."""
    if (name, table) not in _PUBLISHED:
        path = published_root() / name / "runs.csv"
        read = load_published(name, table) if table != "runs" else read_lines(path)
        _PUBLISHED[name, table] = dict(list(read.groupby("run", sort=False)))
    return _PUBLISHED[name, table]


def _empty(name: str, table: str) -> pd.DataFrame:
    """A table's columns, for a run that has no rows in it (readable answers are kept of seed 0 alone, and it may be missing)."""
    by_run = _published_table(name, table)
    return next(iter(by_run.values())).iloc[:0] if by_run else load_published(name, table)


def kept_run(config: RunConfig) -> dict[str, pd.DataFrame] | None:
    """The tables in a run's folder, if it ended; it is said if the method was edited since."""
    folder = RunFolder(config.name, config.identity)
    tables = folder.load()
    if tables is not None:
        say_if_edited(config.identity, folder.record(), f"To compute it anew, delete {folder.path}")
    return tables


def get_run(arm: Arm, reuse_published: bool = True, watch=None, need_updates: bool = False,
            device: str | None = None) -> dict[str, pd.DataFrame]:
    """The tables of one run: its folder, else the committed tables, else computed now, alone."""
    folder = RunFolder(arm.config.name, arm.config.identity)
    tables = kept_run(arm.config)
    if tables is None and reuse_published and not need_updates:
        tables = published_run(arm.config.hash)
    if tables is not None:
        return tables
    sizes = None
    if arm.matched:
        sizes = sizes_to_copy(arm, reuse_published, watch, device)
    with folder.lock():
        return folder.load() or train(arm.config, folder, device_of(arm.config.start.size, device), sizes, watch)


def sizes_to_copy(arm: Arm, reuse_published: bool, watch, device: str | None) -> list[float]:
    """The length of every update of the run that an arm is matched to.

    Raises:
        ConfigError: that run ended early, as a collapse, so there is nothing to match from there on.
    """
    paired = replace(arm, config=arm.matched, matched=None)
    sizes = get_run(paired, reuse_published, watch, need_updates=True, device=device)["updates"].norm.tolist()
    if len(sizes) < arm.config.steps:
        raise ConfigError(f"{arm.name} takes the update sizes of {arm.matched.name}, which diverged after {len(sizes)} of "
                          f"{arm.matched.steps} batches: leave this arm out for seed {arm.seed}.")
    return sizes


def device_of(size: str, device: str | None) -> str | None:
    """Where a run that goes alone is computed, and a base policy made: a tiny one is faster on a core than on a GPU."""
    return "cpu" if device == "cuda" and size in ("smoke", "tiny", "middle") else device


def compute_stacked(arms: list[Arm], device: str, reuse_published: bool = True, progress: bool = True) -> int:
    """Compute the missing runs of some arms side by side, as stacks of one shape; returns how many.

    What fits in no stack is left for `get_run`. An arm with matched updates goes after the run it copies.
    """
    todo = [arm for arm in arms if kept_run(arm.config) is None
            and not (reuse_published and published_run(arm.config.hash))]
    copied = [replace(arm, config=arm.matched, matched=None) for arm in todo if arm.matched and kept_run(arm.matched) is None]
    computed = 0
    for wave in ([arm for arm in todo if not arm.matched] + copied, [arm for arm in todo if arm.matched]):
        by_run = {arm.config.hash: arm for arm in wave}
        for configs in stacks_of([arm.config for arm in by_run.values()], free_memory(device)):
            began, of = time.monotonic(), [by_run[config.hash] for config in configs]
            told = f"{len(of)} runs of {configs[0].world} side by side on {device}"
            if progress:
                say(f"{told}: {', '.join(dict.fromkeys(arm.name for arm in of))}")
            watch = Progress(replace(of[0], name=told), 1, 1) if progress else None
            sizes = [sizes_to_copy(arm, reuse_published, watch, device) if arm.matched else None for arm in of]
            train_stacked([Wanted(c, RunFolder(c.name, c.identity), sizes[i], None if i else watch)
                           for i, c in enumerate(configs)], device)
            computed += len(of)
            if progress:
                say(f"{told}: done in {time.monotonic() - began:.0f} s")
    return computed


def train_or_load(arms: list[Arm], reuse_published: bool = True, progress: bool = True, device: str | None = None) -> Runs:
    """Every run of the arms: loaded, continued or computed, with progress on stderr.

    Args:
        reuse_published: take a run from the committed tables when they hold
            it; False computes it here, on this machine.
        device: "cuda" computes side by side what can be stacked; None takes a GPU if there is one, run after run.
    """
    if device == "cuda":
        compute_stacked(arms, device, reuse_published, progress)
    found: dict[str, list] = {table: [] for table in TABLES}
    done: dict[str, dict] = {}
    began, computed = time.monotonic(), 0
    for i, arm in enumerate(arms, start=1):
        if arm.config.hash not in done:
            before = time.monotonic()
            watch = Progress(arm, i, len(arms)) if progress else None
            done[arm.config.hash] = get_run(arm, reuse_published, watch, device=device)
            computed += time.monotonic() - before > 2
            if progress and time.monotonic() - before > 2:
                left = (time.monotonic() - began) / i * (len(arms) - i)
                say(f"[{arm.experiment}] run {i}/{len(arms)} {arm.name} seed {arm.seed}: "
                    f"done in {time.monotonic() - before:.0f} s; about {left / 60:.0f} min left for this experiment")
        for table in TABLES:
            found[table].append(_labelled(arm, done[arm.config.hash][table]))
    return Runs(*(pd.concat(found[t], ignore_index=True) for t in TABLES), arms=arms)


def load_finished(arms: list[Arm], kept: bool = True) -> Runs:
    """Those of the arms whose runs exist already, here (unless `kept` is False) or committed; nothing is computed."""
    found = {}
    for arm in arms:
        tables = (kept_run(arm.config) if kept else None) or published_run(arm.config.hash)
        if tables is not None:
            found[arm] = tables
    empty = {"metrics": ["step", "metric", "value"], "problems": ["problem"], "rollouts": ["step"]}
    tables = {
        t: pd.concat([_labelled(arm, found[arm][t]) for arm in found], ignore_index=True) if found
        else pd.DataFrame(columns=["experiment", "arm", "seed", "run", "scale", *empty[t]])
        for t in TABLES
    }
    return Runs(**tables, arms=list(found))


def runs_of(name: str, arms: str = "all", scale: str = "tiny", seeds: int = 1, full: bool = False,
            reuse_published: bool = True) -> Runs:
    """What a notebook asks for.

    Args:
        full: also compute the experiments that are not part of the preview, each with
            at most its own number of seeds. Otherwise those are only loaded, with all
            the seeds that exist, and never computed; one of which an arm is not there
            at all is left out, and said so: it shares runs with others and was not run itself.
    """
    known = experiments_at(scale)
    spec = known[choose("experiment", name, known)]
    if full or spec.preview or scale == "smoke":
        return train_or_load(experiment(name, arms, scale, min(seeds, spec.seeds) if full else seeds), reuse_published)
    wanted = experiment(name, arms, scale, spec.seeds)
    runs = load_finished(wanted)
    missing = list(dict.fromkeys(arm.name for arm in wanted if arm.name not in {there.name for there in runs.arms}))
    if missing and runs.arms:
        say(f"[{name}] left out: no run of {', '.join(missing)} yet")
        return load_finished([])
    return runs


@dataclass
class Progress:
    """A line on stderr every few seconds: which run, how far, time left."""

    arm: Arm
    number: int
    total: int
    every: float = 15.0
    last: float = 0.0

    def __call__(self, step: int, steps: int, left: float) -> None:
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            say(f"[{self.arm.experiment}] run {self.number}/{self.total} {self.arm.name} seed {self.arm.seed}: "
                f"step {step}/{steps}, {left:.0f} s left in this run")
