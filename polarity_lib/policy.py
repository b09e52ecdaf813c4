"""The policy: tokenizer, model, and the log-probabilities training needs.

Tiny policies are made here: a Llama-shaped causal model over a vocabulary of
26 symbols, saved in the Hugging Face format, so that
`AutoModelForCausalLM.from_pretrained` loads them unchanged. Other causal models
are read by `loading`, with LoRA where wanted.

A log-probability here is what the model's own `logits` say. The body runs once;
behind it, at response positions only, the model's own code makes logits of hidden
states, so that a scale or a soft cap there is never left out.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers  # its parts when they are used: a model's classes take seconds to import, and finished runs need none
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from polarity_lib.config import ModelConfig, choose
from polarity_lib.groups import Groups, group
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
LOGITS_AT_ONCE = 2**27  # numbers of vocabulary-sized tensors; 0.5 GB in single precision


@dataclass
class Policy:
    """A model with its tokenizer.

    Attributes:
        packs: several answers may be laid out behind one prompt. True for the policies made here;
            for any other, `loading` found that it changes nothing.
        groups: long groups are laid out as `groups` does it. Found by `loading`, too; those made here have short groups.
        served: how prompts are written and how much is done at once.
        engine: what samples in the model's place, if anything does (`engines.vllm`).
    """

    model: torch.nn.Module
    tokenizer: "transformers.PreTrainedTokenizerFast"
    packs: bool = True
    groups: bool = False
    served: ModelConfig = ModelConfig()
    engine: object = None

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def ends(self) -> tuple[int, ...]:
        """Every declared end of text: the tokenizer's, the model's, those of its generation settings."""
        model = plain_model(self.model)
        declared = [self.tokenizer.eos_token_id, model.config.eos_token_id]
        if getattr(model, "generation_config", None) is not None:
            declared.append(model.generation_config.eos_token_id)
        ids = [i for some in declared if some is not None for i in (some if isinstance(some, (list, tuple)) else [some])]
        return tuple(dict.fromkeys(ids))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def encode_prompt(self, text: str) -> list[int]:
        """A prompt's ids, behind the beginning of text if the tokenizer puts one in front of what it reads.

        Where prompts go through a chat template, the text is what the user says and the template writes the rest.
        """
        text = "\n".join(filter(None, [text, self.served.instruction]))
        if self.served.chat:
            said = [{"role": "user", "content": text}]
            return self.encode(self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
        ids, begin = self.encode(text), self.tokenizer.bos_token_id
        puts_one = begin is not None and self.tokenizer("1")["input_ids"][:1] == [begin]
        return [begin, *ids] if puts_one and ids[:1] != [begin] else ids

    def decode(self, ids) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained: all weights, or those of an adapter alone."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def weights(self) -> dict[str, Tensor]:
        """What training changes, by name: the whole state, or an adapter's part of it."""
        state = self.model.state_dict()
        if not hasattr(self.model, "peft_config"):
            return state
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        return {name: tensor for name, tensor in state.items() if name in trained}

    def take_weights(self, weights: dict[str, Tensor]) -> None:
        """Put back what `weights` gave.

        Raises:
            RuntimeError: they are another model's.
        """
        missing, unknown = self.model.load_state_dict(weights, strict=not hasattr(self.model, "peft_config"))
        if unknown or set(missing) & set(self.weights()):
            raise RuntimeError(f"weights of another adapter: {[*unknown, *missing][0]}")

    @contextlib.contextmanager
    def for_gradients(self):
        """While a gradient is made: layers are computed again instead of being kept, where that is wanted.

        transformers does so in modules that are in training mode; only their own flag is set, since dropout stays off.
        """
        chosen = [m for m in self.model.modules() if getattr(m, "gradient_checkpointing", False)]
        for module in chosen:
            module.training = True
        try:
            yield
        finally:
            for module in chosen:
                module.training = False

    def save(self, folder: Path) -> None:
        """Write the Hugging Face format."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def build_tokenizer() -> "transformers.PreTrainedTokenizerFast":
    """One token per character; the round trip through AutoTokenizer is tested."""
    vocabulary = {symbol: i for i, symbol in enumerate([PAD, EOS, *ALPHABET])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def build_policy(size: str, seed: int) -> Policy:
    """A fresh random policy of a named size.

    Raises:
        ConfigError: unknown size, with the valid ones.
    """
    hidden, layers, heads, inner = SIZES[choose("policy size", size, SIZES)]
    tokenizer = build_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, intermediate_size=inner,
        max_position_embeddings=MAX_POSITIONS, tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )
    # Model initialisation reads the global generator; fork it so that nobody else's draws move.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(config)
    return Policy(model.eval(), tokenizer)


@dataclass
class Packed:
    """Prompts and responses laid out in S sequences of L positions, almost without padding.

    A *bundle* is one prompt followed by all its responses. Every response sees
    its prompt and itself, not its siblings, so a prompt that a group shares
    is computed once. `attend` is that rule as a mask. Where a model cannot be told the rule,
    each response has a sequence of its own behind its own copy of the prompt (`one_row_each`).
    """

    ids_SL: Tensor
    positions_SL: Tensor | None  # position inside prompt + own response; None: 0, 1, 2, ...
    attend: Tensor  # bool [S, 1, L, L], who sees whom; or [S, L], 1 where no padding is
    predictor_M: Tensor  # flat index (into S*L) of the position that predicts each response token
    targets_M: Tensor  # the response tokens, row after row
    groups: Groups | None = None  # what belongs together, where a model's attention is told so instead of by a mask


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
        attend=(same_bundle & visible).tril()[:, None],
        predictor_M=torch.from_numpy(np.concatenate(predictors).astype(np.int64)),
        targets_M=torch.tensor([t for row in targets for t in row]),
    )


def pack_groups(bundles: list[tuple[list[int], list[list[int]]]]) -> Packed:
    """All bundles in one sequence without padding, for a model whose attention knows groups."""
    ids, positions, predictors, groups = group(bundles)
    return Packed(
        ids_SL=torch.tensor([ids]), positions_SL=torch.tensor([positions]),
        attend=torch.ones(1, 1, 1, 1, dtype=torch.bool),  # no mask: the groups say it all
        predictor_M=torch.tensor(predictors), targets_M=torch.tensor([t for _, rows in bundles for row in rows for t in row]),
        groups=groups)


def one_row_each(bundles: list[tuple[list[int], list[list[int]]]], pad: int = 0) -> Packed:
    """Every response in a sequence of its own behind its prompt, padded on the right: what any causal model understands."""
    rows = [(prompt, row) for prompt, some in bundles for row in some]
    longest = max(len(prompt) + len(row) for prompt, row in rows)
    ids, real = np.full((len(rows), longest), pad), np.zeros((len(rows), longest), dtype=np.int64)
    predictors = []
    for s, (prompt, row) in enumerate(rows):
        n, k = len(prompt), len(row)
        ids[s, : n + k], real[s, : n + k] = prompt + row, 1
        predictors.append(s * longest + np.arange(n - 1, n + k - 1))
    return Packed(
        ids_SL=torch.from_numpy(ids), positions_SL=None, attend=torch.from_numpy(real),
        predictor_M=torch.from_numpy(np.concatenate(predictors).astype(np.int64)),
        targets_M=torch.tensor([t for _, row in rows for t in row]),
    )


def plain_model(model) -> torch.nn.Module:
    """The causal model of transformers, without a wrapper of peft; its adapters act all the same."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def plain_state(model) -> dict[str, Tensor]:
    """The weights by the names that the model's own class gives them; of one under an adapter, those beneath it."""
    if not hasattr(model, "peft_config"):
        return model.state_dict()
    return {name.removeprefix("base_model.model.").replace(".base_layer", ""): tensor
            for name, tensor in model.state_dict().items() if "lora_" not in name}


