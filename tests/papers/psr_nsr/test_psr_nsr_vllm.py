"""Training through vLLM on a CPU: base, GRPO, PSR, NSR of the stand-in, beside the torch sampler. Run by `make test-vllm`."""

import os
import signal

import pytest

pytest.importorskip("vllm")

from stand_in import needs_texts, one_digit_answers, taught, toy_arms  # noqa: E402

from polarity_lib.engines.torch_sampler import TorchSampler  # noqa: E402
from polarity_lib.engines.vllm import EngineFailed, VllmEngine, VllmSampler  # noqa: E402
from polarity_lib.results import RunFolder, without_timings  # noqa: E402
from polarity_lib.training import train  # noqa: E402

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore"), needs_texts]

BY_SAMPLER = ("sampler_gap", "update/sampler_gap")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with one_digit_answers():
        yield taught(tmp_path_factory.mktemp("model"))


def metrics_of(config, folder, name):
    tables = train(config, RunFolder(name, config.identity, folder), "cpu")
    return without_timings(tables["metrics"]).set_index(["step", "metric"]).value


@pytest.mark.parametrize("name", ["base", "grpo", "psr", "nsr"])
def test_numbers_are_those_of_the_torch_sampler_within_the_gap(name, model, tmp_path, monkeypatch):
    """What vLLM drew in one run is given to the torch engine in another: every metric agrees, as far as samplers' sums do."""
    seen, sample, own = {}, VllmSampler.sample, TorchSampler.sample

    def keep(self, problems, rollouts_per_prompt, seed):
        found = sample(self, problems, rollouts_per_prompt, seed)
        seen.setdefault((str(seed), rollouts_per_prompt, self.greedy), []).append(found)
        return found

    def give(self, problems, rollouts_per_prompt, seed):
        if (str(seed), rollouts_per_prompt, self.greedy) not in seen:  # the checks when a model is loaded
            return own(self, problems, rollouts_per_prompt, seed)
        found = seen[str(seed), rollouts_per_prompt, self.greedy].pop(0)
        assert [p.key for p in found.problems][::rollouts_per_prompt] == [p.key for p in problems]
        logprobs_NT, entropies_NT = VllmSampler._by_trainer(self, found)
        return found.but(logprobs_NT=logprobs_NT, entropies_NT=entropies_NT, extras={})

    monkeypatch.setattr(VllmSampler, "sample", keep)
    by_vllm = metrics_of(toy_arms(model, engine="vllm")[name], tmp_path, "vllm")
    drawn = sum(len(batch) for batch in seen.values())
    monkeypatch.setattr(TorchSampler, "sample", give)
    by_torch = metrics_of(toy_arms(model)[name], tmp_path, "torch")
    assert drawn > 0 and not any(batch for label, batch in seen.items() if label[0] != "check")
    told = by_vllm.index.get_level_values("metric")
    if name != "base":
        gaps = by_vllm[told.str.startswith(BY_SAMPLER)]
        assert {"sampler_gap/right", "sampler_gap/wrong", "sampler_gap/largest", "update/sampler_gap"} == set(
            gaps.index.get_level_values("metric")) and gaps.max() < 1e-3
        assert (by_vllm.xs("update/norm", level="metric") > 0).all()
    shared = by_vllm[~told.str.startswith(BY_SAMPLER)]
    by_torch = by_torch[~by_torch.index.get_level_values("metric").str.startswith(BY_SAMPLER)]
    assert list(shared.index) == list(by_torch.index)
    assert shared.to_numpy() == pytest.approx(by_torch.to_numpy(), abs=1e-3, nan_ok=True)


def test_a_run_whose_engine_dies_goes_on_and_greedy_answers_are_the_torch_samplers(model, tmp_path, monkeypatch):
    config = toy_arms(model, engine="vllm")["nsr"]
    whole = metrics_of(config, tmp_path, "whole")
    save, make = RunFolder.save_checkpoint, VllmEngine.__init__
    engines = []

    def made(self, *args, **options):
        make(self, *args, **options)
        engines.append(self)

    def save_and_kill(self, state):
        save(self, state)
        for process in engines[-1].llm.llm_engine.engine_core.resources.engine_manager.processes:
            os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(VllmEngine, "__init__", made)
    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_kill)
    with pytest.raises(EngineFailed, match="the same command goes on from its last checkpoint"):
        metrics_of(config, tmp_path, "killed")
    assert not engines[-1].folder.exists()  # what it left is swept up
    monkeypatch.setattr(RunFolder, "save_checkpoint", save)
    continued = metrics_of(config, tmp_path, "killed")
    assert list(continued.index) == list(whole.index)
    assert continued.to_numpy() == pytest.approx(whole.to_numpy(), abs=1e-4, nan_ok=True)
    # At the first curve point both engines serve the same weights.
    by_torch = metrics_of(toy_arms(model)["nsr"], tmp_path, "torch")
    assert continued[0, "validation/greedy"] == by_torch[0, "validation/greedy"]
