"""Every experiment as data: which arms it has, at which sizes. Nothing here computes.

An experiment is a function (scale, seed) -> {arm name: RunConfig}. `EXPERIMENTS`, at the end,
says how many seeds the committed study has and which notebook reads it. Two experiments that
contain the same configuration share one run.
"""

import functools
import json
from dataclasses import dataclass
from typing import Callable

from polarity_lib.config import RunConfig, Scale, StartConfig
from polarity_lib.methods import method_named
from polarity_lib.problems import world_named
from polarity_lib.results import ROOT

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
} | dict.fromkeys(
    ("dapo", "dapo_fork", "lp_reg", "cispo", "gspo", "token_shaped", "a3po", "lens", "uniform_penalty", "ngrpo"), "group")


def tuned_rate(method: str) -> float:
    """The frozen rate of a method's family, chosen on the validation seeds (see `choose_rates`)."""
    return _rates()[FAMILY_OF[method]]


@functools.cache
def _rates() -> dict[str, float]:
    return {family: float(rate) for family, rate in json.loads(RATES_FILE.read_text())["rates"].items()}


def _run(scale: Scale, method: str, seed: int, world: str = "countdown3",
         start_steps: int | None = None, corpus: str = "", options: dict | None = None, **fields) -> RunConfig:
    """A configuration at a scale; only what differs from the scale's defaults is given."""
    start = StartConfig(corpus or world_named(world).corpus, scale.policy, start_steps or scale.start_steps, seed)
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


# --- A3PO and LENS ------------------------------------------------------------------
#
# Losses are compared with four mini-batches per batch: with one, their gradients are equal
# and no clip acts. A batch then gives four updates, so 0.3 times the steps suffice.

BASELINES = ("grpo", "dapo", "dapo_fork", "w_reinforce", "lp_reg")  # what A3PO is compared with
REPEATED_FAMILIES = {"group/4": ("grpo",), "constant/4": ("w_reinforce",)}


def _repeated(scale: Scale, method: str, seed: int, world: str = "chain", **fields) -> RunConfig:
    """A run with four mini-batches per batch; in a chain world from a shortened cold start."""
    family = "constant/4" if FAMILY_OF.get(method) == "constant" else "group/4"
    rate = fields.get("learning_rate") or _rates()[family]
    sizes = {"minibatches": 4, "learning_rate": rate, "steps": max(2, round(0.3 * scale.run["steps"]))}
    sizes |= _unless_smoke(scale, curve_samples=8, final_problems=300, final_samples=32)
    if world_named(world).family == "chain":
        sizes["start_steps"] = round(0.35 * scale.start_steps)
    return _run(scale, method, seed, world=world, **(sizes | fields))


