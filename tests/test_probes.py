"""Every probe on a small policy: its numbers, repeatable, within bounds, and what it samples."""

import math

import pytest
import torch

from conftest import BABBLE
from polarity_lib.config import ConfigError, ModelConfig, OfflineConfig, RunConfig, StartConfig
from polarity_lib.evaluation import sample_test
from polarity_lib.papers.a3po.probes import SHIFTED_WORLDS
from polarity_lib.papers.dissecting import probes as dissecting
from polarity_lib.problems import REAL_WORLDS, world_named
from polarity_lib.registry import PROBES
from polarity_lib.rollouts import Rollouts
from polarity_lib.run import prepare, stream_of
from polarity_lib.verification import Verdict

CONFIG = RunConfig("grpo", "chain", BABBLE, 0, steps=1, learning_rate=1e-4, final_problems=3, final_samples=16)


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


NAMES = {
    "cool": {f"cool/{name}" for name in ("pass@1", "pass@2", "pass@4", "pass@8", "pass@16", "entropy", "length", "distinct")},
    "faithful": {"probe/rewarded", "probe/unearned", "probe/faithful", "probe/hacked"},
    "shifted": {f"shifted/{w}/pass@{k}" for w in SHIFTED_WORLDS for k in (1, 16)},
    "patterns": {"patterns/novel", "patterns/reused"},
    "garbled": {"probe/base_surprise", "probe/unreadable"},
    "sparse": {"sparse/raw", "sparse/normalised"},
    "ways": {f"before/{name}" for name in ("worked", "right_if_worked", "right_if_direct", "worked_length", "direct_length")},
    "drift": set(),  # CONFIG has no data set
    "from_base": {"from_base/kl", "from_base/entropy_gap"},
    "blame": {f"blame/{name}" for name in ("nthr_precision", "nthr_recall", "share", "nthr_spared", "value_hit")},
}
THEIR_OWN = set(dissecting.PROBES)  # tested beside their paper


@pytest.mark.parametrize("name", sorted(set(PROBES) - THEIR_OWN))
def test_a_probe_gives_its_numbers_again(name, babbler):
    before = [p.detach().clone() for p in babbler.model.parameters()]
    found = PROBES[name](babbler, CONFIG)
    assert set(found) == NAMES[name]
    undefined = {k for k, v in found.items() if not math.isfinite(v)}
    if name not in ("patterns", "blame", "ways"):  # nothing may be right, nothing spared, nothing worked
        assert not undefined
    assert {k: v for k, v in found.items() if k not in undefined} == {
        k: v for k, v in PROBES[name](babbler, CONFIG).items() if k not in undefined}
    assert all(torch.equal(p, b) for p, b in zip(babbler.model.parameters(), before))  # a probe trains nothing
    for k, v in found.items():
        assert k.endswith(("surprise", "entropy", "length", "distinct")) or k in undefined or -1 <= v <= 1


def test_probes_sample_the_test_split_and_no_more_than_the_run_does(babbler):
    rollouts = sample_test(babbler, CONFIG, "label")
    assert [p.key for p in rollouts.problems[::16]] == [p.key for p in world_named("chain").draw("test", 3, 0)]
    assert len(rollouts) == 3 * 16 and len(rollouts.verdicts) == 48
    assert rollouts.texts == sample_test(babbler, CONFIG, "label").texts
    assert rollouts.texts != sample_test(babbler, CONFIG, "other label").texts


def test_the_base_answers_eight_times_as_often(babbler):
    assert len(sample_test(babbler, CONFIG, "a", times=8)) == 8 * len(sample_test(babbler, CONFIG, "a")) == 3 * 8 * 16


@pytest.mark.parametrize(("probe", "changes", "message"), [
    ("faithful", {"world": "countdown3"}, "Probe faithful reads answers of chain worlds, and countdown3 is none. Valid: chain, "),
    ("tight", {"world": "search"}, "Probe tight reads answers of chain worlds"),
    ("spread", {"final_samples": 1}, "Probe spread wants final_samples of 2 or more, not 1"),
    ("dead", {"final_samples": 3}, "Probe dead wants final_samples of 4 or more, not 3"),
    ("col", {}, "Unknown probe 'col'. Did you mean 'cool'"),
])  # fmt: skip
def test_what_a_run_cannot_be_asked_is_refused_before_it(probe, changes, message, own_runs):
    with pytest.raises(ConfigError) as refusal:
        prepare(CONFIG.but(probes=(probe,), **changes), "cpu")
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert not list(own_runs.glob("*"))  # nothing was made, not even a base policy


@pytest.mark.parametrize("name", ["cool", "sparse", "from_base", "patterns", "garbled", "ways", "blame"])
def test_worlds_of_real_mathematics_are_asked_like_ours(name, babbler, monkeypatch):
    monkeypatch.setitem(REAL_WORLDS, "real", world_named("chain"))  # problems that can be drawn without files
    assert set(PROBES[name](babbler, CONFIG.but(world="real"))) == NAMES[name]


@pytest.mark.parametrize("name", ["patterns", "garbled", "from_base", "drift"])
def test_a_language_model_is_compared_with_what_it_began_as(name, babbler, tmp_path):
    """The same weights, read from a folder, give the numbers that a policy made here gives."""
    babbler.save(tmp_path / "model")
    offline = OfflineConfig(2, 2, uniform=True) if name == "drift" else None
    config = CONFIG.but(offline=offline, rollouts_per_prompt=2) if offline else CONFIG
    read = config.but(start=StartConfig("", "", 0, 0, model=ModelConfig(str(tmp_path / "model"))))
    assert stream_of(read) == stream_of(config)  # the same answers are drawn
    found, expected = (PROBES[name](babbler, each) for each in (read, config))
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-5) and found
