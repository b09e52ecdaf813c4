"""Tiny random models of the families people train, from transformers' own configurations.

Weights are large, so that what a family does behind or around its head moves log-probabilities by nats, not by rounding.
"""

import pytest
import torch
import transformers as hf

from polarity_lib.config import ConfigError
from polarity_lib.policy import MAX_POSITIONS, Policy, build_tokenizer

COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
          "max_position_embeddings": MAX_POSITIONS}
GROUPED = COMMON | {"num_key_value_heads": 2}

# name: configuration class, its fields, whether packing answers behind a prompt changes nothing there
FAMILIES = {
    "llama": (hf.LlamaConfig, GROUPED, True),
    "llama, head size of its own": (hf.LlamaConfig, COMMON | {"head_dim": 12}, True),
    "qwen2": (hf.Qwen2Config, GROUPED, True),
    "qwen3": (hf.Qwen3Config, GROUPED | {"head_dim": 16}, True),
    "mistral, window of 6": (hf.MistralConfig, GROUPED | {"sliding_window": 6}, False),
    "gemma": (hf.GemmaConfig, GROUPED | {"head_dim": 16}, True),
    "gemma2": (hf.Gemma2Config, GROUPED | {"head_dim": 16, "sliding_window": 6, "final_logit_softcapping": 2.0,
                                           "query_pre_attn_scalar": 16}, False),
    "gemma3": (hf.Gemma3TextConfig, GROUPED | {"head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 16}, False),
    "granite": (hf.GraniteConfig, GROUPED | {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5,
                                             "attention_multiplier": 0.2}, True),
    "cohere": (hf.CohereConfig, GROUPED | {"logit_scale": 0.25}, True),
    "phi": (hf.PhiConfig, COMMON, True),
    "phi3": (hf.Phi3Config, GROUPED | {"sliding_window": None}, True),
    "gpt2": (hf.GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": MAX_POSITIONS}, True),
    "gpt_neox": (hf.GPTNeoXConfig, COMMON, True),
    "opt": (hf.OPTConfig, {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48,
                           "word_embed_proj_dim": 32, "max_position_embeddings": MAX_POSITIONS}, True),
    "olmo": (hf.OlmoConfig, COMMON, True),
    "olmo2": (hf.Olmo2Config, COMMON, True),
    "bloom": (hf.BloomConfig, {"hidden_size": 32, "n_layer": 2, "n_head": 4}, False),
}


def tiny_of(family: str, attention: str = "sdpa", seed: int = 0, **changes) -> Policy:
    """A random model of a family over the worlds' alphabet."""
    kind, fields, _ = FAMILIES[family]
    tokenizer = build_tokenizer()
    named = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = kind(vocab_size=len(tokenizer), **(fields | named | changes))
    config._attn_implementation = attention
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = hf.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        for name, p in model.named_parameters():
            if p.ndim > 1:
                p.data.normal_(std=0.3 if "embed" in name else 0.4)
            elif "norm" in name or "ln_" in name:
                p.data.add_(torch.randn_like(p) * 0.2)
    return Policy(model.eval(), tokenizer)


def refused(call, *args) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(ConfigError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)