def tuning_repeated(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """The rates of the runs with four mini-batches, on the validation seeds only, from a weak zero-RL start."""
    small = {"corpus": "chain_zero", "start_steps": round(0.3 * scale.start_steps)}
    small |= _unless_smoke(scale, curve_every=15, curve_samples=16, final_problems=20, final_samples=4)
    methods = [m for family in REPEATED_FAMILIES.values() for m in family]
    return {f"{m}/{rate:g}": _repeated(scale, m, seed + VALIDATION_SEEDS[0], learning_rate=rate, **small)
            for m in methods for rate in TUNING_RATES}


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
    arms = {f"P{p:g}N{n:g}": _main(scale, "grpo", seed, learning_rate=rate, options=weight_options(p, n))
            for p, n in WEIGHTS if p and n}
    # A weight of zero is the same update as dropping the rows, which `definitions` has run.
    arms |= {name: _main(scale, method, seed, learning_rate=rate)
             for name, method in (("P1N0", "psr_grpo_seq"), ("P0N1", "nsr_grpo_seq"))}
    plain = {"optimizer": "sgd", "grad_clip": 0.0, "learning_rate": SGD_RATE}
    plain |= _unless_smoke(scale, final_samples=32, steps=scale.run["steps"] // 2)
    for p, n in SGD_WEIGHTS:
        arms[f"sgd/P{p:g}N{n:g}"] = _run(scale, "grpo", seed, options=weight_options(p, n), **plain)
    for p, n in ((1, 1), (2, 2)):
        options = weight_options(p, n) | {"kl": SGD_KL}
        arms[f"sgd+kl/P{p:g}N{n:g}"] = _run(scale, "grpo", seed, options=options, **plain)
    return arms


CELLS = ("right_low", "right_high", "wrong_low", "wrong_high")
CELL_SCALES = (0.2, 0.5, 2.0, 5.0)


def _shaped(scale: Scale, method: str, seed: int, **fields) -> RunConfig:
    """A short chain run: what a token weight does to entropy shows early."""
    short = _unless_smoke(scale, steps=scale.run["steps"] // 10, curve_every=5, final_problems=200, final_samples=16)
    return _repeated(scale, method, seed, **(short | fields))


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
    arms = {"base": _repeated(scale, "base", seed, steps=0)}
    return arms | {m: _repeated(scale, m, seed) for m in (*BASELINES, "a3po")}


def a3po_countdown(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 32: A3PO against each baseline of the paper, from the stronger and the weaker countdown start."""
    arms = {}
    for world in ("countdown3", "countdown4"):
        arms[f"{world}/base"] = _repeated(scale, "base", seed, world=world, steps=0)
        arms |= {f"{world}/{m}": _repeated(scale, m, seed, world=world) for m in (*BASELINES, "a3po")}
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
    main = a3po_chain(scale, seed)
    arms = {"grpo": main["grpo"], "a3po": main["a3po"]}
    arms |= {name: _repeated(scale, "a3po", seed, options=options) for name, options in ABLATIONS.items()}
    arms |= {m: _repeated(scale, m, seed) for m in ("dr_grpo", "cispo", "gspo")}
    arms["a3po tossed"] = main["a3po"].but(verdicts="tossed")
    arms["a3po flipped"] = main["a3po"].but(verdicts="flipped")
    arms["a3po matched"] = main["a3po"].but(matched_to=main["grpo"].hash)
    return arms


PROBED = ("faithful", "shifted", "patterns", "garbled")


def single_polarity(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 33: right rows only, wrong rows only, both; twice as long; with a true and with a leaky verifier."""
    long = {"steps": 2 * _repeated(scale, "grpo", seed).steps, "probes": PROBED}
    base = _repeated(scale, "base", seed, steps=0, probes=PROBED)
    arms = {"base": base, "base leaky": base.but(verdicts="leaky")}
    for verdicts in ("true", "leaky"):
        for name in ("grpo", "psr_grpo_seq", "nsr_grpo_seq"):
            label = name if verdicts == "true" else f"{name} leaky"
            arms[label] = _repeated(scale, name, seed, verdicts=verdicts, **long)
    return arms


def _lens(scale: Scale, method: str, seed: int, world: str = "countdown4", **fields) -> RunConfig:
    """Groups of 16, half as many prompts: as many rollouts as elsewhere."""
    groups = _unless_smoke(scale, rollouts_per_prompt=16, prompts_per_step=16)
    return _repeated(scale, method, seed, world=world, **(groups | fields))


LENS_ARMS: dict[str, tuple[str, dict]] = {
    "grpo": ("grpo", {}),
    "lens": ("lens", {}),
    "mixed only": ("lens", {"negative": False}),
    "negative only": ("lens", {"mixed": False}),
    "uniform penalty": ("uniform_penalty", {}),
    "shuffled": ("lens", {"scramble": "shuffle"}),
    "flipped": ("lens", {"scramble": "flip"}),
}


def lens_countdown(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: LENS, GRPO, the 2 x 2 of its two parts, and its controls, where many groups are all wrong.

    Four-digit countdown is hard enough as it is: of groups of 16, 46 to 50 % are all wrong before
    training (seeds 0 to 2 of `strength`, from 64 samples a problem), as in the paper (45 %).
    """
    return _lens_arms(scale, seed, "countdown4")


def lens_chain(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: LENS against GRPO with the same options in another world, from another base policy (LENS-C2, C3).

    The two parts and the controls are compared on countdown, where a run takes a fifth of the time.
    """
    every = _lens_arms(scale, seed, "chain_hard")
    return {name: every[name] for name in ("base", "grpo", "lens")}


def _lens_arms(scale: Scale, seed: int, world: str) -> dict[str, RunConfig]:
    arms = {"base": _lens(scale, "base", seed, world=world, steps=0, probes=("sparse",))}
    return arms | {name: _lens(scale, m, seed, world=world, options=options) for name, (m, options) in LENS_ARMS.items()}


ALPHAS = (0.05, 0.1, 0.5, 1.0, 4.0, 16.0)  # 0.25 is LENS itself, 0 its mixed groups only
FACTORS = (1.1, 1.5, 2.0, 4.0, 8.0)  # D = factor x the largest confidence; LENS has 2
LENS_VARIANTS: dict[str, tuple[str, dict]] = {
    "raw difficulty (R)": ("lens", {"variant": "R"}),
    "raw confidence": ("lens", {"normalise": False}),
    "without 1/G": ("lens", {"over_group": False}),
    "without de-meaning": ("lens", {"demean": False}),
    "mirror": ("lens", {"mirror": True}),
    "ngrpo": ("ngrpo", {}),
    "penalty 0.01": ("uniform_penalty", {"penalty": 0.01}),
    "penalty 0.2": ("uniform_penalty", {"penalty": 0.2}),
    "w_reinforce": ("w_reinforce", {}),
    "nsr": ("nsr", {}),
}


def lens_sweep(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: alpha, the factor of the difficulty, variants, neighbours; countdown, where runs are short."""
    main = lens_countdown(scale, seed)
    # What an option at its usual value gives has been run under another name.
    arms = {"grpo": main["grpo"], "alpha=0.25": main["lens"], "alpha=0": main["mixed only"]}
    for alpha in ALPHAS:
        arms[f"alpha={alpha:g}"] = _lens(scale, "lens", seed, options={"alpha": alpha})
    for factor in FACTORS:
        options = {"factor": factor, "mixed": False}  # the claim is about negative groups
        usual = main["negative only"] if factor == 2 else None
        arms[f"factor={factor:g}"] = usual or _lens(scale, "lens", seed, options=options)
    for name, (method, options) in LENS_VARIANTS.items():
        arms[name] = _lens(scale, method, seed, options=options)
    return arms


def lens_long(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: three times as long, for stability and for what happens after GRPO saturates (C6, C7)."""
    steps = 3 * _lens(scale, "grpo", seed).steps
    return {m: _lens(scale, m, seed, steps=steps) for m in ("grpo", "lens")}


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
    "tuning_repeated": Experiment(tuning_repeated, 2, "", preview=False),
    "polarity_weights": Experiment(polarity_weights, 3, "30", preview=False),
    "token_shaping": Experiment(token_shaping, 3, "31", preview=False),
    "a3po_countdown": Experiment(a3po_countdown, 8, "32"),
    "a3po_chain": Experiment(a3po_chain, 3, "32", preview=False),
    "a3po_ablations": Experiment(a3po_ablations, 3, "32", preview=False),
    "single_polarity": Experiment(single_polarity, 3, "33", preview=False),
    "lens_countdown": Experiment(lens_countdown, 8, "41"),
    "lens_chain": Experiment(lens_chain, 3, "41", preview=False),
    "lens_sweep": Experiment(lens_sweep, 3, "41", preview=False),
    "lens_long": Experiment(lens_long, 3, "41", preview=False),
}
