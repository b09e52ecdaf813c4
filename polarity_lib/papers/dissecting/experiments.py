"""The experiments of Dissecting: notebooks 20 to 23.

Arms are called start/arm. One rate for all is GRPO's in the world; arms at a method's own rate are there once
`python -m polarity_lib tune latent <method>` has found one (`untuned` says for which it has not).
"""

from polarity_lib.config import RunConfig, Scale
from polarity_lib.experiments import Experiment, in_world, is_tuned, swept, unless_smoke
from polarity_lib.papers.baselines.experiments import one_rate
from polarity_lib.papers.dissecting.methods import NEGATIVES, POSITIVES
from polarity_lib.papers.dissecting.starts import BATCHES, STARTS, WORLD, from_start

MAIN = ("cold", "zero")
POLARITIES = {"both": "both_polarities", "right": POSITIVES, "wrong": NEGATIVES}
OTHERS = {
    "right constant": "psr",
    "wrong constant": "nsr",
    "right per sequence": "psr_grpo_seq",
    "wrong per sequence": "nsr_grpo_seq",
    "right renormalised": "positives_renormalised",
    "wrong renormalised": "negatives_renormalised",
}
FACTORS = (0.5, 2.0)  # of the one rate
PROBED = ("out_of_distribution", "training_fit", "under_attack", "spread", "dead")
FIRST = 1000  # validation seeds, with which starts are looked at before any comparison


def untuned() -> list[str]:
    """Methods of the main comparison that have no rate of their own in the world yet."""
    return [method for method in POLARITIES.values() if not is_tuned(WORLD, method)]


def _base(scale: Scale, start: str, seed: int, **fields) -> RunConfig:
    return from_start(scale, start, "base", seed, steps=0, **fields)


def _arm(scale: Scale, start: str, method: str, seed: int, **fields) -> RunConfig:
    return from_start(scale, start, method, seed, **({"learning_rate": one_rate(WORLD)} | fields))


