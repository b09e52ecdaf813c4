"""Rollouts: the record every method starts from."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from polarity_lib.problems import Problem
from polarity_lib.verification import Verdict


@dataclass(frozen=True)
class Rollouts:
    """N sampled answers, grouped by prompt.

    `problems` has one entry per row; rows of a group stand together.
    """

    problems: list[Problem]
    group_N: Tensor  # [N] which prompt a row belongs to, 0..P-1
    prompt_ids: list[list[int]]  # one per row
    tokens_NT: Tensor  # [N, T] response tokens, end-of-text included
    mask_NT: Tensor  # [N, T] 1.0 on response tokens
    logprobs_NT: Tensor  # [N, T] under the sampler at its temperature
    entropies_NT: Tensor  # [N, T] nats, of the full distribution at each position
    finished_N: Tensor  # [N] bool; False: cut off at the limit
    texts: list[str]
    verdicts: list[Verdict] = field(default_factory=list)
    drawn: int = 0  # rollouts sampled to obtain these (more than N if some were thrown away)
    max_new_tokens: int = 0
    extras: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def correct_N(self) -> Tensor:
        return torch.tensor([v.is_correct for v in self.verdicts])

    def but(self, **changes) -> "Rollouts":
        return replace(self, **changes)


def join(parts: list[Rollouts]) -> Rollouts:
    """Batches one after another; groups are numbered on, and what was drawn is added up."""
    longest = max(part.tokens_NT.shape[1] for part in parts)

    def stack(name):
        return torch.cat([torch.nn.functional.pad(getattr(p, name), (0, longest - p.tokens_NT.shape[1])) for p in parts])

    groups, first = [], 0
    for part in parts:
        groups.append(part.group_N + first)
        first += int(part.group_N.max()) + 1
    return Rollouts(
        problems=[x for p in parts for x in p.problems], group_N=torch.cat(groups),
        prompt_ids=[x for p in parts for x in p.prompt_ids],
        tokens_NT=stack("tokens_NT"), mask_NT=stack("mask_NT"), logprobs_NT=stack("logprobs_NT"),
        entropies_NT=stack("entropies_NT"), finished_N=torch.cat([p.finished_N for p in parts]),
        texts=[x for p in parts for x in p.texts], verdicts=[x for p in parts for x in p.verdicts],
        drawn=sum(p.drawn for p in parts), max_new_tokens=max(p.max_new_tokens for p in parts))


def with_answers(rollouts: Rollouts, answers: dict[int, tuple[list[int], str]]) -> Rollouts:
    """The same batch with some rows' answers replaced by text from elsewhere.

    Their log-probabilities are 0: whoever wrote them is taken to have written just that. Entropies are 0 too, and
    verdicts are dropped, since the whole batch must be judged again. `extras["from_elsewhere"]`, [N] bool, marks them.

    Args:
        answers: row -> (tokens with the end of text, text).

    Raises:
        ValueError: an answer is empty or longer than the batch's limit.
    """
    for row, (ids, text) in answers.items():
        if not 0 < len(ids) <= (rollouts.max_new_tokens or len(ids)):
            raise ValueError(f"row {row}: an answer of {len(ids)} tokens does not fit 1 to {rollouts.max_new_tokens}: {text!r}.")
    longest = max([rollouts.tokens_NT.shape[1], *(len(ids) for ids, _ in answers.values())])
    wide = {name: torch.nn.functional.pad(getattr(rollouts, name), (0, longest - rollouts.tokens_NT.shape[1]))
            for name in ("tokens_NT", "mask_NT", "logprobs_NT", "entropies_NT")}
    finished_N, texts = rollouts.finished_N.clone(), list(rollouts.texts)
    for row, (ids, text) in answers.items():
        for name, values in (("tokens_NT", torch.tensor(ids)), ("mask_NT", torch.ones(len(ids))),
                             ("logprobs_NT", 0.0), ("entropies_NT", 0.0)):
            wide[name][row] = 0
            wide[name][row, : len(ids)] = values
        finished_N[row], texts[row] = True, text
    marked_N = torch.zeros(len(rollouts), dtype=torch.bool)
    marked_N[list(answers)] = True
    return rollouts.but(**wide, finished_N=finished_N, texts=texts, verdicts=[],
                        extras=rollouts.extras | {"from_elsewhere": marked_N})


def choose_groups(rollouts: Rollouts, groups: list[int]) -> Rollouts:
    """Only the named groups, renumbered 0, 1, ...; `drawn` still counts what was thrown away.

    Raises:
        ValueError: no group is named; a batch cannot be empty.
    """
    if not groups:
        raise ValueError("a batch needs at least one group.")
    number = {group: i for i, group in enumerate(groups)}
    rows = [row for row, group in enumerate(rollouts.group_N.tolist()) if group in number]
    longest = max(1, int(rollouts.mask_NT[rows].sum(1).max()))
    picked = {name: getattr(rollouts, name)[rows][:, :longest]
              for name in ("tokens_NT", "mask_NT", "logprobs_NT", "entropies_NT")}
    listed = {name: [getattr(rollouts, name)[row] for row in rows] for name in ("problems", "prompt_ids", "texts")}
    verdicts = [rollouts.verdicts[row] for row in rows] if rollouts.verdicts else []
    return rollouts.but(**picked, **listed, verdicts=verdicts, finished_N=rollouts.finished_N[rows],
                        group_N=torch.tensor([number[g] for g in rollouts.group_N[rows].tolist()]))
