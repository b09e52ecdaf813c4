"""Gradients written out with plain numbers, for the tests of every paper's methods.

The fixtures `batch` (6 x 4 judged rollouts) and `gradient_of` (what the loop's own update leaves behind) are in conftest.py.
"""

import math
from types import SimpleNamespace

import torch

from polarity_lib.verification import Verdict

P, G = 6, 4  # prompts and rollouts per prompt of `batch`

SEVERAL = {"minibatches": 2, "learning_rate": 1.0}  # a large first update, so that ratios are clipped in the second


def with_verdicts(rollouts, rights):
    """The same answers, judged by hand."""
    return rollouts.but(verdicts=[Verdict("correct" if r else "wrong", None, "", "by hand") for r in rights])


def plain_logs(policy, rollouts, n):
    """Row n's log-probabilities of the whole vocabulary and its tokens, from one plain forward pass."""
    prompt, length = rollouts.prompt_ids[n], int(rollouts.mask_NT[n].sum())
    answer = rollouts.tokens_NT[n, :length].clone()
    logits = policy.model(torch.tensor([prompt + answer.tolist()])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1), answer


def gradient_by_hand(policy, rollouts, weights):
    """The gradient of - sum_nt weight_nt log pi(y_nt); one weight per row, or a list with one per token."""
    total = 0.0
    for n, weight in enumerate(weights):
        logs, answer = plain_logs(policy, rollouts, n)
        total = total - (torch.tensor(weight) * logs.gather(1, answer[:, None])[:, 0]).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(policy.model.parameters()))])


def differ(a, b) -> float:
    """How far apart two gradients are, relative to their length (entries are tiny, so no absolute tolerance)."""
    return ((a - b).norm() / b.norm()).item()


def standardised(values):
    """Within each group, ddof 1."""
    groups = [values[i : i + G] for i in range(0, len(values), G)]
    mean = [sum(g) / G for g in groups for _ in g]
    std = [math.sqrt(sum((v - sum(g) / G) ** 2 for v in g) / (G - 1)) for g in groups for _ in g]
    return [(v - m) / (s + 1e-6) for v, m, s in zip(values, mean, std)]


def counted(rollouts) -> SimpleNamespace:
    """What formulas are made of, as plain numbers; rewards are 1 or 0.

    right, sign, length     of each row
    mean, normalised        of its group: the mean reward, and GRPO's advantage
    N, tokens, limit        rows, their tokens, how long an answer may be
    rows, tokens_of         by verdict
    """
    right, length = rollouts.correct_N.int().tolist(), rollouts.mask_NT.sum(1).int().tolist()
    groups = [right[i : i + G] for i in range(0, len(right), G)]
    return SimpleNamespace(
        rollouts=rollouts, right=right, length=length, groups=groups, N=len(right), tokens=sum(length),
        limit=rollouts.max_new_tokens, sign=[1 if r else -1 for r in right], mean=[sum(g) / G for g in groups for _ in g],
        normalised=standardised(right), rows={r: right.count(r) for r in (0, 1)},
        tokens_of={r: sum(n for n, x in zip(length, right) if x == r) for r in (0, 1)})
