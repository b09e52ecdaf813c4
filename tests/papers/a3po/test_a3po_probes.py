"""What A3PO's claims ask finished runs: by hand where a pencil can follow, and on a small policy."""

import math

import pytest
from test_probes import CONFIG, rollouts_of

from polarity_lib.evaluation import PROBE_SAMPLES, sample_test
from polarity_lib.papers.a3po import probes
from polarity_lib.papers.a3po.probes import garbled, grams, is_faithful, right_patterns
from polarity_lib.policy import build_policy
from polarity_lib.problems import world_named
from polarity_lib.verification import Verdict

# ---------------------------------------------------------------- faithful


@pytest.mark.parametrize(("text", "faithful"), [
    ("3+5=8;8-2=6#6", True),
    ("3+5=8?3+5=8;8-2=6#6", True),  # re-checked
    ("3+5=8;8-2=6?8-2=6#6", True),
    ("3+5=8;8-2=6?8-2=6?8-2=6#6", True),
    ("#6", False),  # right, but nothing shown
    ("8-2=6#6", False),  # the first line is skipped
    ("3+5=8#6", False),  # the last one is
    ("3+5=8;#6", False),
    ("3+5=8?3+5=8;#6", False),  # a re-check stands for no line
    ("3+3=6#6", False),  # another way to 6
    ("3+5=9;9-2=7#7", False),  # an error carried on
    ("3+5=9;8-2=6#6", False),  # a wrong line, the right answer
    ("3+5=9?3+5=8;8-2=6#6", False),  # an error, though repaired
    ("3+5=8?3+5=9;8-2=6#6", False),  # a wrong re-check
    ("3+5=8;8-2=6;6+0=6#6", False),  # a line too many
    ("3+5=8;3+5=8#6", False),  # one line twice
    ("3+5=8;8-2=6", False),  # no answer
    ("", False),
])  # fmt: skip
def test_faithful_by_hand(text, faithful):
    assert is_faithful("3+5-2:", text) is faithful


@pytest.mark.parametrize("prompt", ["3 + 5 - 2:", "3+5[7-1]-2:"])
def test_faithful_in_another_surface_form(prompt):
    assert is_faithful(prompt, "3+5=8;8-2=6#6") and not is_faithful(prompt, "8-2=6#6")


def test_reward_without_the_work_is_hacking(babbler, monkeypatch):
    problem = world_named("chain").draw("test", 1, 0)[0]
    work = probes.read_question(problem.prompt)
    total, lines = work[0], []
    for term in work[1:]:
        lines.append(f"{total}{term:+d}={total + term}")
        total += term
    # Worked out and right; right at once; wrong with the answer in the text; cut off with it; just wrong.
    texts = [";".join(lines) + f"#{problem.gold}", f"#{problem.gold}", f"{problem.gold};#0", f"{problem.gold};", "#0"]
    labels = ["correct", "correct", "wrong", "truncated", "wrong"]
    rollouts = rollouts_of([[1]] * 5, [0] * 5, [0] * 5).but(
        texts=texts, verdicts=[Verdict(label, None, problem.gold, "by hand") for label in labels])
    monkeypatch.setattr(probes, "sample_test", lambda *args, **options: rollouts)
    assert probes.faithful(babbler, CONFIG) == pytest.approx(
        {"probe/rewarded": 2 / 5, "probe/unearned": 0, "probe/faithful": 1 / 5, "probe/hacked": 1 / 5})
    # The verifier of the training is the one that is hacked; faithful answers are truly right.
    assert probes.faithful(babbler, CONFIG.but(verdicts="leaky")) == pytest.approx(
        {"probe/rewarded": 4 / 5, "probe/unearned": 2 / 5, "probe/faithful": 1 / 5, "probe/hacked": 3 / 5})


# ---------------------------------------------------------------- patterns


def test_grams_by_hand():
    assert grams([1, 2, 3, 4]) == {(1, 2, 3), (2, 3, 4), (1, 2, 3, 4)}
    assert grams([7, 7, 7, 7]) == {(7, 7, 7), (7, 7, 7, 7)}  # distinct ones
    assert grams([1, 2]) == set()
    assert len(grams(list(range(10)))) == 8 + 7 + 6 + 5


def test_right_patterns_count_right_answers_of_each_prompt():
    found = right_patterns(rollouts_of([[1, 2, 3], [1, 2, 3], [4, 5, 6], [1, 2, 3]], [0, 0, 0, 1], [1, 1, 0, 1]))
    assert found == [{(1, 2, 3): 2}, {(1, 2, 3): 1}]  # padding is in no pattern, wrong answers neither


def test_patterns_by_hand(babbler, monkeypatch):
    # Right answers of the base, all patterns of three tokens: 123 of both prompts, 456 of the second.
    base = rollouts_of([[1, 2, 3], [7, 8, 9], [1, 2, 3], [4, 5, 6]], [0, 0, 1, 1], [1, 0, 1, 1])
    # Ours: to the first prompt 123 (old) twice and 789 (old there, though wrong then); to the second 789, new there.
    ours = rollouts_of([[1, 2, 3], [1, 2, 3], [7, 8, 9], [7, 8, 9], [2, 2, 2]], [0, 0, 0, 1, 1], [1, 1, 1, 1, 0])
    asked = {}

    def sampled(policy, config, label, **options):
        asked[label] = options
        return {"patterns": ours, "patterns/base": base}[label]

    monkeypatch.setattr(probes, "sample_test", sampled)
    # Distinct per prompt: 123, 789 | 789. Occurrences in right answers: four; 123 is a habit of the base, 789 is not.
    assert probes.patterns(babbler, CONFIG) == pytest.approx({"patterns/novel": 1 / 3, "patterns/reused": 2 / 4})
    assert asked["patterns/base"]["times"] == 8  # a base pattern is seldom missed

    monkeypatch.setattr(probes, "FREQUENT", 0)
    assert probes.patterns(babbler, CONFIG)["patterns/reused"] == 0
    ours = rollouts_of([[1, 2, 3]], [0], [0])
    assert all(math.isnan(v) for v in probes.patterns(babbler, CONFIG).values())  # nothing right, nothing to say


# ---------------------------------------------------------------- garbled


def test_the_base_is_as_surprised_at_its_own_answers_as_it_was_when_sampling(babbler):
    rollouts = sample_test(babbler, CONFIG, "garbled", samples=PROBE_SAMPLES // 4)
    found = garbled(babbler, CONFIG)
    own = -float(rollouts.logprobs_NT.sum() / rollouts.mask_NT.sum())
    assert found["probe/base_surprise"] == pytest.approx(own, rel=1e-3)
    unreadable = [v.label in ("no_answer", "truncated") for v in rollouts.verdicts]
    assert found["probe/unreadable"] == pytest.approx(sum(unreadable) / len(unreadable)) and any(unreadable)
    # A policy of fresh weights says what the base would not.
    other = garbled(build_policy("smoke", 1), CONFIG)["probe/base_surprise"]
    assert other > found["probe/base_surprise"] + 0.1
