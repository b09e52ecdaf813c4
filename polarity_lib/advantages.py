"""Rewards in, advantages out: how strongly, and in which direction, each rollout is reinforced.

One pure function per published definition. Several papers say "positive only" or
"negative reinforcement" for different formulas; here each formula has its own name:

    signed_constant   +w or -w by verdict, no baseline     PSR, NSR, W-REINFORCE
    batch_baseline    R - mean of the batch                REINFORCE with a baseline
    rloo              R - mean of the *other* rollouts     RLOO
    dr_grpo           R - mean of the group                Dr. GRPO
    grpo              (R - mean) / (std + epsilon)         GRPO, DAPO, A3PO, DISSECT
    gae               discounted sums of value errors      PPO

Dropping the rollouts of one polarity is not done here: a method says that separately,
because the papers compute advantages on the whole group first and drop rows afterwards.

Axes are named by the last letters of a variable:

    N   rollouts in the batch; groups may differ in size and rows may come in any order
    T   token positions of the longest response; shorter ones are masked

Every result is a constant: advantages carry no gradient.
"""

import torch
from torch import Tensor


def check_rewards(rewards_N: Tensor, group_N: Tensor | None = None) -> None:
    """Refuse rewards that would give a silent wrong advantage.

    Args:
        rewards_N: [N] one number per rollout.
        group_N: [N] integer id of the prompt each rollout answers, or None.

    Raises:
        ValueError: rewards are not one-dimensional, empty, NaN or infinite; group ids
            have another shape or are not integers.
    """
    if rewards_N.ndim != 1:
        raise ValueError(f"rewards must have shape [N], one per rollout; got {list(rewards_N.shape)}.")
    if len(rewards_N) == 0:
        raise ValueError("the batch is empty: there is no reward to compute an advantage from.")
    if not torch.isfinite(rewards_N).all():
        bad = int((~torch.isfinite(rewards_N)).sum())
        raise ValueError(f"rewards must be finite; {bad} of {len(rewards_N)} are NaN or infinite.")
    if group_N is None:
        return
    if group_N.shape != rewards_N.shape:
        raise ValueError(
            f"every rollout needs one group: rewards have shape {list(rewards_N.shape)}, groups {list(group_N.shape)}."
        )
    if group_N.is_floating_point() or group_N.is_complex() or group_N.dtype == torch.bool:
        raise ValueError(f"group ids must be integers; got {group_N.dtype}.")


def check_verdicts(rewards_N: Tensor, group_N: Tensor | None = None) -> None:
    """Refuse rewards that do not say right or wrong.

    Raises:
        ValueError: as `check_rewards`, or a reward other than 0 and 1.
    """
    check_rewards(rewards_N, group_N)
    other_N = (rewards_N != 0) & (rewards_N != 1)
    if other_N.any():
        raise ValueError(f"rewards must be 0 (wrong) or 1 (right); {int(other_N.sum())} of {len(rewards_N)} are neither.")


# ---------------------------------------------------------------- no baseline


def signed_constant(rewards_N: Tensor, positive_weight: float = 1.0, negative_weight: float = 1.0) -> Tensor:
    """A constant per polarity, without baseline or group.

        A_n = +positive_weight  where R_n > 0
              -negative_weight  elsewhere

    Weights (1, 0) give PSR, (0, 1) NSR, (0.1, 1) W-REINFORCE, (1, 1) REINFORCE. Unlike in
    GRPO, all-right and all-wrong groups teach as much as any other.

    Source: arXiv 2506.01347, Section 3; repository TianHongZXY/RLVR-Decomposed.

    Args:
        rewards_N: [N] rewards; polarity is whether they are above zero, so 0/1 and -1/+1 both work.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `check_rewards`.
    """
    check_rewards(rewards_N)
    positive_N, negative_N = _filled(rewards_N, positive_weight), _filled(rewards_N, -negative_weight)
    return torch.where(rewards_N > 0, positive_N, negative_N)


