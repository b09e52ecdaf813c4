"""The experiments of A3PO: notebooks 30 to 33."""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, configure, tuned_rate, unless_smoke
from polarity_lib.papers.baselines.experiments import main, repeated


BASELINES = ("grpo", "dapo", "dapo_fork", "w_reinforce", "lp_reg")  # what A3PO is compared with

WEIGHTS = ((1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (0.5, 1), (1, 0.5), (2, 2), (0.5, 0.5), (1, 0), (0, 1))

SGD_WEIGHTS = ((1, 1), (2, 2), (0.5, 0.5), (2, 1), (1, 0.5))

SGD_RATE = 0.01  # moves the parameters about as far per step as the tuned AdamW rate does

SGD_KL = 0.05


def weight_options(positive: float, negative: float) -> dict:
    """Options of `grpo` for PxNy; P1N1 is plain GRPO, so that it shares its run."""
    return {} if positive == negative == 1 else {"positive_weight": float(positive), "negative_weight": float(negative)}


def polarity_weights(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 30: PxNy, AdamW as published; equal ratios again with SGD, without clipping, and with KL."""
    rate = tuned_rate("nsr")  # as `definitions`, whose GRPO run is P1N1 here
    arms = {f"P{p:g}N{n:g}": main(scale, "grpo", seed, learning_rate=rate, options=weight_options(p, n))
            for p, n in WEIGHTS if p and n}
    # A weight of zero is the same update as dropping the rows, which `definitions` has run.
    arms |= {name: main(scale, method, seed, learning_rate=rate)
             for name, method in (("P1N0", "psr_grpo_seq"), ("P0N1", "nsr_grpo_seq"))}
    plain = {"optimizer": "sgd", "grad_clip": 0.0, "learning_rate": SGD_RATE}
    plain |= unless_smoke(scale, final_samples=32, steps=scale.run["steps"] // 2)
    for p, n in SGD_WEIGHTS:
        arms[f"sgd/P{p:g}N{n:g}"] = configure(scale, "grpo", seed, options=weight_options(p, n), **plain)
    for p, n in ((1, 1), (2, 2)):
        options = weight_options(p, n) | {"kl": SGD_KL}
        arms[f"sgd+kl/P{p:g}N{n:g}"] = configure(scale, "grpo", seed, options=options, **plain)
    return arms


CELLS = ("right_low", "right_high", "wrong_low", "wrong_high")

CELL_SCALES = (0.2, 0.5, 2.0, 5.0)


def _shaped(scale: Scale, method: str, seed: int, **fields) -> RunConfig:
    """A short chain run: what a token weight does to entropy shows early."""
    short = unless_smoke(scale, steps=scale.run["steps"] // 10, curve_every=5, final_problems=200, final_samples=16)
    return repeated(scale, method, seed, **(short | fields))


def token_shaping(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 31: every cell x scale by probability; the ends by entropy; controls with as many tokens."""
    arms = {"none": _shaped(scale, "grpo", seed)}
    for cell in CELLS:
        for size in CELL_SCALES:
            arms[f"{cell}x{size:g}"] = _shaped(scale, "token_shaped", seed, options={cell: size})
    for cell in CELLS:
        for size in (0.2, 5.0):
            arms[f"entropy/{cell}x{size:g}"] = _shaped(
                scale, "token_shaped", seed, options={cell: size, "metric": "entropy"})
    for selection in ("a3po", "swapped", "random", "position"):
        options = {"weight": 5.0, "reaches_one": 0.0, "selection": selection}
        arms[f"{selection}x5"] = _shaped(scale, "a3po", seed, options=options)
    return arms


def a3po_chain(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 32: A3PO against each baseline of the paper, chain."""
    arms = {"base": repeated(scale, "base", seed, steps=0)}
    return arms | {m: repeated(scale, m, seed) for m in (*BASELINES, "a3po")}


def a3po_countdown(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 32: A3PO against each baseline of the paper, from the stronger and the weaker countdown start."""
    arms = {}
    for world in ("countdown3", "countdown4"):
        arms[f"{world}/base"] = repeated(scale, "base", seed, world=world, steps=0)
        arms |= {f"{world}/{m}": repeated(scale, m, seed, world=world) for m in (*BASELINES, "a3po")}
    return arms


ABLATIONS: dict[str, dict] = {
    "constant 2": {"reaches_one": 0.0},
    "constant 5": {"weight": 5.0, "reaches_one": 0.0},
    "literal slope": {"slope": 0.005},
    "literal slope per update": {"slope": 0.005, "clock": "updates"},
    "mean one": {"mean_one": True},
    "random tokens": {"selection": "random"},
    "same positions": {"selection": "position"},
    "swapped": {"selection": "swapped"},
    "by entropy": {"selection": "entropy"},
    "only right": {"polarity": "right"},
    "only wrong": {"polarity": "wrong"},
    "on dapo": {"base": "dapo"},
}


def a3po_ablations(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 32: decay, budget, selection, base loss; other losses; lying verifiers."""
    chain = a3po_chain(scale, seed)
    arms = {"grpo": chain["grpo"], "a3po": chain["a3po"]}
    arms |= {name: repeated(scale, "a3po", seed, options=options) for name, options in ABLATIONS.items()}
    arms |= {m: repeated(scale, m, seed) for m in ("dr_grpo", "cispo", "gspo")}
    arms["a3po tossed"] = chain["a3po"].but(verdicts="tossed")
    arms["a3po flipped"] = chain["a3po"].but(verdicts="flipped")
    arms["a3po matched"] = chain["a3po"].but(matched_to=chain["grpo"].hash)
    return arms


PROBED = ("faithful", "shifted", "patterns", "garbled")


def single_polarity(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 33: right rows only, wrong rows only, both; twice as long; with a true and with a leaky verifier."""
    long = {"steps": 2 * repeated(scale, "grpo", seed).steps, "probes": PROBED}
    base = repeated(scale, "base", seed, steps=0, probes=PROBED)
    arms = {"base": base, "base leaky": base.but(verdicts="leaky")}
    for verdicts in ("true", "leaky"):
        for name in ("grpo", "psr_grpo_seq", "nsr_grpo_seq"):
            label = name if verdicts == "true" else f"{name} leaky"
            arms[label] = repeated(scale, name, seed, verdicts=verdicts, **long)
    return arms


EXPERIMENTS = {
    "polarity_weights": Experiment(polarity_weights, 3, "30", preview=False),
    "token_shaping": Experiment(token_shaping, 3, "31", preview=False),
    "a3po_countdown": Experiment(a3po_countdown, 8, "32"),
    "a3po_chain": Experiment(a3po_chain, 3, "32", preview=False),
    "a3po_ablations": Experiment(a3po_ablations, 3, "32", preview=False),
    "single_polarity": Experiment(single_polarity, 3, "33", preview=False),
}
