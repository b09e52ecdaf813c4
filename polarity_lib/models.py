"""A language model as the start of a run: read as its record says, its memory counted before anything is loaded.

    policy = read_policy(ModelConfig("Qwen/Qwen3-0.6B", lora_rank=16, dtype="bfloat16", checkpointing=True, chat=True))

`loading` decides whether a model's numbers can be trusted; here is what a run wants of it besides: an adapter to go on
with, prompts through its chat template, layers computed again for the gradient, an engine that samples in its place.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers

from polarity_lib.config import GIGABYTE, ConfigError, ModelConfig, StartConfig, derive_seed
from polarity_lib.loading import load_policy, with_adapter
from polarity_lib.outside import first_line
from polarity_lib.policy import LOGITS_AT_ONCE, Policy, plain_model
from polarity_lib.pretraining import base_policy


def starting_policy(start: StartConfig, device: str = "cpu") -> Policy:
    """The policy that a run begins from: read where its start names a model, else made here."""
    return read_policy(start.model, device, start.seed) if start.model else base_policy(start, device)


def as_it_began(policy: Policy, start: StartConfig) -> Policy:
    """What a trained policy was at its start, to compare it with: asked in the same way, not to be trained, sampled by torch."""
    device = policy.device.type
    if start.model:
        began = read_policy(replace(start.model, engine="torch", checkpointing=False), device, start.seed, to_train=False)
    else:
        began = base_policy(start, device)
    began.served = policy.served
    return began


def read_policy(how: ModelConfig, device: str = "cpu", seed: int = 0, to_train: bool = True) -> Policy:
    """A model as its record says.

    Args:
        seed: of a fresh adapter's random half.
        to_train: refuse a device that could not hold its training.

    Raises:
        ConfigError: one line: nothing there, too little memory, no chat template, an adapter of another model, too few positions.
    """
    if device != "cpu" and to_train:
        refuse_too_little(memory_needed(how), torch.cuda.mem_get_info()[0], how)
    policy = load_policy(how.name, device, getattr(torch, how.dtype))
    if how.lora_rank:
        modules = how.lora_modules if how.lora_modules == "all-linear" else how.lora_modules.split("+")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("adapter", seed) % 2**63)
            policy.model = with_adapter(policy.model, how.lora_rank, modules, how.name)
    elif how.adapter:
        policy.model = with_kept_adapter(policy.model, how.adapter, how.name)
    policy.model.eval()
    policy.served = how
    refuse_unserved(policy)
    if how.checkpointing:
        plain_model(policy.model).gradient_checkpointing_enable({"use_reentrant": False})
    if how.engine == "vllm":
        from polarity_lib.engines.vllm import VllmEngine

        policy.engine = VllmEngine(policy)
    return policy


def refuse_unserved(policy: Policy) -> None:
    """What a run wants and a model lacks.

    Raises:
        ConfigError: no chat template, or too few positions for the answers wanted.
    """
    how = policy.served
    if how.chat and not policy.tokenizer.chat_template:
        raise ConfigError(f"{how.name}: its tokenizer has no chat template, so nothing says how a question is put to it. Set "
                          "chat=False to ask in plain text, or take a model that was taught to chat.")
    room = getattr(policy.model.config.get_text_config(), "max_position_embeddings", None)
    if room and how.answer_tokens >= room:
        raise ConfigError(f"{how.name} has {room} positions: answers of {how.answer_tokens} tokens leave no room for a question.")


def with_kept_adapter(model, folder: str, name: str):
    """The model under a LoRA adapter that was saved, to be trained on.

    Raises:
        ConfigError: nothing there, or an adapter of another model.
    """
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = PeftConfig.from_pretrained(folder)
        weights = load_file(Path(folder) / "adapter_model.safetensors")
        model = get_peft_model(model, config)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(f"{folder}: no LoRA adapter for {name} can be read there: {first_line(error)}") from error
    wanted = {key: tuple(tensor.shape) for key, tensor in get_peft_model_state_dict(model).items()}
    there = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    if wanted != there:
        odd = sorted(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key))
        raise ConfigError(f"{folder} is an adapter of another model ({config.base_model_name_or_path}), not of {name}: "
                          f"{len(odd)} of its weights do not fit, {odd[0]} among them.")
    set_peft_model_state_dict(model, weights)
    for key, p in model.named_parameters():
        p.requires_grad_("lora_" in key)
    return model


# ---------------------------------------------------------------- memory


@dataclass(frozen=True)
class Memory:
    """Bytes that training a model takes on its device, by what they hold. An estimate of ours, on the safe side."""

    weights: float
    trained: float  # gradients and Adam's two moments
    activations: float
    logits: float
    cache: float  # keys and values of the answers that are sampled at once
    parameters: float  # a number, not bytes

    @property
    def total(self) -> float:
        """What is needed at the larger of the two phases, sampling and training."""
        return self.weights + self.trained + max(self.activations + self.logits, self.cache)


def memory_needed(how: ModelConfig, prompt_tokens: int = 512) -> Memory:
    """Counted from the model's configuration alone; no weight is read.

    Raises:
        ConfigError: no configuration there.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(how.name, trust_remote_code=False)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"{how.name}: no causal language model can be read there: {first_line(error)}") from error
    text, size = config.get_text_config(), getattr(torch, how.dtype).itemsize
    parameters = sum(p.numel() for p in model.parameters())
    linear = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and not name.endswith("lm_head")]
    rank = how.lora_rank or (16 if how.adapter else 0)
    trained = sum(rank * (m.in_features + m.out_features) for m in linear) if rank else parameters
    layers, width = text.num_hidden_layers, text.hidden_size
    inner = getattr(text, "intermediate_size", None) or 4 * width
    tokens = how.tokens_per_pass or 65536
    one_layer = tokens * (8 * width + 4 * inner) * size  # what a layer's gradient needs of its own forward pass
    kept = layers * tokens * width * size + one_layer if how.checkpointing else layers * one_layer
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or width // text.num_attention_heads
    length = prompt_tokens + (how.answer_tokens or 512)
    cache = 2 * layers * heads * head * size * how.rows * length
    return Memory(parameters * size, trained * (12 if not rank else 16), kept, 4.0 * 4 * LOGITS_AT_ONCE, cache, parameters)


def refuse_too_little(needed: Memory, free: float, how: ModelConfig) -> None:
    """Say before training that a device cannot hold it.

    Raises:
        ConfigError: with both numbers, and what would make it smaller.
    """
    if needed.total <= free:
        return
    smaller = []
    if not (how.lora_rank or how.adapter):
        smaller.append("an adapter (lora_rank=16) in place of all weights")
    if not how.checkpointing:
        smaller.append("checkpointing=True")
    if needed.cache > needed.activations + needed.logits:
        smaller.append(f"fewer rows than {how.rows}, or shorter answers")
    else:
        smaller.append(f"fewer tokens_per_pass than {how.tokens_per_pass or 65536}")
    raise ConfigError(f"{how.name} needs about {needed.total / GIGABYTE:.1f} GB to be trained like this, and this device has "
                      f"{free / GIGABYTE:.1f} GB free. Smaller: {'; '.join(smaller)}.")
