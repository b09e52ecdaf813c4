"""What people propose in public threads, as pure functions: rows of mixed groups, a denominator over them, a sequence mask.

    keep_mixed                     rows of groups that hold right and wrong answers: the others are dead
    kept_sequence_mean_token_mean  GRPO's mean over the kept rows instead of all
    negative_sequence_mask         wrong answers that have become unlikely since they were drawn are dropped
    sequence_masked                any token loss under that mask

Axes: N rollouts, T token positions.
"""

from typing import Callable

from torch import Tensor

from polarity_lib.advantages import centred, group_max
from polarity_lib.objectives import BatchCounts, clean, sequence_mean_token_mean

ROUNDING = 1e-9  # rewards of one group that differ by less are one reward


def keep_mixed(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """[N] rows of groups whose rewards differ; the others are dead: no advantage compares anything there.

    Source: trl #6367 (the denominator), trl PR #7068 (the divergence); also arXiv 2503.15952.

    Args:
        rewards_N: [N] rewards.
        group_N: [N] which prompt.
    """
    centred_N, _, row_N = centred(rewards_N, group_N)
    return (group_max(centred_N.abs(), row_N) > ROUNDING).to(rewards_N.device)


def kept_sequence_mean_token_mean(loss_NT: Tensor, mask_NT: Tensor, counts: BatchCounts) -> Tensor:
    """Mean over the kept rollouts of the mean over each one's tokens.

        1/kept_rollouts  sum_i 1/|y_i| sum_t loss_it

    With k of 4 equal groups dead it is 4 / (4 - k) times `sequence_mean_token_mean`: a step that does not shrink with the
    share of dead groups. Adam erases a constant factor, not one that changes from batch to batch.

    Args, returns, raises: as `objectives.token_mean`.
    """
    share = counts.kept_rollouts / max(counts.rollouts, 1)
    whole = sequence_mean_token_mean(loss_NT, mask_NT, counts)
    return whole / share if share else whole * 0


def negative_sequence_mask(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor,
                           delta: float) -> Tensor:
    """[N, 1] 1 for rows that stay, 0 for wrong answers that have become too unlikely since they were drawn.

        drop where A < 0 and   1/|y| sum_t log(pi_old / pi) > delta

    Nothing is dropped at the first update of a batch, where the two policies are one.

    Source: arXiv 2512.02556, equation 9; `off_policy_mask_threshold` of TRL (trl #4689), `use_opsm` of slime (#999).

    Args:
        logprobs_NT, old_logprobs_NT, mask_NT: as in `objectives.policy_gradient`.
        advantages_NT: [N, T]; a row is wrong where their sum is below zero.
        delta: nats per token; 0.05 to 0.2 in use.

    Raises:
        ValueError: as `objectives.policy_gradient`, or delta is below zero.
    """
    if not delta >= 0:
        raise ValueError(f"delta must be zero or above, not {delta}.")
    logprobs_NT, old_NT, advantages_NT, real_NT = clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    length_N = real_NT.sum(1).clamp(min=1)
    drift_N = (old_NT - logprobs_NT.detach()).sum(1) / length_N
    dropped_N = (advantages_NT.sum(1) < 0) & (drift_N > delta)
    return (~dropped_N).to(logprobs_NT.dtype)[:, None]


def sequence_masked(base: Callable, delta: float) -> Callable:
    """A token loss under `negative_sequence_mask`. Dropped rows stay in every denominator, as in TRL."""

    def loss(logp, old, A, mask, extras):
        return base(logp, old, A, mask, extras) * negative_sequence_mask(logp, old, A, mask, delta)

    return loss
