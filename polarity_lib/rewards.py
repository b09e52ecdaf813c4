"""Verdicts to rewards, and the controls that break the link on purpose."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from polarity_lib.config import choose, derive_seed
from polarity_lib.rollouts import Rollouts


def correctness(rollouts: Rollouts) -> Tensor:
    """[N] 1.0 where the verdict is `correct`, else 0.0; truncated and unread answers count as wrong."""
    return rollouts.correct_N.float()


def control_verdicts(rollouts: Rollouts, kind: str, seed) -> Rollouts:
    """The rollouts as a lying verifier would judge them.

    true      unchanged
    flipped   right becomes wrong and the reverse: learning should go backwards
    tossed    the batch's verdicts shuffled among its rows: as many rights as
              before, on random rows, so anything still learned is not
              learned from correctness

    Raises:
        ConfigError: unknown control.
    """
    choose("verdict control", kind, ("true", "flipped", "tossed"))
    if kind == "true":
        return rollouts
    right = rollouts.correct_N.numpy()
    if kind == "flipped":
        right = ~right
    else:
        right = np.random.default_rng(derive_seed(seed, "tossed")).permutation(right)
    verdicts = [
        dataclasses.replace(v, label="correct" if r else "wrong", reason=f"{kind} verdict; truly {v.label}")
        for v, r in zip(rollouts.verdicts, torch.from_numpy(right).tolist())
    ]
    return rollouts.but(verdicts=verdicts)
