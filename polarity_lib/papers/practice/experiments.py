"""The experiments of the disputes: notebooks 70 to 72.

Arms of the worlds' own protocol are the runs of PSR/NSR wherever those have them. A variant runs at the rate of the method it
varies, so that what is compared is the variant; `one_rate` is GRPO's. Disputes that need no shared arm are short.
"""

import functools
from dataclasses import replace

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import in_world, late, swept, unless_smoke, world_rate
from polarity_lib.papers.baselines.experiments import compared, one_rate
from polarity_lib.problems import world_named

SPLIT = ("nsr", "psr", "w_reinforce")
BATCHES = 50  # of a short run: in latent most is learned in 30
UPDATES = (1, 4, 16)  # per batch


# --- P1, P11, P10, P6: the clip, and several updates per batch ----------------------------


def _updates(config: RunConfig, count: int, matched: bool) -> RunConfig:
    """Another number of updates per batch; `matched`: the rate is divided by it, so that a batch moves as far."""
    rate = config.learning_rate * (config.minibatches / count if matched else 1)
    return config.but(minibatches=min(count, config.prompts_per_step), learning_rate=rate)


def _clipping(scale: Scale, seed: int, method: str, rate: float, counts=UPDATES, matched: bool = True) -> dict[str, RunConfig]:
    """`method/4 clip`, `method/4 free`, ...; with one update nothing can be clipped, so that is one run."""
    arms = {}
    for count in counts:
        for kind, name in (("clip", method), ("free", f"{method}_unclipped")):
            run = _updates(compared(scale, name, seed, "search", learning_rate=rate), count, matched)
            arms |= {f"{method}/{count} {kind}": run} if count > 1 else {f"{method}/1": run} if kind == "clip" else {}
    return arms


