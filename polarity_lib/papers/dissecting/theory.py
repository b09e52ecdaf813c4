"""The geometry of the two polarities on a distribution with several right answers, exactly (the paper's drawing).

A policy is a softmax over a few answers: some right (three valid derivations, one of which the data favours), the
rest wrong. It is trained on batches that it samples itself, by right answers only or by wrong answers only. The
oracle spreads its mass evenly over the right answers.

What comes out is not the drawing: on one problem alone the two polarities walk nearly the same path and differ in
pace, since their expected updates differ by little more than a baseline (`mechanism.expected_update`). If wrong
answers keep more ways open in a trained policy, it is by what problems share, not by this.

Axes: V answers, S steps.
"""

import numpy as np
import pandas as pd

RIGHT_SHARES = (0.30, 0.08, 0.02)  # of the start: the data's own way, and two that it hardly knows
WRONG = 12  # wrong answers, which share the rest evenly


def start(right: tuple[float, ...] = RIGHT_SHARES, wrong: int = WRONG) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities_V, right_V)."""
    probs = np.array([*right, *([(1 - sum(right)) / wrong] * wrong)])
    return probs, np.arange(len(probs)) < len(right)


def entropy_over_right(probs_V: np.ndarray, right_V: np.ndarray) -> float:
    """Nats of the distribution over right answers, given that the answer is right; 0 where one has all their mass."""
    inside = probs_V[right_V] / max(probs_V[right_V].sum(), 1e-300)
    return float(-(inside * np.log(np.clip(inside, 1e-300, None))).sum())


def train(polarity: str, probs_V: np.ndarray, right_V: np.ndarray, steps: int, size: int = 8, groups: int = 16,
          rate: float = 0.02, seed: int = 0) -> np.ndarray:
    """[S + 1, V] probabilities over training: group-normalised advantages of sampled groups, one polarity or both.

        logits += rate / (groups size) * sum_n A_n (1[y_n] - pi),     A_n = 0 for the polarity that is left out

    Args:
        polarity: "right", "wrong" or "both".
    """
    rng = np.random.default_rng(seed)
    logits_V = np.log(probs_V)
    path = [probs_V]
    for _ in range(steps):
        pi_V = np.exp(logits_V - logits_V.max())
        pi_V /= pi_V.sum()
        drawn_PG = rng.choice(len(pi_V), size=(groups, size), p=pi_V)
        reward_PG = right_V[drawn_PG].astype(float)
        spread_P1 = reward_PG.std(axis=1, ddof=1, keepdims=True)
        advantage_PG = (reward_PG - reward_PG.mean(axis=1, keepdims=True)) / (spread_P1 + 1e-6)
        kept = {"right": reward_PG == 1, "wrong": reward_PG == 0, "both": np.ones_like(reward_PG, dtype=bool)}[polarity]
        weights_V = np.bincount(drawn_PG.ravel(), (advantage_PG * kept).ravel(), minlength=len(pi_V))
        logits_V = logits_V + rate / drawn_PG.size * (weights_V - weights_V.sum() * pi_V) * len(pi_V)
        after_V = np.exp(logits_V - logits_V.max())
        path.append(after_V / after_V.sum())
    return np.array(path)


def geometry(steps: int = 400, draws: int = 8) -> pd.DataFrame:
    """Per polarity, draw and step: mass on wrong answers, mass of the likeliest right one, entropy over the right ones."""
    probs_V, right_V = start()
    rows = []
    for polarity in ("right", "wrong", "both"):
        for draw in range(draws):
            for step, pi_V in enumerate(train(polarity, probs_V, right_V, steps, seed=draw)):
                rows.append({"polarity": polarity, "draw": draw, "step": step, "wrong": float(pi_V[~right_V].sum()),
                             "modal": float(pi_V[right_V].max()), "entropy": entropy_over_right(pi_V, right_V)})
    return pd.DataFrame(rows)


def wrong_at_modal(table: pd.DataFrame, modal: float) -> pd.DataFrame:
    """Per polarity and draw: wrong mass, and entropy over right answers, when the likeliest right one first reaches `modal`."""
    there = table[table.modal >= modal].sort_values("step").groupby(["polarity", "draw"], sort=False)
    return there[["step", "wrong", "entropy", "modal"]].first().reset_index()
