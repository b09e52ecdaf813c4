"""What Dissecting trains with: schedules of polarity, a reward for short answers, right answers from elsewhere.

    both_polarities       GRPO by this paper's denominator: a mean over tokens
    positives_renormalised, negatives_renormalised
                          one polarity, divided by what is kept and not by what was drawn
    neg_to_pos, pos_to_neg  one polarity first, the other later
    rlr                   relative length reward: of right answers, the shorter ones earn more
    osi, osi_none, imitation  offline sample injection: right answers from elsewhere in groups that are too hard;
                          its loss without them; and they alone

Right answers only and wrong answers only, by this paper's selection rule and denominators, are the methods
POSITIVES and NEGATIVES. They stand beside the other formulas of those names in the folder of PSR/NSR; here they
are named and not written again, so that a run is one run for both papers.

Axes: N rollouts, T token positions.
"""

from dataclasses import replace
from functools import partial
from typing import Callable

import torch
from torch import Tensor

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.config import ConfigError, choose
from polarity_lib.methods import (
    Bringing, Method, Progress, keep_right, keep_wrong, method_named, per_rollout, scheduled, token_loss,
)
from polarity_lib.papers.baselines.methods import PPO_CLIP, grpo
from polarity_lib.papers.dissecting.injection import collect_with_offline, injected_loss, mask_truncated
from polarity_lib.papers.dissecting.length import relative_length_reward
from polarity_lib.problems.chain import STYLES
from polarity_lib.rollouts import Rollouts

POSITIVES, NEGATIVES = "psr_grpo_tok", "nsr_grpo_tok"
CODE = "Dissect-Long-Reason-Models; arXiv 2506.04913"
SECOND_HAND = "arXiv 2506.04913 v2, second-hand; details unverified"


# ---------------------------------------------------------------- polarity


def both_polarities() -> Method:
    """GRPO's advantages, mean over the tokens of all rollouts: the baseline of the released scripts."""
    return replace(grpo(), name="both_polarities", source=CODE, aggregate=obj.token_mean)


def positives_renormalised() -> Method:
    """Right rows only, mean over their own tokens: a rare polarity keeps its step. The released code does not do this."""
    return replace(grpo(), name="positives_renormalised", source="ours", keep=keep_right, aggregate=obj.kept_token_mean)


def negatives_renormalised() -> Method:
    """Wrong rows only, mean over their own tokens; see positives_renormalised."""
    return replace(positives_renormalised(), name="negatives_renormalised", keep=keep_wrong)


def polarity_weights(progress_share: float, switch: float, first: str, later: float) -> tuple[float, float]:
    """The weights (w+, w-) of a schedule at a share s of training.

        before the switch   1 for the polarity that goes first, 0 for the other
        from the switch on  1 for the other, `later` for the first: 1 is both polarities, 0 a swap

    Source: our parametrisation of what a third party calls Neg-to-Pos; the switch, and whether both or one
    polarity follow, are unverified.

    Args:
        progress_share: s in [0, 1), batches done over batches in all.
        switch: s0 in [0, 1].
        first: "right" or "wrong".
        later: weight of the first polarity after the switch, 0 or 1.

    Raises:
        ConfigError: a switch outside 0..1, another `later`, or an unknown polarity.
    """
    choose("polarity", first, ("right", "wrong"))
    if not 0 <= switch <= 1 or later not in (0, 1):
        raise ConfigError("a schedule switches within 0 to 1, with 0 or 1 for the first polarity after it; "
                          f"got {switch}, {later}.")
    own, other = (1.0, 0.0) if progress_share < switch else (float(later), 1.0)
    return (own, other) if first == "right" else (other, own)


def _of_weights(weights: tuple[float, float]) -> Method:
    """The method of this paper whose polarities have these weights, each 0 or 1."""
    name = {(1.0, 1.0): "both_polarities", (1.0, 0.0): POSITIVES, (0.0, 1.0): NEGATIVES}[weights]
    return method_named(name)


