"""The relative length reward (RLR): of right answers to easy prompts, the shorter ones earn more. Pure functions."""

import torch
from torch import Tensor

from polarity_lib import advantages as adv


def relative_length_reward(right_N: Tensor, length_N: Tensor, group_N: Tensor, tau: float = 0.75, kappa: float = 500.0,
                           low: float = -0.5, high: float = 1.0) -> Tensor:
    """1 for a right answer, plus how much shorter it is than the right answers of its group.

        r_i = 1 + clip((mean - l_i) / kappa, low, high)   where right, and at least a share tau of the group is
              1 or 0                                      otherwise

    with `mean` the mean length of the group's right answers. A shaped reward of a right answer lies in
    [1 + low, 1 + high]; a wrong one earns 0.

    Source: the code of arXiv 2506.04913 (tau 0.75, kappa 500 tokens, -0.5, +1).

    Args:
        right_N: [N] true where the verdict is `correct`.
        length_N: [N] response tokens.
        group_N: [N] integer prompt ids.

    Returns:
        [N] rewards.

    Raises:
        ValueError: shapes differ, a length is negative, kappa is not above 0, or low exceeds high.
    """
    verdicts_N = right_N.double()
    adv.check_verdicts(verdicts_N, group_N)
    if length_N.shape != right_N.shape or not (length_N >= 0).all():
        raise ValueError(f"every rollout needs a length of 0 or more; got {length_N.tolist()[:8]} for {len(right_N)} rollouts.")
    if not kappa > 0 or not low <= high:
        raise ValueError(f"kappa must be above 0 and low at most high; got {kappa}, {low}, {high}.")
    lengths_N = adv.in_double(length_N)
    row_N = torch.unique(group_N.detach().cpu(), return_inverse=True)[1]
    rights_N = adv.group_sum(verdicts_N, row_N)
    share_N = rights_N / adv.group_sum(torch.ones_like(verdicts_N), row_N)
    mean_N = adv.group_sum(verdicts_N * lengths_N, row_N) / rights_N.clamp(min=1)
    bonus_N = ((mean_N - lengths_N) / kappa).clamp(low, high)
    eligible_N = (verdicts_N == 1) & (share_N >= tau)
    return (verdicts_N + torch.where(eligible_N, bonus_N, torch.zeros_like(bonus_N))).float()


def sign_flip_length(share: float, kappa: float) -> float:
    """How much longer than the mean a right answer of a mixed group may be before its advantage turns negative, in tokens.

    Its bonus then falls below the group's mean reward minus one; with a mean bonus of zero this is kappa (1 - share).
    """
    return kappa * (1 - share)
