"""How runs are made that several papers share, and how their learning rates were chosen.

    compared      a run in an admitted world, by the protocol that all papers share (notebooks 10 onwards)
    main          one update per batch, the strong countdown start (the first study's)
    repeated      four updates per batch (notebooks 31 to 41)
    choose_rates  the rule; `python -m polarity_lib.papers.baselines.experiments` runs the tuning and writes data/rates.json
"""

import sys

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import (
    RATES_FILE, Experiment, Runs, configure, experiment, in_world, train_or_load, rates_record, unless_smoke,
)
from polarity_lib.methods import method_named
from polarity_lib.outside import end_in_one_line, strict_json
from polarity_lib.problems import world_named
from polarity_lib.results import write_atomic


# The methods that a family's rate is tuned with. Everything that weighs +1 and -1 by a constant is one
# family, as in the PSR/NSR paper, so that its arms differ in the weights alone.
FAMILIES = {"constant": ("psr", "nsr", "reinforce"), "group": ("grpo",), "critic": ("ppo",)}
REPEATED_FAMILIES = {"group/4": ("grpo",), "constant/4": ("w_reinforce",)}

TUNING_RATES = (2e-5, 5e-5, 1e-4)

VALIDATION_SEEDS = (1000, 1001)  # never used for a reported number


# How many answers per test problem: in latent everything is solved by 16 answers, so its tail is read at 8; LENS is about
# k up to 16; in search there is room up to the 256 of the PSR/NSR paper.
TEST_SAMPLES = {"latent": 32, "rare": 32, "search": 256}


def compared(scale: Scale, method: str, seed: int, world: str, **fields) -> RunConfig:
    """A run that a comparison reads: the world's protocol, and a second evaluation at the papers' temperature."""
    samples = unless_smoke(scale, final_samples=TEST_SAMPLES[world]) if world in TEST_SAMPLES else {}
    return in_world(scale, method, seed, world, **({"probes": ("cool",)} | samples | fields))


def main(scale: Scale, method: str, seed: int, **fields) -> RunConfig:
    """A run from the strong countdown start, 256 samples per test problem: notebook 10's, which others share."""
    return configure(scale, method, seed, **(unless_smoke(scale, final_samples=256) | fields))


def repeated(scale: Scale, method: str, seed: int, world: str = "chain", **fields) -> RunConfig:
    """A run with four mini-batches per batch; in a chain world from a shortened cold start.

    Losses are compared like this: with one update per batch their gradients are equal and no clip
    acts. A batch then gives four updates, so 0.3 times the steps suffice.
    """
    family = "constant" if method_named(method).family == "constant" else "group"
    rate = fields.get("learning_rate") or float(rates_record()["rates"][f"{family}/4"])
    sizes = {"minibatches": 4, "learning_rate": rate, "steps": max(2, round(0.3 * scale.run["steps"]))}
    sizes |= unless_smoke(scale, curve_samples=8, final_problems=300, final_samples=32)
    if world_named(world).family == "chain":
        sizes["start_steps"] = round(0.35 * scale.start_steps)
    return configure(scale, method, seed, world=world, **(sizes | fields))


def tuning(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Three rates for every family, on the validation seeds only."""
    small = unless_smoke(scale, curve_every=50, final_problems=20, final_samples=4)
    methods = [m for family in FAMILIES.values() for m in family]
    return {f"{m}/{rate:g}": configure(scale, m, seed + VALIDATION_SEEDS[0], learning_rate=rate, **small)
            for m in methods for rate in TUNING_RATES}


def tuning_repeated(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """The rates of the runs with four mini-batches, on the validation seeds only, from a weak zero-RL start."""
    small = {"corpus": "chain_zero", "start_steps": round(0.3 * scale.start_steps)}
    small |= unless_smoke(scale, curve_every=15, curve_samples=16, final_problems=20, final_samples=4)
    methods = [m for family in REPEATED_FAMILIES.values() for m in family]
    return {f"{m}/{rate:g}": repeated(scale, m, seed + VALIDATION_SEEDS[0], learning_rate=rate, **small)
            for m in methods for rate in TUNING_RATES}


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


def publish_rates() -> None:
    """Run the tuning and write data/rates.json. Done once; later runs read the file."""
    rates, used = {}, set()
    for name, families in (("tuning", FAMILIES), ("tuning_repeated", REPEATED_FAMILIES)):
        runs = train_or_load(experiment(name, seeds=len(VALIDATION_SEEDS)))
        rates |= choose_rates(runs, families)
        used |= {arm.config.hash for arm in runs.arms}
    record = {"rule": " ".join(choose_rates.__doc__.split()), "rates": rates, "runs": sorted(used)}
    write_atomic(RATES_FILE, (strict_json(record, indent=1) + "\n").encode())


EXPERIMENTS = {
    "tuning": Experiment(tuning, 2, "", preview=False),
    "tuning_repeated": Experiment(tuning_repeated, 2, "", preview=False),
}

if __name__ == "__main__":
    sys.exit(end_in_one_line(publish_rates))
