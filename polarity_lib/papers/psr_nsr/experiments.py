"""The experiments of PSR/NSR: notebooks 00, 10 and 11."""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, configure, tuned_rate, unless_smoke
from polarity_lib.papers.baselines.experiments import main

LONG = 3  # a long run is this many times as long


def psr_nsr(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: every method of the paper over the pass@k spectrum, from the strong start."""
    names = ("ppo", "grpo", "reinforce", "psr", "nsr", "w_reinforce")
    return {"base": main(scale, "base", seed, steps=0)} | {name: main(scale, name, seed) for name in names}


def controls(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: a verifier that tosses or flips its verdicts; update sizes copied from GRPO."""
    grpo = main(scale, "grpo", seed)
    return {
        "grpo": grpo,
        "grpo_tossed": grpo.but(verdicts="tossed"),
        "grpo_flipped": grpo.but(verdicts="flipped"),
        "psr_matched": main(scale, "psr", seed, matched_to=grpo.hash),
        "nsr_matched": main(scale, "nsr", seed, matched_to=grpo.hash),
    }


def definitions(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 10: three released formulas that share the names PSR and NSR, and GRPO beside them."""
    names = ("psr", "psr_grpo_seq", "psr_grpo_tok", "nsr", "nsr_grpo_seq", "nsr_grpo_tok", "grpo")
    # One rate for all: what is compared is the formula.
    return {name: main(scale, name, seed, learning_rate=tuned_rate("nsr")) for name in names}


MAP_RATES = (2e-5, 1e-4, 3e-4)

MAP_WEIGHTS = {"nsr": 0.0, "w_reinforce": 0.1, "reinforce": 1.0, "psr": None}  # lambda; None: no negatives


def boundary_map(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: learning rate x lambda x strength of the start.

    Half as long as the main runs: where a run collapses, it does so early.
    """
    short = unless_smoke(scale, steps=scale.run["steps"] // 2, final_problems=200)
    return {
        f"{world}/{method}/{rate:g}": configure(scale, method, seed, world=world, learning_rate=rate, **short)
        for world in ("countdown3", "countdown4") for method in MAP_WEIGHTS for rate in MAP_RATES
    }


LAMBDAS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def lambda_sweep(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: the weight of positives, at the rate and samples of notebook 10."""
    known_arms = psr_nsr(scale, seed)
    known = {0.0: known_arms["nsr"], 0.1: known_arms["w_reinforce"], 1.0: known_arms["reinforce"]}
    arms = {"base": known_arms["base"]}
    for weight in LAMBDAS:
        arms[f"lambda={weight:g}"] = known.get(weight) or main(
            scale, "w_reinforce", seed, options={"positive_weight": weight})
    return arms


STRENGTHS = {"countdown3/full": ("countdown3", 1.0), "countdown3/short": ("countdown3", 0.4),
             "countdown4/full": ("countdown4", 1.0), "countdown4/short": ("countdown4", 0.4)}


def strength(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: base policies of four strengths (digits x length of the warm start)."""
    arms = {}
    for name, (world, share) in STRENGTHS.items():
        steps = int(scale.start_steps * share)
        make = main if (world, share) == ("countdown3", 1.0) else configure  # the strongest start is notebook 10's
        for method in ("base", "nsr", "psr", "grpo"):
            fields = {"steps": 0} if method == "base" else {}
            arms[f"{name}/{method}"] = make(scale, method, seed, world=world, start_steps=steps, **fields)
    return arms


def long_runs(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: several times as many steps (claim C14)."""
    steps = scale.run["steps"] * LONG
    sizes = {"steps": steps, "curve_every": scale.run.get("curve_every", 20) * 2}
    return {m: configure(scale, m, seed, **sizes) for m in ("nsr", "w_reinforce")}


def latent(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 11: a base that mostly answers at once but can work it out (claim C11)."""
    fields = {"world": "chain_latent", "start_steps": int(0.7 * scale.start_steps)}
    arms = {"base": configure(scale, "base", seed, steps=0, **fields)}
    return arms | {m: configure(scale, m, seed, **fields) for m in ("nsr", "psr", "grpo")}


def tour(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 00: three short runs that show the difference in minutes."""
    short = unless_smoke(scale, steps=60, curve_every=10, final_problems=100, final_samples=32)
    return {m: configure(scale, m, seed, **short) for m in ("grpo", "psr", "nsr")}


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
}
