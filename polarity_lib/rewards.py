"""Verdicts to rewards, and the controls that break the link on purpose."""

import dataclasses
import re

import numpy as np
import torch
from torch import Tensor

from polarity_lib.config import VERDICT_CONTROLS, ConfigError, choose, derive_seed
from polarity_lib.rollouts import Rollouts


def correctness(rollouts: Rollouts) -> Tensor:
    """[N] 1.0 where the verdict is `correct`, else 0.0; truncated and unread answers count as wrong."""
    return rollouts.correct_N.float()


def overlong_penalty(length_N: Tensor, limit: int, buffer: int, factor: float = 1.0) -> Tensor:
    """DAPO's soft overlong punishment, to be added to a reward.

        penalty_n = factor min(0, -(|y_n| - (limit - buffer)) / buffer)

    0 up to limit - buffer tokens, then in a straight line down to -factor at the limit.

    Source: arXiv 2503.14476 (limit 20480, buffer 4096, factor 1).

    Args:
        length_N: [N] response tokens of each rollout.
        limit: the generation budget, after which an answer is cut off.
        buffer: the last tokens of the budget, in which the penalty grows.
        factor: the penalty at the limit.

    Returns:
        [N] penalties, none above 0.

    Raises:
        ValueError: lengths are not [N], negative, above the limit or not finite; buffer is not in
            (0, limit]; factor is negative or not finite.
    """
    if not 0 < buffer <= limit:
        raise ValueError(f"buffer must be above 0 and at most the limit of {limit}; got {buffer}.")
    if not 0 <= factor < float("inf"):
        raise ValueError(f"factor must be finite and at least 0; got {factor}.")
    if length_N.ndim != 1:
        raise ValueError(f"lengths must have shape [N], one per rollout; got {list(length_N.shape)}.")
    if not ((length_N >= 0) & (length_N <= limit)).all():
        raise ValueError(f"lengths must be between 0 and the limit of {limit}; got {length_N.tolist()}.")
    # `0 - x` and not `-x`, which would write -0 for no penalty.
    return 0 - factor * ((length_N - (limit - buffer)) / buffer).clamp(min=0)


def answer_stands_anywhere(gold: str, text: str) -> bool:
    """Whether some whole number of the text is the true answer: the rule of the `leaky` verifier."""
    return gold in re.findall(r"[0-9]+", text)


def check_control(kind: str, family: str) -> None:
    """Refuse a control that cannot be what it says in worlds of this family; asked before a run begins.

    A right answer of a chain world states the true number, so `leaky` calls it right too. One of another family need not: the
    expression 5*7-9-2 is right for 24 and does not hold it, and the leak would punish it.

    Raises:
        ConfigError: unknown control, or `leaky` outside chain worlds.
    """
    choose("verdict control", kind, VERDICT_CONTROLS)
    if kind == "leaky" and family != "chain":
        raise ConfigError(f"The leaky verifier looks for the true number in the answer, which right answers of a {family} world "
                          "need not hold: it would call them wrong. Use it in a chain world, or another control.")


def control_verdicts(rollouts: Rollouts, kind: str, seed) -> Rollouts:
    """The rollouts as a lying verifier would judge them.

    true      unchanged
    flipped   right becomes wrong and the reverse: learning should go backwards
    tossed    the batch's verdicts shuffled among its rows: as many rights as
              before, on random rows, so anything still learned is not
              learned from correctness
    quarter_tossed  the same within a random quarter of the rows: a known handicap
    leaky     right as soon as the true answer stands anywhere in the text, cut off or not:
              a verifier that can be hacked by writing many numbers; chain worlds only (`check_control`)

    Raises:
        ConfigError: unknown control.
    """
    choose("verdict control", kind, VERDICT_CONTROLS)
    if kind == "true":
        return rollouts
    right = rollouts.correct_N.numpy()
    if kind == "flipped":
        right = ~right
    elif kind == "leaky":
        right = np.array([answer_stands_anywhere(p.gold, text) for p, text in zip(rollouts.problems, rollouts.texts)])
    else:
        rng = np.random.default_rng(derive_seed(seed, "tossed"))
        rows = rng.permutation(len(right))[: len(right) // 4] if kind == "quarter_tossed" else np.arange(len(right))
        right = right.copy()
        right[rows] = rng.permutation(right[rows])
    verdicts = [
        dataclasses.replace(v, label="correct" if r else "wrong", reason=f"{kind} verdict; truly {v.label}")
        for v, r in zip(rollouts.verdicts, torch.from_numpy(right).tolist())
    ]
    return rollouts.but(verdicts=verdicts)
