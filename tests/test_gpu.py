"""The same policy on a GPU and on the CPU. Left out unless asked for with -m gpu."""

import numpy as np
import pytest
import torch

from polarity_lib.engines import FastSampler
from polarity_lib.engines.stacked import Decode, StackedModel
from polarity_lib.engines.torch_sampler import uniforms
from polarity_lib.policy import build_policy
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder
from polarity_lib.run import prepare
from polarity_lib.stacking import Wanted, train_stacked
from polarity_lib.training import one_step, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


def test_sampling_and_one_training_step_agree_with_the_cpu(policy, configure):
    problems = world_named("countdown3").draw("train", 8, 0)
    on_cpu = FastSampler(policy).sample(problems, 8, "gpu")
    policy.model.to("cuda")
    on_gpu = FastSampler(policy).sample(problems, 8, "gpu")
    same = [a == b for a, b in zip(on_cpu.texts, on_gpu.texts)]
    assert sum(same) >= 62  # a draw on the very edge between two tokens may fall on either side
    rows = torch.tensor(same)
    T = min(on_cpu.mask_NT.shape[1], on_gpu.mask_NT.shape[1])
    assert torch.allclose(on_cpu.logprobs_NT[rows, :T], on_gpu.logprobs_NT[rows, :T], atol=1e-3)

    metrics = {device: one_step(prepare(configure("grpo"), device)) for device in ("cpu", "cuda")}
    for key in ("train/reward", "entropy/all", "update/gradient_norm", "update/norm"):
        assert metrics["cuda"][key] == pytest.approx(metrics["cpu"][key], rel=0.05), key
    assert metrics["cuda"]["update/sampler_gap"] < 1e-3


def test_runs_stacked_on_the_gpu_agree_with_single_runs_on_the_cpu(configure, tmp_path):
    configs = [configure("grpo", learning_rate=1e-4), configure("nsr", learning_rate=5e-5, seed=1),
               configure("ppo", learning_rate=1e-4, seed=2), configure("a3po", learning_rate=1e-4),
               configure("grpo", learning_rate=1e-4, options=(("kl", 0.1),))]

    def folder(config, name):
        return RunFolder(config.name, config.identity, tmp_path / name)

    stacked = train_stacked([Wanted(config, folder(config, "cuda")) for config in configs], "cuda")
    for config, ours in zip(configs, stacked):
        record = folder(config, "cuda").record()
        assert record["stacked"] == len(configs) and record["machine"] == torch.cuda.get_device_name()
        single = train(config, folder(config, "cpu"), device="cpu")
        left, right = (t["metrics"].set_index(["metric", "step"]).value for t in (ours, single))
        assert left.index.equals(right.index)
        first = left["entropy/all", 2], right["entropy/all", 2]  # a token on the very edge may fall on either side
        np.testing.assert_allclose(*first, rtol=0.02)
        np.testing.assert_allclose(ours["updates"].norm, single["updates"].norm, rtol=0.1)
        assert left["update/sampler_gap", 2] < 1e-3


def test_a_recorded_step_draws_what_a_computed_one_draws():
    policies = [build_policy("smoke", seed) for seed in range(3)]
    problems = world_named("chain").draw("train", 4, 0)
    for policy in policies:
        policy.model.to("cuda")
    model = StackedModel(policies, "cuda")
    prompts = [policies[0].encode(problem.prompt) for problem in problems]
    asked = [Decode(prompts, 8, 40, uniforms(f"{seed}", problems, 8, 40), 1.0, 1.0, policies[0].ends) for seed in range(3)]
    computed, recorded, replayed = (model.decode([0, 1, 2], asked) for _ in range(3))
    assert model.graphs, "no CUDA graph could be recorded"
    for one, two, three in zip(computed, recorded, replayed):
        same = (one[0] == two[0]).all(1)
        assert same.float().mean() > 0.97 and torch.allclose(one[1][same], two[1][same], atol=1e-4)
        assert all(torch.equal(a, b) for a, b in zip(two, three))
