"""vLLM as a sampler, on its build for CPUs: the trainer's log-probabilities, weights in place. Run by `make test-vllm`."""

import os
import signal

import pytest
import torch

pytest.importorskip("vllm")

from polarity_lib.config import ConfigError, ModelConfig  # noqa: E402
from polarity_lib.diagnostics import describe_gaps  # noqa: E402
from polarity_lib.engines import ModelSampler, make_sampler  # noqa: E402
from polarity_lib.engines.vllm import EngineFailed, VllmEngine, VllmSampler  # noqa: E402
from polarity_lib.loading import own_logprobs  # noqa: E402
from polarity_lib.models import read_policy  # noqa: E402
from polarity_lib.policy import build_policy  # noqa: E402
from polarity_lib.problems import world_named  # noqa: E402
from polarity_lib.verification import verify  # noqa: E402

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

PROBLEMS = world_named("chain").draw("train", 4, 0) + world_named("countdown3").draw("train", 2, 0)


def spread(policy):
    """Weights so large that a wrong one moves log-probabilities by nats."""
    with torch.no_grad():
        for p in policy.model.parameters():
            if p.ndim > 1:
                p.normal_(std=0.3)
    return policy


@pytest.fixture(scope="module")
def served():
    """A policy whose answers vLLM samples."""
    torch.manual_seed(0)
    policy = spread(build_policy("smoke", 0))
    policy.engine = VllmEngine(policy)
    yield policy
    policy.engine.close()


def step(policy, rate=0.05):
    """One optimizer step of the kind that training takes."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=rate, fused=True)
    policy.model(torch.tensor([[3, 4, 5, 6]])).logits.square().mean().backward()
    optimizer.step()
    policy.model.zero_grad()


def test_log_probabilities_are_the_trainers(served):
    sampler = make_sampler(served, temperature=0.8, max_new_tokens=20)
    assert isinstance(sampler, VllmSampler)
    rollouts = sampler.sample(PROBLEMS, 5, "seed")
    ends, lengths = served.ends, rollouts.mask_NT.sum(1).int().tolist()
    assert rollouts.drawn == len(rollouts) == 30 and rollouts.group_N.tolist() == [g for g in range(6) for _ in range(5)]
    for row, length in enumerate(lengths):
        tokens = rollouts.tokens_NT[row, :length].tolist()
        own_T = own_logprobs(served, rollouts.prompt_ids[row], tokens, 0.8)
        assert torch.allclose(rollouts.logprobs_NT[row, :length], own_T, atol=1e-4)
        assert bool(rollouts.finished_N[row]) == (tokens[-1] in ends) and not set(tokens[:-1]) & set(ends)
        assert rollouts.texts[row].replace("<pad>", "") == served.decode(tokens)  # the verdict sees them
    assert 0 < rollouts.finished_N.sum() < 30  # both kinds occur
    assert (rollouts.entropies_NT[rollouts.mask_NT == 1] > 0).all() and (rollouts.logprobs_NT[rollouts.mask_NT == 0] == 0).all()


def test_a_label_draws_the_same_answers_again(served):
    sampler = make_sampler(served)
    first = sampler.sample(PROBLEMS, 4, "a")
    assert first.texts == sampler.sample(PROBLEMS, 4, "a").texts != sampler.sample(PROBLEMS, 4, "b").texts
    assert len(set(first.texts)) > 12  # the answers of a group are not copies of one


def test_greedy_answers_are_those_of_transformers(served):
    ours, theirs = make_sampler(served, greedy=True), ModelSampler(served, greedy=True)
    assert ours.sample(PROBLEMS, 1, 0).texts == theirs.sample(PROBLEMS, 1, 0).texts


def test_weights_go_over_after_every_update_and_only_then(served):
    make_sampler(served)
    before, greedy = served.engine.handed_over, make_sampler(served, greedy=True).sample(PROBLEMS, 1, 0).texts
    assert served.engine.handed_over == before
    step(served)
    assert served.engine.gap() > 0.05  # the engine still has the old ones
    sampler = make_sampler(served)
    assert served.engine.handed_over == before + 1 and served.engine.gap() < 1e-4
    assert sampler.sample(PROBLEMS, 2, 0).extras["sampler_gap"].max() < 1e-4
    assert make_sampler(served, greedy=True).sample(PROBLEMS, 1, 0).texts != greedy


def test_the_gap_is_told_by_polarity(served):
    rollouts = make_sampler(served).sample(PROBLEMS, 8, "gap")
    rollouts = rollouts.but(verdicts=verify(rollouts.problems, rollouts.texts, rollouts.finished_N.tolist()))
    assert {*describe_gaps(rollouts)} == {"sampler_gap/right", "sampler_gap/wrong", "sampler_gap/largest"}
    assert 0 < describe_gaps(rollouts)["sampler_gap/wrong"] < 1e-4


@pytest.mark.parametrize("layer", ["self_attn.q_proj", "mlp.down_proj", "lm_head", "embed_tokens"])
def test_a_layer_that_was_not_handed_over_is_noticed(served, layer, monkeypatch):
    """One kind of layer keeps its old weights, as all linear ones do in vLLM's own reload on a CPU."""
    make_sampler(served)
    give = served.engine._give
    monkeypatch.setattr(served.engine, "_give", lambda weights: give({k: v for k, v in weights.items() if layer not in k}))
    with torch.no_grad():
        for name, p in served.model.named_parameters():
            if layer in name:
                p.add_(0.2 * torch.randn_like(p))
    with pytest.raises(EngineFailed, match="log-probabilities differ from the trainer's by"):
        make_sampler(served)
    monkeypatch.undo()
    make_sampler(served)  # and with all of them it goes on


def test_a_prompt_needs_room(served):
    with pytest.raises(ConfigError, match="positions"):
        make_sampler(served, max_new_tokens=510).sample(PROBLEMS, 1, 0)


def test_an_adapter_goes_over_alone(tmp_path):
    spread(build_policy("smoke", 1)).save(tmp_path)
    policy = read_policy(ModelConfig(str(tmp_path), lora_rank=4, engine="vllm"))
    try:
        make_sampler(policy)
        for times in (2, 3):
            step(policy)
            assert policy.engine.gap() > 0.02
            sampler = make_sampler(policy)
            assert policy.engine.handed_over == times
            assert sampler.sample(PROBLEMS, 2, 0).extras["sampler_gap"].max() < 1e-3
        assert len(list(policy.engine.folder.glob("adapter-*"))) == 1
        # An engine whose process is gone says so in a line.
        for process in policy.engine.llm.llm_engine.engine_core.resources.engine_manager.processes:
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="the same command goes on from its last checkpoint") as caught:
            make_sampler(policy).sample(PROBLEMS, 1, 0)
        assert "\n" not in str(caught.value)
    finally:
        policy.engine.close()
    assert not policy.engine.folder.exists()
