"""Token weights that multiply an advantage: which tokens of an answer count more, and how much.

    weights_NT    = a3po_weights(probability_NT, mask_NT, right_N, decayed_weight(step))
    advantages_NT = expand(advantages_N, mask_NT) * weights_NT

Three families, all pure:

    what papers do     cell_weights, a3po_weights, a3po_weights_by_entropy
    controls           swapped_weights, random_weights, position_matched_weights, mean_one
    their parts        select_tokens, decayed_weight

Axes are named by the last letters of a variable:

    N   rollouts in the batch
    T   token positions of the longest response; shorter ones are masked

Tokens are ranked within each response, never across the batch. A weight is never negative, so
no sign of an advantage changes, and a zero stays zero. Padding may hold anything and gets
weight 1; a mask of zeros selects nothing. Probabilities and entropies are those of the policy
that sampled, before the update. Random numbers come from an integer seed given by the caller.
Results carry no gradient.
"""

import math

import numpy as np
import torch
from torch import Tensor

from polarity_lib.objectives import real_tokens, same_shape

CELLS = (("right", "high"), ("right", "low"), ("wrong", "high"), ("wrong", "low"))
ENDS = ("high", "low")
# Rounding can put a probability a little above one; a larger excess is a mistake upstream.
PROBABILITY_TOLERANCE = 1e-4


# ---------------------------------------------------------------- parts


def select_tokens(metric_NT: Tensor, mask_NT: Tensor, rows_N: Tensor, fraction: float, end: str) -> Tensor:
    """The tokens of each response whose metric is largest or smallest.

        n_i = response tokens of row i,   k_i = max(1, floor(fraction n_i))
        S_i = the k_i largest ("high") or smallest ("low") of metric_it over its tokens

    Among equal values the earlier position comes first: many tokens of an easy answer have
    probability 1, and a rule is needed that two machines agree on.

    Source: arXiv 2512.21625; repository txy77/Sample-Polarity-of-RLVR. The released code ranks
    tokens whose metric is not exactly 0; here the mask says what a token is, so tokens of
    entropy 0 are ranked too.

    Args:
        metric_NT: [N, T] what tokens are ranked by; anything on padding.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        rows_N: [N] bool, the rows to choose tokens in.
        fraction: in (0, 1].
        end: "high" or "low".

    Returns:
        [N, T] bool. Nothing in the other rows, in a row without tokens, on padding.

    Raises:
        ValueError: shapes differ; the mask holds other numbers than 0 and 1; rows are not bool;
            the metric of a response token is NaN or infinite; fraction or end is not valid.
    """
    real_NT = _ranked(metric_NT, mask_NT, rows_N, fraction)
    if end not in ENDS:
        raise ValueError(f"unknown end {end!r} of the ranking. Valid: {', '.join(ENDS)}.")
    key_NT = metric_NT.detach()
    if not key_NT.is_floating_point():
        key_NT = key_NT.double()
    key_NT = (-key_NT if end == "high" else key_NT).masked_fill(~real_NT, math.inf)  # padding comes last
    order_NT = key_NT.argsort(dim=1, stable=True)
    positions_NT = torch.arange(key_NT.shape[1], device=key_NT.device).expand_as(order_NT)
    rank_NT = torch.empty_like(order_NT).scatter_(1, order_NT, positions_NT)
    count_N = _counts(real_NT, fraction).masked_fill(~rows_N.to(key_NT.device), 0)
    return rank_NT < count_N[:, None]