def _schedule(name: str, first: str, switch: float, later: float) -> Method:
    def at(progress: Progress) -> Method:
        return _of_weights(polarity_weights(progress.step / progress.steps, switch, first, later))

    return scheduled(name, SECOND_HAND, at(Progress(0, 1)), at)


def neg_to_pos(switch: float = 0.5, later: float = 1.0) -> Method:
    """Wrong answers only up to a share of training, then both (later = 1) or right answers only (later = 0)."""
    return _schedule("neg_to_pos", "wrong", switch, later)


def pos_to_neg(switch: float = 0.5, later: float = 1.0) -> Method:
    """The mirror of neg_to_pos: a control."""
    return _schedule("pos_to_neg", "right", switch, later)


# ---------------------------------------------------------------- relative length reward


def _short_is_better(tau: float, kappa: float, low: float, high: float) -> Callable:
    def reward(rollouts: Rollouts) -> Tensor:
        return relative_length_reward(rollouts.correct_N, rollouts.mask_NT.sum(1), rollouts.group_N, tau, kappa, low, high)

    return reward


def _floored(rewards_N: Tensor, group_N: Tensor, floor: float) -> Tensor:
    """[N] (R - mean) / max(std, floor): a group whose rewards hardly differ is not blown up (ours)."""
    centred_N, size_N, row_N = adv.centred(rewards_N, group_N)
    std_N = (adv.group_sum(centred_N**2, row_N) / (size_N - 1).clamp(min=1)).sqrt()
    return adv.in_precision_of(centred_N / std_N.clamp(min=floor), rewards_N)


def with_hidden_kl(base: Callable, coefficient: float) -> Callable:
    """An advantage whose rewards lose coefficient * sum_t (log pi_old - log pi_ref), as the released trainer does unasked.

    Source: the code of Dissecting, where switching the KL *loss* off leaves this in the *reward*. Rewards stop being
    0 or 1 after the first update, so dead groups acquire small differences, which the division by the spread inflates.
    An injected answer was not drawn from pi_old, and loses nothing here.
    """

    def advantage(rollouts: Rollouts, rewards_N: Tensor, progress: Progress) -> Tensor:
        gap_NT = (rollouts.logprobs_NT - rollouts.extras["reference_logprobs"]) * rollouts.mask_NT
        own_N = 1 - rollouts.extras.get("offline", torch.zeros(len(rollouts)))
        return base(rollouts, rewards_N - coefficient * own_N * gap_NT.sum(1), progress)

    return advantage


SPREADS = {"std": adv.grpo, "none": adv.dr_grpo, "floor": partial(_floored, floor=0.1)}


def rlr(tau: float = 0.75, kappa: float = 500.0, low: float = -0.5, high: float = 1.0, spread: str = "std",
        hidden_kl: float = 0.0) -> Method:
    """GRPO on rewards that grow as a right answer of an easy prompt is shorter than its siblings.

    Args:
        tau, kappa, low, high: of `relative_length_reward`; 500 tokens are the paper's, for answers of thousands.
        spread: divide by the group's "std" (paper), by "none", or by the std with a "floor" of 0.1 (ours).
        hidden_kl: coefficient of the divergence that the released script leaves in the reward (0.001 there).
    """
    if not kappa > 0 or not low <= high:
        raise ConfigError(f"kappa must be above 0 and low at most high; got {kappa}, {low}, {high}.")
    advantage = per_rollout(SPREADS[choose("spread", spread, SPREADS)])
    method = replace(both_polarities(), name="rlr", reward=_short_is_better(tau, kappa, low, high), advantage=advantage)
    if not hidden_kl:
        return method
    return replace(method, advantage=with_hidden_kl(advantage, hidden_kl), needs=frozenset({"reference_logprobs"}))


