"""Losses on answers that somebody wrote before, pure: tensors in, tensors out.

The objective of the paper (maximised; r 0 or 1, rbar the group's mean, rho the log-ratio of a whole answer):

    J = 1/G sum_i 1/|y_i| [ sum_t beta_it (r_i - rbar) log pi(y_it) - tau/2 rho_i^2 ],
    rho_i = sum_t log pi(y_it) - log mu(y_it)

so that each token's gradient has the coefficient (1/G) (1/|y_i|) (beta_it (r_i - rbar) - tau rho_i): a wrong answer is
pushed down until its own log-ratio balances its advantage. mu is the policy that wrote the answers.

    bcpg             the above                                  aggregated by sequence_mean_token_mean
    bcpg_centred     rho less its group's mean, as Contrastive Policy Gradient has it
    bcpg_per_token   the penalty on each token's own log-ratio
    dpo              pairs of a right and a wrong answer
    topr             wrong answers weighted by a ratio that is cut off at one

Letters as in `polarity_lib.objectives`; every function takes what a token loss takes, and returns [N, T], 0 on padding.
"""

import math

import torch
from torch import Tensor

from polarity_lib.advantages import centred
from polarity_lib.objectives import clean, on_tokens


def log_ratios(logprobs_NT: Tensor, written_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """[N] rho: how much likelier an answer is now than under the policy that wrote it, in nats."""
    real_NT = mask_NT > 0
    return (on_tokens(logprobs_NT, real_NT) - on_tokens(written_NT.detach(), real_NT)).sum(1)


def _at_least_zero(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0; got {value}.")


def bcpg(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor, written_NT: Tensor,
         tau: float) -> Tensor:
    """Behaviour-constrained policy gradient.

        loss_it = - A_it log pi(y_it) + tau/2 rho_i^2 / |y_i|

    The penalty of an answer stands in equal parts on its tokens, so a sum over tokens holds tau/2 rho^2 once. With
    `sequence_mean_token_mean` this is minus the paper's J (without the factor 1/|y|: `sequence_mean_token_sum`).

    Source: arXiv 2505.14403, Eq. 6 (by a third party's digest).

    Args:
        logprobs_NT, advantages_NT, mask_NT: as `policy_gradient`; advantages are beta_it (r_i - rbar).
        written_NT: [N, T] log-probabilities under mu, held constant.
        tau: at least 0.

    Raises:
        ValueError: as `policy_gradient`; tau is negative or not finite.
    """
    _at_least_zero("tau", tau)
    logprobs_NT, written_NT, advantages_NT, real_NT = clean(logprobs_NT, written_NT, advantages_NT, mask_NT)
    rho_N = log_ratios(logprobs_NT, written_NT, mask_NT)
    length_N = real_NT.sum(1).clamp(min=1)
    penalty_N = 0.5 * tau * rho_N**2 / length_N
    return on_tokens(-advantages_NT * logprobs_NT + penalty_N[:, None], real_NT)


def bcpg_centred(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor, written_NT: Tensor,
                 groups_N: Tensor, tau: float) -> Tensor:
    """The same with rho less its group's mean: the advantage of Contrastive Policy Gradient.

        loss_it = - [A_it - tau sg(rho_i - mean_g rho)] log pi(y_it)          sg: no gradient

    Written by its gradient: the two differ from `bcpg` in nothing but the mean. A group must stand whole in the batch.

    Source: arXiv 2406.19185; the relation is in our card (derived).

    Args, raises: as `bcpg`; groups_N: [N] which prompt a row answers.
    """
    _at_least_zero("tau", tau)
    logprobs_NT, written_NT, advantages_NT, real_NT = clean(logprobs_NT, written_NT, advantages_NT, mask_NT)
    rho_N = log_ratios(logprobs_NT, written_NT, mask_NT).detach()
    level_N = centred(rho_N, groups_N)[0].to(rho_N)
    return on_tokens(-(advantages_NT - tau * level_N[:, None]) * logprobs_NT, real_NT)


def bcpg_per_token(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor, written_NT: Tensor,
                   tau: float) -> Tensor:
    """The same with the penalty on each token's own log-ratio, which does not grow with the answer's length.

        loss_it = - A_it log pi(y_it) + tau/2 (log pi(y_it) - log mu(y_it))^2

    Source: ours, an ambiguity of the paper (card, section 7).

    Args, raises: as `bcpg`.
    """
    _at_least_zero("tau", tau)
    logprobs_NT, written_NT, advantages_NT, real_NT = clean(logprobs_NT, written_NT, advantages_NT, mask_NT)
    return on_tokens(-advantages_NT * logprobs_NT + 0.5 * tau * (logprobs_NT - written_NT) ** 2, real_NT)


def topr(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor, written_NT: Tensor,
         positive: tuple[float, float] = (1.0, 1.0), negative: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Tapered off-policy REINFORCE: a wrong answer that has become unlikely is let go.

        loss_it = - sg(clip(pi(y_i)/mu(y_i), a, b)) A_it log pi(y_it)       (a, b) by the sign of A

    Canonical limits: (1, 1) for right answers, which are imitated at full weight, (0, 1) for wrong ones.

    Source: arXiv 2503.14286. Its loss is divided by length: `sequence_mean_token_mean`.

    Args, raises: as `bcpg`, without tau.
    """
    logprobs_NT, written_NT, advantages_NT, real_NT = clean(logprobs_NT, written_NT, advantages_NT, mask_NT)
    rho_N1 = log_ratios(logprobs_NT, written_NT, mask_NT).detach()[:, None]
    ratio_N1 = rho_N1.clamp(max=20.0).exp()
    weight_NT = torch.where(advantages_NT >= 0, ratio_N1.clamp(*positive), ratio_N1.clamp(*negative))
    return on_tokens(-weight_NT * advantages_NT * logprobs_NT, real_NT)


def pair_signs(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """[N] +1 and -1 on the first right and wrong answers of each group, as many of each; 0 on those left over.

    The k-th right answer of a group is paired with its k-th wrong one, in the order they were drawn. The paper's own rule
    is unverified.
    """
    signs_N = torch.zeros(len(rewards_N))
    for group in group_N.unique():
        rows = (group_N == group).nonzero()[:, 0]
        right, wrong = rows[rewards_N[rows] > 0], rows[rewards_N[rows] <= 0]
        pairs = min(len(right), len(wrong))
        signs_N[right[:pairs]], signs_N[wrong[:pairs]] = 1.0, -1.0
    return signs_N


def pairs_of(signs_N: Tensor, group_N: Tensor) -> tuple[Tensor, Tensor]:
    """(right rows, wrong rows) of the pairs that `pair_signs` made.

    Raises:
        ValueError: a group holds unequal numbers of both.
    """
    right, wrong = [], []
    for group in group_N.unique():
        mine = group_N == group
        ups, downs = ((mine & (signs_N * s > 0)).nonzero()[:, 0].tolist() for s in (1, -1))
        if len(ups) != len(downs):
            raise ValueError(f"group {int(group)} has {len(ups)} right and {len(downs)} wrong answers to pair.")
        right, wrong = right + ups, wrong + downs
    return torch.tensor(right, dtype=torch.long), torch.tensor(wrong, dtype=torch.long)


def dpo(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor, written_NT: Tensor,
        groups_N: Tensor, beta: float = 0.5) -> Tensor:
    """Direct preference optimisation on pairs of a right and a wrong answer to one question.

        loss_pair = - log sigmoid(beta (rho_right - rho_wrong)),   half of it on the first token of either answer

    With `sequence_mean_token_sum` a batch is the sum over its pairs divided by all its answers.

    Source: arXiv 2305.18290; beta 0.5 in arXiv 2505.14403.

    Args, raises: as `bcpg_centred`; advantages_NT holds `pair_signs` on every token, and rows of sign 0 may be left out.
    """
    if not 0 < beta < math.inf:
        raise ValueError(f"beta must be above 0 and finite; got {beta}.")
    logprobs_NT, written_NT, advantages_NT, real_NT = clean(logprobs_NT, written_NT, advantages_NT, mask_NT)
    rho_N = log_ratios(logprobs_NT, written_NT, mask_NT)
    right, wrong = pairs_of(advantages_NT[:, 0], groups_N)
    half = -torch.nn.functional.logsigmoid(beta * (rho_N[right] - rho_N[wrong])) / 2
    first_N = torch.zeros_like(rho_N).index_put((torch.cat([right, wrong]).to(rho_N.device),), torch.cat([half, half]))
    return torch.cat([first_N[:, None], torch.zeros_like(logprobs_NT[:, 1:])], dim=1)