def decayed_weight(step: int, start: float = 2.0, slope: float = 0.005) -> float:
    """A3PO's weight as training goes on: w(step) = max(start - slope step, 1).

    It falls in a straight line and stays 1 from step (start - 1) / slope on: step 200 by default.

    Source: arXiv 2512.21625, through third-party notes: the released code has no schedule. Whether
    its steps are batches of rollouts, as here, or optimiser steps is unverified.

    Args:
        step: batches of rollouts trained on before this one; 0 for the first.
        start: weight of step 0, at least 1.
        slope: what one step takes away; 0 keeps the weight.

    Returns:
        The weight, at least 1.

    Raises:
        ValueError: start is below 1, slope or step below 0, or one of them is not finite.
    """
    if not (math.isfinite(start) and start >= 1):
        raise ValueError(f"start must be a finite weight of at least 1, where the decay ends; got {start}.")
    if not (math.isfinite(slope) and slope >= 0):
        raise ValueError(f"slope must be finite and at least 0: the weight decays; got {slope}.")
    if not (math.isfinite(step) and step >= 0):
        raise ValueError(f"step counts from 0; got {step}.")
    return max(start - slope * step, 1.0)


# ---------------------------------------------------------------- what papers do


def cell_weights(
    metric_NT: Tensor,
    mask_NT: Tensor,
    right_N: Tensor,
    scales: dict[tuple[str, str], float],
    fraction: float = 0.2,
) -> Tensor:
    """One factor for each of four sets of tokens: high or low metric, in right or wrong answers.

        W_it = product of scales[polarity of i, end] over the ends whose set S_i holds t

    Sets as in `select_tokens`. Where "high" and "low" of one answer overlap, factors multiply.
    The mean weight is not 1: a fifth of the tokens at 2 gives 1.2. `mean_one` takes that out.

    Source: arXiv 2512.21625 (sweep 0.2, 0.5, 2, 5); repository txy77/Sample-Polarity-of-RLVR.

    Args:
        metric_NT: [N, T] probability or entropy under the sampling policy; anything on padding.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        right_N: [N] bool, whether the verdict is right (not the sign of the advantage).
        scales: factor per cell, keys from `CELLS`; a cell left out is left alone.
        fraction: of each answer's tokens, in (0, 1].

    Returns:
        [N, T] weights in the metric's precision.

    Raises:
        ValueError: as `select_tokens`, an unknown cell, or a factor that is negative or not finite.
    """
    _ranked(metric_NT, mask_NT, right_N, fraction)
    for cell, scale in scales.items():
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}. Valid: {', '.join(map(str, CELLS))}.")
        _check_weight(f"the factor of {cell}", scale)
    weights_NT = _ones(metric_NT)
    for (polarity, end), scale in scales.items():
        rows_N = right_N if polarity == "right" else ~right_N
        chosen_NT = select_tokens(metric_NT, mask_NT, rows_N, fraction, end)
        weights_NT = torch.where(chosen_NT, weights_NT * scale, weights_NT)
    return weights_NT


def a3po_weights(
    probability_NT: Tensor, mask_NT: Tensor, right_N: Tensor, weight: float, fraction: float = 0.2
) -> Tensor:
    """A3PO: more weight on unlikely tokens of right answers and likely tokens of wrong ones.

        W_it = weight   where i is right and t among its lowest-probability tokens,
                        or i is wrong and t among its highest-probability tokens
               1        elsewhere

    These are the two cells whose update raises entropy. For logits that move by
    eta A (1[v = a] - pi_v) after token a was sampled,

        dH = - eta A [ pi_a (log pi_a + H) - sum_v pi_v^2 (log pi_v + H) ]

    so a likely token with A > 0 lowers entropy, an unlikely one raises it, and signs flip with A.

    Source: arXiv 2512.21625; the 20 % sets from third-party notes. `decayed_weight` gives the weight.

    Args:
        probability_NT: [N, T] probability of each sampled token under the sampling policy.
        weight: at least 0; 1 leaves every advantage as it was, bit for bit.
        others, returns: as `cell_weights`.

    Raises:
        ValueError: as `cell_weights`, or a probability of a response token is outside [0, 1].
    """
    _check_probability(probability_NT, mask_NT)
    scales = {("right", "low"): weight, ("wrong", "high"): weight}
    return cell_weights(probability_NT, mask_NT, right_N, scales, fraction)


