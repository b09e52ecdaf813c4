"""A language model as the start of a run: adapter, template, memory; each thing that cannot be is refused in one line."""

import json

import pytest
import torch
from families import refused, tiny_of
from interrupting import stopped_after

from polarity_lib import models
from polarity_lib.config import ModelConfig, RunConfig, StartConfig, scale_named
from polarity_lib.engines import make_sampler
from polarity_lib.models import Memory, memory_needed, read_policy, refuse_too_little
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder, without_timings
from polarity_lib.training import train

TEMPLATE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% if add_generation_prompt %}:{% endif %}"


@pytest.fixture
def checkpoint(policy, tmp_path):
    """The small base policy in the hub's format, with a chat template."""
    policy.tokenizer.chat_template = TEMPLATE
    policy.save(tmp_path / "model")
    return str(tmp_path / "model")


def test_prompts_go_through_the_chat_template(checkpoint):
    chatting = read_policy(ModelConfig(checkpoint, chat=True, instruction="#"))
    assert chatting.decode(chatting.encode_prompt("1+2=")) == "[1+2=#]:"  # the alphabet has no line end
    plain = read_policy(ModelConfig(checkpoint))
    assert plain.decode(plain.encode_prompt("1+2=")) == "1+2="


def test_the_longest_answer_and_the_rows_are_the_records(checkpoint):
    sampler = make_sampler(read_policy(ModelConfig(checkpoint, answer_tokens=5, rows=7)))
    assert sampler.sample(world_named("countdown3").draw("train", 2, 0), 3, "s").max_new_tokens == 5 and sampler.rows == 7


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_checkpointing_changes_no_gradient(family, tmp_path, configure):
    pytest.importorskip("peft")
    tiny_of(family).save(tmp_path)
    found = []
    for checkpointing in (False, True):
        policy = read_policy(ModelConfig(str(tmp_path), lora_rank=2, checkpointing=checkpointing), seed=3)
        again = []
        for module in policy.model.modules():
            if getattr(module, "gradient_checkpointing", False) and hasattr(module, "_gradient_checkpointing_func"):
                own = module._gradient_checkpointing_func
                module._gradient_checkpointing_func = lambda *a, own=own, **k: (again.append(1), own(*a, **k))[1]
        with policy.for_gradients():
            policy.model(torch.tensor([[3, 4, 5, 6]]), use_cache=False).logits.square().mean().backward()
        assert bool(again) == checkpointing and not policy.model.training
        found.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    assert torch.equal(*found) and found[0].norm() > 0


def adapted(checkpoint, **changes):
    start = StartConfig("", "", 0, 0, model=ModelConfig(checkpoint, lora_rank=2, **changes))
    return RunConfig("reinforce", "countdown3", start, 0, 4, 1e-2, prompts_per_step=8, rollouts_per_prompt=8, pool_size=16,
                     curve_every=4, curve_problems=2, curve_samples=2, final_problems=4, final_samples=4, checkpoint_every=2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_killed_run_with_an_adapter_ends_like_one_that_was_not(dtype, checkpoint, tmp_path):
    pytest.importorskip("peft")
    config = adapted(checkpoint, dtype=dtype, checkpointing=True, tokens_per_pass=64)
    whole = train(config, RunFolder("whole", config.identity, tmp_path), "cpu")
    folder = RunFolder("killed", config.identity, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, "cpu", watch=stopped_after(config.checkpoint_every))
    saved = folder.load_checkpoint()
    assert saved["model"] and all("lora_" in name for name in saved["model"])  # the adapter alone
    assert saved["optimizer"]["state"]
    continued = train(config, folder, "cpu")
    assert without_timings(continued["metrics"]).equals(without_timings(whole["metrics"]))
    norms = whole["updates"].norm
    assert (norms > 0).all()


def test_an_adapter_is_gone_on_with_and_another_models_refused(checkpoint, tmp_path):
    pytest.importorskip("peft")
    policy = read_policy(ModelConfig(checkpoint, lora_rank=2))
    with torch.no_grad():
        for p in policy.parameters():
            p.normal_(std=0.2)
    policy.model.save_pretrained(tmp_path / "adapter")
    again = read_policy(ModelConfig(checkpoint, adapter=str(tmp_path / "adapter")))
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(policy.model(ids).logits, again.model(ids).logits)
    assert {n for n, p in again.model.named_parameters() if p.requires_grad} == {n for n in policy.weights()}
    tiny_of("llama").save(tmp_path / "other")
    line = refused(read_policy, ModelConfig(str(tmp_path / "other"), adapter=str(tmp_path / "adapter")))
    assert "is an adapter of another model" in line and "of its weights do not fit" in line
    assert "no LoRA adapter" in refused(read_policy, ModelConfig(checkpoint, adapter=str(tmp_path / "nowhere")))


def test_an_adapter_goes_on_the_layers_that_are_named(checkpoint):
    pytest.importorskip("peft")
    some = read_policy(ModelConfig(checkpoint, lora_rank=2, lora_modules="q_proj+down_proj"))
    assert {name.split(".")[-4] for name in some.weights()} == {"q_proj", "down_proj"}
    assert "no adapter can be put on ['wrong_proj']" in refused(
        read_policy, ModelConfig(checkpoint, lora_rank=2, lora_modules="wrong_proj"))


def test_what_a_model_lacks_is_said(policy, checkpoint, tmp_path):
    policy.tokenizer.chat_template = None
    policy.save(tmp_path / "mute")
    assert "has no chat template" in refused(read_policy, ModelConfig(str(tmp_path / "mute"), chat=True))
    assert "has 512 positions: answers of 600 tokens" in refused(read_policy, ModelConfig(checkpoint, answer_tokens=600))
    settings = json.loads((tmp_path / "mute" / "tokenizer_config.json").read_text())
    (tmp_path / "mute" / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "pad_token"}))
    assert read_policy(ModelConfig(str(tmp_path / "mute"))).tokenizer.pad_token_id is not None