def starts(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: what each start is, and that GRPO moves it; base and GRPO alone, on validation seeds."""
    return {
        f"{start}/{name}": make(scale, start, seed=FIRST + seed, **more)
        for start in STARTS
        for name, make, more in (("base", _base, {}), ("grpo", _arm, {"method": "grpo"}))
    }


def polarity(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebooks 20, 21 and 23: both polarities, right only, wrong only, from a cold start and by zero-RL, at one rate."""
    return _polarities(scale, seed, MAIN)


def _polarities(scale: Scale, seed: int, names: tuple[str, ...]) -> dict[str, RunConfig]:
    arms = {}
    for start in names:
        arms[f"{start}/base"] = _base(scale, start, seed, probes=PROBED)
        arms |= {f"{start}/{arm}": _arm(scale, start, method, seed, probes=PROBED) for arm, method in POLARITIES.items()}
    return arms


def own_rates(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: the same, each method at its own rate, as far as there is one."""
    tuned = {arm: method for arm, method in POLARITIES.items() if method not in untuned()}
    arms = {f"{start}/base": _base(scale, start, seed, probes=PROBED) for start in MAIN}
    return arms | {
        f"{start}/{arm}": from_start(scale, start, method, seed, probes=PROBED) for start in MAIN for arm, method in tuned.items()
    }


def pair(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: two corpora at equal accuracy: zero-RL, and a cold start that shows its work seldom."""
    return _polarities(scale, seed, ("zero", "cold_short"))


def matched(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: one polarity with update sizes copied from both, and both with tossed verdicts."""
    arms = {}
    for start in MAIN:
        both = _arm(scale, start, POLARITIES["both"], seed, probes=PROBED)
        arms[f"{start}/both"] = both
        arms |= {
            f"{start}/{arm} matched": _arm(scale, start, POLARITIES[arm], seed, probes=PROBED, matched_to=both.hash)
            for arm in ("right", "wrong")
        }
    return arms


def tossed(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: what is learned when verdicts are tossed: nothing that comes from correctness."""
    return {f"{start}/both tossed": _arm(scale, start, POLARITIES["both"], seed, verdicts="tossed") for start in MAIN}


def definitions(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: the other formulas that go by the same two names, at one rate."""
    arms = {f"{start}/{arm}": _arm(scale, start, POLARITIES[arm], seed, probes=PROBED) for start in MAIN for arm in POLARITIES}
    return arms | {f"{start}/{arm}": _arm(scale, start, method, seed) for start in MAIN for arm, method in OTHERS.items()}


def rates(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: the main arms at half and at twice the one rate."""
    arms = {
        f"{start}/{arm} x1": _arm(scale, start, method, seed, probes=PROBED)
        for start in MAIN
        for arm, method in POLARITIES.items()
    }
    return arms | {
        f"{start}/{arm} x{factor:g}": _arm(scale, start, method, seed, learning_rate=factor * one_rate(WORLD))
        for start in MAIN
        for arm, method in POLARITIES.items()
        for factor in swept(scale, FACTORS)
    }


SCHEDULES = {
    "wrong then both": ("neg_to_pos", {}),
    "right then both": ("pos_to_neg", {}),
    "wrong then right": ("neg_to_pos", {"later": 0.0}),
    "right then wrong": ("pos_to_neg", {"later": 0.0}),
}


def schedules(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: one polarity first and the other later, from the cold start, as many updates as both has."""
    arms = {"cold/both": _arm(scale, "cold", POLARITIES["both"], seed, probes=PROBED)}
    return arms | {
        f"cold/{name}": _arm(scale, "cold", method, seed, options=options, probes=("out_of_distribution",))
        for name, (method, options) in SCHEDULES.items()
    }


def many_ways(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 20: the geometry, where a problem has several valid derivations: countdown."""
    few = {"probes": ("derivations",)}
    arms = {"search/base": in_world(scale, "base", seed, "search", steps=0, **few)}
    return arms | {
        f"search/{arm}": in_world(scale, method, seed, "search", learning_rate=one_rate("search"), **few)
        for arm, method in POLARITIES.items()
    }


# --- notebook 22 --------------------------------------------------------------------

KAPPA, WIDE = 5.0, 10.0  # tokens: 10 and 20 per cent of a re-checked answer
LENGTHS = {
    "kappa 20 %": {"kappa": WIDE},
    "not divided": {"spread": "none"},
    "spread floored": {"spread": "floor"},
    "tau 0.5 narrow": {"tau": 0.5, "high": 0.5},
    "hidden divergence": {"hidden_kl": 0.001},
}


def _continued(scale: Scale, seed: int, method: str, **options) -> RunConfig:
    """Half of the run makes the finished policy, half continues: the arms are one run up to there."""
    twice = unless_smoke(scale, steps=2 * BATCHES, curve_every=15)
    return _arm(scale, "thorough", method, seed, options=options, probes=("tight",), **twice)


def short_answers(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 22: from a policy that RL has finished with, go on with plain verdicts or with the relative length reward."""
    return {"verdicts": _continued(scale, seed, POLARITIES["both"]), "rlr": _continued(scale, seed, "rlr_after", kappa=KAPPA)}


def short_answers_ablated(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 22: the constants of the length reward, the division by the spread, the divergence hidden in the reward."""
    return short_answers(scale, seed) | {
        name: _continued(scale, seed, "rlr_after", **({"kappa": KAPPA} | options)) for name, options in LENGTHS.items()
    }


SIZES = {"tiny": ("smoke", "tiny", "middle")}  # 0.1, 0.6 and 1.8 million parameters
INJECTED = {"none": ("osi_none", {}), "shaped": ("osi", {})}
VARIANTS = {
    "ratio": ("osi", {"loss": "ratio"}),
    "likelihood": ("osi", {"loss": "likelihood"}),
    "half the group": ("osi", {"cap": 8}),
    "every wrong one": ("osi", {"cap": 0}),
    "hidden divergence": ("osi", {"hidden_kl": 0.001}),
    "imitation": ("imitation", {}),
}


def injection(scale: Scale, seed: int) -> dict[str, RunConfig]:
    """Notebook 22: right answers from elsewhere in groups of 16 that are too hard, for policies of three sizes."""
    groups = unless_smoke(scale, prompts_per_step=16, rollouts_per_prompt=16)
    arms = {}
    for size in SIZES.get(scale.policy, (scale.policy,)):
        own = {"size": size, **groups}
        arms[f"{size}/base"] = _base(scale, "cold_short", seed, **own)
        wanted = INJECTED | (VARIANTS if size == scale.policy else {})
        arms |= {
            f"{size}/{name}": _arm(scale, "cold_short", method, seed, options=options, probes=("training_fit",), **own)
            for name, (method, options) in wanted.items()
        }
    return arms


EXPERIMENTS = {
    "dissect_starts": Experiment(starts, 2, "20", preview=False),
    "dissect_polarity": Experiment(polarity, 10, "20,21,22,23"),
    "dissect_own_rates": Experiment(own_rates, 10, "20", preview=False),
    "dissect_pair": Experiment(pair, 5, "20", preview=False),
    "dissect_matched": Experiment(matched, 5, "20", preview=False),
    "dissect_tossed": Experiment(tossed, 3, "20", preview=False),
    "dissect_definitions": Experiment(definitions, 3, "20", preview=False),
    "dissect_rates": Experiment(rates, 3, "20", preview=False),
    "dissect_schedules": Experiment(schedules, 3, "20", preview=False),
    "dissect_many_ways": Experiment(many_ways, 3, "20", preview=False),
    "dissect_short_answers": Experiment(short_answers, 10, "22", preview=False),
    "dissect_short_answers_ablated": Experiment(short_answers_ablated, 3, "22", preview=False),
    "dissect_injection": Experiment(injection, 3, "22", preview=False),
}