def a3po_weights_by_entropy(
    entropy_NT: Tensor, mask_NT: Tensor, right_N: Tensor, weight: float, fraction: float = 0.2
) -> Tensor:
    """A3PO with entropy in place of probability, so the ends are swapped.

        W_it = weight   where i is right and t among its highest-entropy tokens,
                        or i is wrong and t among its lowest-entropy tokens
               1        elsewhere

    Source: arXiv 2512.21625; the entropy metric of repository txy77/Sample-Polarity-of-RLVR.

    Args:
        entropy_NT: [N, T] entropy of the sampling policy at each token.
        others, returns, raises: as `cell_weights`.
    """
    scales = {("right", "high"): weight, ("wrong", "low"): weight}
    return cell_weights(entropy_NT, mask_NT, right_N, scales, fraction)


# ---------------------------------------------------------------- controls


def swapped_weights(
    probability_NT: Tensor, mask_NT: Tensor, right_N: Tensor, weight: float, fraction: float = 0.2
) -> Tensor:
    """A3PO's negative control: likely tokens of right answers, unlikely tokens of wrong ones.

    The two cells whose update lowers entropy. As many tokens and the same weight as A3PO.

    Args, returns, raises: as `a3po_weights`.
    """
    _check_probability(probability_NT, mask_NT)
    scales = {("right", "high"): weight, ("wrong", "low"): weight}
    return cell_weights(probability_NT, mask_NT, right_N, scales, fraction)


