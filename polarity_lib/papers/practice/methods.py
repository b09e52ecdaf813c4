"""What the disputes are about, a method each. All else is that of the method they start from.

    nsr_unclipped, psr_unclipped, w_reinforce_unclipped   PPO's clip off (P1)
    grpo_lower_clip, grpo_upper_clip                      one side of it (P11)
    grpo_sequence_mask, nsr_sequence_mask                 the negative sequence mask beside the clip (P10)
    grpo_mixed_rows, grpo_mixed_tokens                    dead groups leave the denominator (P2)
    grpo_kl_mixed                                         dead groups leave the divergence from the reference (P3)
    grpo_constant                                         a constant denominator under GRPO's advantage (P4)
    grpo_cut, nsr_cut                                     what becomes of answers that were cut off (P5)

GRPO by a mean over tokens is `both_polarities` of Dissecting; DAPO's upper clip is an option of `dapo` (P6).
"""

import math
from dataclasses import replace

from polarity_lib import objectives as obj
from polarity_lib.config import choose
from polarity_lib.methods import Method, keep_right, keep_wrong, token_loss
from polarity_lib.papers.baselines.methods import PPO_CLIP, grpo, reinforce, w_reinforce
from polarity_lib.papers.practice import losses, truncation

# A ratio is never below 0, so a lower bound of 0 is none.
NO_CLIP = token_loss(obj.ppo_clip, clip_low=1.0, clip_high=math.inf)
LOWER_CLIP = token_loss(obj.ppo_clip, clip_low=0.2, clip_high=math.inf)
UPPER_CLIP = token_loss(obj.ppo_clip, clip_low=1.0, clip_high=0.2)
DENOMINATOR, SEQUENCE_MASK = "trl #6367, PR #6365", "arXiv 2512.02556; trl #4689"


def nsr_unclipped() -> Method:
    """Wrong rows only, constant -1, importance ratio without bounds."""
    return replace(reinforce(), name="nsr_unclipped", source="RLVR-Decomposed #6", keep=keep_wrong, token_loss=NO_CLIP)


def psr_unclipped() -> Method:
    """Right rows only, constant +1, importance ratio without bounds."""
    return replace(nsr_unclipped(), name="psr_unclipped", keep=keep_right)


def w_reinforce_unclipped(positive_weight: float = 0.1) -> Method:
    """W-REINFORCE, importance ratio without bounds."""
    return replace(w_reinforce(positive_weight), name="w_reinforce_unclipped", source="RLVR-Decomposed #6", token_loss=NO_CLIP)


def grpo_lower_clip() -> Method:
    """GRPO with the lower bound alone, which binds for wrong answers."""
    return replace(grpo(), name="grpo_lower_clip", source="arXiv 2509.26114", token_loss=LOWER_CLIP)


def grpo_upper_clip() -> Method:
    """GRPO with the upper bound alone, which binds for right answers."""
    return replace(grpo(), name="grpo_upper_clip", source="arXiv 2509.26114", token_loss=UPPER_CLIP)


def grpo_sequence_mask(delta: float = 0.1) -> Method:
    """GRPO, clip and negative sequence mask."""
    return replace(grpo(), name="grpo_sequence_mask", source=SEQUENCE_MASK, token_loss=losses.sequence_masked(PPO_CLIP, delta))


def nsr_sequence_mask(delta: float = 0.1) -> Method:
    """NSR, clip and negative sequence mask."""
    return replace(reinforce(), name="nsr_sequence_mask", source=SEQUENCE_MASK, keep=keep_wrong,
                   token_loss=losses.sequence_masked(PPO_CLIP, delta))


def grpo_mixed_rows() -> Method:
    """GRPO divided by the rows of mixed groups."""
    return replace(grpo(), name="grpo_mixed_rows", source=DENOMINATOR, keep=losses.keep_mixed,
                   aggregate=losses.kept_sequence_mean_token_mean)


def grpo_mixed_tokens() -> Method:
    """GRPO by a mean over the tokens of mixed groups."""
    return replace(grpo(), name="grpo_mixed_tokens", source=DENOMINATOR, keep=losses.keep_mixed, aggregate=obj.kept_token_mean)


def grpo_kl_mixed(kl: float = 0.04) -> Method:
    """GRPO with a divergence from the base that dead groups do not pay; they stay in the denominator."""
    return replace(grpo(kl=kl), name="grpo_kl_mixed", source="trl PR #7068, #5588", keep=losses.keep_mixed)


def grpo_constant() -> Method:
    """GRPO's advantage, sum over tokens divided by a constant (Dr. GRPO's denominator without its other change)."""
    return replace(grpo(), name="grpo_constant", source="trl PR #3138", aggregate=obj.token_sum_over_constant)


def _cut(base: Method, name: str, treatment: str, limit: int) -> Method:
    choose("treatment", treatment, truncation.TREATMENTS)
    method = replace(base, name=name, source="trl PR #3248, NeMo-RL PR #724, UniRL PR #19", collect=truncation.cut_at(limit))
    if treatment == "mask":
        return replace(method, advantage=truncation.masked(base.advantage))
    return replace(method, reward=truncation.as_written) if treatment == "as_written" else method


def grpo_cut(treatment: str = "mask", limit: int = 0) -> Method:
    """GRPO; cut answers are masked, count as wrong, or are judged as written; `limit`: tokens, 0 for the world's."""
    return _cut(grpo(), "grpo_cut", treatment, limit)


def nsr_cut(treatment: str = "mask", limit: int = 0) -> Method:
    """NSR; cut answers are masked, count as wrong, or are judged as written; `limit`: tokens, 0 for the world's."""
    return _cut(replace(reinforce(), keep=keep_wrong), "nsr_cut", treatment, limit)


METHODS = {f.__name__: f for f in (
    nsr_unclipped, psr_unclipped, w_reinforce_unclipped, grpo_lower_clip, grpo_upper_clip, grpo_sequence_mask, nsr_sequence_mask,
    grpo_mixed_rows, grpo_mixed_tokens, grpo_kl_mixed, grpo_constant, grpo_cut, nsr_cut)}

LIMITS = {
    "w_reinforce_unclipped": {"positive_weight": "[0, inf)"},
    "grpo_sequence_mask": {"delta": "[0, inf)"}, "nsr_sequence_mask": {"delta": "[0, inf)"},
    "grpo_kl_mixed": {"kl": "[0, inf)"},
    "grpo_cut": {"limit": "[0, inf)"}, "nsr_cut": {"limit": "[0, inf)"},
}
