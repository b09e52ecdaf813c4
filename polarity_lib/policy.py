"""The policy: tokenizer, model, and the log-probabilities training needs.

Tiny policies are made here: a Llama-shaped causal model over a vocabulary of
26 symbols, saved in the Hugging Face format, so that
`AutoModelForCausalLM.from_pretrained` loads them unchanged. Any causal model
of the hub works too, by name, with LoRA where wanted.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from polarity_lib.config import choose
from polarity_lib.problems.base import CONTEXT

ALPHABET = "0123456789+-*()=;#:>[]? "
PAD, EOS = "<pad>", "<eos>"

# hidden width, layers, heads, feed-forward width
SIZES = {
    "smoke": (64, 2, 2, 192),  # 0.1 M parameters
    "tiny": (128, 3, 4, 384),  # 0.6 M
    "middle": (192, 4, 6, 576),  # 1.8 M
    "small": (384, 8, 6, 1152),  # 15 M
}
MAX_POSITIONS = CONTEXT


@dataclass
class Policy:
    """A model with its tokenizer."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerFast

    @property
    def device(self) -> torch.device:
        return self.model.device

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, ids) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def save(self, folder: Path) -> None:
        """Write the Hugging Face format."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character; the round trip through AutoTokenizer is tested."""
    vocabulary = {symbol: i for i, symbol in enumerate([PAD, EOS, *ALPHABET])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def build_policy(size: str, seed: int) -> Policy:
    """A fresh random policy of a named size.

    Raises:
        ConfigError: unknown size, with the valid ones.
    """
    hidden, layers, heads, inner = SIZES[choose("policy size", size, SIZES)]
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, intermediate_size=inner,
        max_position_embeddings=MAX_POSITIONS, tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )
    # Model initialisation reads the global generator; fork it so that nobody else's draws move.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return Policy(model.eval(), tokenizer)


def load_policy(name_or_folder: str, device: str = "cpu", dtype=torch.float32, lora_rank: int = 0) -> Policy:
    """Any causal language model, by hub name or folder; a LoRA adapter on top if a rank is given."""
    model = AutoModelForCausalLM.from_pretrained(name_or_folder, dtype=dtype).to(device)
    tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
    if lora_rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=lora_rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    return Policy(model.eval(), tokenizer)


@dataclass
class Packed:
    """Prompts and responses laid out in S sequences of L positions, almost without padding.

    A *bundle* is one prompt followed by all its responses. Every response sees
    its prompt and itself, not its siblings, so a prompt that a group shares
    is computed once. `attend` is that rule as a mask.
    """

    ids_SL: Tensor
    positions_SL: Tensor  # position inside prompt + own response
    attend_S1LL: Tensor  # bool
    predictor_M: Tensor  # flat index (into S*L) of the position that predicts each response token
    targets_M: Tensor  # the response tokens, row after row


def pack(bundles: list[tuple[list[int], list[list[int]]]], capacity: int = 96, pad: int = 0) -> Packed:
    """Fill sequences of about `capacity` positions with bundles, first fit, longest first.

    Args:
        bundles: (prompt ids, its responses' ids). A bundle longer than the
            capacity gets a sequence of its own.
    """
    sizes = [len(prompt) + sum(map(len, rows)) for prompt, rows in bundles]
    capacity = max(capacity, *sizes)
    room, place = [], [None] * len(bundles)  # free positions per sequence; (sequence, offset) per bundle
    for b in sorted(range(len(bundles)), key=lambda b: -sizes[b]):
        s = next((i for i, free in enumerate(room) if free >= sizes[b]), len(room))
        if s == len(room):
            room.append(capacity)
        place[b] = (s, capacity - room[s])
        room[s] -= sizes[b]

    shape = (len(room), capacity)
    ids, positions = np.full(shape, pad), np.zeros(shape, dtype=np.int64)
    bundle_of, row_of = np.full(shape, -1), np.zeros(shape, dtype=np.int64)
    predictors, targets = [], []
    for b, (prompt, rows) in enumerate(bundles):
        s, at = place[b]
        n = len(prompt)
        ids[s, at : at + n] = prompt
        positions[s, at : at + n] = np.arange(n)
        bundle_of[s, at : at + sizes[b]] = b
        last, at = s * capacity + at + n - 1, at + n
        for r, row in enumerate(rows, start=1):
            k = len(row)
            ids[s, at : at + k] = row
            positions[s, at : at + k] = np.arange(n, n + k)
            row_of[s, at : at + k] = r
            first = s * capacity + at
            predictors.append(np.concatenate([[last], np.arange(first, first + k - 1)]) if k else [])
            targets.append(row)
            at += k
    row_SL, bundle_SL = torch.from_numpy(row_of), torch.from_numpy(bundle_of)
    same_bundle = bundle_SL[:, :, None] == bundle_SL[:, None, :]
    visible = (row_SL[:, None, :] == 0) | (row_SL[:, :, None] == row_SL[:, None, :])
    return Packed(
        ids_SL=torch.from_numpy(ids),
        positions_SL=torch.from_numpy(positions),
        attend_S1LL=(same_bundle & visible).tril()[:, None],
        predictor_M=torch.from_numpy(np.concatenate(predictors).astype(np.int64)),
        targets_M=torch.tensor([t for row in targets for t in row]),
    )


