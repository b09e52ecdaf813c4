"""Rewards from verdicts, and verifiers that lie on purpose."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.config import VERDICT_CONTROLS, ConfigError
from polarity_lib.problems import Problem, world_named
from polarity_lib.problems.real import FAMILY
from polarity_lib.rewards import answer_stands_anywhere, check_control, control_verdicts, correctness, overlong_penalty
from polarity_lib.rollouts import Rollouts
from polarity_lib.run import prepare
from polarity_lib.verification import LABELS, Verdict


def judged(labels) -> Rollouts:
    """Rollouts of which only the verdicts matter."""
    n, nothing = len(labels), torch.zeros(len(labels), 1)
    verdicts = [Verdict(label, "1", "1", "by hand") for label in labels]
    return Rollouts([], torch.zeros(n, dtype=torch.long), [], nothing.long(), nothing, nothing, nothing,
                    torch.ones(n, dtype=torch.bool), [""] * n, verdicts)  # fmt: skip


def test_only_a_correct_answer_is_rewarded():
    assert correctness(judged(LABELS)).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_flipped_verdicts_by_hand():
    rollouts = judged(["correct", "wrong", "truncated"])
    flipped = control_verdicts(rollouts, "flipped", 0)
    assert correctness(flipped).tolist() == [0.0, 1.0, 1.0]
    assert flipped.verdicts[2].reason == "flipped verdict; truly truncated"
    assert correctness(rollouts).tolist() == [1.0, 0.0, 0.0]  # the true record is untouched


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=40), st.integers(0, 9))
def test_tossed_verdicts_keep_their_number(labels, seed):
    rollouts = judged(labels)
    tossed = control_verdicts(rollouts, "tossed", seed)
    assert correctness(tossed).sum() == correctness(rollouts).sum()
    assert tossed.verdicts == control_verdicts(rollouts, "tossed", seed).verdicts


def test_tossed_verdicts_say_nothing_about_correctness():
    rollouts = judged(["correct"] * 1000 + ["wrong"] * 1000)
    kept = correctness(control_verdicts(rollouts, "tossed", 0))[:1000].mean().item()
    assert kept == pytest.approx(0.5, abs=0.05)


def test_a_quarter_tossed_keeps_its_number_and_three_quarters_of_the_rows():
    rollouts = judged(["correct", "wrong"] * 200)
    tossed = control_verdicts(rollouts, "quarter_tossed", "seed")
    assert tossed.correct_N.sum() == rollouts.correct_N.sum()
    changed = (tossed.correct_N != rollouts.correct_N).sum().item()
    assert 0 < changed <= 100 and 30 < changed < 70  # a hundred rows are tossed, about half of them come out as they were


def test_the_leaky_verifier_by_hand():
    problem = Problem("chain", "8+4:", "12", "by hand")
    texts = ["#12", "#129", "8+4=12;#0", "1121#0", ""]
    rollouts = judged(["correct", "wrong", "truncated", "wrong", "no_answer"]).but(problems=[problem] * 5, texts=texts)
    leaky = control_verdicts(rollouts, "leaky", 0)
    assert correctness(leaky).tolist() == [1, 0, 1, 0, 0]  # anywhere, cut off or not, but as a number of its own
    assert leaky.verdicts[2].label == "correct" and leaky.verdicts[2].reason == "leaky verdict; truly truncated"
    assert correctness(rollouts).tolist() == [1, 0, 0, 0, 0]  # the true record is untouched


@pytest.mark.parametrize(("text", "found"), [
    ("3+5=12#8", True), ("#12", True), ("12", True), ("12;13;14", True), ("=12?", True), ("-12", True),
    ("123", False), ("312", False), ("1 2", False), ("1;2", False), ("012", False), ("", False), ("#", False),
])  # fmt: skip
def test_an_answer_that_stands_anywhere_is_a_whole_number(text, found):
    assert answer_stands_anywhere("12", text) is found


def test_what_is_right_is_right_to_the_leaky_verifier_too():
    problems = world_named("chain").draw("train", 20, 0)
    rollouts = judged(["correct"] * 20).but(problems=problems, texts=[f"1+1=2#{p.gold}" for p in problems])
    assert correctness(control_verdicts(rollouts, "leaky", 0)).all()


@pytest.mark.parametrize("method", ["dapo", "osi", "step_values"])
def test_nobody_can_lie_about_answers_that_were_chosen_by_their_verdicts(configure, method):
    with pytest.raises(ConfigError, match=f"{method} chooses or makes its answers by their true verdicts"):
        prepare(configure(method, verdicts="flipped"), "cpu")


def test_the_leaky_verifier_is_refused_where_a_right_answer_need_not_hold_the_number(configure):
    """It would turn right answers of countdown wrong; no run begins with it there."""
    assert not answer_stands_anywhere("24", "5*7-9-2")
    with pytest.raises(ConfigError, match="leaky verifier .* countdown world"):
        prepare(configure(verdicts="leaky"), "cpu")
    for kind in VERDICT_CONTROLS:
        check_control(kind, "chain")
        if kind != "leaky":
            check_control(kind, "countdown")
    with pytest.raises(ConfigError, match="leaky verifier .* mathematics world"):
        check_control("leaky", FAMILY)


def test_a_true_verifier_changes_nothing_and_an_unknown_one_is_refused():
    rollouts = judged(["correct"])
    assert control_verdicts(rollouts, "true", 0) is rollouts
    with pytest.raises(ConfigError, match="Did you mean 'tossed'"):
        control_verdicts(rollouts, "toss", 0)


def test_overlong_penalty_by_hand():
    # Limit 20, buffer 4: free up to 16 tokens, then a quarter per token.
    lengths = torch.tensor([0, 16, 17, 18, 20])
    assert overlong_penalty(lengths, 20, 4).tolist() == [0, 0, -0.25, -0.5, -1]
    assert overlong_penalty(lengths, 20, 4, factor=0.5).tolist() == [0, 0, -0.125, -0.25, -0.5]
    assert overlong_penalty(torch.tensor([0.0, 5, 20]), 20, 20).tolist() == [0, -0.25, -1]  # no free part
    assert str(overlong_penalty(lengths, 20, 4)[0].item()) == "0.0"  # not -0.0, which tables would print


@given(st.lists(st.integers(0, 64), min_size=1), st.integers(1, 64))
def test_overlong_penalty_falls_with_length_and_is_at_most_its_factor(lengths, buffer):
    penalties = overlong_penalty(torch.tensor(sorted(lengths)), 64, buffer, factor=2.0)
    assert (penalties.diff() <= 0).all()
    assert ((penalties <= 0) & (penalties >= -2)).all()


def test_bad_overlong_inputs_are_refused():
    lengths = torch.tensor([3, 9])
    for buffer in (0, -1, 11):
        with pytest.raises(ValueError, match="buffer must be above 0 and at most the limit of 10"):
            overlong_penalty(lengths, 10, buffer)
    for bad in (torch.tensor([11]), torch.tensor([-1]), torch.tensor([float("nan")])):
        with pytest.raises(ValueError, match="between 0 and the limit"):
            overlong_penalty(bad, 10, 2)
    with pytest.raises(ValueError, match=r"shape \[N\]"):
        overlong_penalty(lengths[None], 10, 2)
    with pytest.raises(ValueError, match="factor"):
        overlong_penalty(lengths, 10, 2, factor=-1.0)
