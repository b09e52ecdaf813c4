"""The experiments of PSR/NSR: notebooks 00, 10 and 11, in the worlds that were admitted (notebook 04)."""

import functools
from dataclasses import replace

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, unless_smoke, world_rate
from polarity_lib.papers.baselines.experiments import compared, one_rate, over_rates
from polarity_lib.problems import world_named

WORLDS = ("latent", "search")
METHODS = {"latent": ("grpo", "psr", "nsr", "w_reinforce"),
           "search": ("ppo", "grpo", "reinforce", "psr", "nsr", "w_reinforce")}
SPLIT = ("psr", "nsr", "w_reinforce")  # what is compared with GRPO at GRPO's rate
FORMULAS = ("psr", "psr_grpo_seq", "psr_grpo_tok", "nsr", "nsr_grpo_seq", "nsr_grpo_tok", "grpo")


def psr_nsr(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: the methods of the paper, each at its own rate."""
    arms = {"base": compared(scale, "base", seed, world, steps=0)}
    return arms | {method: compared(scale, method, seed, world) for method in METHODS[world]}


def at_one_rate(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: the same contrasts at one rate for all."""
    rate = one_rate(world)
    arms = {"base": compared(scale, "base", seed, world, steps=0)}
    return arms | {method: compared(scale, method, seed, world, learning_rate=rate) for method in ("grpo", *SPLIT)}


WEIGHTS = {"nsr": 0.0, "w_reinforce": 0.1, "reinforce": 1.0, "psr": None}  # lambda; None: no negatives


def over_rate(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebooks 10 and 11: every weight of the right answers, and GRPO, over the learning rate."""
    return over_rates(scale, seed, world, ("grpo", *WEIGHTS))


def definitions(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: three released formulas that share the names PSR and NSR, at one rate: what is compared is the formula."""
    rate = one_rate(world)
    arms = {"base": compared(scale, "base", seed, world, steps=0)}
    return arms | {method: compared(scale, method, seed, world, learning_rate=rate) for method in FORMULAS}


def one_update(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: one update per batch, where no clip can act, at four times the rate: as long a way per batch."""
    arms = {}
    for method in ("grpo", "psr", "nsr"):
        four = compared(scale, method, seed, world)
        arms[method] = four.but(minibatches=1, learning_rate=four.minibatches * four.learning_rate)
    return arms


def controls(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: a verifier that tosses or flips its verdicts; update sizes copied from GRPO."""
    grpo = compared(scale, "grpo", seed, "latent")
    return {
        "grpo": grpo,
        "grpo_tossed": grpo.but(verdicts="tossed"),
        "grpo_flipped": grpo.but(verdicts="flipped"),
        "psr_matched": compared(scale, "psr", seed, "latent", matched_to=grpo.hash),
        "nsr_matched": compared(scale, "nsr", seed, "latent", matched_to=grpo.hash),
    }


LAMBDAS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def lambda_sweep(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: the weight of right answers, at W-REINFORCE's rate."""
    rate = world_rate("search", "w_reinforce")
    arms = {"base": compared(scale, "base", seed, "search", steps=0)}
    known = {0.0: "nsr", 1.0: "reinforce"}  # where another arm's formula is the same, its runs serve
    for weight in LAMBDAS:
        options = {} if weight in known or weight == 0.1 else {"options": {"positive_weight": weight}}
        arms[f"lambda={weight:g}"] = compared(
            scale, known.get(weight, "w_reinforce"), seed, "search", learning_rate=rate, **options)
    return arms


STRENGTHS = (0.3, 0.5, 0.7, 1.0)  # of the length of the warm start
WEAKEST = f"{STRENGTHS[0]:g}"


def strength(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: base policies of four strengths, by the length of their warm start."""
    arms = {}
    for share in STRENGTHS:
        steps = int(share * (world_named("search").start_steps if scale.policy != "smoke" else scale.start_steps))
        for method in ("base", "nsr", "psr", "grpo"):
            fields = {"steps": 0} if method == "base" else {}
            arms[f"{share:g}/{method}"] = compared(scale, method, seed, "search", start_steps=steps, **fields)
    return arms


LONG = 3  # a long run is this many times as long


def long_runs(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: several times as many batches (claim C14)."""
    arms = {}
    for method in ("nsr", "w_reinforce"):
        short = compared(scale, method, seed, "latent")
        arms[method] = short.but(steps=LONG * short.steps, curve_every=2 * short.curve_every)
    return arms


def tour(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 00: three short runs that show the difference in minutes, from a base that has read a third of latent's texts."""
    short = unless_smoke(scale, steps=40, curve_every=8, final_problems=100)
    runs = {method: compared(scale, method, seed, "latent", **short) for method in ("grpo", "psr", "nsr")}
    return {method: run.but(start=replace(run.start, **unless_smoke(scale, batch=64))) for method, run in runs.items()}


EXPERIMENTS = {"tour": Experiment(tour, 1, "00")}
for _world in WORLDS:
    EXPERIMENTS |= {
        f"psr_nsr_{_world}": Experiment(functools.partial(psr_nsr, _world), 10, "10,11" if _world == "latent" else "10",
                                        preview=_world == "latent"),  # in search a run takes many minutes
        f"one_rate_{_world}": Experiment(functools.partial(at_one_rate, _world), 10, "10,11" if _world == "latent" else "10",
                                         preview=False),
        f"over_rate_{_world}": Experiment(functools.partial(over_rate, _world), 3, "10,11", preview=False),
        f"definitions_{_world}": Experiment(functools.partial(definitions, _world), 5, "10,33" if _world == "latent" else "10",
                                            preview=False),
        f"one_update_{_world}": Experiment(functools.partial(one_update, _world), 5, "10", preview=False),
    }
EXPERIMENTS |= {
    "controls": Experiment(controls, 4, "10", preview=False),
    "lambda_sweep": Experiment(lambda_sweep, 3, "11", preview=False),
    "strength": Experiment(strength, 3, "11", preview=False),
    "long_runs": Experiment(long_runs, 3, "11", preview=False),
}
