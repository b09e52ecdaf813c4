"""What a verifier's errors do: the tables behind notebook 03.

Two checkers on the same texts, and the gradient of one fixed batch when
some of its verdicts are turned round. Advantage functions come in as arguments:
a checker knows nothing about methods.

Axes: P prompts, V answers a prompt may get, N rollouts (P times G).
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from polarity_lib.verification import disagreement
from polarity_lib.verification.mathematics import MathVerifier

CHECKERS = ("ours", "Math-Verify alone")


# ------------------------------------------------------------------ two checkers


def awkward_table(path: Path) -> pd.DataFrame:
    """The committed awkward answers; `truncated` as truth values."""
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    return table.assign(truncated=table["truncated"] == "true")


def recorded_responses(limit: int | None = None) -> pd.DataFrame | None:
    """Recorded responses of real models from the folder POLARITY_TEST_DATA, or None where there are none."""
    folder = os.environ.get("POLARITY_TEST_DATA")
    path = Path(folder) / "responses.jsonl" if folder else None
    if path is None or not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[:limit]
    return pd.DataFrame([json.loads(line) for line in lines])


def two_checkers(table: pd.DataFrame, verifier: MathVerifier) -> pd.DataFrame:
    """The table with a verdict label per checker, one column each (`CHECKERS`).

    Args:
        table: columns `gold`, `response` and `truncated`.
        verifier: whose processes do the work; both keep to its limits.
    """
    both = disagreement(table["gold"], table["response"], truncated=table["truncated"], verifier=verifier)
    return table.assign(**{name: both[column].to_numpy() for name, column in zip(CHECKERS, ("label", "second_label"))})


def right_by_kind(judged: pd.DataFrame) -> pd.DataFrame:
    """Per kind and checker: share of answers whose polarity is right (accepted or not, as it should be)."""
    accept = judged["label"] == "correct"
    right = pd.DataFrame({name: (judged[name] == "correct") == accept for name in CHECKERS})
    return right.groupby(judged["kind"]).mean().assign(rows=judged.groupby("kind").size())


def false_verdicts(judged: pd.DataFrame) -> pd.DataFrame:
    """Per checker: wrong answers it accepted, right ones it refused; counts, and shares of the rows that could be."""
    accept, rows = judged["label"] == "correct", {}
    for name in CHECKERS:
        accepted = judged[name] == "correct"
        wrongly, missed = accepted & ~accept, accept & ~accepted
        rows[name] = {
            "wrongly accepted": int(wrongly.sum()),
            "of wrong": float(wrongly.sum() / (~accept).sum()),
            "wrongly refused": int(missed.sum()),
            "of right": float(missed.sum() / accept.sum()),
        }
    return pd.DataFrame(rows).T


# ------------------------------------------------------------------ a fixed batch


@dataclass(frozen=True)
class Batch:
    """A softmax policy per prompt and the answers it gave: the smallest thing that has a policy gradient."""

    logits_PV: Tensor
    prompt_N: Tensor
    answer_N: Tensor
    correct_N: Tensor


def fixed_batch(prompts: int = 16, rollouts: int = 16, answers: int = 12, right: int = 2, seed: int = 0) -> Batch:
    """A batch to hold fixed: random policies over `answers` answers, the first `right` of which are right."""
    draw = torch.Generator().manual_seed(seed)
    logits_PV = torch.randn(prompts, answers, generator=draw, dtype=torch.float64)
    answer_PG = torch.multinomial(logits_PV.softmax(-1), rollouts, replacement=True, generator=draw)
    prompt_N = torch.arange(prompts).repeat_interleave(rollouts)
    return Batch(logits_PV, prompt_N, answer_PG.flatten(), answer_PG.flatten() < right)


def flipped(correct_N: Tensor, share: float, accept: bool, seed: int) -> Tensor:
    """Verdicts with errors of one kind.

    Args:
        correct_N: [N] the true verdicts.
        share: how many verdicts are turned round, as a share of all N.
        accept: True turns wrong into right (false accepts), False right into wrong (false refusals).
        seed: which ones; drawn without replacement.

    Raises:
        ValueError: the batch has fewer verdicts of that polarity than are to be turned round.
    """
    candidates = (correct_N != accept).nonzero().flatten()
    count = round(share * len(correct_N))
    if count > len(candidates):
        raise ValueError(f"{count} verdicts to turn round, but only {len(candidates)} of that polarity in the batch")
    chosen = candidates[torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))[:count]]
    found = correct_N.clone()
    found[chosen] = accept
    return found


def policy_gradient(batch: Batch, advantages_N: Tensor, kept_N: Tensor | None = None) -> Tensor:
    """[P*V] gradient of mean_n A_n log pi(y_n | x_n) in the logits; rows outside `kept_N` count for nothing."""
    logits_PV = batch.logits_PV.clone().requires_grad_(True)
    prompt_N, answer_N = (x if kept_N is None else x[kept_N] for x in (batch.prompt_N, batch.answer_N))
    logprobs_N = logits_PV.log_softmax(-1)[prompt_N, answer_N]
    (advantages_N.to(logprobs_N.dtype) * logprobs_N).mean().backward()
    return logits_PV.grad.flatten()


def _beside(gradient, clean):
    return {
        "cosine": float(torch.nn.functional.cosine_similarity(gradient, clean, dim=0)),
        "length": float(gradient.norm() / clean.norm()),
    }


def gradient_under_flips(
    batch: Batch, methods: dict[str, Callable], shares=(0.01, 0.05, 0.10), seeds: int = 20
) -> pd.DataFrame:
    """What errors of each kind do to the gradient of each method on the same batch.

    Args:
        methods: name to advantage function of (rewards_N, group_N).
        shares: verdicts turned round, as shares of the batch.
        seeds: how many draws of which verdicts are turned round.

    Returns:
        One row per method, direction, share and seed: `cosine` with the clean gradient, `length` relative to it.
    """
    rewards_N, rows = batch.correct_N.double(), []
    clean = {name: policy_gradient(batch, advantage(rewards_N, batch.prompt_N)) for name, advantage in methods.items()}
    for name, accept, share, seed in product(methods, (True, False), shares, range(seeds)):
        rewards_N = flipped(batch.correct_N, share, accept, seed).double()
        changed = policy_gradient(batch, methods[name](rewards_N, batch.prompt_N))
        error = "wrong taken for right" if accept else "right taken for wrong"
        rows.append({"method": name, "error": error, "share": share, "seed": seed, **_beside(changed, clean[name])})
    return pd.DataFrame(rows)


def truncated_two_ways(
    batch: Batch, methods: dict[str, Callable], shares=(0.05, 0.10, 0.20), seeds: int = 20
) -> pd.DataFrame:
    """Rollouts cut off by the sampler, counted as wrong or left out, beside the gradient without a cut.

    The cut falls on any rollout alike, right or wrong: a right answer that was cut is what separates the two rules.
    """
    rewards_N, rows = batch.correct_N.double(), []
    clean = {name: policy_gradient(batch, advantage(rewards_N, batch.prompt_N)) for name, advantage in methods.items()}
    for name, share, seed in product(methods, shares, range(seeds)):
        order = torch.randperm(len(batch.correct_N), generator=torch.Generator().manual_seed(seed))
        kept_N = torch.ones_like(batch.correct_N)
        kept_N[order[: round(share * len(order))]] = False
        as_wrong = policy_gradient(batch, methods[name]((batch.correct_N & kept_N).double(), batch.prompt_N))
        rest = methods[name](batch.correct_N[kept_N].double(), batch.prompt_N[kept_N])
        for rule, gradient in (("counted as wrong", as_wrong), ("left out", policy_gradient(batch, rest, kept_N))):
            rows.append({"method": name, "rule": rule, "share": share, "seed": seed, **_beside(gradient, clean[name])})
    return pd.DataFrame(rows)