def rlr_after(share: float = 0.5, tau: float = 0.75, kappa: float = 500.0, low: float = -0.5, high: float = 1.0,
              spread: str = "std", hidden_kl: float = 0.0) -> Method:
    """Both polarities up to a share of training, then rlr: it begins from a policy that RL has finished with, as in the paper."""
    first, then = both_polarities(), rlr(tau, kappa, low, high, spread, hidden_kl)

    def at(progress: Progress) -> Method:
        return first if progress.step < share * progress.steps else then

    return scheduled("rlr_after", CODE, first, at, then.needs)


# ---------------------------------------------------------------- offline sample injection


OSI_LOSSES = ("shaped", "ratio", "likelihood")


def osi(loss: str = "shaped", alpha: float = 0.125, cap: int = 1, gamma: float = 0.1, style: str = "worked",
        hidden_kl: float = 0.0) -> Method:
    """GRPO on groups into which right answers from elsewhere are put where few or none were found.

    Args:
        loss: of the injected tokens: "shaped" (the paper's script: f(pi) = pi / (pi + gamma), and nothing is clipped),
            "ratio" (as if sampled: the clipped ratio), "likelihood" (log pi).
        alpha: groups whose share of right answers is at most this.
        cap: at most so many injected per group; 0 puts no limit (the script's -1).
        style: which writer the answers come from.
        hidden_kl: see rlr; the released script has 0.001.
    """
    choose("loss of injected answers", loss, OSI_LOSSES)
    # The constant that the script divides by leaves Adam's step as it is; ours divides by rollouts too (Dr. GRPO's).
    method = Bringing("osi", CODE, advantage=mask_truncated(per_rollout(adv.grpo)), token_loss=PPO_CLIP,
                      aggregate=obj.token_sum_over_constant, collect=collect_with_offline(alpha, cap, style),
                      brings=frozenset({"offline", "dead_again"}))
    if loss != "ratio":
        method = replace(method, token_loss=injected_loss(loss, gamma))
    if hidden_kl:
        method = replace(method, advantage=with_hidden_kl(method.advantage, hidden_kl), needs=frozenset({"reference_logprobs"}))
    return method


def _imitated(rollouts: Rollouts, rewards_N: Tensor, progress: Progress) -> Tensor:
    """1 on the tokens of injected answers that are right, 0 on everything that the policy wrote."""
    return adv.expand(rollouts.extras["offline"] * rewards_N, rollouts.mask_NT)


def imitation(alpha: float = 0.125, style: str = "worked") -> Method:
    """Supervised learning on what osi would inject, and nothing else: the control without reinforcement (ours)."""
    return Bringing("imitation", "ours", advantage=_imitated, token_loss=token_loss(obj.policy_gradient),
                    aggregate=obj.token_mean, collect=collect_with_offline(alpha, 1, style),
                    brings=frozenset({"offline", "dead_again"}))


def osi_none() -> Method:
    """What osi is without injected answers: its loss on its own samples alone, not clipped."""
    return replace(grpo(), name="osi_none", source=CODE, advantage=mask_truncated(per_rollout(adv.grpo)),
                   token_loss=token_loss(unclipped_ratio), aggregate=obj.token_sum_over_constant)


def unclipped_ratio(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """[N, T] -A pi / pi_old, not clipped: the script's loss of its own samples."""
    return obj.ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT, clip_low=torch.inf, clip_high=torch.inf)


METHODS = {f.__name__: f for f in (both_polarities, positives_renormalised, negatives_renormalised, neg_to_pos, pos_to_neg,
                                   rlr, rlr_after, osi, osi_none, imitation)}

LENGTH = {"tau": "[0, inf)", "hidden_kl": "[0, inf)"}  # a tau above 1 is never reached: no answer is shaped
LIMITS = {  # of what no formula above looks at itself
    "rlr": LENGTH, "rlr_after": LENGTH | {"share": "[0, 1]"},
    "osi": {"alpha": "[0, 1]", "cap": "[0, inf)", "gamma": "(0, inf)", "style": STYLES, "hidden_kl": "[0, inf)"},
    "imitation": {"alpha": "[0, 1]", "style": STYLES},
}
