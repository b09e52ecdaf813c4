"""What is computed on a GPU keeps to one device: checked without a GPU, by tensors that remember where they should lie."""

import contextlib
import threading

import numpy as np
import pytest
import torch
from pretended_gpu import PretendedGpu

from polarity_lib import stacking
from polarity_lib.engines import FastSampler, ModelSampler
from polarity_lib.engines.stacked import BUCKET, Decode, StackedModel
from polarity_lib.engines.torch_sampler import uniforms
from polarity_lib.policy import build_policy
from polarity_lib.problems import world_named
from polarity_lib.registry import METHODS
from polarity_lib.results import RunFolder
from polarity_lib.run import prepare
from polarity_lib.stacking import Wanted, train_stacked
from polarity_lib.training import one_step, train


@pytest.fixture
def gpu(monkeypatch):
    """Everything of a test runs before the GPU that is not there, in other threads too."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "no GPU")
    before = stacking.one_thread

    @contextlib.contextmanager
    def pretending(device):
        elsewhere = threading.current_thread() is not threading.main_thread()
        with before(device), PretendedGpu() if elsewhere else contextlib.nullcontext():
            yield

    monkeypatch.setattr(stacking, "one_thread", pretending)
    with PretendedGpu() as gpu:
        yield gpu


# ---------------------------------------------------------------- the pretended GPU refuses what a GPU refuses


@pytest.mark.parametrize("mixes", [
    lambda there, here: there + here, lambda there, here: torch.cat([there, here]),
    lambda there, here: torch.where(there > 0, there, here),
    lambda there, here: here[there.long()], lambda there, here: there.index_put((here.long(),), here),
    lambda there, here: torch.nn.functional.linear(there, here), lambda there, here: there.mul_(here),
])
def test_an_operation_on_both_devices_is_refused(gpu, mixes):
    with pytest.raises(RuntimeError, match="both devices"):
        mixes(torch.ones(3, device="cuda"), torch.ones(3))


def test_numpy_sees_no_tensor_of_the_gpu(gpu):
    with pytest.raises(TypeError, match="numpy"):
        torch.ones(3, device="cuda").numpy()
    there = torch.ones(3, device=torch.device("cuda"))
    assert there.is_cuda and there.cpu().numpy().sum() == 3.0


def test_what_a_gpu_allows_is_allowed_and_reading_is_counted(gpu):
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    assert (there + torch.tensor(1.0)).device.type == "cuda"  # a number
    assert there[torch.tensor([0, 2])].device.type == "cuda"  # an index on the CPU
    assert there.copy_(here).device.type == "cuda" and there.to(here).device.type == "cpu" and here.device.type == "cpu"
    assert gpu.read_back == {"to": 1}
    assert float(there.sum()) == 3.0 and gpu.read_back == {"to": 1, "__float__": 1}


def test_modules_gradients_and_optimizers_move_along(gpu):
    layer = torch.nn.Linear(3, 1).to("cuda")
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2, 3, device="cuda")).sum().backward()
    optimizer.step()
    assert {p.device.type for p in layer.parameters()} == {p.grad.device.type for p in layer.parameters()} == {"cuda"}
    with pytest.raises(RuntimeError, match="both devices"):
        layer(torch.ones(2, 3))


# ---------------------------------------------------------------- and the study keeps to it


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_step_of_every_method_keeps_to_its_device(gpu, configure, method):
    run = prepare(configure(method, minibatches=2, learning_rate=1e-4), "cuda")
    metrics = one_step(run)
    assert run.policy.device.type == "cuda" and np.isfinite(metrics["update/norm"])


@pytest.mark.parametrize("sampler", [FastSampler, ModelSampler])
def test_samplers_draw_there_what_they_draw_here(gpu, policy, sampler):
    problems = world_named("countdown3").draw("train", 4, 0)
    here = sampler(policy).sample(problems, 4, "device")
    policy.model.to("cuda")
    assert sampler(policy).sample(problems, 4, "device").texts == here.texts


def test_a_run_is_trained_judged_and_stored(gpu, configure, tmp_path):
    config = configure("ppo", learning_rate=1e-4)
    folder = [RunFolder(config.name, config.identity, tmp_path / place) for place in ("gpu", "cpu")]
    there, here = train(config, folder[0], "cuda"), train(config, folder[1], "cpu")
    assert folder[0].record()["machine"] == "no GPU"
    np.testing.assert_allclose(there["updates"].norm, here["updates"].norm, rtol=1e-4)


def test_stacked_runs_keep_to_their_device(gpu, configure, tmp_path):
    configs = [configure("grpo", learning_rate=1e-4), configure("nsr", learning_rate=5e-5, seed=1),
               configure("ppo", learning_rate=1e-4, seed=2), configure("a3po", learning_rate=1e-4),
               configure("grpo", learning_rate=1e-4, options=(("kl", 0.1),))]
    stacked = train_stacked([Wanted(c, RunFolder(c.name, c.identity, tmp_path / "gpu")) for c in configs], "cuda")
    single = [train(c, RunFolder(c.name, c.identity, tmp_path / "cpu"), "cpu") for c in configs]
    for one, two in zip(stacked, single):
        np.testing.assert_allclose(one["updates"].norm, two["updates"].norm, rtol=1e-3)


def test_decoding_reads_nothing_back_but_once_in_a_bucket(gpu):
    policies = [build_policy("smoke", seed) for seed in range(2)]
    problems = world_named("chain").draw("train", 2, 0)
    prompts = [policies[0].encode(problem.prompt) for problem in problems]
    model = StackedModel(policies, "cuda")
    assert model.graphs and model.flat_RW.is_cuda
    model.graphs = False  # nothing records a step here
    found = {}
    for length in (8, 3 * BUCKET):
        gpu.read_back.clear()
        asked = [Decode(prompts, 4, length, uniforms(f"{seed}", problems, 4, length), 1.0, 1.0, (10**6,)) for seed in range(2)]
        model.decode([0, 1], asked)
        found[length] = gpu.read_back["__bool__"], gpu.read_back.total()
    assert found[8][0] == 0 and found[3 * BUCKET][0] == 2
    assert found[3 * BUCKET][1] - found[8][1] == 2
