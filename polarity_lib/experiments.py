"""Each experiment as data: its arms, sizes and seeds; and the one call that gets its runs.

    arms = experiment("psr_nsr", scale="tiny", seeds=8)
    runs = train_or_load(arms)

A finished run loads, an interrupted one continues, a missing one is
computed. Two experiments that contain the same configuration share one run.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Callable

import pandas as pd

from polarity_lib.config import ConfigError, RunConfig, Scale, StartConfig, choose, scale_named
from polarity_lib.methods import method_named
from polarity_lib.problems import world_named
from polarity_lib.results import ROOT, RunFolder, load_published, published_root, say
from polarity_lib.training import train

RATES_FILE = ROOT / "data" / "rates.json"
TUNING_RATES = (2e-5, 5e-5, 1e-4)
VALIDATION_SEEDS = (1000, 1001)  # never used for a reported number

# One learning rate per family. Everything that weighs +1 and -1 by a constant is one
# family, as in the paper, so that its arms differ in the weights alone.
FAMILIES = {
    "constant": ("psr", "nsr", "reinforce"),
    "group": ("grpo",),
    "critic": ("ppo",),
}
FAMILY_OF = {
    "base": "constant", "psr": "constant", "nsr": "constant", "reinforce": "constant",
    "w_reinforce": "constant", "psr_all_tokens": "constant", "nsr_all_tokens": "constant",
    "reinforce_baseline": "constant", "rloo": "group", "grpo": "group", "dr_grpo": "group",
    "psr_grpo_seq": "group", "nsr_grpo_seq": "group", "psr_grpo_tok": "group", "nsr_grpo_tok": "group",
    "ppo": "critic",
}


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


def tuned_rate(method: str) -> float:
    """The frozen rate of a method's family, chosen on the validation seeds (see `choose_rates`)."""
    rates = json.loads(RATES_FILE.read_text())["rates"]
    return float(rates[FAMILY_OF[method]])


def _run(scale: Scale, method: str, seed: int, world: str = "countdown3",
         start_steps: int | None = None, options: dict | None = None, **fields) -> RunConfig:
    """A configuration at a scale; only what differs from the scale's defaults is given."""
    start = StartConfig(world_named(world).corpus, scale.policy, start_steps or scale.start_steps, seed)
    fields = {"learning_rate": tuned_rate(method)} | scale.run | fields
    config = RunConfig(
        method=method, world=world, start=start, seed=seed,
        options=tuple(sorted((options or {}).items())), **fields)
    method_named(method, options)  # a misspelt name or option fails here
    return config


# --- the experiments: each maps (scale, seed) to its arms ------------------------


def _unless_smoke(scale: Scale, **fields) -> dict:
    """Fields that an experiment sets at every scale but the tests' own."""
    return {} if scale.policy == "smoke" else fields


def _main(scale: Scale, method: str, seed: int, **fields) -> RunConfig:
    """A run of notebook 10: the strong start, 256 samples per test problem. Other experiments share it."""
    return _run(scale, method, seed, **(_unless_smoke(scale, final_samples=256) | fields))


