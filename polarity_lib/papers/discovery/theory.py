"""The map of methods, and the signal that a rare way gives, by arithmetic.

**The map.** In a group of G answers, each right with probability p, k are right with the binomial's probability. What a method
gives to right and wrong answers when k are right comes from the method's own functions on a group made by hand (`gives`);

    right(p) = E[ k/G A_right(k) ],     wrong(p) = E[ (G - k)/G A_wrong(k) ]        per answer of the group

The frame is FADE's (arXiv 2607.01490), the algebra ours. The group stands alone: a baseline over the whole batch is then its
mean. Answers and tokens of a group by hand differ in how likely they were, as those of a policy do, in the same way whatever
their verdict; shown is the mean over an answer's tokens.

**The signal.** A policy works an answer out with probability q and is then right with probability a, else with d. With

    R = E[A of a right answer],  W = E[-A of a wrong answer],  given that it is right, or wrong

one answer moves the log-odds of working by w (1[worked] - q), w its advantage, and on average by

    q (1 - q) (a - d) (R + W)

What right answers gain and what wrong ones lose counts alike; a method's polarity is in how far single batches stray.

Axes: K numbers of right answers, 0 to G; P success rates.
"""

import functools
import math

import numpy as np
import pandas as pd
import torch
from scipy import stats

from polarity_lib.mechanism import hand_made
from polarity_lib.methods import Method, Progress, in_force, method_named, rows_kept
from polarity_lib.registry import METHODS
from polarity_lib.rollouts import Rollouts

TOKENS = 8  # of every answer by hand
SURPRISE = 0.2, 0.8  # nats per token, of the likeliest answer by hand and, nearly, of the least likely one
GOLDEN = 0.618034  # places answers between these evenly, whatever their number, and in no order of verdicts


def group_by_hand(right: int, size: int) -> Rollouts:
    """A group of answers of equal length, the first `right` of them right. Of each, later tokens are less likely."""
    rollouts = hand_made([i < right for i in range(size)], [0] * size, [TOKENS] * size, max_new_tokens=10 * TOKENS)
    low, high = SURPRISE
    answer_N = low + (high - low) * (torch.arange(size, dtype=torch.float64) * GOLDEN % 1)
    surprise_NT = answer_N[:, None] * torch.linspace(0.5, 1.5, TOKENS, dtype=torch.float64)
    return rollouts.but(logprobs_NT=-surprise_NT, entropies_NT=surprise_NT)


def gives(method: Method, size: int) -> np.ndarray:
    """[K, 2] the advantage that a right and a wrong answer get when k of the group are right; 0 where there is none.

    Raises:
        ValueError, KeyError, ...: the method needs what a group by hand does not have.
    """
    method, found_K2 = in_force(method, Progress(0, 100)), np.zeros((size + 1, 2))
    for right in range(size + 1):
        rollouts = group_by_hand(right, size)
        rewards_N = method.reward(rollouts)
        keep_N = rows_kept(method, rewards_N, rollouts.group_N)
        advantages_NT = method.advantage(rollouts, rewards_N, Progress(0, 100)) * keep_N[:, None]
        mean_N = ((advantages_NT * rollouts.mask_NT).sum(1) / rollouts.mask_NT.sum(1)).double()
        for column, rows in enumerate((rollouts.correct_N, ~rollouts.correct_N)):
            found_K2[right, column] = float(mean_N[rows].mean()) if rows.any() else 0.0
    return found_K2


def on_map(gives_K2: np.ndarray, p_P) -> np.ndarray:
    """[P, 2] what an answer of the group gets for being right, and for being wrong, on average over the binomial."""
    size = len(gives_K2) - 1
    k_K, p_P = np.arange(size + 1), np.atleast_1d(np.asarray(p_P, dtype=float))
    chance_PK = stats.binom.pmf(k_K[None], size, p_P[:, None])
    return chance_PK @ (np.stack([k_K / size, 1 - k_K / size], axis=1) * gives_K2)


def given_verdict(gives_K2: np.ndarray, p: float, power: int = 1) -> tuple[float, float]:
    """(R, W): mean of A for a right answer and of -A for a wrong one, or of their powers; the group's others are right with p."""
    size = len(gives_K2) - 1
    others = stats.binom.pmf(np.arange(size), size - 1, p)
    return float(others @ gives_K2[1:, 0] ** power), float(others @ (-gives_K2[:-1, 1]) ** power)


@functools.cache
def map_of_methods(size: int = 8) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every registered method that a group by hand tells, as `gives`; and why the others are left out."""
    told, left_out = {}, {}
    for name in METHODS:
        method = method_named(name)
        try:
            told[name] = gives(method, size)
        except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
            left_out[name] = f"needs {', '.join(sorted(method.needs)) or 'more than a group by hand has'}: {error!s:.60}"
    return told, left_out


def families(told: dict[str, np.ndarray]) -> dict[tuple[str, ...], np.ndarray]:
    """Methods that give a group the same, together; those that give nothing are left out."""
    found: dict[bytes, list[str]] = {}
    for name, gives_K2 in told.items():
        if np.abs(gives_K2).max() > 1e-6:
            found.setdefault((gives_K2.round(4) + 0.0).tobytes(), []).append(name)
    return {tuple(names): told[names[0]] for names in found.values()}


# ---------------------------------------------------------------- the rare way


def chance_of_one(q: float, a: float, answers: int) -> float:
    """The probability that a batch holds at least one worked answer that is right."""
    return 1 - (1 - q * a) ** answers


def signal(gives_K2: np.ndarray, q: float, a: float, d: float, answers: int = 256) -> dict[str, float]:
    """What a batch does to the log-odds of the rare way.

    Returns:
        push: mean over batches of the sum of w (1[worked] - q) per answer; strays: its standard deviation; clear: one over
        the other. Answers of a group are taken as independent in `strays`, which they are not quite where a method
        compares within groups.
    """
    p = q * a + (1 - q) * d
    (R, W), (R2, W2) = (given_verdict(gives_K2, p, power) for power in (1, 2))
    push = q * (1 - q) * (a - d) * (R + W)
    square = q * (1 - q) ** 2 * (a * R2 + (1 - a) * W2) + (1 - q) * q**2 * (d * R2 + (1 - d) * W2)
    strays = math.sqrt(max(0.0, square - push**2) / answers)
    return {"push": push, "strays": strays, "clear": push / strays if strays else 0.0}


def forecast(q: float, a: float, d: float, size: int = 8, answers: int = 256) -> pd.DataFrame:
    """`signal` of every method on the map, a row per method, the clearest first."""
    told, _ = map_of_methods(size)
    rows = {name: signal(gives_K2, q, a, d, answers) for name, gives_K2 in told.items()}
    return pd.DataFrame(rows).T.sort_values("clear", ascending=False)