# ---------------------------------------------------------------- baselines


def batch_baseline(rewards_N: Tensor) -> Tensor:
    """REINFORCE with the batch mean as baseline: A_n = R_n - mean(R).

    Args:
        rewards_N: [N] rewards.

    Returns:
        [N] advantages, summing to zero over the batch.

    Raises:
        ValueError: as `check_rewards`.
    """
    check_rewards(rewards_N)
    # One group that holds everybody.
    return dr_grpo(rewards_N, torch.zeros(len(rewards_N), dtype=torch.long))


def rloo(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """Leave-one-out baseline: the mean reward of the other rollouts of the same prompt.

        A_i = R_i - 1/(G-1) sum_{j != i} R_j  =  G/(G-1) (R_i - mean_g)

    Unbiased, and the same direction as Dr. GRPO when all groups have one size.

    Source: arXiv 2402.14740.

    Args:
        rewards_N: [N] rewards.
        group_N: [N] integer prompt ids, ragged and in any order.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `check_rewards`, or a group of one, which has no other rollout to compare with.
    """
    check_rewards(rewards_N, group_N)
    centred_N, size_N, _ = centred(rewards_N, group_N)
    if (size_N == 1).any():
        alone = int((size_N == 1).sum())
        raise ValueError(
            f"{alone} group(s) hold a single rollout: leave-one-out compares a rollout with the others "
            "of its prompt, and there are none. Sample at least two per prompt."
        )
    return in_precision_of(centred_N * size_N / (size_N - 1), rewards_N)


def dr_grpo(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """The distance from the group's mean, not divided by its spread: A_i = R_i - mean_g.

    Source: arXiv 2503.20783.

    Args:
        rewards_N: [N] rewards.
        group_N: [N] integer prompt ids, ragged and in any order.

    Returns:
        [N] advantages; a group of one gets 0, as the equation says.

    Raises:
        ValueError: as `check_rewards`.
    """
    check_rewards(rewards_N, group_N)
    return in_precision_of(centred(rewards_N, group_N)[0], rewards_N)


def grpo(rewards_N: Tensor, group_N: Tensor, epsilon: float = 1e-6, ddof: int = 1) -> Tensor:
    """Rewards standardised within each prompt's group.

        A_i = (R_i - mean_g) / (std_g + epsilon),   std_g^2 = 1/(G - ddof) sum_j (R_j - mean_g)^2

    A uniform group (all right or all wrong) gets zero. A group of one uses mean 0 and std 1,
    as the released codes do, so its advantage is its reward.

    Source: arXiv 2402.03300; repository txy77/Sample-Polarity-of-RLVR (epsilon 1e-6, ddof 1).
    TRL uses epsilon 1e-4.

    Args:
        rewards_N: [N] rewards.
        group_N: [N] integer prompt ids, ragged and in any order.
        epsilon: keeps uniform groups finite.
        ddof: 1 for the unbiased standard deviation (all released codes), 0 for the population's.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `check_rewards`, or ddof is neither 0 nor 1.
    """
    check_rewards(rewards_N, group_N)
    if ddof not in (0, 1):
        raise ValueError(f"ddof must be 0 or 1; got {ddof}.")
    centred_N, size_N, row_N = centred(rewards_N, group_N)
    squares_N = group_sum(centred_N**2, row_N)
    std_N = (squares_N / (size_N - ddof).clamp(min=1)).sqrt()
    alone_N = size_N == 1
    numerator_N = torch.where(alone_N, in_double(rewards_N), centred_N)
    std_N = torch.where(alone_N, 1.0, std_N)
    return in_precision_of(numerator_N / (std_N + epsilon), rewards_N)


# ---------------------------------------------------------------- polarity weights


def weight_polarities(advantages: Tensor, rewards_N: Tensor, positive_weight: float, negative_weight: float) -> Tensor:
    """PxNy: scale the advantages of right rollouts by x, of wrong ones by y.

        A'_n = positive_weight A_n  where R_n > 0,   negative_weight A_n  elsewhere

    Polarity comes from the *verdict*, not from the sign of the advantage: with shaped
    rewards a right answer can have a negative advantage, and it stays a positive rollout.

    Source: arXiv 2512.21625; repository txy77/Sample-Polarity-of-RLVR, mode "weighted".

    Args:
        advantages: [N] or [N, T].
        rewards_N: [N] rewards of the verdict, above zero where right (not the shaped ones).

    Returns:
        Advantages of the shape given.

    Raises:
        ValueError: as `check_rewards`, or the number of rollouts differs.
    """
    check_rewards(rewards_N)
    if advantages.ndim not in (1, 2) or len(advantages) != len(rewards_N):
        raise ValueError(
            f"advantages must have shape [N] or [N, T] with N = {len(rewards_N)} rewards; got {list(advantages.shape)}."
        )
    right_N = (rewards_N > 0).to(advantages.device)
    right = right_N if advantages.ndim == 1 else right_N[:, None]
    return torch.where(right, positive_weight * advantages, negative_weight * advantages).detach()


# ---------------------------------------------------------------- per token


def expand(advantages_N: Tensor, mask_NT: Tensor) -> Tensor:
    """Give every token of a rollout that rollout's advantage, and padding zero.

    Args:
        advantages_N: [N].
        mask_NT: [N, T] 1 on response tokens, 0 on padding.

    Returns:
        [N, T] advantages.

    Raises:
        ValueError: advantages are not a valid [N] for this mask.
    """
    check_rewards(advantages_N)
    if mask_NT.ndim != 2 or len(mask_NT) != len(advantages_N):
        raise ValueError(f"mask must have shape [N, T] with N = {len(advantages_N)}; got {list(mask_NT.shape)}.")
    advantages_N = advantages_N.to(mask_NT.device)
    return torch.where(mask_NT > 0, advantages_N[:, None], torch.zeros_like(advantages_N[:, None])).detach()


def gae(
    values_NT: Tensor, rewards_N: Tensor, mask_NT: Tensor, discount: float = 1.0, trace: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation with the reward on the last token (PPO).

        delta_t = r_t + discount V_{t+1} - V_t        r_t = R at the last token, else 0
        A_t     = delta_t + discount trace A_{t+1}    V = A = 0 after the last token
        return_t = A_t + V_t

    With discount = trace = 1 this is A_t = R - V_t and return_t = R.

    Source: arXiv 1506.02438; the released PPO codes.

    Args:
        values_NT: [N, T] the critic's value before each token; anything on padding.
        rewards_N: [N] rewards.
        mask_NT: [N, T] ones from position 0 to the last token, then zeros.

    Returns:
        (advantages_NT, returns_NT), zero on padding; the second is the critic's target.

    Raises:
        ValueError: as `check_rewards`, shapes differ, a row has no token, or a mask has a gap.
    """
    check_rewards(rewards_N)
    if values_NT.shape != mask_NT.shape or mask_NT.ndim != 2 or len(mask_NT) != len(rewards_N):
        raise ValueError(
            f"values {list(values_NT.shape)} and mask {list(mask_NT.shape)} must both be [N, T] "
            f"with N = {len(rewards_N)} rewards."
        )
    real_NT = mask_NT > 0
    if not real_NT.any(dim=1).all():
        raise ValueError("a row of the mask is empty: there is no last token to put its reward on.")
    if (real_NT[:, 1:] & ~real_NT[:, :-1]).any():
        raise ValueError("the mask must run without a gap from position 0: a reward travels back token by token.")
    values_NT = torch.where(real_NT, values_NT.detach(), torch.zeros_like(values_NT))
    token_rewards_NT = torch.zeros_like(values_NT)
    last_N1 = real_NT.sum(dim=1, keepdim=True) - 1
    token_rewards_NT.scatter_(1, last_N1, rewards_N.detach().to(values_NT)[:, None])

    advantages_NT = torch.zeros_like(values_NT)
    next_value_N = next_advantage_N = torch.zeros_like(values_NT[:, 0])
    # Starting in the padding is harmless: value, reward and so advantage are zero there.
    for t in reversed(range(values_NT.shape[1])):
        delta_N = token_rewards_NT[:, t] + discount * next_value_N - values_NT[:, t]
        next_advantage_N = advantages_NT[:, t] = delta_N + discount * trace * next_advantage_N
        next_value_N = values_NT[:, t]
    return advantages_NT, advantages_NT + values_NT


def whiten(advantages_NT: Tensor, mask_NT: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Standardise over all response tokens of the batch, as PPO codes do before the update.

        A' = (A - mean) / sqrt(var + epsilon)      var divides by (tokens - 1)

    Source: `masked_whiten` of verl and of TRL's PPO trainer.

    Args:
        advantages_NT: [N, T]; anything on padding.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.

    Returns:
        [N, T] advantages, zero on padding.

    Raises:
        ValueError: shapes differ, or fewer than two tokens (one token has no spread).
    """
    if advantages_NT.shape != mask_NT.shape or mask_NT.ndim != 2:
        raise ValueError(f"advantages {list(advantages_NT.shape)} and mask {list(mask_NT.shape)} must both be [N, T].")
    real_NT = mask_NT > 0
    tokens = advantages_NT.detach()[real_NT]
    if len(tokens) < 2:
        raise ValueError(f"whitening needs at least two response tokens; the mask marks {len(tokens)}.")
    if not torch.isfinite(tokens).all():
        raise ValueError("an advantage on a response token is NaN or infinite.")
    whitened_NT = (advantages_NT.detach() - tokens.mean()) * (tokens.var(correction=1) + epsilon).rsqrt()
    return torch.where(real_NT, whitened_NT, torch.zeros_like(whitened_NT))


# ---------------------------------------------------------------- helpers


def in_double(rewards_N: Tensor) -> Tensor:
    """Rewards where group statistics are computed: on the CPU, in double precision.

    N is small, so this costs nothing, and it buys three things. Three rewards of 0.7 have a
    single-precision mean that differs from 0.7 by 6e-8, which GRPO would divide by 1e-6.
    Sums on a GPU have no fixed order, so two equal runs would differ. Apple GPUs lack double.
    """
    return rewards_N.detach().to("cpu", torch.float64)


def in_precision_of(advantages_N: Tensor, rewards_N: Tensor) -> Tensor:
    """Back to the rewards' device and precision (whole-number rewards become floats)."""
    dtype = rewards_N.dtype if rewards_N.is_floating_point() else torch.get_default_dtype()
    return advantages_N.to(rewards_N.device, dtype)


def _filled(rewards_N: Tensor, value: float) -> Tensor:
    return in_precision_of(torch.full(rewards_N.shape, float(value), dtype=torch.float64), rewards_N)


def group_sum(values_N: Tensor, row_N: Tensor) -> Tensor:
    """[N] for each rollout, the sum of `values_N` over its group."""
    sums = torch.zeros(int(row_N.max()) + 1, dtype=values_N.dtype).index_add(0, row_N, values_N)
    return sums[row_N]


def group_max(values_N: Tensor, row_N: Tensor) -> Tensor:
    """[N] for each rollout, the largest of `values_N` in its group."""
    largest = torch.full((int(row_N.max()) + 1,), -torch.inf, dtype=values_N.dtype)
    return largest.scatter_reduce(0, row_N, values_N, "amax")[row_N]


def centred(rewards_N: Tensor, group_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards minus their group's mean, the group's size, and the group as 0, 1, 2, ..."""
    values_N = in_double(rewards_N)
    row_N = torch.unique(group_N.detach().cpu(), return_inverse=True)[1]
    size_N = group_sum(torch.ones_like(values_N), row_N)
    return values_N - group_sum(values_N, row_N) / size_N, size_N, row_N