def body_of(model) -> torch.nn.Module:
    """The part that makes hidden states, whatever its family calls it."""
    model = plain_model(model)
    body = getattr(model, model.base_model_prefix)
    return getattr(body, "decoder", body)  # OPT's head stands on the decoder inside its body


def hidden_states(model, packed: Packed) -> Tensor:
    """[M, C] last hidden state at the position that predicts each response token."""
    device, attend = next(model.parameters()).device, packed.attend
    config = plain_model(model).config
    if attend.ndim == 4 and config._attn_implementation == "eager":  # which adds the mask to its scores
        attend = torch.where(attend, 0.0, torch.finfo(plain_model(model).dtype).min).to(plain_model(model).dtype)
    where = {} if packed.positions_SL is None else {"position_ids": packed.positions_SL.to(device)}
    if packed.groups is not None:
        where["groups"] = packed.groups.to(device)
    hidden_SLC = body_of(model)(
        packed.ids_SL.to(device), attention_mask=attend.to(device), use_cache=False, **where).last_hidden_state
    return hidden_SLC.flatten(0, 1)[packed.predictor_M.to(device)]


def logits_of(model, hidden_MC: Tensor) -> Tensor:
    """[M, V] what the model makes of hidden states, by its own code: a scale, a soft cap, a bias.

    Its `forward` runs with a body that returns the hidden states given.
    """
    body, model = body_of(model), plain_model(model)
    hidden = transformers.modeling_outputs.BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_MC[None])
    before = body.__dict__.get("forward")  # set by whoever spreads a model over devices
    body.forward = lambda *args, **options: hidden
    try:
        return model(input_ids=torch.zeros(1, len(hidden_MC), dtype=torch.long, device=hidden_MC.device)).logits[0]
    finally:
        del body.forward
        if before is not None:
            body.forward = before


