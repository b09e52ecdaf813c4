"""pass@k against counting, and an evaluation against its own rollouts."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.engines import ModelSampler
from polarity_lib.evaluation import distinct_right, evaluate, gather_counts, pass_at_k, powers_of_two, sampler_gap
from polarity_lib.problems import world_named
from polarity_lib.verification import Verdict, verify


def test_pass_at_k_by_hand():
    # Two of four answers are right: both of two draws are wrong in 1 of 6 cases.
    assert pass_at_k(4, [2], 2) == pytest.approx([5 / 6])
    assert pass_at_k(4, [0, 1, 4], 1) == pytest.approx([0, 0.25, 1])
    assert pass_at_k(4, [0, 1, 4], 4).tolist() == [0, 1, 1]


def test_pass_at_k_equals_counting_subsets():
    for n in range(1, 13):
        for k in range(1, n + 1):
            expected = [1 - math.comb(n - c, k) / math.comb(n, k) for c in range(n + 1)]
            assert pass_at_k(n, range(n + 1), k) == pytest.approx(expected, abs=1e-12)
    answers = [True, False, False, True, False]
    draws = list(itertools.combinations(answers, 3))
    assert pass_at_k(5, [2], 3)[0] == pytest.approx(sum(map(any, draws)) / len(draws))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_pass_at_k_rises_with_k_and_with_right_answers(case):
    n, c = case
    curve = np.array([pass_at_k(n, [c], k)[0] for k in range(1, n + 1)])
    assert (np.diff(curve) >= -1e-12).all() and curve[0] == pytest.approx(c / n)
    assert curve[-1] == (c > 0) and (curve >= 0).all() and (curve <= 1).all()
    assert (np.diff(pass_at_k(n, range(n + 1), max(1, n // 2))) >= -1e-12).all()


@pytest.mark.parametrize(("n", "c", "k"), [(4, [1], 5), (4, [1], 0), (4, [5], 1), (4, [-1], 1)])
def test_what_has_no_unbiased_estimate_is_refused(n, c, k):
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def test_powers_of_two():
    assert powers_of_two(1) == [1] and powers_of_two(20) == [1, 2, 4, 8, 16] and powers_of_two(256)[-1] == 256


def test_distinct_right_answers_by_hand():
    verdicts = [Verdict(label, None, "", "") for label in ("correct", "correct", "wrong") * 2]
    assert distinct_right(["a", "a", "b", "a", "b", "c"], verdicts, 3) == 1.5  # {a}; {a, b}


def test_the_gap_between_sampler_and_trainer_by_hand():
    gap = sampler_gap(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -9.0]]), torch.tensor([[1.0, 0.0]]))
    assert gap == pytest.approx(0.5)


def test_counts_from_a_stored_table():
    table = pd.DataFrame({"samples": [4, 4], "correct": [2, 0]})
    assert gather_counts(table, 2).tolist() == pytest.approx([5 / 6, 0])


def test_an_evaluation_equals_its_rollouts_recounted(policy):
    problems, n = world_named("countdown3").draw("validation", 6, 0), 8
    metrics, counts = evaluate(policy, problems, n, "recount", temperature=0.8)
    rollouts = ModelSampler(policy, temperature=0.8).sample(problems, n, "recount")
    right = [v.is_correct for v in verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist())]
    assert counts.correct.tolist() == [sum(right[i : i + n]) for i in range(0, 6 * n, n)]
    assert counts.problem.tolist() == [p.key for p in problems] and (counts.samples == n).all()
    assert metrics["pass@1"] == pytest.approx(sum(right) / len(right))
    assert metrics["pass@8"] == pytest.approx((counts.correct > 0).mean())
    assert metrics["greedy"] == pytest.approx(counts.greedy.mean())
    assert metrics["length"] == pytest.approx(rollouts.mask_NT.sum().item() / len(rollouts))
    assert sum(v for k, v in metrics.items() if k.startswith("verdicts/")) == pytest.approx(1)
    assert 0 < sum(right) < len(right)  # or nothing was compared


def test_problems_with_different_numbers_of_samples_are_counted_by_their_own():
    table = pd.DataFrame({"samples": [4, 2], "correct": [1, 1]})
    assert gather_counts(table, 2).tolist() == pytest.approx([0.5, 1.0])  # 1 - C(3,2)/C(4,2), 1 - C(1,2)/C(2,2)
    with pytest.raises(ValueError, match="pass@4 needs at least 4 samples"):
        gather_counts(table, 4)


@pytest.mark.parametrize(("samples", "correct"), [(4, [1.5]), (4, [float("nan")]), (3.5, [1]), (float("nan"), [1])])
def test_counts_that_are_no_whole_numbers_are_refused(samples, correct):
    with pytest.raises(ValueError, match="whole numbers"):
        pass_at_k(samples, correct, 1)