def clip(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P1: NSR at its own rate, 1, 4 and 16 updates per batch, with and without the clip, as far per batch in all."""
    arms = {"base": compared(scale, "base", seed, "search", steps=0)}
    return arms | _clipping(scale, seed, "nsr", world_rate("search", "nsr"))


def clip_one_rate(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P1: four updates at GRPO's rate."""
    return _clipping(scale, seed, "nsr", one_rate("search"), counts=(4,))


def clip_unmatched(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P1: 16 updates at the rate of four, so that a batch may move four times as far."""
    return _clipping(scale, seed, "nsr", world_rate("search", "nsr"), counts=(16,), matched=False)


def clip_others(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P1: PSR and W-REINFORCE at their own rates."""
    arms = {}
    for method, counts in (("psr", (1, 4, 16)), ("w_reinforce", (4,))):
        arms |= _clipping(scale, seed, method, world_rate("search", method), counts)
    return arms


def one_side(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P11: GRPO with both sides of the clip, the lower one alone, the upper one alone."""
    rate = world_rate("search", "grpo")
    names = {"both": "grpo", "lower": "grpo_lower_clip", "upper": "grpo_upper_clip"}
    return {f"grpo/{side}": compared(scale, name, seed, "search", learning_rate=rate) for side, name in names.items()}


def _short(scale: Scale, method: str, seed: int, rate: float, **fields) -> RunConfig:
    """A short run in latent, by its protocol otherwise."""
    few = unless_smoke(scale, steps=BATCHES, curve_every=10, final_samples=32)
    return in_world(scale, method, seed, "latent", learning_rate=rate, **(few | fields))


DELTAS = (0.05, 0.1, 0.2)


def sequence_mask(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P10: GRPO and NSR, 4 and 16 updates of one size, the clip alone and the negative sequence mask beside it."""
    arms = {}
    for method, wanted in (("nsr", {4: (0.1,), 16: DELTAS}), ("grpo", {4: (0.1,), 16: (0.1,)})):
        rate = world_rate("latent", method)
        for count, deltas in wanted.items():
            arms[f"{method}/{count} clip"] = _updates(_short(scale, method, seed, rate), count, matched=False)
            for delta in deltas:
                run = _short(scale, f"{method}_sequence_mask", seed, rate, options={} if delta == 0.1 else {"delta": delta})
                arms[f"{method}/{count} mask {delta:g}"] = _updates(run, count, matched=False)
    return arms


LONG = 3  # a long run is this many times as long
UPPER = (0.2, 0.28, 0.4)


def clip_higher(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P6: DAPO without its dynamic sampling, three upper bounds, three times the horizon of a short run."""
    steps = unless_smoke(scale, steps=LONG * BATCHES, curve_every=15)
    return {f"dapo/{upper:g}": _short(scale, "dapo", seed, world_rate("latent", "dapo"),
                                      options={"dynamic": False} | ({} if upper == 0.28 else {"clip_high": upper}), **steps)
            for upper in UPPER}


# --- P2, P3: dead groups ------------------------------------------------------------------

FASTER = 2.0  # times the rate: the rival explanation of a smaller denominator
GROUPS = {"prompts_per_step": 16, "rollouts_per_prompt": 16}  # few of them are dead in latent at first
# Of latent, as A3PO's: four SGD steps of this rate go about as far as AdamW's batch.
SGD = {"optimizer": "sgd", "grad_clip": 0.0, "learning_rate": 0.02}


def denominator(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P2 in search, where six groups of ten are dead: mean over all tokens, over those of mixed groups, a higher rate."""
    few = unless_smoke(scale, steps=100, curve_every=20, final_samples=64)
    rate = one_rate("search")

    def run(method, rate=rate):
        return in_world(scale, method, seed, "search", learning_rate=rate, **few)

    return {"tokens/all": run("both_polarities"), "tokens/mixed": run("grpo_mixed_tokens"),
            "tokens/all faster": run("both_polarities", FASTER * rate)}


def denominator_few(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P2 in latent with groups of 16, of which few are dead at first."""
    groups, rate = unless_smoke(scale, **GROUPS), one_rate("latent")
    return {"tokens/all": _short(scale, "both_polarities", seed, rate, **groups),
            "tokens/mixed": _short(scale, "grpo_mixed_tokens", seed, rate, **groups)}


def denominator_more(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P2 in latent: GRPO's mean over sequences, and SGD, which erases no factor."""
    rate = one_rate("latent")
    sgd = {name: value for name, value in SGD.items() if name != "learning_rate"}
    return {
        "rows/all": _short(scale, "grpo", seed, rate), "rows/mixed": _short(scale, "grpo_mixed_rows", seed, rate),
        "sgd/all": _short(scale, "both_polarities", seed, SGD["learning_rate"], **sgd),
        "sgd/mixed": _short(scale, "grpo_mixed_tokens", seed, SGD["learning_rate"], **sgd),
        "sgd/all faster": _short(scale, "both_polarities", seed, FASTER * SGD["learning_rate"], **sgd),
    }


COEFFICIENTS = (0.001, 0.01, 0.04)


def divergence(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P3: GRPO with a divergence from the base, paid by all groups and by mixed ones only."""
    rate, arms = one_rate("latent"), {}
    for kl in swept(scale, COEFFICIENTS):
        for kind, method in (("all", "grpo"), ("mixed", "grpo_kl_mixed")):
            options = {} if (method, kl) == ("grpo_kl_mixed", 0.04) else {"kl": kl}
            arms[f"kl={kl:g}/{kind}"] = _short(scale, method, seed, rate, options=options, probes=("from_base",))
    return arms


# --- P4, P5: length and truncation ----------------------------------------------------------

# A start that can ramble: Dissecting's zero-RL start, of mixed formats, three in ten of them without an end that counts.
MIXED_FORMATS = (("direct", 0.4), ("noisy", 0.22), ("unmarked", 0.3), ("worked", 0.05), ("checked", 0.03))


def _rambling(scale: Scale, method: str, seed: int, rate: float, **fields) -> RunConfig:
    config = _short(scale, method, seed, rate, corpus="remarks_learned", **fields)
    return config.but(start=replace(config.start, mixture=MIXED_FORMATS, **unless_smoke(scale, steps=700, batch=128)))


DENOMINATORS = {"sequence": "grpo", "token": "both_polarities", "constant": "grpo_constant"}
RATES = (4, 1)  # times GRPO's


def length(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P4: three denominators under one advantage, at GRPO's rate and at four times that."""
    return {f"{name}/x{factor}": _rambling(scale, method, seed, factor * one_rate("latent"))
            for factor in swept(scale, RATES) for name, method in DENOMINATORS.items()}


# Tokens: on a validation seed they cut 5.1 and 18.9 per cent of that start's answers (data/pilots.csv).
LIMITS = {"5 %": 36, "20 %": 30}


def truncation(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P5: cut answers count as wrong, are masked, or are judged as written; GRPO under two limits, NSR under one."""
    arms = {}
    for method, told in swept(scale, (("grpo", "5 %"), ("nsr", "20 %"), ("grpo", "20 %"))):
        for treatment in ("wrong", "mask", "as_written"):
            options = {"limit": LIMITS[told]} | ({} if treatment == "mask" else {"treatment": treatment})
            arms[f"{method}/{told} {treatment}"] = _rambling(
                scale, f"{method}_cut", seed, world_rate("latent", method), options=options)
    return arms


# --- P7, P8, P9: runs that PSR/NSR has ---------------------------------------------------------

CHOSEN = ("grpo", "nsr", "psr", "w_reinforce")
WEAK = 0.3  # of the length of the warm start


def own(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P7, P8 and P9: the main runs of PSR/NSR, each method at its own rate."""
    arms = {"base": compared(scale, "base", seed, world, steps=0)}
    return arms | {method: compared(scale, method, seed, world) for method in CHOSEN}


def at_one_rate(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P9: the same at one rate."""
    rate = one_rate(world)
    return {method: compared(scale, method, seed, world, learning_rate=rate) for method in ("grpo", "nsr", "psr")}


def definitions(world: str, scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P9: the same by the formula that normalises within groups, at one rate."""
    rate = one_rate(world)
    return {method: compared(scale, method, seed, world, learning_rate=rate) for method in ("psr_grpo_seq", "nsr_grpo_seq")}


def starts(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """P9: a weak and a strong start in search."""
    arms = {}
    for name, share in (("weak", WEAK), ("strong", 1.0)):
        steps = int(share * world_steps(scale))
        for method in ("base", "grpo", "nsr", "psr"):
            fields = {"steps": 0} if method == "base" else {}
            arms[f"{name}/{method}"] = compared(scale, method, seed, "search", start_steps=steps, **fields)
    return arms


def world_steps(scale: Scale) -> int:
    """Steps of the warm start in search."""
    return world_named("search").start_steps if scale.policy != "smoke" else scale.start_steps


EXPERIMENTS = {
    "practice_clip": late(clip, 8, "70"),
    "practice_clip_one_rate": late(clip_one_rate, 8, "70"),
    "practice_clip_unmatched": late(clip_unmatched, 3, "70"),
    "practice_clip_others": late(clip_others, 3, "70"),
    "practice_one_side": late(one_side, 4, "70"),
    "practice_sequence_mask": late(sequence_mask, 4, "70"),
    "practice_clip_higher": late(clip_higher, 4, "70"),
    "practice_denominator": late(denominator, 8, "71"),
    "practice_denominator_few": late(denominator_few, 8, "71"),
    "practice_denominator_more": late(denominator_more, 3, "71"),
    "practice_divergence": late(divergence, 4, "71"),
    "practice_length": late(length, 4, "71"),
    "practice_truncation": late(truncation, 4, "71"),
    "practice_starts": late(starts, 3, "72"),
}
for _world in ("search", "latent"):
    EXPERIMENTS |= {
        f"practice_own_{_world}": late(functools.partial(own, _world), 10, "72"),
        f"practice_one_rate_{_world}": late(functools.partial(at_one_rate, _world), 10, "72"),
        f"practice_definitions_{_world}": late(functools.partial(definitions, _world), 5, "72"),
    }
