"""A toy checkpoint in the hub's format that stands in for a language model: Qwen3-shaped, byte-level tokenizer, chat template.

It has been taught to answer anything with a boxed digit, so that on problems whose answer is one digit it is sometimes right.
"""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from polarity_lib.config import scale_named
from polarity_lib.papers.psr_nsr.paper_scale import one_gpu
from polarity_lib.problems import any_world, real

TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def stand_in(folder: Path, texts: list[str], steps: int = 60) -> str:
    """Make it; returns the folder."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                        clean_up_tokenization_spaces=False)
    tokenizer.chat_template = TEMPLATE
    config = Qwen3Config(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=1, head_dim=32, intermediate_size=128, max_position_embeddings=4096,
                         eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config)
    teach(model, tokenizer, texts, steps)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def teach(model, tokenizer, texts: list[str], steps: int) -> None:
    """Answers with a boxed digit, each digit as likely."""
    optimizer, rng = torch.optim.AdamW(model.parameters(), lr=3e-3), np.random.default_rng(0)
    for _ in range(steps):
        rows = []
        for text in rng.choice(texts, 8):
            said = tokenizer.apply_chat_template([{"role": "user", "content": text[-60:]}], tokenize=False,
                                                 add_generation_prompt=True)
            answer = f"\\boxed{{{rng.integers(10)}}}<|im_end|>"
            rows.append([tokenizer(part, add_special_tokens=False)["input_ids"] for part in (said, answer)])
        longest = max(len(p) + len(a) for p, a in rows)
        ids, labels = torch.zeros(8, longest, dtype=torch.long), torch.full((8, longest), -100)
        for i, (p, a) in enumerate(rows):
            ids[i, : len(p) + len(a)] = torch.tensor(p + a)
            labels[i, len(p) : len(p) + len(a)] = torch.tensor(a)
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- scale paper at toy size

DATA = os.environ.get("POLARITY_TEST_DATA", "")
needs_texts = pytest.mark.skipif(
    not DATA or not (Path(DATA) / "benchmarks").is_dir(),
    reason="POLARITY_TEST_DATA names no folder with benchmarks/ (the texts may not be committed)")
SIZES = dict(world="math_sample", steps=2, prompts_per_step=8, rollouts_per_prompt=8, minibatches=2, pool_size=100, curve_every=2,
             curve_problems=4, curve_samples=2, final_problems=8, final_samples=4, checkpoint_every=1, learning_rate=1e-3)
SERVED = {"dtype": "float32", "answer_tokens": 12, "rows": 64, "tokens_per_pass": 512, "lora_rank": 4}


@contextlib.contextmanager
def one_digit_answers():
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


def taught(folder: Path) -> str:
    """The stand-in, taught on the texts of the problems it will be asked."""
    return stand_in(folder, [p.prompt for p in any_world("math_sample").draw("train", 100, 0)])


def toy_arms(model: str, **served):
    """Base, GRPO, PSR, NSR at toy size."""
    return one_gpu(scale_named(f"paper:{model}"), 0, served=SERVED | {"instruction": ""} | served, **SIZES)


def told_sizes(**more) -> str:
    """The same sizes as a person gives them behind a model's name."""
    return ",".join(f"{name}={value}" for name, value in (SIZES | SERVED | more).items())
