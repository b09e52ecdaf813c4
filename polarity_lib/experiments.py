"""Experiments by name (`arms.py` holds them as data) and the one call that gets their runs.

    arms = experiment("psr_nsr", scale="tiny", seeds=8)
    runs = train_or_load(arms)

A finished run loads, an interrupted one continues, a missing one is
computed. Two experiments that contain the same configuration share one run.
"""

import json
import time
from dataclasses import dataclass, replace

import pandas as pd

from polarity_lib.arms import EXPERIMENTS, FAMILIES, RATES_FILE, REPEATED_FAMILIES, TUNING_RATES, VALIDATION_SEEDS
from polarity_lib.config import ConfigError, RunConfig, choose, scale_named
from polarity_lib.results import RunFolder, load_published, published_root, say
from polarity_lib.training import train


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
    spec = EXPERIMENTS[choose("experiment", name, EXPERIMENTS)]
    size = scale_named(scale)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ConfigError(f"seeds is how many replicates to run, a whole number above zero, not {seeds!r}.")
    if scale == "paper":
        raise ConfigError("Scale 'paper' runs the papers' models on a GPU server, which needs the vLLM engine "
                          "that is not part of this release; `make plan SCALE=paper` prints what it would take.")
    chosen = []
    for seed in range(seeds):
        known = spec.arms(size, seed)
        wanted = list(known) if arms == "all" else [a.strip() for a in arms.split(",")]
        for arm in wanted:
            config = known[choose(f"arm of {name}", arm, known)]
            matched = next((c for c in known.values() if c.hash == config.matched_to), None)
            chosen.append(Arm(name, arm, config, scale, matched))
    return chosen


# --- getting the runs -------------------------------------------------------------


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
        if _published_table(name, "metrics").run.eq(run).any():
            tables = {t: _published_table(name, t) for t in TABLES}
            return {t: table[table.run == run] for t, table in tables.items()}
    return None


_PUBLISHED: dict = {}


def _published_table(name: str, table: str) -> pd.DataFrame:
    if (name, table) not in _PUBLISHED:
        _PUBLISHED[name, table] = load_published(name, table)
    return _PUBLISHED[name, table]


def get_run(arm: Arm, reuse_published: bool = True, watch=None, need_updates: bool = False) -> dict[str, pd.DataFrame]:
    """The tables of one run: its folder, else the committed tables, else computed now."""
    folder = RunFolder(arm.config.name, arm.config.identity)
    tables = folder.load()
    if tables is None and reuse_published and not need_updates:
        tables = published_run(arm.config.hash)
    if tables is not None:
        return tables
    sizes = None
    if arm.matched:
        paired = get_run(replace(arm, config=arm.matched, matched=None), reuse_published, watch, need_updates=True)
        sizes = paired["updates"].norm.tolist()
    with folder.lock():
        return folder.load() or train(arm.config, folder, update_sizes=sizes, watch=watch)


def train_or_load(arms: list[Arm], reuse_published: bool = True, progress: bool = True) -> Runs:
    """Every run of the arms: loaded, continued or computed, with progress on stderr.

    Args:
        reuse_published: take a run from the committed tables when they hold
            it; False computes it here, on this machine.
    """
    found: dict[str, list] = {table: [] for table in TABLES}
    done: dict[str, dict] = {}
    began, computed = time.monotonic(), 0
    for i, arm in enumerate(arms, start=1):
        if arm.config.hash not in done:
            before = time.monotonic()
            watch = Progress(arm, i, len(arms)) if progress else None
            done[arm.config.hash] = get_run(arm, reuse_published, watch)
            computed += time.monotonic() - before > 2
            if progress and time.monotonic() - before > 2:
                left = (time.monotonic() - began) / i * (len(arms) - i)
                say(f"[{arm.experiment}] run {i}/{len(arms)} {arm.name} seed {arm.seed}: "
                    f"done in {time.monotonic() - before:.0f} s; about {left / 60:.0f} min left for this experiment")
        for table in TABLES:
            found[table].append(_labelled(arm, done[arm.config.hash][table]))
    return Runs(*(pd.concat(found[t], ignore_index=True) for t in TABLES), arms=arms)


def load_finished(arms: list[Arm]) -> Runs:
    """Those of the arms whose runs exist already, here or committed; nothing is computed."""
    found = {}
    for arm in arms:
        tables = RunFolder(arm.config.name, arm.config.identity).load() or published_run(arm.config.hash)
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
            the seeds that exist, and never computed.
    """
    spec = EXPERIMENTS[choose("experiment", name, EXPERIMENTS)]
    if full or spec.preview or scale == "smoke":
        return train_or_load(experiment(name, arms, scale, min(seeds, spec.seeds) if full else seeds), reuse_published)
    return load_finished(experiment(name, arms, scale, spec.seeds))


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


# --- choosing the rates -----------------------------------------------------------


def choose_rates(runs: Runs, families: dict[str, tuple[str, ...]] = FAMILIES) -> dict[str, float]:
    """The rule, fixed before any run: per family, the rate with the highest mean
    validation pass@1 at the last step, over the family's methods and both
    validation seeds, among the rates at which no run has collapsed (fallen
    below half of its base's validation pass@1). Ties go to the lower rate.
    """
    rows = runs.metrics[runs.metrics.metric == "validation/pass@1"].copy()
    rows[["method", "rate"]] = rows.arm.str.split("/", expand=True)
    ends = rows.sort_values("step").groupby(["method", "rate", "seed"]).value.agg(["first", "last"]).reset_index()
    chosen = {}
    for family, methods in families.items():
        mine = ends[ends.method.isin(methods)]
        stable = [r for r, g in mine.groupby("rate") if (g["last"] >= 0.5 * g["first"]).all()]
        means = mine.groupby("rate")["last"].mean()
        candidates = stable or [f"{min(TUNING_RATES):g}"]
        chosen[family] = float(min(candidates, key=lambda r: (-means[r], float(r))))
    return chosen


def publish_rates() -> dict[str, float]:
    """Run the tuning and write data/rates.json. Done once; later runs read the file."""
    from polarity_lib.results import write_atomic

    rates, used = {}, set()
    for name, families in (("tuning", FAMILIES), ("tuning_repeated", REPEATED_FAMILIES)):
        runs = train_or_load(experiment(name, seeds=len(VALIDATION_SEEDS)))
        rates |= choose_rates(runs, families)
        used |= {arm.config.hash for arm in runs.arms}
    record = {"rule": " ".join(choose_rates.__doc__.split()), "rates": rates, "runs": sorted(used)}
    write_atomic(RATES_FILE, (json.dumps(record, indent=1) + "\n").encode())
    return rates
