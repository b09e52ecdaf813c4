"""The same policy on a GPU and on the CPU. Left out unless asked for with -m gpu."""

import pytest
import torch

from polarity_lib.engines import FastSampler
from polarity_lib.problems import world_named
from polarity_lib.training import one_step, prepare

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
