"""Scale paper at toy size: base, GRPO, PSR and NSR of a stand-in model on real problems' texts, killed and continued."""

import os
from pathlib import Path

import pytest
from stand_in import stand_in

from polarity_lib.config import scale_named
from polarity_lib.experiments import Arm, experiment, get_run
from polarity_lib.papers.psr_nsr.paper_scale import one_gpu
from polarity_lib.problems import any_world, real
from polarity_lib.results import RunFolder, without_timings
from polarity_lib.training import train

DATA = os.environ.get("POLARITY_TEST_DATA", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not DATA or not (Path(DATA) / "benchmarks").is_dir(),
    reason="POLARITY_TEST_DATA names no folder with benchmarks/ (the texts may not be committed)")]

SIZES = dict(world="math_sample", steps=2, prompts_per_step=8, rollouts_per_prompt=8, minibatches=2, pool_size=100, curve_every=2,
             curve_problems=4, curve_samples=2, final_problems=8, final_samples=4, checkpoint_every=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def digits():
    """A hundred real training problems, and a few for validation and test, whose answer is one digit and whose text is short."""
    kept = {}
    own = real._problems

    def short(world, split):
        if (world, split) not in kept:
            kept[world, split] = tuple(p for p in own(world, split) if p.gold.strip().isdigit() and len(p.gold.strip()) == 1
                                       and len(p.prompt) < 250)
        return kept[world, split]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real, "_problems", short)
        yield


@pytest.fixture(scope="module")
def model(digits, tmp_path_factory):
    texts = [p.prompt for p in any_world("math_sample").draw("train", 100, 0)]
    return stand_in(tmp_path_factory.mktemp("model"), texts)


def arms(model, **served):
    small = {"dtype": "float32", "answer_tokens": 12, "rows": 64, "tokens_per_pass": 512, "lora_rank": 4, "instruction": ""}
    return one_gpu(scale_named(f"paper:{model}"), 0, served=small | served, **SIZES)


def test_the_headline_contrast_at_toy_size(model, own_runs, monkeypatch):
    pytest.importorskip("peft")
    pytest.importorskip("math_verify")
    found = {}
    for name, config in arms(model).items():
        found[name] = get_run(Arm("psr_nsr_math", name, config, "paper"))["metrics"].set_index("metric").value
        assert 0 <= found[name]["test/pass@1"] <= 1 and found[name]["validation/length"].max() <= 12
    assert all(found[name]["update/norm"] > 0 for name in ("grpo", "psr", "nsr"))
    assert 0 < found["nsr"]["train/reward"] < 1  # the stand-in is right now and then
    assert found["nsr"]["update/sampler_gap"] < 1e-3
    killed = arms(model)["nsr"]
    folder, save = RunFolder("killed", killed.identity, own_runs), RunFolder.save_checkpoint

    def save_and_die(self, state):
        save(self, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(killed, folder, "cpu")
    monkeypatch.setattr(RunFolder, "save_checkpoint", save)
    again = without_timings(train(killed, folder, "cpu")["metrics"]).set_index("metric").value
    whole = found["nsr"][[not name.startswith("timing.") for name in found["nsr"].index]]
    assert again.equals(whole)


def test_the_committed_sizes_are_the_papers_where_they_fit():
    found = {arm.name: arm.config for arm in experiment("psr_nsr_math", scale="paper:some/model")}
    assert list(found) == ["base", "grpo", "psr", "nsr"] and found["base"].steps == 0
    nsr = found["nsr"]
    assert (nsr.rollouts_per_prompt, nsr.minibatches, nsr.temperature) == (8, 4, 1.0)
    assert (nsr.eval_temperature, nsr.eval_top_p) == (0.6, 0.95)
    assert nsr.start.model.name == "some/model" and nsr.start.model.lora_rank
