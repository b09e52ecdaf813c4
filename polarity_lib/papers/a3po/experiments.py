"""The experiments of A3PO: notebooks 30 to 33, all in the world *latent*.

A weight on a fifth of an answer's tokens needs answers of some length: in *search*, the other admitted world, an answer has nine
tokens, so that a fifth is one of them. Every run has the world's four updates per batch (`compared`).
"""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, unless_smoke
from polarity_lib.papers.baselines.experiments import compared, one_rate, over_rates

WORLD = "latent"
BASELINES = ("grpo", "dapo", "dapo_fork", "w_reinforce", "lp_reg")  # what A3PO is compared with
EVERYONE = (*BASELINES, "a3po")


def untrained(scale: Scale, seed: int, **fields) -> RunConfig:
    """The base policy, evaluated."""
    return compared(scale, "base", seed, WORLD, steps=0, **fields)


def at_one_rate(scale: Scale, method: str, seed: int, **fields) -> RunConfig:
    """A run at the one rate."""
    return compared(scale, method, seed, WORLD, learning_rate=one_rate(WORLD), **fields)


# --- notebook 32: the head to head ----------------------------------------------------


def a3po(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """A3PO and each baseline of the paper, every one at its own rate."""
    return {"base": untrained(scale, seed)} | {m: compared(scale, m, seed, WORLD) for m in EVERYONE}


def a3po_one_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """The same at GRPO's rate."""
    return {"base": untrained(scale, seed)} | {m: at_one_rate(scale, m, seed) for m in EVERYONE}


SWEPT = ("grpo", "dapo", "lp_reg", "a3po")


def a3po_over_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """A3PO, GRPO, DAPO and the paper's best baseline over the rate; GRPO's runs are those of `over_rate_latent`."""
    return over_rates(scale, seed, WORLD, SWEPT)


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
LOSSES = ("dr_grpo", "cispo", "gspo")
NEIGHBOURS = ("aspo", "rl_zvp")  # unlikely right tokens by the ratio; entropy of wrong tokens


def a3po_ablations(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Decay, budget, selection, base loss; other losses and neighbours; lying verifiers. All at GRPO's rate."""
    grpo, ours = at_one_rate(scale, "grpo", seed), at_one_rate(scale, "a3po", seed)
    arms = {"grpo": grpo, "a3po": ours}
    arms |= {name: at_one_rate(scale, "a3po", seed, options=options) for name, options in ABLATIONS.items()}
    arms |= {m: at_one_rate(scale, m, seed) for m in (*LOSSES, *NEIGHBOURS)}
    arms |= {f"a3po {verdicts}": ours.but(verdicts=verdicts) for verdicts in ("tossed", "flipped")}
    return arms | {"a3po matched": ours.but(matched_to=grpo.hash)}


# --- notebook 30: weights of polarities -----------------------------------------------

WEIGHTS = ((1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (0.5, 1), (1, 0.5), (2, 2), (0.5, 0.5), (1, 0), (0, 1))
SGD_WEIGHTS = ((1, 1), (2, 2), (0.5, 0.5), (2, 1), (1, 0.5))
# To be tuned like any rate. Chosen from GRPO's own runs of the gates: four SGD steps of this rate along gradients of the length
# measured there (`update/gradient_norm`) go about as far as AdamW's batch (`update/norm`), if they point partly the same way.
SGD_RATE = 0.02
SGD_KL = 0.05


def weight_options(positive: float, negative: float) -> dict:
    """Options of `grpo` for PxNy; P1N1 is plain GRPO, so that it shares its run."""
    return {} if positive == negative == 1 else {"positive_weight": float(positive), "negative_weight": float(negative)}


def polarity_weights(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """PxNy with AdamW at GRPO's rate; equal ratios again with SGD, without clipping, and with KL."""
    arms = {f"P{p:g}N{n:g}": at_one_rate(scale, "grpo", seed, options=weight_options(p, n)) for p, n in WEIGHTS if p and n}
    # A weight of zero is the same update as dropping the rows, which `definitions_latent` has run.
    arms |= {name: at_one_rate(scale, method, seed) for name, method in (("P1N0", "psr_grpo_seq"), ("P0N1", "nsr_grpo_seq"))}
    plain = {"optimizer": "sgd", "grad_clip": 0.0, "learning_rate": SGD_RATE}
    for p, n in SGD_WEIGHTS:
        arms[f"sgd/P{p:g}N{n:g}"] = compared(scale, "grpo", seed, WORLD, options=weight_options(p, n), **plain)
    for p, n in ((1, 1), (2, 2)):
        options = weight_options(p, n) | {"kl": SGD_KL}
        arms[f"sgd+kl/P{p:g}N{n:g}"] = compared(scale, "grpo", seed, WORLD, options=options, **plain)
    return arms


# --- notebook 31: weights of tokens ---------------------------------------------------

CELLS = ("right_low", "right_high", "wrong_low", "wrong_high")
CELL_SCALES = (0.2, 0.5, 2.0, 5.0)


def _shaped(scale: Scale, method: str, seed: int, **options) -> RunConfig:
    """A run of 40 batches, with a curve point every four: what a token weight does to entropy shows early."""
    short = unless_smoke(scale, steps=40, curve_every=4, curve_samples=8, final_problems=200, final_samples=16)
    return at_one_rate(scale, method, seed, options=options, probes=(), **short)


def token_shaping(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Every cell x scale by probability; the ends by entropy; controls with as many tokens."""
    arms = {"none": _shaped(scale, "grpo", seed)}
    arms |= {f"{cell}x{size:g}": _shaped(scale, "token_shaped", seed, **{cell: size}) for cell in CELLS for size in CELL_SCALES}
    arms |= {f"entropy/{cell}x{size:g}": _shaped(scale, "token_shaped", seed, metric="entropy", **{cell: size})
             for cell in CELLS for size in (0.2, 5.0)}
    return arms | {f"{selection}x5": _shaped(scale, "a3po", seed, weight=5.0, reaches_one=0.0, selection=selection)
                   for selection in ("a3po", "swapped", "random", "position")}


# --- notebook 33: one polarity alone --------------------------------------------------

POLARITIES = ("grpo", "psr_grpo_seq", "nsr_grpo_seq")  # both, right only, wrong only, as A3PO's code has them
PROBED = ("cool", "faithful", "shifted", "patterns", "garbled")


def single_polarity(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Right rows only, wrong rows only, both, at one rate, with a true and with a leaky verifier; probed at the end."""
    base = untrained(scale, seed, probes=PROBED)
    arms = {"base": base, "base leaky": base.but(verdicts="leaky")}
    for name in POLARITIES:
        arms[name] = at_one_rate(scale, name, seed, probes=PROBED)
        arms[f"{name} leaky"] = arms[name].but(verdicts="leaky")
    return arms


EXPERIMENTS = {
    "polarity_weights": Experiment(polarity_weights, 3, "30", preview=False),
    "token_shaping": Experiment(token_shaping, 3, "31", preview=False),
    "a3po": Experiment(a3po, 10, "32", preview=False),
    "a3po_one_rate": Experiment(a3po_one_rate, 10, "32", preview=False),
    "a3po_over_rate": Experiment(a3po_over_rate, 3, "32", preview=False),
    "a3po_ablations": Experiment(a3po_ablations, 3, "32", preview=False),
    "single_polarity": Experiment(single_polarity, 5, "33", preview=False),
}
