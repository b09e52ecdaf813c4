"""The experiments of LENS: notebook 41."""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, unless_smoke
from polarity_lib.papers.baselines.experiments import repeated


def _lens(scale: Scale, method: str, seed: int, world: str = "countdown4", **fields) -> RunConfig:
    """Groups of 16, half as many prompts: as many rollouts as elsewhere."""
    groups = unless_smoke(scale, rollouts_per_prompt=16, prompts_per_step=16)
    return repeated(scale, method, seed, world=world, **(groups | fields))


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


EXPERIMENTS = {
    "lens_countdown": Experiment(lens_countdown, 8, "41"),
    "lens_chain": Experiment(lens_chain, 3, "41", preview=False),
    "lens_sweep": Experiment(lens_sweep, 3, "41", preview=False),
    "lens_long": Experiment(lens_long, 3, "41", preview=False),
}