def hidden_states(model, packed: Packed) -> Tensor:
    """[M, C] last hidden state at the position that predicts each response token."""
    device = next(model.parameters()).device
    backbone = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_SLC = backbone.model(
        packed.ids_SL.to(device),
        position_ids=packed.positions_SL.to(device),
        attention_mask=packed.attend_S1LL.to(device),
        use_cache=False,
    ).last_hidden_state
    return hidden_SLC.flatten(0, 1)[packed.predictor_M.to(device)]


def token_logprobs(
    model, packed: Packed, mask_NT: Tensor, temperature: float = 1.0, chunk: int = 65536,
):
    """Log-probability and entropy of every response token.

        logp_nt = log softmax(z_nt / temperature)[y_nt],   H_nt = -sum_v pi_v log pi_v

    Vocabulary-sized tensors exist for response positions only, `chunk` at a
    time, never for prompt or padding.

    Args:
        packed: the rows of `mask_NT`, bundle after bundle in the same order.
        mask_NT: [N, T] 1 on response tokens, contiguous from position 0.

    Returns:
        logprobs_NT (with gradient), entropies_NT (nats, no gradient), both 0 on padding.
        hidden_MC: last hidden state behind each response token, rows in order.
    """
    hidden_MC = hidden_states(model, packed)
    device = hidden_MC.device
    head = (model.get_base_model() if hasattr(model, "get_base_model") else model).lm_head
    logprobs, entropies = [], []
    for part_MC, part_M in zip(hidden_MC.split(chunk), packed.targets_M.to(device).split(chunk)):
        logs_MV = (head(part_MC).float() / temperature).log_softmax(-1)
        logprobs.append(logs_MV.gather(1, part_M[:, None])[:, 0])
        with torch.no_grad():
            entropies.append(-(logs_MV.exp() * logs_MV).sum(-1))
    where = mask_NT.bool().to(device).nonzero(as_tuple=True)
    zeros_NT = torch.zeros(mask_NT.shape, device=device)
    logprobs_NT = zeros_NT.index_put(where, torch.cat(logprobs))
    entropies_NT = zeros_NT.index_put(where, torch.cat(entropies))
    return logprobs_NT, entropies_NT, hidden_MC


def token_distributions(model, hidden_MC: Tensor, temperature: float = 1.0) -> Tensor:
    """[M, V] log-probability of every token of the vocabulary, from `token_logprobs`' hidden states.

    M x V numbers are held at once: a few megabytes here, gigabytes for a real vocabulary, so
    methods that ask for them need small batches there.
    """
    head = (model.get_base_model() if hasattr(model, "get_base_model") else model).lm_head
    return (head(hidden_MC).float() / temperature).log_softmax(-1)


@contextlib.contextmanager
def one_thread(device: str):
    """Sums over threads depend on their number: one thread makes a seed's numbers the same
    whether runs go alone or side by side, and two such runs use two cores better than one
    run with two threads."""
    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
