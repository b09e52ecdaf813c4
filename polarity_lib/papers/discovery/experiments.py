"""The dial and the methods: notebook 60, all in the world latent, from bases that work their answers out ever more seldom.

Evaluation is small here, since the clock is read off the training batches. A run never stops at its discovery: what the policy
does with the way it found is seen too.

The levels follow the pilots (data/pilots.csv, "the clock") and were set before any of these runs. TELLING is to be the level at
which GRPO alone, on the validation seeds of the instrument's dial (notebook 04), just finds the rare way within the horizon.
"""

from dataclasses import replace

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, unless_smoke
from polarity_lib.papers.baselines.experiments import compared, one_rate, over_rates

WORLD = "latent"
LEVELS = (0.0015, 0.005, 0.015, 0.05)  # r, the share of worked texts in the base's last phase; latent itself has 0.05
TELLING = 0.005
SEEDS, FEWER = 16, 6  # replicates of the headline methods at the telling level; of everything else

# Arm: method, options. Options of one formula run at its rate.
HEADLINE: dict[str, tuple[str, dict]] = {name: (name, {}) for name in ("grpo", "psr", "nsr", "a3po", "lens", "dapo")}
FORMULAS = ("psr", "psr_grpo_seq", "psr_grpo_tok", "nsr", "nsr_grpo_seq", "nsr_grpo_tok", "w_reinforce", "grpo")
CONTROLS: dict[str, tuple[str, dict]] = {
    "mixed only": ("lens", {"negative": False}),
    "negative only": ("lens", {"mixed": False}),
    "uniform penalty": ("uniform_penalty", {}),
    "shuffled": ("lens", {"scramble": "shuffle"}),
    "flipped": ("lens", {"scramble": "flip"}),
}
SWEPT = ("grpo", "psr", "nsr", "lens")  # at every level
NEIGHBOURS = ("ngrpo", "rl_zvp", "qae", "aspo", "maxrl", "f_grpo", "cw_nsr")
EVERYBODY: dict[str, tuple[str, dict]] = (
    HEADLINE | {name: (name, {}) for name in FORMULAS} | CONTROLS | {name: (name, {}) for name in NEIGHBOURS})

SMALL = {"curve_every": 25, "curve_problems": 50, "curve_samples": 8, "final_problems": 100, "final_samples": 8}


def at_rarity(config: RunConfig, scale: Scale, r: float) -> RunConfig:
    """A run from a base whose last phase had a share r of worked texts; watched batch by batch."""
    mixture = () if r == 0.05 else (("direct", 1 - r), ("worked", r))
    return config.but(start=replace(config.start, mixture=mixture), watches=("ways",), probes=(), **unless_smoke(scale, **SMALL))


def dialled(scale: Scale, arm: str, seed: int, r: float = TELLING, **fields) -> RunConfig:
    """An arm at a level of the dial."""
    method, options = EVERYBODY[arm]
    return at_rarity(compared(scale, method, seed, WORLD, options=options, **fields), scale, r)


def before(scale: Scale, seed: int, r: float = TELLING) -> RunConfig:
    """The base alone, with how rare and how accurate its rare way is."""
    return at_rarity(compared(scale, "base", seed, WORLD, steps=0), scale, r).but(probes=("ways",))


def few(scale: Scale, names, kept: int = 3) -> list:
    """All of them; at scale smoke the first few."""
    return list(names)[:kept] if scale.policy == "smoke" else list(names)


def discovery(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """The headline methods at the telling level, each at its own rate."""
    return {"base": before(scale, seed)} | {arm: dialled(scale, arm, seed) for arm in HEADLINE}


def discovery_one_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """The same at one rate for all, which is GRPO's."""
    rate = one_rate(WORLD)
    return {arm: dialled(scale, arm, seed, learning_rate=rate) for arm in few(scale, HEADLINE)}


def discovery_over_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """GRPO and the two polarities over the rate, at the telling level."""
    runs = over_rates(scale, seed, WORLD, tuple(few(scale, SWEPT)[:3]))
    return {arm: at_rarity(config, scale, TELLING) for arm, config in runs.items()}


def discovery_definitions(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Released formulas that share the names PSR and NSR, at one rate."""
    rate = one_rate(WORLD)
    return {arm: dialled(scale, arm, seed, learning_rate=rate) for arm in FORMULAS if arm in few(scale, FORMULAS, 2) + ["grpo"]}


def discovery_methods(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Every method that samples its own answers, at the telling level and its own rate."""
    return {"base": before(scale, seed)} | {arm: dialled(scale, arm, seed) for arm in few(scale, reversed(EVERYBODY))}


def discovery_levels(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """`r/arm`: some of the headline methods at every level."""
    arms = {}
    for r in few(scale, LEVELS, 2):
        arms[f"{r:g}/base"] = before(scale, seed, r)
        arms |= {f"{r:g}/{arm}": dialled(scale, arm, seed, r) for arm in few(scale, SWEPT, 2)}
    return arms


EXPERIMENTS = {
    "discovery": Experiment(discovery, SEEDS, "60", preview=False),
    "discovery_one_rate": Experiment(discovery_one_rate, SEEDS, "60", preview=False),
    "discovery_definitions": Experiment(discovery_definitions, FEWER, "60", preview=False),
    "discovery_methods": Experiment(discovery_methods, FEWER, "60", preview=False),
    "discovery_levels": Experiment(discovery_levels, FEWER, "60", preview=False),
    "discovery_over_rate": Experiment(discovery_over_rate, 3, "60", preview=False),
}
