"""The experiments of LENS: notebook 41, in world `rare`, where many groups of 16 are all wrong at first, and in `search`.

Options of LENS that keep its formula run at LENS's rate; every other method has its own.
"""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, unless_smoke
from polarity_lib.papers.baselines.experiments import compared, one_rate, over_rates

WORLD, OTHER = "rare", "search"
GROUPS = {"prompts_per_step": 16, "rollouts_per_prompt": 16}  # as the paper; search's own protocol has 32 x 8

# Arm: method, options. The two parts of LENS, alone, and its controls.
LENS_ARMS: dict[str, tuple[str, dict]] = {
    "grpo": ("grpo", {}),
    "lens": ("lens", {}),
    "mixed only": ("lens", {"negative": False}),
    "negative only": ("lens", {"mixed": False}),
    "uniform penalty": ("uniform_penalty", {}),
    "shuffled": ("lens", {"scramble": "shuffle"}),
    "flipped": ("lens", {"scramble": "flip"}),
}
NEIGHBOURS = ("ngrpo", "rl_zvp", "cw_nsr")  # other ways to learn from groups in which everything is wrong


def _run(scale: Scale, method: str, seed: int, options: dict | None = None, **fields) -> RunConfig:
    return compared(scale, method, seed, WORLD, options=options, **fields)


def _base(scale: Scale, seed: int) -> RunConfig:
    """The base policy, with what LENS would hardly touch (claim C11)."""
    return _run(scale, "base", seed, steps=0, probes=("cool", "sparse"))


def lens(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: LENS, GRPO, the 2 x 2 of its parts, and its controls, each at its own rate."""
    arms = {"base": _base(scale, seed)}
    return arms | {name: _run(scale, method, seed, options) for name, (method, options) in LENS_ARMS.items()}


def lens_neighbours(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: others that learn from all-wrong groups, each at its own rate."""
    return {method: _run(scale, method, seed) for method in ("grpo", "lens", *NEIGHBOURS)}


ONE_RATE = ("grpo", "lens", "uniform penalty", "negative only")


def lens_one_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: the headline contrasts at one rate for all, which is GRPO's."""
    rate, arms = one_rate(WORLD), {"base": _base(scale, seed)}
    for name in ONE_RATE:
        method, options = LENS_ARMS[name]
        arms[name] = _run(scale, method, seed, options, learning_rate=rate)
    return arms


def lens_over_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: GRPO, LENS and the uniform penalty over the learning rate."""
    return over_rates(scale, seed, WORLD, ("grpo", "lens", "uniform_penalty"))


ALPHAS = (0.05, 1.0, 4.0, 16.0)  # 0.25 is LENS itself, 0 its mixed groups only
FACTORS = (1.1, 1.5, 2.0, 4.0, 8.0)  # D = factor x the largest confidence; LENS has 2

LENS_VARIANTS: dict[str, tuple[str, dict]] = {
    "raw difficulty (R)": ("lens", {"variant": "R"}),
    "raw confidence": ("lens", {"normalise": False}),
    "without 1/G": ("lens", {"over_group": False}),
    "without de-meaning": ("lens", {"demean": False}),
    "mirror": ("lens", {"mirror": True}),
    "penalty 0.01": ("uniform_penalty", {"penalty": 0.01}),
    "penalty 0.2": ("uniform_penalty", {"penalty": 0.2}),
}


def lens_sweep(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: alpha, the factor of the difficulty, variants."""
    main = lens(scale, seed)
    # What an option at its usual value gives has been run under another name.
    arms = {"grpo": main["grpo"], "alpha=0.25": main["lens"], "alpha=0": main["mixed only"]}
    for alpha in ALPHAS:
        arms[f"alpha={alpha:g}"] = _run(scale, "lens", seed, {"alpha": alpha})
    for factor in FACTORS:
        usual = main["negative only"] if factor == 2 else None  # the claim is about negative groups
        arms[f"factor={factor:g}"] = usual or _run(scale, "lens", seed, {"factor": factor, "mixed": False})
    return arms | {name: _run(scale, method, seed, options) for name, (method, options) in LENS_VARIANTS.items()}


LONG = 3  # a long run is this many times as long


def lens_long(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: several times as many batches, for stability and for what happens after GRPO saturates (C6, C7)."""
    arms = {}
    for method in ("grpo", "lens"):
        short = _run(scale, method, seed)
        arms[method] = short.but(steps=LONG * short.steps, curve_every=2 * short.curve_every)
    return arms


def lens_search(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 41: another world and another base policy (C2), where the share of all-wrong groups hardly falls (C4).

    `one rate`: at GRPO's, for the second reading of a contrast.
    """
    groups = unless_smoke(scale, **GROUPS, final_samples=64)
    rate = one_rate(OTHER)
    arms = {"base": compared(scale, "base", seed, OTHER, steps=0, **groups)}
    for name in ("grpo", "lens", "uniform_penalty"):
        arms[name] = compared(scale, name, seed, OTHER, **groups)
    return arms | {"lens at one rate": compared(scale, "lens", seed, OTHER, learning_rate=rate, **groups)}


EXPERIMENTS = {
    "lens": Experiment(lens, 10, "41", preview=False),
    "lens_neighbours": Experiment(lens_neighbours, 5, "41", preview=False),
    "lens_one_rate": Experiment(lens_one_rate, 10, "41", preview=False),
    "lens_over_rate": Experiment(lens_over_rate, 3, "41", preview=False),
    "lens_sweep": Experiment(lens_sweep, 3, "41", preview=False),
    "lens_long": Experiment(lens_long, 3, "41", preview=False),
    "lens_search": Experiment(lens_search, 3, "41", preview=False),
}
