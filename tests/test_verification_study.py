"""The tables behind notebook 03: flips, gradients and cuts that can be redone with a pencil."""

from pathlib import Path

import pytest
import torch

from polarity_lib.advantages import grpo, signed_constant
from polarity_lib.study import verifier_errors as study
from polarity_lib.verification.mathematics import MathVerifier

ROOT = Path(__file__).parents[1]


def only_right(rewards_N, group_N):
    return signed_constant(rewards_N, 1.0, 0.0)


def only_wrong(rewards_N, group_N):
    return signed_constant(rewards_N, 0.0, 1.0)


# One prompt, three answers equally likely; the rollouts gave answers 0 (right), 1 and 1 (wrong).
TINY = study.Batch(
    torch.zeros(1, 3, dtype=torch.float64),
    torch.tensor([0, 0, 0]),
    torch.tensor([0, 1, 1]),
    torch.tensor([True, False, False]),
)


def test_the_gradient_by_hand():
    # d log pi(a) / d logits = one-hot(a) - (1/3, 1/3, 1/3); PSR keeps one of three rollouts with weight 1.
    right = study.policy_gradient(TINY, only_right(TINY.correct_N.double(), TINY.prompt_N))
    assert torch.allclose(right, torch.tensor([2 / 3, -1 / 3, -1 / 3], dtype=torch.float64) / 3)
    wrong = study.policy_gradient(TINY, only_wrong(TINY.correct_N.double(), TINY.prompt_N))
    assert torch.allclose(wrong, -2 * torch.tensor([-1 / 3, 2 / 3, -1 / 3], dtype=torch.float64) / 3)


def test_a_rollout_left_out_counts_for_nothing():
    kept = torch.tensor([True, True, False])
    gradient = study.policy_gradient(TINY, only_wrong(TINY.correct_N[kept].double(), TINY.prompt_N[kept]), kept)
    assert torch.allclose(gradient, -torch.tensor([-1 / 3, 2 / 3, -1 / 3], dtype=torch.float64) / 2)


def test_flips_go_one_way_and_are_counted():
    correct = torch.tensor([True] * 10 + [False] * 90)
    accepted, refused = study.flipped(correct, 0.05, True, seed=0), study.flipped(correct, 0.05, False, seed=0)
    assert accepted.sum() == 15 and accepted[:10].all()
    assert refused.sum() == 5 and not refused[10:].any()
    assert torch.equal(study.flipped(correct, 0.05, True, seed=0), accepted)
    assert not torch.equal(study.flipped(correct, 0.05, True, seed=1), accepted)
    with pytest.raises(ValueError, match="20 verdicts to turn round, but only"):
        study.flipped(correct, 0.2, False, seed=0)


def test_more_flips_turn_the_gradient_further():
    table = study.gradient_under_flips(
        study.fixed_batch(), {"GRPO": grpo, "PSR": only_right, "NSR": only_wrong}, (0.01, 0.10), seeds=5
    )
    mean = table.groupby(["method", "error", "share"])["cosine"].mean().unstack()
    assert (mean[0.10] < mean[0.01]).all() and (mean[0.01] > 0.95).all()
    assert len(table) == 3 * 2 * 2 * 5


def test_a_cut_right_answer_hurts_when_counted_as_wrong_and_psr_keeps_its_direction_either_way():
    table = study.truncated_two_ways(study.fixed_batch(), {"PSR": only_right, "NSR": only_wrong}, (0.10,), seeds=5)
    mean = table.groupby(["method", "rule"])["cosine"].mean()
    # PSR drops a cut rollout under both rules: the same rollouts remain, only the divisor differs.
    assert mean["PSR", "counted as wrong"] == pytest.approx(mean["PSR", "left out"], abs=1e-12)
    assert mean["NSR", "counted as wrong"] != pytest.approx(mean["NSR", "left out"], abs=1e-6)


def test_the_awkward_table_under_two_checkers():
    table = study.awkward_table(ROOT / "tests" / "data" / "awkward_answers.csv")
    table = table[table["kind"].isin(["tolerance", "base", "thinking"])]
    with MathVerifier(timeout_s=5.0, workers=1) as verifier:
        judged = study.two_checkers(table, verifier)
    by_kind, errors = study.right_by_kind(judged), study.false_verdicts(judged)
    assert (by_kind["ours"] == 1.0).all() and errors.loc["ours", "wrongly accepted"] == 0
    assert errors.loc["Math-Verify alone", "wrongly accepted"] >= 5, "tiny numbers, bases, boxes in the thinking"
    assert by_kind["rows"].sum() == len(table)


def test_without_recorded_responses_there_is_none(monkeypatch):
    monkeypatch.delenv("POLARITY_TEST_DATA", raising=False)
    assert study.recorded_responses() is None
