"""Scale paper at toy size: base, GRPO, PSR and NSR of a stand-in model on real problems' texts, killed and continued."""

import json
import os
import subprocess
import sys

import pytest
from interrupting import stopped_after
from stand_in import needs_texts, one_digit_answers, taught, told_sizes, toy_arms

from polarity_lib.experiments import Arm, experiment, get_run
from polarity_lib.results import ROOT, RunFolder, without_timings
from polarity_lib.training import train

pytestmark = [pytest.mark.slow, needs_texts]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with one_digit_answers():
        yield taught(tmp_path_factory.mktemp("model"))


def test_the_headline_contrast_at_toy_size(model, own_runs):
    pytest.importorskip("peft")
    pytest.importorskip("math_verify")
    found = {}
    for name, config in toy_arms(model).items():
        found[name] = get_run(Arm("psr_nsr_math", name, config, "paper"))["metrics"].set_index("metric").value
        assert 0 <= found[name]["test/pass@1"] <= 1 and found[name]["validation/length"].max() <= 12
    assert all(found[name]["update/norm"] > 0 for name in ("grpo", "psr", "nsr"))
    assert 0 < found["nsr"]["train/reward"] < 1  # the stand-in is right now and then
    assert found["nsr"]["update/sampler_gap"] < 1e-3
    killed = toy_arms(model)["nsr"]
    folder = RunFolder("killed", killed.identity, own_runs)
    with pytest.raises(KeyboardInterrupt):
        train(killed, folder, "cpu", watch=stopped_after(killed.checkpoint_every))
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


def test_make_study_runs_the_contrast_through_notebook_10(model, own_runs, tmp_path):
    """As a person gives it: plan, runs, papermill, figures; the sizes behind the model's name. All texts, not the short ones."""
    pytest.importorskip("papermill")
    pytest.importorskip("snakemake")
    command = [sys.executable, "-m", "polarity_lib", "study", "--scale", "paper", "--only", "10", "--model", model,
               "--with", told_sizes(steps=1, prompts_per_step=4, minibatches=1)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT,
                          env=os.environ | {"POLARITY_SITE": str(tmp_path / "site"), "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "One run at a time" in done.stdout and "OUR ESTIMATE" in done.stdout
    assert len(list(own_runs.glob("math_sample-*/done.json"))) == 4
    record = json.loads(next((own_runs / "notebooks").glob("10_*-paper-*.json")).read_text())["record"]
    assert set(record["verdicts"].values()) == {"not run at this scale"}  # they were written for other worlds
    assert set(record["table_1"]["math test pass@1"]) >= {"base", "grpo", "psr", "nsr"}
    assert {path.stem for path in (own_runs / "figures").rglob("*.png")} == {
        "10_arms_math", "10_pass_at_k", "10_training_curves_math"}
