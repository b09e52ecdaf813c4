"""A toy checkpoint in the hub's format that stands in for a language model: Qwen3-shaped, byte-level tokenizer, chat template.

It has been taught to answer anything with a boxed digit, so that on problems whose answer is one digit it is sometimes right.
"""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

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
