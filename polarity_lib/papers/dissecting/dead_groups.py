"""How many groups teach nothing: measured, and predicted from how often each problem is solved. Pure functions.

Axes: Q problems (groups), G rollouts per prompt.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def dead_probability(p: ArrayLike, size: int) -> np.ndarray:
    """Probability that `size` answers are all right or all wrong, at a success probability: p^G + (1 - p)^G."""
    p = np.asarray(p, dtype=float)
    return p**size + (1 - p) ** size


def measured_share(right_QG: ArrayLike) -> dict[str, float]:
    """Share of groups whose answers are all alike, and its two parts."""
    right_QG = np.asarray(right_QG, dtype=bool)
    easy, hard = float(right_QG.all(axis=1).mean()), float((~right_QG.any(axis=1)).mean())
    return {"dead": easy + hard, "easy": easy, "hard": hard}


def _all_of(samples: int, hits: np.ndarray, size: int) -> np.ndarray:
    """Probability that `size` answers drawn without replacement from `samples` are all hits: C(c, G) / C(n, G)."""
    return np.array([math.comb(int(c), size) / math.comb(samples, size) for c in hits])


def predicted_share(samples: int, correct_Q: ArrayLike, size: int) -> dict[str, float]:
    """The same for groups of another size, from counts: the unbiased estimate of E_p[p^G + (1 - p)^G].

    Raises:
        ValueError: a group larger than the samples.
    """
    if not 1 <= size <= samples:
        raise ValueError(f"groups of {size} cannot be predicted from {samples} answers a problem.")
    correct_Q = np.asarray(correct_Q, dtype=int)
    easy, hard = (float(_all_of(samples, hits, size).mean()) for hits in (correct_Q, samples - correct_Q))
    return {"dead": easy + hard, "easy": easy, "hard": hard}


def by_size(problems: pd.DataFrame, sizes: tuple[int, ...] = (2, 4, 8, 16, 32)) -> pd.DataFrame:
    """Predicted shares of a run's count table: one row per (arm, seed, level, size); level "all" is the whole mixture."""
    rows = []
    for (arm, seed), run in problems[problems.set == "test"].groupby(["arm", "seed"], sort=False):
        parts = {"all": run} | {int(level): part for level, part in run.groupby("level")}
        for level, part in parts.items():
            samples = int(part.samples.iloc[0])
            rows += [{"arm": arm, "seed": seed, "level": level, "size": g} | predicted_share(samples, part.correct, g)
                     for g in sizes if g <= samples]
    return pd.DataFrame(rows)
