"""Offline sample injection (OSI): right answers from elsewhere, put into groups that are too hard.

    slots              which rows give way
    offline_answers    what is put there: the generator's own worked answers
    collect_with_offline  the `collect` of the method
    shaped, shaped_weight the loss of an injected token and the weight that it gives its gradient
    injected_loss      the token loss of a batch that holds both kinds
    repetition_penalty, mask_truncated   what the released script switches on besides

Axes: N rollouts, T token positions.
"""

from dataclasses import replace
from typing import Callable

import torch
from torch import Tensor

from polarity_lib import objectives as obj
from polarity_lib.problems import Problem, world_named
from polarity_lib.problems.chain import read_question, write_trace
from polarity_lib.rollouts import Rollouts, with_answers
from polarity_lib.verification import verify

INJECTED = "injected, from elsewhere"  # begins the reason of an injected answer's verdict


def slots(right_G: list[bool], alpha: float, cap: int, available: int) -> list[int]:
    """Rows of one group that give way to answers from elsewhere: its wrong ones, in order.

    Only where the share of right answers is at most alpha; at most `cap` (0: no limit, the released script's -1) and no more
    than are available.
    """
    if not right_G or sum(right_G) / len(right_G) > alpha:
        return []
    wrong = [i for i, right in enumerate(right_G) if not right]
    return wrong[: min(cap or len(wrong), available)]


def offline_answers(problem: Problem, style: str) -> list[str]:
    """Right answers to a problem by another writer: the generator's, in one of its styles; none outside chain worlds."""
    if world_named(problem.world).family != "chain":
        return []
    return [write_trace(read_question(problem.prompt), style)]


def collect_with_offline(alpha: float, cap: int, style: str) -> Callable:
    """Sample, judge, replace, judge again.

    An answer from elsewhere that is as long as the budget is discarded, as in the released loader, and one that the
    checker refuses earns nothing. `extras` say of every row whether it was injected ("offline") and whether its group
    held both verdicts no longer *because* of the injection ("dead_again": every row was replaced, all are right).
    """

    def collect(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
        sampled = sampler.sample(stream.take(prompts), group_size, seed)
        verdicts = verify(sampled.problems, sampled.texts, sampled.finished_N.tolist())
        offline_N, answers = torch.zeros(len(sampled)), {}
        for first in range(0, len(sampled), group_size):
            found = _encoded(sampler, sampled.problems[first], style, sampled.max_new_tokens)
            right_G = [v.is_correct for v in verdicts[first : first + group_size]]
            for place in slots(right_G, alpha, cap, group_size if found else 0):
                answers[first + place] = found[place % len(found)]
                offline_N[first + place] = 1.0
        mixed = with_answers(sampled, answers) if answers else sampled
        verdicts = verify(mixed.problems, mixed.texts, mixed.finished_N.tolist())
        verdicts = [replace(v, reason=f"{INJECTED}: {v.reason}") if offline else v
                    for v, offline in zip(verdicts, offline_N.tolist())]
        mixed = mixed.but(verdicts=verdicts)
        return mixed.but(extras=mixed.extras | {"offline": offline_N, "dead_again": dead_again(mixed, offline_N)})

    return collect


def _encoded(sampler, problem: Problem, style: str, limit: int) -> list[tuple[list[int], str]]:
    """Answers from elsewhere as (tokens with the end of text, text), those that fit the budget."""
    eos = sampler.policy.tokenizer.eos_token_id
    found = [(sampler.policy.encode(text) + [eos], text) for text in offline_answers(problem, style)]
    return [(ids, text) for ids, text in found if len(ids) < limit]


def dead_again(rollouts: Rollouts, offline_N: Tensor) -> Tensor:
    """[N] 1 on the rows of groups that hold an injected answer and are all right: no advantage is left in them."""
    group_N = rollouts.group_N
    count = int(group_N.max()) + 1
    wrong = torch.zeros(count).index_add(0, group_N, (~rollouts.correct_N).float())
    injected = torch.zeros(count).index_add(0, group_N, offline_N)
    return ((wrong == 0) & (injected > 0)).float()[group_N]


# ---------------------------------------------------------------- the loss


def shaped(logprobs: Tensor, gamma: float = 0.1) -> Tensor:
    """f(pi) = pi / (pi + gamma), from log pi: what takes the place of the ratio where the writer's probability is unknown.

    Source: LUFFY, arXiv 2504.14945 (gamma 0.1), as the code of arXiv 2506.04913 uses it.
    """
    probs = logprobs.exp()
    return probs / (probs + gamma)


def shaped_weight(probs, gamma: float = 0.1):
    """w(pi) = gamma pi / (pi + gamma)^2: grad f = w grad log pi. Largest, 1/4, at pi = gamma; symmetric in log pi around it."""
    return gamma * probs / (probs + gamma) ** 2


def injected_loss(kind: str, gamma: float) -> Callable:
    """The token loss of a batch with injected rows: -A pi / pi_old, not clipped, for the policy's own ones, and for the others

        shaped       -A f(pi)
        likelihood   -A log pi
    """

    def loss(logp_NT: Tensor, old_NT: Tensor, A_NT: Tensor, mask_NT: Tensor, extras: dict) -> Tensor:
        own_NT = obj.ppo_clip(logp_NT, old_NT, A_NT, mask_NT, clip_low=torch.inf, clip_high=torch.inf)
        logs_NT, _, A_NT, real_NT = obj.clean(logp_NT, old_NT, A_NT, mask_NT)
        theirs_NT = -A_NT * (shaped(logs_NT, gamma) if kind == "shaped" else logs_NT)
        return torch.where(extras["offline"][:, None] > 0, obj.on_tokens(theirs_NT, real_NT), own_NT)

    return loss


# ---------------------------------------------------------------- what the script switches on besides


def mask_truncated(base: Callable) -> Callable:
    """An advantage that is 0 on answers which were cut off at the budget."""

    def advantage(rollouts, rewards_N, progress):
        return base(rollouts, rewards_N, progress) * rollouts.finished_N.to(rewards_N)[:, None]

    return advantage


def repetition_penalty(text: str, size: int = 40, most: float = -2.0) -> float:
    """most * (1 - distinct / all) over the n-grams of a text's lower-case words; 0 where it has fewer than n words.

    Source: the OSI script of arXiv 2506.04913 (40-grams, -2, on wrong answers, prompt included). Answers of our tiny
    worlds are a word or two, so no run here uses it.
    """
    words = text.lower().split()
    grams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return most * (1 - len(set(grams)) / len(grams)) if grams else 0.0