@pytest.mark.parametrize(("fields", "message"), [
    ({"dtype": "bfloat16"}, "would lose updates"), ({"dtype": "int8", "lora_rank": 2}, "dtype"),
    ({"lora_rank": 2, "adapter": "a"}, "one of the two"), ({"engine": "vlm"}, "Did you mean 'vllm'"),
    ({"rows": 0}, "rows must be"),
])  # fmt: skip
def test_a_record_that_cannot_be_is_refused(fields, message):
    assert message in refused(lambda: ModelConfig("m", **fields))


def test_memory_by_hand(checkpoint):
    found = memory_needed(ModelConfig(checkpoint, tokens_per_pass=100, rows=10, answer_tokens=88), prompt_tokens=12)
    parameters = 2 * 26 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 192 + 2 * 64) + 64
    assert found.parameters == parameters and found.weights == 4 * parameters and found.trained == 12 * parameters
    assert found.cache == 2 * 2 * 64 * 4 * 10 * 100  # keys and values, layers, width, bytes, rows, positions
    lora = memory_needed(ModelConfig(checkpoint, lora_rank=2))
    assert lora.trained == 16 * 2 * 2 * (4 * (64 + 64) + 3 * (64 + 192))
    kept, again = (memory_needed(ModelConfig(checkpoint, checkpointing=c)).activations for c in (False, True))
    assert again < kept


def test_too_little_memory_is_said_before_anything_is_read(checkpoint, monkeypatch):
    needed = Memory(3e9, 1e9, 2e9, 1e9, 5e9, 1.5e9)
    assert needed.total == 9e9
    refuse_too_little(needed, 9.5e9, ModelConfig("m"))
    line = refused(refuse_too_little, needed, 8e9, ModelConfig("m"))
    assert "needs about 9.0 GB" in line and "8.0 GB free" in line and "fewer rows than 1024" in line
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1e6, 1e6))
    monkeypatch.setattr(models, "load_policy", lambda *a, **k: pytest.fail("weights were read"))
    assert "0.0 GB free" in refused(read_policy, ModelConfig(checkpoint), "cuda")


def test_a_start_with_a_model_has_a_name_and_a_hash_of_its_own():
    plain = StartConfig("", "", 0, 0, model=ModelConfig("Qwen/Qwen3-0.6B"))
    assert plain.name.startswith("Qwen3-0.6B-s0-")
    assert plain.name != StartConfig("", "", 0, 0, model=ModelConfig("Qwen/Qwen3-0.6B", lora_rank=8)).name
    assert scale_named("paper:a/b").model == "a/b"
    assert "makes its own policies" in refused(scale_named, "tiny:a/b")