def psr_nsr(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: every method of the paper over the pass@k spectrum, from the strong start."""
    names = ("ppo", "grpo", "reinforce", "psr", "nsr", "w_reinforce")
    return {"base": _main(scale, "base", seed, steps=0)} | {name: _main(scale, name, seed) for name in names}


def controls(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: a verifier that tosses or flips its verdicts; update sizes copied from GRPO."""
    grpo = _main(scale, "grpo", seed)
    return {
        "grpo": grpo,
        "grpo_tossed": grpo.but(verdicts="tossed"),
        "grpo_flipped": grpo.but(verdicts="flipped"),
        "psr_matched": _main(scale, "psr", seed, matched_to=grpo.hash),
        "nsr_matched": _main(scale, "nsr", seed, matched_to=grpo.hash),
    }


def definitions(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: three released formulas that share the names PSR and NSR, and GRPO beside them."""
    names = ("psr", "psr_grpo_seq", "psr_grpo_tok", "nsr", "nsr_grpo_seq", "nsr_grpo_tok", "grpo")
    # One rate for all: what is compared is the formula.
    return {name: _main(scale, name, seed, learning_rate=tuned_rate("nsr")) for name in names}


MAP_RATES = (2e-5, 1e-4, 3e-4)
MAP_WEIGHTS = {"nsr": 0.0, "w_reinforce": 0.1, "reinforce": 1.0, "psr": None}  # lambda; None: no negatives


def boundary_map(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: learning rate x lambda x strength of the start.

    Half as long as the main runs: where a run collapses, it does so early.
    """
    short = _unless_smoke(scale, steps=scale.run["steps"] // 2, final_problems=200)
    return {
        f"{world}/{method}/{rate:g}": _run(scale, method, seed, world=world, learning_rate=rate, **short)
        for world in ("countdown3", "countdown4") for method in MAP_WEIGHTS for rate in MAP_RATES
    }


LAMBDAS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def lambda_sweep(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: the weight of positives, at the rate and samples of notebook 10."""
    main = psr_nsr(scale, seed)
    known = {0.0: main["nsr"], 0.1: main["w_reinforce"], 1.0: main["reinforce"]}
    arms = {"base": main["base"]}
    for weight in LAMBDAS:
        arms[f"lambda={weight:g}"] = known.get(weight) or _main(
            scale, "w_reinforce", seed, options={"positive_weight": weight})
    return arms


STRENGTHS = {"countdown3/full": ("countdown3", 1.0), "countdown3/short": ("countdown3", 0.4),
             "countdown4/full": ("countdown4", 1.0), "countdown4/short": ("countdown4", 0.4)}


def strength(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: base policies of four strengths (digits x length of the warm start)."""
    arms = {}
    for name, (world, share) in STRENGTHS.items():
        steps = int(scale.start_steps * share)
        make = _main if (world, share) == ("countdown3", 1.0) else _run  # the strongest start is notebook 10's
        for method in ("base", "nsr", "psr", "grpo"):
            fields = {"steps": 0} if method == "base" else {}
            arms[f"{name}/{method}"] = make(scale, method, seed, world=world, start_steps=steps, **fields)
    return arms


def long_runs(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: several times as many steps (claim C14)."""
    steps = scale.run["steps"] * scale.long_factor
    sizes = {"steps": steps, "curve_every": scale.run.get("curve_every", 20) * 2}
    return {m: _run(scale, m, seed, **sizes) for m in ("nsr", "w_reinforce")}


def latent(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: a base that mostly answers at once but can work it out (claim C11)."""
    fields = {"world": "chain_latent", "start_steps": int(0.7 * scale.start_steps)}
    arms = {"base": _run(scale, "base", seed, steps=0, **fields)}
    return arms | {m: _run(scale, m, seed, **fields) for m in ("nsr", "psr", "grpo")}


def tuning(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Three rates for every family, on the validation seeds only."""
    small = _unless_smoke(scale, curve_every=50, final_problems=20, final_samples=4)
    methods = [m for family in FAMILIES.values() for m in family]
    return {f"{m}/{rate:g}": _run(scale, m, seed + VALIDATION_SEEDS[0], learning_rate=rate, **small)
            for m in methods for rate in TUNING_RATES}


def tour(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 00: three short runs that show the difference in minutes."""
    short = _unless_smoke(scale, steps=60, curve_every=10, final_problems=100, final_samples=32)
    return {m: _run(scale, m, seed, **short) for m in ("grpo", "psr", "nsr")}


@dataclass(frozen=True)
class Experiment:
    """Its arms, how many seeds the committed study has, and which notebook reads it."""

    arms: Callable[[Scale, int], dict[str, RunConfig]]
    seeds: int
    notebook: str
    preview: bool = True  # part of `make study` without FULL=1


EXPERIMENTS = {
    "tour": Experiment(tour, 1, "00"),
    "psr_nsr": Experiment(psr_nsr, 8, "10"),
    "controls": Experiment(controls, 3, "10", preview=False),
    "definitions": Experiment(definitions, 3, "10", preview=False),
    "boundary_map": Experiment(boundary_map, 3, "11", preview=False),
    "lambda_sweep": Experiment(lambda_sweep, 3, "11"),
    "strength": Experiment(strength, 3, "11", preview=False),
    "long_runs": Experiment(long_runs, 3, "11", preview=False),
    "latent": Experiment(latent, 3, "11"),
    "tuning": Experiment(tuning, 2, "", preview=False),
}


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
        if run in set(_published_table(name, "metrics").run):
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


def choose_rates(runs: Runs) -> dict[str, float]:
    """The rule, fixed before any run: per family, the rate with the highest mean
    validation pass@1 at the last step, over the family's methods and both
    validation seeds, among the rates at which no run has collapsed (fallen
    below half of its base's validation pass@1). Ties go to the lower rate.
    """
    rows = runs.metrics[runs.metrics.metric == "validation/pass@1"].copy()
    rows[["method", "rate"]] = rows.arm.str.split("/", expand=True)
    ends = rows.sort_values("step").groupby(["method", "rate", "seed"]).value.agg(["first", "last"]).reset_index()
    chosen = {}
    for family, methods in FAMILIES.items():
        mine = ends[ends.method.isin(methods)]
        stable = [r for r, g in mine.groupby("rate") if (g["last"] >= 0.5 * g["first"]).all()]
        means = mine.groupby("rate")["last"].mean()
        candidates = stable or [f"{min(TUNING_RATES):g}"]
        chosen[family] = float(min(candidates, key=lambda r: (-means[r], float(r))))
    return chosen


def publish_rates() -> dict[str, float]:
    """Run the tuning and write data/rates.json. Done once; later runs read the file."""
    from polarity_lib.results import write_atomic

    runs = train_or_load(experiment("tuning", seeds=len(VALIDATION_SEEDS)))
    rates = choose_rates(runs)
    record = {"rule": " ".join(choose_rates.__doc__.split()), "rates": rates,
              "runs": sorted({arm.config.hash for arm in runs.arms})}
    write_atomic(RATES_FILE, (json.dumps(record, indent=1) + "\n").encode())
    return rates
