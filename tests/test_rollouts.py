"""Batches of answers joined, and groups chosen from them."""

import pytest
import torch

from polarity_lib.engines import make_sampler
from polarity_lib.problems import world_named
from polarity_lib.rollouts import Rollouts, choose_groups, join, with_answers
from polarity_lib.verification import Verdict

PROBLEMS = world_named("countdown3").draw("train", 3, 0) + world_named("chain").draw("train", 3, 0)


def hand_made(lengths, rights, problems=None, drawn=None) -> Rollouts:
    """Groups of two. Row n has lengths[n] tokens, all of them n + 1, at log-probability -(n + 1)."""
    N, T = len(lengths), max(lengths)
    mask = (torch.arange(T)[None] < torch.tensor(lengths)[:, None]).float()
    number = torch.arange(1.0, N + 1)[:, None] * mask
    problems = problems or [PROBLEMS[n // 2] for n in range(N)]
    return Rollouts(
        problems=problems, group_N=torch.arange(N) // 2, prompt_ids=[[n // 2] for n in range(N)],
        tokens_NT=number.long(), mask_NT=mask, logprobs_NT=-number, entropies_NT=0.1 * number,
        finished_N=torch.tensor([n % 2 == 0 for n in range(N)]), texts=[f"row {n}" for n in range(N)],
        verdicts=[Verdict("correct" if r else "wrong", None, "", "by hand") for r in rights],
        drawn=drawn or N, max_new_tokens=9)


def test_batches_are_joined_by_hand():
    first, second = hand_made([2, 1, 3, 3], [1, 0, 0, 0]), hand_made([5, 4], [0, 1], drawn=10)
    whole = join([first, second])
    assert whole.group_N.tolist() == [0, 0, 1, 1, 2, 2] and whole.drawn == 14 and whole.max_new_tokens == 9
    assert whole.mask_NT.sum(1).tolist() == [2, 1, 3, 3, 5, 4] and whole.mask_NT.shape == (6, 5)
    assert whole.tokens_NT[:3].tolist() == [[1, 1, 0, 0, 0], [2, 0, 0, 0, 0], [3, 3, 3, 0, 0]]  # padded with zeros
    assert (whole.logprobs_NT[whole.mask_NT == 0] == 0).all() and whole.logprobs_NT[4].tolist() == [-1.0] * 5
    assert torch.equal(whole.entropies_NT, -0.1 * whole.logprobs_NT)
    assert whole.texts == first.texts + second.texts and whole.problems == first.problems + second.problems
    assert whole.correct_N.tolist() == [True, False, False, False, False, True]
    assert whole.finished_N.tolist() == [True, False] * 3 and whole.prompt_ids == [[0], [0], [1], [1], [0], [0]]


def test_groups_are_chosen_by_hand():
    whole = hand_made([2, 1, 5, 5, 3, 1], [1, 0, 0, 0, 0, 1])
    chosen = choose_groups(whole, [0, 2])
    assert chosen.group_N.tolist() == [0, 0, 1, 1] and chosen.drawn == 6  # what was thrown away stays counted
    assert chosen.texts == ["row 0", "row 1", "row 4", "row 5"] and chosen.prompt_ids == [[0], [0], [2], [2]]
    assert chosen.mask_NT.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]]  # no wider than it must be
    assert chosen.tokens_NT[2].tolist() == [5, 5, 5] and chosen.logprobs_NT[3].tolist() == [-6, 0, 0]
    assert chosen.correct_N.tolist() == [True, False, False, True] and len(chosen.problems) == 4
    assert choose_groups(whole.but(verdicts=[]), [1]).verdicts == []  # not judged yet
    everything = choose_groups(whole, [0, 1, 2])
    assert everything.texts == whole.texts and torch.equal(everything.logprobs_NT, whole.logprobs_NT)
    with pytest.raises(ValueError, match="at least one group"):
        choose_groups(whole, [])


def test_answers_from_elsewhere_by_hand():
    whole = hand_made([2, 1, 3, 3], [1, 0, 0, 0])
    mixed = with_answers(whole, {1: ([7, 7, 7, 7], "new"), 2: ([8], "short")})
    assert mixed.tokens_NT.tolist() == [[1, 1, 0, 0], [7, 7, 7, 7], [8, 0, 0, 0], [4, 4, 4, 0]]
    assert mixed.mask_NT.sum(1).tolist() == [2, 4, 1, 3] and mixed.texts == ["row 0", "new", "short", "row 3"]
    assert mixed.logprobs_NT.tolist() == [[-1, -1, 0, 0], [0] * 4, [0] * 4, [-4, -4, -4, 0]]
    assert mixed.finished_N.tolist() == [True, True, True, False] and mixed.verdicts == []
    assert whole.texts[1] == "row 1" and whole.tokens_NT[1].tolist() == [2, 0, 0]  # the batch given is left as it was
    for ids in ([], [1] * 10):
        with pytest.raises(ValueError, match="row 0: an answer of"):
            with_answers(whole, {0: (ids, "x")})


def test_joining_what_was_sampled_apart_is_sampling_it_together(policy):
    sampler = make_sampler(policy)
    parts = [sampler.sample(PROBLEMS[:3], 2, "one"), sampler.sample(PROBLEMS[3:], 2, "two")]
    whole = join(parts)
    for g in range(6):
        part, row = parts[g // 3], 2 * (g % 3)
        length = int(part.mask_NT[row].sum())
        assert whole.texts[2 * g] == part.texts[row]
        assert whole.tokens_NT[2 * g, :length].tolist() == part.tokens_NT[row, :length].tolist()
    assert whole.mask_NT.sum() == sum(p.mask_NT.sum() for p in parts)