def vocabulary_of(model) -> int:
    """How many logits a position has."""
    return plain_model(model).config.get_text_config().vocab_size


def token_logprobs(
    model, packed: Packed, mask_NT: Tensor, temperature: float = 1.0, chunk: int | None = None,
):
    """Log-probability and entropy of every response token.

        logp_nt = log softmax(z_nt / temperature)[y_nt],   H_nt = -sum_v pi_v log pi_v

    Vocabulary-sized tensors exist for response positions only, `chunk` at a
    time, never for prompt or padding; where there is more than one chunk, each is made
    again for its gradient instead of being kept.

    Args:
        packed: the rows of `mask_NT`, bundle after bundle in the same order.
        mask_NT: [N, T] 1 on response tokens, contiguous from position 0.
        chunk: positions at a time; None: as many as LOGITS_AT_ONCE allows.

    Returns:
        logprobs_NT (with gradient), entropies_NT (nats, no gradient), both 0 on padding.
        hidden_MC: last hidden state behind each response token, rows in order.
    """
    hidden_MC = hidden_states(model, packed)
    device = hidden_MC.device
    chunk = chunk or max(1, LOGITS_AT_ONCE // vocabulary_of(model))

    def read(part_MC, part_M):
        logs_MV = (logits_of(model, part_MC).float() / temperature).log_softmax(-1)
        with torch.no_grad():
            entropies_M = -(logs_MV.exp() * logs_MV).sum(-1)
        return logs_MV.gather(1, part_M[:, None])[:, 0], entropies_M

    parts = list(zip(hidden_MC.split(chunk), packed.targets_M.to(device).split(chunk)))
    again = len(parts) > 1 and torch.is_grad_enabled()
    read_parts = [checkpoint(read, *part, use_reentrant=False) if again else read(*part) for part in parts]
    logprobs, entropies = zip(*read_parts)
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
    return (logits_of(model, hidden_MC).float() / temperature).log_softmax(-1)


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
