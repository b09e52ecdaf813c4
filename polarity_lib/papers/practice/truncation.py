"""Answers that were cut off at a length limit: a limit of one's own, and three ways to treat what it cuts.

    cut_at         sample with a lower limit than the world's
    wrong          a cut answer counts as wrong (what every method here does by itself)
    mask           it enters no gradient; its reward still counts in its group's mean and spread
    as_written     it is judged by what stands there: the last number after `#`, else the result of the last finished line

Axes: N rollouts, T token positions.
"""

import copy
import re
from typing import Callable

import torch
from torch import Tensor

from polarity_lib.config import ConfigError
from polarity_lib.methods import collect_fixed
from polarity_lib.problems import world_named
from polarity_lib.rewards import correctness
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import verify

TREATMENTS = ("wrong", "mask", "as_written")


def cut_at(limit: int) -> Callable:
    """Answers of at most `limit` tokens; 0: the world's own limit.

    Raises:
        ConfigError: the limit is no whole number, or below zero.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"limit is a number of tokens, or 0 for the world's own, not {limit!r}.")
    if not limit:
        return collect_fixed

    def collect(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
        shorter = copy.copy(sampler)
        shorter.max_new_tokens = limit
        return shorter.sample(stream.take(prompts), group_size, seed)

    return collect


def masked(base: Callable) -> Callable:
    """An advantage that is 0 on answers which were cut off. They stay in denominators that count rows.

    Source: DAPO's overlong filtering, arXiv 2503.14476; `mask_truncated_completions` of TRL (PR #3248), whose mean over tokens
    leaves them out of the denominator too, and whose mean over sequences does not.
    """

    def advantage(rollouts, rewards_N, progress):
        return base(rollouts, rewards_N, progress) * rollouts.finished_N.to(rewards_N)[:, None]

    return advantage


def answer_so_far(family: str, text: str) -> str:
    """What a cut text has said, as an answer that a checker can read.

    A chain: what follows its last `#`; where it has none, the result of the last line that was finished. Others: the text.
    """
    if family != "chain" or "#" in text:
        return text
    lines = re.findall(r"=(-?[0-9]+)(?=[;?])", text)
    return f"#{lines[-1]}" if lines else text


def as_written(rollouts: Rollouts) -> Tensor:
    """[N] rewards: finished answers by their verdict, cut ones by what they had written."""
    rewards_N = correctness(rollouts)
    cut = (~rollouts.finished_N).nonzero()[:, 0].tolist()
    if not cut:
        return rewards_N
    problems = [rollouts.problems[i] for i in cut]
    texts = [answer_so_far(world_named(p.world).family, rollouts.texts[i]) for p, i in zip(problems, cut)]
    right = [verdict.is_correct for verdict in verify(problems, texts, [True] * len(cut))]
    return rewards_N.index_put((torch.tensor(cut),), torch.tensor(right, dtype=rewards_N.dtype))