def random_weights(mask_NT: Tensor, weight: float, seed: int, fraction: float = 0.2) -> Tensor:
    """As many tokens of each response as A3PO chooses, but any of them: is the ranking needed?

    Args:
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        weight: of the chosen tokens.
        seed: of the draw. How wide the padding is does not change it.
        fraction: of each answer's tokens, in (0, 1].

    Returns:
        [N, T] weights, `weight` on k_i tokens of row i and 1 elsewhere.

    Raises:
        ValueError: the mask is not [N, T] of 0 and 1; seed is not an integer; as `cell_weights`.
    """
    _check_weight("weight", weight)
    generator = _generator(seed)
    same_shape(mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    draws_NT = torch.zeros(mask_NT.shape, dtype=torch.float64, device="cpu")
    draws_NT[real_NT.cpu()] = torch.from_numpy(generator.random(int(real_NT.sum())))
    all_N = torch.ones(len(mask_NT), dtype=torch.bool)
    chosen_NT = select_tokens(draws_NT, real_NT.cpu(), all_N, fraction, "low").to(mask_NT.device)
    return torch.where(chosen_NT, weight * _ones(mask_NT), _ones(mask_NT))


def position_matched_weights(
    chosen_NT: Tensor, mask_NT: Tensor, weight: float, seed: int, right_N: Tensor | None = None
) -> Tensor:
    """Each response takes the positions that were chosen in another one: is it only *where* they are?

    Unlikely tokens may simply stand early in an answer. Rows with chosen tokens are put in random
    order and row i looks at the next one, its donor d:

        1. the relative positions u = index / (n_d - 1) of the donor's k_d chosen tokens, in order;
           if k_i differs from k_d, k_i of them evenly, some twice or not at all
        2. round(u (n_i - 1)) in row i
        3. where two fall on one token, they spread to both sides, in order

    The next row of a random order, and not any row, so that none is its own donor (unless it is
    the only one). Each row's count is kept exactly; with equal lengths and counts so are positions.

    Args:
        chosen_NT: [N, T] bool, the tokens to imitate; k_i of them in row i.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        weight: of the tokens taken.
        seed: of the random order.
        right_N: [N] bool or None. With it a donor has the same verdict, as it should where the
            two polarities are chosen by different rules.

    Returns:
        [N, T] weights, `weight` on k_i tokens of row i and 1 elsewhere.

    Raises:
        ValueError: shapes differ; chosen or right is not bool; a chosen token is padding;
            seed is not an integer; weight is negative or not finite.
    """
    _check_weight("weight", weight)
    generator = _generator(seed)
    same_shape(chosen=chosen_NT, mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    if chosen_NT.dtype != torch.bool or (chosen_NT & ~real_NT).any():
        raise ValueError("chosen tokens must be a bool [N, T] that marks response tokens only.")
    if right_N is None:
        right_N = torch.zeros(len(mask_NT), dtype=torch.bool)
    _check_rows(right_N, mask_NT)
    donor_N = _donors(chosen_NT.any(dim=1).cpu().numpy(), right_N.cpu().numpy(), generator).to(mask_NT.device)
    taken_NT = _imitate(chosen_NT, real_NT, donor_N)
    return torch.where(taken_NT, weight * _ones(mask_NT), _ones(mask_NT))


def mean_one(weights_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """The same weights at an unchanged budget: W'_it = W_it n_i / sum_s W_is over row i's n_i tokens.

    Without it A3PO also takes larger steps, 1.2 times at weight 2.

    Args:
        weights_NT: [N, T]; anything on padding.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.

    Returns:
        [N, T] weights of mean 1 over each row's tokens; 1 on padding.

    Raises:
        ValueError: shapes differ; a weight of a response token is negative or not finite, or all
            those of a row are 0.
    """
    same_shape(weights=weights_NT, mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    weights_NT = torch.where(real_NT, weights_NT.detach(), torch.zeros_like(weights_NT))
    if not ((weights_NT >= 0) & torch.isfinite(weights_NT)).all():
        raise ValueError("a weight of a response token is negative, NaN or infinite.")
    length_N1, total_N1 = real_NT.sum(dim=1, keepdim=True), weights_NT.sum(dim=1, keepdim=True)
    if ((total_N1 == 0) & (length_N1 > 0)).any():
        raise ValueError("all weights of a response are 0: no factor gives them mean 1.")
    # Rows of ones keep their bits: n / n is exactly 1.
    return torch.where(real_NT, weights_NT * (length_N1 / total_N1), _ones(weights_NT))


# ---------------------------------------------------------------- helpers


def _ones(like_NT: Tensor) -> Tensor:
    """Ones where a tensor of this shape lives; floats keep their precision, masks get the default one."""
    dtype = like_NT.dtype if like_NT.is_floating_point() else torch.get_default_dtype()
    return torch.ones(like_NT.shape, dtype=dtype, device=like_NT.device)


def _check_weight(name: str, weight: float) -> None:
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"{name} must be finite and at least 0; got {weight}.")


def _check_rows(rows_N: Tensor, mask_NT: Tensor) -> None:
    if rows_N.shape != mask_NT.shape[:1] or rows_N.dtype != torch.bool:
        # Not converted: rewards of -1 would all become true.
        raise ValueError(
            f"rows must be bool of shape [{len(mask_NT)}], as the mask's rows; got {rows_N.dtype} {list(rows_N.shape)}."
        )


def _check_probability(probability_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """ValueError unless every response token has a probability; returns the mask as bool."""
    same_shape(probability=probability_NT, mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    # Written as "not inside", so that NaN is refused too.
    wrong_NT = real_NT & ~((probability_NT >= 0) & (probability_NT <= 1 + PROBABILITY_TOLERANCE))
    if wrong_NT.any():
        raise ValueError(
            f"{int(wrong_NT.sum())} response token(s) have a probability outside [0, 1] or NaN: "
            "were log-probabilities passed instead?"
        )
    return real_NT


def _ranked(metric_NT: Tensor, mask_NT: Tensor, rows_N: Tensor, fraction: float) -> Tensor:
    """Check what a ranking needs; returns the mask as bool."""
    same_shape(metric=metric_NT, mask=mask_NT)
    real_NT = real_tokens(mask_NT)
    _check_rows(rows_N, mask_NT)
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1; got {fraction}.")
    wrong_NT = real_NT & ~torch.isfinite(metric_NT)
    if wrong_NT.any():
        raise ValueError(f"{int(wrong_NT.sum())} response token(s) have a metric that is NaN or infinite.")
    return real_NT


def _counts(real_NT: Tensor, fraction: float) -> Tensor:
    """[N] k = max(1, floor(fraction n)) of each row's n tokens; 0 of none."""
    lengths = np.arange(real_NT.shape[1] + 1)
    # 0.29 * 100 is 28.999999999999996 in floating point; one part in a billion puts it back.
    table = np.maximum(np.floor(fraction * lengths + 1e-9), lengths > 0).astype(np.int64)
    return torch.from_numpy(table).to(real_NT.device)[real_NT.sum(dim=1)]


def _generator(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"seed must be an integer, so that the draw can be repeated; got {seed!r}.")
    return np.random.default_rng(seed)


def _donors(filled_N: np.ndarray, right_N: np.ndarray, generator: np.random.Generator) -> Tensor:
    """[N] for each row with chosen tokens, the next such row of its polarity in a random order."""
    donor_N = np.arange(len(filled_N))
    for polarity in (True, False):
        order = generator.permutation(np.flatnonzero(filled_N & (right_N == polarity)))
        donor_N[order] = np.roll(order, 1)
    return torch.from_numpy(donor_N)


def _imitate(chosen_NT: Tensor, real_NT: Tensor, donor_N: Tensor) -> Tensor:
    """[N, T] bool: in each row as many tokens as were chosen there, where its donor's are.

    K is the largest number of chosen tokens of a row; shorter rows have their first k_i filled.
    """
    length_N1, count_N1 = real_NT.sum(dim=1, keepdim=True), chosen_NT.sum(dim=1, keepdim=True)
    k_K = torch.arange(int(count_N1.max()) if len(count_N1) else 0, device=real_NT.device)
    relative_NT = (real_NT.cumsum(dim=1) - 1) / (length_N1 - 1).clamp(min=1)
    chosen_first_NT = (~chosen_NT).to(torch.uint8).argsort(dim=1, stable=True)
    relative_NK = relative_NT.gather(1, chosen_first_NT)[:, : len(k_K)]
    # The middles of k_i equal parts of the donor's list.
    donated_NK = ((2 * k_K + 1) * count_N1[donor_N]) // (2 * count_N1).clamp(min=1)
    target_NK = relative_NK[donor_N].gather(1, donated_NK.clamp(max=max(len(k_K) - 1, 0)))
    index_NK = _spread((target_NK * (length_N1 - 1)).round().long(), count_N1, length_N1)
    # From the index among a row's tokens to its column: they differ where a mask has gaps.
    column_NK = (~real_NT).to(torch.uint8).argsort(dim=1, stable=True).gather(1, index_NK)
    taken_NT = torch.zeros_like(real_NT, dtype=torch.long)
    return taken_NT.scatter_add_(1, column_NK, (k_K < count_N1).long()) > 0


def _spread(target_NK: Tensor, count_N1: Tensor, length_N1: Tensor) -> Tensor:
    """Distinct indices in [0, n_i) near rising targets: [2, 2, 2] becomes [1, 2, 3].

    Pushing later ones to the right gives one rising sequence, pushing earlier ones to the left
    another; both stay inside the row, and so does their middle, which still rises by one or more.
    """
    k_K = torch.arange(target_NK.shape[1], device=target_NK.device)
    if len(k_K) == 0:
        return target_NK
    used_NK, far = k_K < count_N1, torch.iinfo(torch.long).max // 2
    right_NK = (target_NK - k_K).cummax(dim=1)[0].minimum(length_N1 - count_N1) + k_K
    slack_NK = torch.where(used_NK, target_NK - k_K, far).flip(1).cummin(dim=1)[0].flip(1)
    left_NK = slack_NK.clamp(min=0) + k_K
    return torch.where(used_NK, (left_NK + right_NK) // 2, 0)
