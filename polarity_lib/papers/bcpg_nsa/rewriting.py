"""Wrong answers written on purpose: plausible ones, garbled ones, and the nearest miss, in place of a batch's own.

    plausible   worked line by line; one line has a slip, and all later lines follow from it (format and form are right)
    near        the group's own wrong answer with the most right steps, in place of all its wrong answers
    garbled     the characters of the own wrong answer, shuffled

Numbers stay equal: every wrong answer is replaced by one other. Source: the question is that of Plausible Negative Samples
(arXiv 2602.03516), which trains a generator for them; here a program writes them (ours).
"""

from collections.abc import Callable

import numpy as np
import torch

from polarity_lib.config import choose, derive_seed
from polarity_lib.methods import collect_fixed, stored_too
from polarity_lib.papers.bcpg_nsa.judges import oracle
from polarity_lib.papers.bcpg_nsa.segmentation import line_steps
from polarity_lib.problems.chain import read_question
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import place_steps, verify

NEGATIVES = ("own", "plausible", "near", "garbled")
SLIPS = (-10, -2, -1, 1, 2, 10)


def plausible(question: str, rng: np.random.Generator) -> str:
    """A worked answer with exactly one slip; what comes after follows from it, so the final answer is wrong."""
    terms = read_question(question)
    slip, total, lines = int(rng.integers(1, len(terms))), terms[0], []
    for k, term in enumerate(terms[1:], start=1):
        value = total + term
        if k == slip:
            value += int(rng.choice([s for s in SLIPS if value + s >= 0]))
        lines.append(f"{total}{term:+d}={value}")
        total = value
    return ";".join(lines) + f"#{total}"


def garbled(text: str, rng: np.random.Generator) -> str:
    """The same characters in random order, drawn again where they happen to end in the mark of an answer."""
    for _ in range(20):
        shuffled = "".join(np.array(list(text))[rng.permutation(len(text))]) if text else text
        if not shuffled.rpartition("#")[2].isdigit():
            break
    return shuffled


def right_steps(question: str, text: str) -> int:
    """How many steps of an answer are right."""
    return int(sum(oracle(question, line_steps(text))))


def rewritten(rollouts: Rollouts, kind: str, encode: Callable[[str], list[int]], seed) -> Rollouts:
    """The batch with every wrong answer replaced. Right answers, groups and numbers stay.

    The new answers have no log-probabilities under the policy that wrote the batch (zeros stand there), so a loss that
    compares must take them from a reference model.
    """
    if choose("kind of negatives", kind, NEGATIVES) == "own":
        return rollouts
    right_N, texts = rollouts.correct_N.tolist(), list(rollouts.texts)
    nearest: dict[int, str] = {}
    for row, group in enumerate(rollouts.group_N.tolist()):
        question = rollouts.problems[row].prompt
        if not right_N[row] and right_steps(question, texts[row]) >= right_steps(question, nearest.get(group, "")):
            nearest.setdefault(group, texts[row])
            if right_steps(question, texts[row]) > right_steps(question, nearest[group]):
                nearest[group] = texts[row]
    for row, group in enumerate(rollouts.group_N.tolist()):
        if right_N[row]:
            continue
        question = rollouts.problems[row].prompt
        rng = np.random.default_rng(derive_seed(seed, kind, row, question))
        texts[row] = {"plausible": lambda: plausible(question, rng), "garbled": lambda: garbled(rollouts.texts[row], rng),
                      "near": lambda: nearest[group]}[kind]()
    return _with_texts(rollouts, texts, encode)


def _with_texts(rollouts: Rollouts, texts: list[str], encode: Callable[[str], list[int]]) -> Rollouts:
    """Other texts in some rows, as tokens; all answers end by themselves."""
    lengths = rollouts.mask_NT.sum(1).long().tolist()
    ends = {int(rollouts.tokens_NT[row, n - 1]) for row, n in enumerate(lengths) if rollouts.finished_N[row]}
    if len(ends) != 1:
        raise ValueError(f"the batch's finished answers end in {len(ends)} different tokens; one is needed to end others with.")
    (end,) = ends
    changed = [row for row, text in enumerate(texts) if text != rollouts.texts[row]]
    rows = {row: [*encode(texts[row]), end] for row in changed}
    longest = max([rollouts.tokens_NT.shape[1], *map(len, rows.values())])
    grown = {name: torch.nn.functional.pad(getattr(rollouts, name), (0, longest - rollouts.tokens_NT.shape[1])).clone()
             for name in ("tokens_NT", "mask_NT", "logprobs_NT", "entropies_NT")}
    finished_N = rollouts.finished_N.clone()
    for row, ids in rows.items():
        for values_NT in grown.values():
            values_NT[row] = 0
        grown["tokens_NT"][row, : len(ids)], grown["mask_NT"][row, : len(ids)] = torch.tensor(ids), 1.0
        finished_N[row] = True
    steps = [place_steps(p.prompt, text) for p, text in zip(rollouts.problems, texts)]
    return rollouts.but(**grown, finished_N=finished_N, texts=texts, extras=rollouts.extras | {"steps": steps},
                        verdicts=verify(rollouts.problems, texts, finished_N.tolist()))


def collect_rewritten(kind: str) -> Callable:
    """A method's `collect`: the next problems' stored answers, wrong ones replaced."""

    @stored_too
    def collect(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
        rollouts = collect_fixed(sampler, stream, prompts, group_size, seed)
        if not rollouts.verdicts:
            rollouts = rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))
        encode = sampler.encode if hasattr(sampler, "encode") else sampler.policy.encode
        return rewritten(rollouts, kind, encode, seed)

    return collect
