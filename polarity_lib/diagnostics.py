"""What a batch and an update look like, split by polarity. Pure functions.

Polarity is the verdict's. Entropy is of the full distribution at each
response position; the surprise (minus log-probability) of the sampled token
is a different number and has its own name.
"""

import math

import torch
from torch import Tensor

from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import count_labels


def token_average(values_NT: Tensor, mask_NT: Tensor) -> float:
    """Mean over response tokens; NaN if there are none."""
    count = mask_NT.sum()
    return float((values_NT * mask_NT).sum() / count) if count else math.nan


def shows_work(rollouts: Rollouts) -> Tensor:
    """[N] answers with a line such as 3+5=8. A bare answer and a countdown expression show no work."""
    return torch.tensor(["=" in text for text in rollouts.texts])


def describe_rollouts(rollouts: Rollouts) -> dict[str, float]:
    """Verdict shares, groups, length, entropy and surprise of a batch."""
    right_N = rollouts.correct_N
    groups = int(rollouts.group_N.max()) + 1
    sizes = torch.zeros(groups).index_add(0, rollouts.group_N, torch.ones(len(right_N)))
    wins = torch.zeros(groups).index_add(0, rollouts.group_N, right_N.float())
    lengths_N = rollouts.mask_NT.sum(1)
    found = {
        "train/reward": float(right_N.float().mean()),
        "groups/all_right": float((wins == sizes).float().mean()),
        "groups/all_wrong": float((wins == 0).float().mean()),
        "sampling/drawn": float(rollouts.drawn),
        "sampling/tokens": float(lengths_N.sum()),
        "length/all": float(lengths_N.mean()),
        "entropy/all": token_average(rollouts.entropies_NT, rollouts.mask_NT),
        "surprise/all": -token_average(rollouts.logprobs_NT, rollouts.mask_NT),
    }
    for label, count in count_labels(rollouts.verdicts).items():
        found[f"verdicts/{label}"] = count / len(rollouts)
    for name, rows in (("right", right_N), ("wrong", ~right_N)):
        mask = rollouts.mask_NT[rows]
        found[f"length/{name}"] = float(lengths_N[rows].mean()) if rows.any() else math.nan
        found[f"entropy/{name}"] = token_average(rollouts.entropies_NT[rows], mask)
    return found


def describe_gaps(rollouts: Rollouts) -> dict[str, float]:
    """How far the sampler's log-probabilities lie from the trainer's, by polarity, where the sampler told it.

    `sampler_gap/right` and `/wrong`: mean absolute difference in nats over the response tokens of such rows (NaN without
    any); `/largest`: the largest row's mean. Nothing for a batch that a method put together from several draws.
    """
    gap_N = rollouts.extras.get("sampler_gap")
    if gap_N is None or len(gap_N) != len(rollouts):
        return {}
    right_N, lengths_N = rollouts.correct_N, rollouts.mask_NT.sum(1)
    found = {"sampler_gap/largest": float(gap_N.max())}
    for name, rows in (("right", right_N), ("wrong", ~right_N)):
        found[f"sampler_gap/{name}"] = float((gap_N * lengths_N)[rows].sum() / lengths_N[rows].sum()) if rows.any() else math.nan
    return found


def describe_advantages(advantages_NT: Tensor, mask_NT: Tensor, right_N: Tensor) -> dict[str, float]:
    """How much of the signal each polarity carries, and whether signs follow verdicts.

    `signal/right_share` is sum |A| over right rows' tokens divided by the sum
    over all tokens (NaN if nothing is reinforced). `signal/sign_disagreement`
    is the share of rows with a non-zero advantage whose sign is not that of
    their verdict.
    """
    weight_N = (advantages_NT.abs() * mask_NT).sum(1)
    sign_N = (advantages_NT * mask_NT).sum(1).sign()
    active = sign_N != 0
    expected = torch.where(right_N, 1.0, -1.0)
    total = float(weight_N.sum())
    return {
        "signal/rows": float((weight_N > 0).sum()),
        "signal/right_share": float(weight_N[right_N].sum()) / total if total else math.nan,
        "signal/sign_disagreement": float((sign_N != expected)[active].float().mean()) if active.any() else math.nan,
    }


def clip_share(logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor,
               low: float = 0.2, high: float = 0.2) -> float:
    """Share of response tokens whose gradient a symmetric PPO clip of 0.2 would block."""
    ratio = (logprobs_NT - old_NT).detach().exp()
    blocked = ((advantages_NT > 0) & (ratio > 1 + high)) | ((advantages_NT < 0) & (ratio < 1 - low))
    return token_average(blocked.float(), mask_NT)


PROBABILITIES = {"rare": (0.0, 0.1), "middle": (0.1, 0.5), "sure": (0.5, 1.01)}  # of a token when it was drawn
DRIFTS = (0.05, 0.1, 0.2)  # nats per token, the thresholds in use for a negative sequence mask


def describe_ratios(logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor,
                    low: float = 0.2, high: float = 0.2) -> dict[str, float]:
    """What a clip, and a negative sequence mask, would take from an update, by the sign of the advantage; NaN without such rows.

    clip/raised, clip/lowered        share of the tokens with A > 0 (A < 0) whose gradient a clip of 0.2 would block
    clip/lowered_<rare|middle|sure>  the same among lowered tokens by their probability when they were drawn
    away/<d>                         share of rows with A < 0 whose mean log(pi_old / pi) over tokens is above d
    """
    raised_NT, lowered_NT = (mask_NT * (sign * advantages_NT > 0) for sign in (1, -1))
    drift_NT = (old_NT - logprobs_NT).detach()
    ratio_NT = (-drift_NT).exp()
    below_NT = (ratio_NT < 1 - low).float()
    found = {"clip/raised": token_average((ratio_NT > 1 + high).float(), raised_NT),
             "clip/lowered": token_average(below_NT, lowered_NT)}
    old_p_NT = old_NT.exp()
    for name, (start, end) in PROBABILITIES.items():
        found[f"clip/lowered_{name}"] = token_average(below_NT, lowered_NT * ((old_p_NT >= start) & (old_p_NT < end)))
    rows_N = lowered_NT.any(1)
    drift_N = (drift_NT * mask_NT).sum(1)[rows_N] / mask_NT.sum(1)[rows_N]
    return found | {f"away/{d:g}": float((drift_N > d).float().mean()) for d in DRIFTS}


def update_norm(before: list[Tensor], parameters) -> float:
    """Euclidean length of the parameter change of one step."""
    return math.sqrt(sum(float((p.detach() - b).square().sum()) for p, b in zip(parameters, before)))
