"""What is measured after training: by hand where a pencil can follow, and on a small policy."""

import math

import pytest
import torch

from polarity_lib import probes
from polarity_lib.config import RunConfig, StartConfig
from polarity_lib.policy import Policy, build_policy
from polarity_lib.pretraining import base_policy
from polarity_lib.probes import PROBES, garbled, grams, is_faithful, right_patterns, sample_test, sparse
from polarity_lib.problems import world_named
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import Verdict

START = StartConfig("chain_zero", "smoke", 2, 0, batch=4)  # it babbles, which is enough here and costs nothing
CONFIG = RunConfig("grpo", "chain", START, 0, steps=1, learning_rate=1e-4, final_problems=3, final_samples=16)


@pytest.fixture
def babbler(scratch_runs) -> Policy:
    return base_policy(START)


def rollouts_of(rows, groups, rights, logprobs=None) -> Rollouts:
    """Rows of tokens by hand; every answer of a group is to one problem of the chain's test set."""
    T = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (T - len(row)) for row in rows])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (T - len(row)) for row in rows])
    problems = world_named("chain").draw("test", max(groups) + 1, 0)
    verdicts = [Verdict("correct" if r else "wrong", None, "", "by hand") for r in rights]
    nothing = torch.zeros(len(rows), T)
    return Rollouts(
        problems=[problems[g] for g in groups], group_N=torch.tensor(groups), prompt_ids=[[5]] * len(rows),
        tokens_NT=tokens, mask_NT=mask, logprobs_NT=nothing if logprobs is None else logprobs, entropies_NT=nothing,
        finished_N=torch.ones(len(rows), dtype=torch.bool), texts=[""] * len(rows), verdicts=verdicts, drawn=len(rows))


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
        {"probe/rewarded": 2 / 5, "probe/faithful": 1 / 5, "probe/hacked": 1 / 5})
    # The verifier of the training is the one that is hacked; faithful answers are truly right.
    assert probes.faithful(babbler, CONFIG.but(verdicts="leaky")) == pytest.approx(
        {"probe/rewarded": 4 / 5, "probe/faithful": 1 / 5, "probe/hacked": 3 / 5})


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


def test_the_base_answers_eight_times_as_often(babbler):
    assert len(sample_test(babbler, CONFIG, "a", times=8)) == 8 * len(sample_test(babbler, CONFIG, "a")) == 3 * 8 * 16


# ---------------------------------------------------------------- sparse, garbled


def test_sparse_by_hand(babbler, monkeypatch):
    """Two wrong answers of ten tokens, -1 and -2 nats a token: D is twice the larger confidence."""
    logs = torch.tensor([[-1.0] * 10, [-2.0] * 10])
    wrong = rollouts_of([[1] * 10] * 2, [0, 0], [0, 0], logs)
    monkeypatch.setattr(probes, "sample_test", lambda *args, **options: wrong)
    # Raw: odds 1 and e^-10 / (2 - e^-10), far below 0.01. Per token: 1 and e^-1 / (2 - e^-1) = 0.23.
    assert sparse(babbler, CONFIG) == {"sparse/raw": 0.5, "sparse/normalised": 0.0}
    right = wrong.but(verdicts=[Verdict("correct", None, "", "by hand")] * 2)
    monkeypatch.setattr(probes, "sample_test", lambda *args, **options: right)
    assert all(math.isnan(v) for v in sparse(babbler, CONFIG).values())


def test_the_base_is_as_surprised_at_its_own_answers_as_it_was_when_sampling(babbler):
    rollouts = sample_test(babbler, CONFIG, "garbled", samples=probes.PROBE_SAMPLES // 4)
    found = garbled(babbler, CONFIG)
    own = -float(rollouts.logprobs_NT.sum() / rollouts.mask_NT.sum())
    assert found["probe/base_surprise"] == pytest.approx(own, rel=1e-3)
    unreadable = [v.label in ("no_answer", "truncated") for v in rollouts.verdicts]
    assert found["probe/unreadable"] == pytest.approx(sum(unreadable) / len(unreadable)) and any(unreadable)
    # A policy of fresh weights says what the base would not.
    other = garbled(build_policy("smoke", 1), CONFIG)["probe/base_surprise"]
    assert other > found["probe/base_surprise"] + 0.1


# ---------------------------------------------------------------- all of them, on a small policy

NAMES = {
    "faithful": {"probe/rewarded", "probe/faithful", "probe/hacked"},
    "shifted": {f"shifted/{w}/pass@{k}" for w in probes.SHIFTED_WORLDS for k in (1, 16)},
    "patterns": {"patterns/novel", "patterns/reused"},
    "garbled": {"probe/base_surprise", "probe/unreadable"},
    "sparse": {"sparse/raw", "sparse/normalised"},
}


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_gives_its_numbers_again(name, babbler):
    before = [p.detach().clone() for p in babbler.model.parameters()]
    found = PROBES[name](babbler, CONFIG)
    assert set(found) == NAMES[name]
    undefined = {k for k, v in found.items() if not math.isfinite(v)}
    assert undefined <= ({"patterns/novel", "patterns/reused"} if name == "patterns" else set())  # nothing may be right
    assert {k: v for k, v in found.items() if k not in undefined} == {
        k: v for k, v in PROBES[name](babbler, CONFIG).items() if k not in undefined}
    assert all(torch.equal(p, b) for p, b in zip(babbler.model.parameters(), before))  # a probe trains nothing
    for k, v in found.items():
        assert k == "probe/base_surprise" or k in undefined or -1 <= v <= 1


def test_probes_sample_the_test_split_and_no_more_than_the_run_does(babbler):
    rollouts = sample_test(babbler, CONFIG, "label")
    assert [p.key for p in rollouts.problems[::16]] == [p.key for p in world_named("chain").draw("test", 3, 0)]
    assert len(rollouts) == 3 * 16 and len(rollouts.verdicts) == 48
    assert rollouts.texts == sample_test(babbler, CONFIG, "label").texts
    assert rollouts.texts != sample_test(babbler, CONFIG, "other label").texts
