"""Any causal language model, by hub name or folder: served as it is, or refused in one line.

What a model's log-probabilities are is defined by its own `logits`, one text at a time, nothing padded, nothing
packed, nothing cached. `admit` computes them for a few short texts and lets a model in only if training and sampling
give the same numbers. Several answers are packed behind one prompt only where that, too, gives the same numbers.

Weights are read from safetensors alone, and no code that lies beside a checkpoint is run.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
import transformers

from polarity_lib import groups
from polarity_lib.config import ConfigError, derive_seed
from polarity_lib.engines import make_sampler
from polarity_lib.outside import first_line
from polarity_lib.policy import (
    Policy, body_of, one_row_each, pack, pack_groups, plain_model, plain_state, token_logprobs, vocabulary_of)
from polarity_lib.problems import Problem

# Largest difference in nats that passes. With half precision, rounding alone gives tenths.
ALLOWED = {torch.float32: 1e-3, torch.float64: 1e-3}
ALLOWED_HALF = 0.25


def load_policy(name_or_folder: str, device: str = "cpu", dtype=torch.float32, lora_rank: int = 0,
                attention: str | None = None, lora_modules: str | list[str] = "all-linear") -> Policy:
    """A causal language model with its tokenizer; a LoRA adapter on top if a rank is given.

    Args:
        lora_modules: names of the layers that get an adapter, as in `["q_proj", "v_proj"]`; all linear ones but the head.
        attention: "sdpa", "eager"; None takes what transformers prefers, and eager where a family caps its attention's
            scores (Gemma 2), which sdpa leaves out.

    Raises:
        ConfigError: nothing to read there, weights missing, no tokenizer, or numbers that are not the model's own.
    """
    named = {} if attention is None else {"attn_implementation": attention}
    try:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            name_or_folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **named)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name_or_folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"{name_or_folder}: no causal language model can be read there: {first_line(error)}") from error
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        raise ConfigError(f"{name_or_folder}: {len(absent)} weights are missing or of another shape, {absent[0]} among them.")
    if attention is None and getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")
    model = model.to(device)
    if lora_rank:
        model = with_adapter(model, lora_rank, lora_modules, name_or_folder)
    return admit(Policy(model.eval(), tokenizer), name_or_folder)


def with_adapter(model, rank: int, modules: str | list[str], name: str):
    """The model under a fresh LoRA adapter, which alone is trained.

    Raises:
        ConfigError: no such layers.
    """
    from peft import LoraConfig, get_peft_model

    try:
        return get_peft_model(model, LoraConfig(r=rank, target_modules=modules, task_type="CAUSAL_LM"))
    except ValueError as error:
        raise ConfigError(f"{name}: no adapter can be put on {modules}: {first_line(error)}") from error


def save_merged(policy: Policy, folder: str | Path, method: str = "") -> None:
    """Write the model with its adapter added into the weights, as `from_pretrained` of transformers reads it, and a card.

    The policy itself stays as it is: the adapter is added for writing and taken out again, so nothing is held twice.

    Args:
        method: the method that trained it, for the card.
    """
    folder, model = Path(folder), policy.model
    if hasattr(model, "peft_config"):
        model.merge_adapter()
        try:
            plain_model(model).save_pretrained(folder, state_dict=plain_state(model))
        finally:
            model.unmerge_adapter()
    else:
        model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    trained = f" with the method `{method}`" if method else ""
    card = f"---\ntags: [reinforcement-learning]\n---\n\n# A policy trained{trained} by polarity_lib\n"
    (folder / "README.md").write_text(card, encoding="utf-8")


def admit(policy: Policy, name: str) -> Policy:
    """The policy, with `packs` and `groups` decided by checks; a missing pad token is filled in.

    Raises:
        ConfigError: it cannot be served; the line says why.
    """
    refuse_by_shape(policy, name)
    if policy.tokenizer.pad_token_id is None:
        policy.tokenizer.pad_token_id = policy.ends[0]
    allowed = ALLOWED.get(policy.model.dtype, ALLOWED_HALF)
    texts = check_texts(policy)
    try:
        rows = training_gap(policy, texts, one_row_each)
        if rows <= allowed and not sees_a_window(policy.model):
            policy.packs = bool(packing_gap(policy, texts, pack) <= allowed)
            policy.groups = policy.packs and knows_groups(policy, texts, allowed)
        else:
            policy.packs = False
        sampled = sampling_gap(policy) if rows <= allowed else 0.0
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError) as error:
        raise ConfigError(f"{name} cannot be served: {type(error).__name__}: {first_line(error)}") from error
    for what, gap in (("training", rows), ("sampling", sampled)):
        if not gap <= allowed:
            raise ConfigError(f"{name} cannot be served: in {what}, log-probabilities differ from those of its own logits "
                              f"by up to {gap:.2g} nats.")
    return policy


def refuse_by_shape(policy: Policy, name: str) -> None:
    """What can be said without running the model.

    Raises:
        ConfigError: no end of text, no body, a tokenizer of another model.
    """
    model, tokens = policy.model, len(policy.tokenizer)
    if not policy.ends:
        raise ConfigError(f"{name} cannot be served: it declares no end of text, so no answer would ever be finished.")
    if tokens > vocabulary_of(model):
        raise ConfigError(f"{name} cannot be served: its tokenizer has {tokens} tokens, its model {vocabulary_of(model)}.")
    if plain_model(model).config.is_encoder_decoder or body_of(model) is plain_model(model):
        raise ConfigError(f"{name} cannot be served: {type(plain_model(model)).__name__} is not a body with a head on top.")


def sees_a_window(model) -> bool:
    """Whether some layer sees less than the whole text: a window, chunks, a running state. Short texts would not show it."""
    config = plain_model(model).config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds:
        return kinds != {"full_attention"}
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)


# ---------------------------------------------------------------- the check


def check_texts(policy: Policy) -> list[tuple[list[int], list[list[int]]]]:
    """Two prompts of different lengths with answers of different lengths, of ordinary tokens."""
    rng = np.random.default_rng(derive_seed("admit"))
    special = {*policy.tokenizer.all_special_ids, *policy.ends}
    ordinary = [i for i in range(min(len(policy.tokenizer), 5000)) if i not in special]

    def draw(count):
        return rng.choice(ordinary, count).tolist()

    begin = policy.encode_prompt("")
    return [(begin + draw(5), [draw(3), draw(7), draw(1)]), (begin + draw(9), [draw(4), draw(2)])]


@torch.no_grad()
def own_logprobs(policy: Policy, prompt: list[int], answer: list[int], temperature: float = 1.0) -> Tensor:
    """[T] by definition: the model's own logits of one text."""
    ids = torch.tensor([prompt + answer], device=policy.device)
    logits_TV = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float() / temperature
    return logits_TV.log_softmax(-1).gather(1, ids[0, len(prompt):, None])[:, 0].cpu()


@torch.no_grad()
def training_gap(policy: Policy, bundles, lay_out: Callable) -> float:
    """Largest difference, over all tokens, between what training reads and the definition."""
    answers = [(prompt, row) for prompt, rows in bundles for row in rows]
    length_N = torch.tensor([len(row) for _, row in answers])
    mask_NT = (torch.arange(int(length_N.max()))[None] < length_N[:, None]).float()
    logprobs_NT = token_logprobs(policy.model, lay_out(bundles), mask_NT.to(policy.device))[0].cpu()
    gaps = [float((logprobs_NT[i, : len(row)] - own_logprobs(policy, prompt, row)).abs().max())
            for i, (prompt, row) in enumerate(answers)]
    return float(np.max(gaps))  # NaN, if one is


def packing_gap(policy: Policy, bundles, lay_out: Callable) -> float:
    """The same with answers laid out behind their prompts; infinite for a family that cannot be told who sees whom."""
    try:
        return training_gap(policy, bundles, lay_out)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError):
        return np.inf


def knows_groups(policy: Policy, bundles, allowed: float) -> bool:
    """Whether attention among groups changes nothing either; then the model has that attention from now on, else its own."""
    model = plain_model(policy.model)
    own = model.config._attn_implementation
    if own != "sdpa":
        return False
    groups.register()
    model.set_attn_implementation(groups.NAME)
    if packing_gap(policy, bundles, pack_groups) <= allowed:
        return True
    model.set_attn_implementation(own)
    return False


def sampling_gap(policy: Policy) -> float:
    """Largest difference between what the sampler says of its tokens and the definition."""
    problems = [Problem("check", text, "", str(i)) for i, text in enumerate(("1+2=", "3*(4-1)+5*6=", "7="))]
    rollouts = make_sampler(policy, max_new_tokens=6).sample(problems, 3, "admit")
    gaps = [0.0]
    for i, length in enumerate(rollouts.mask_NT.sum(1).int().tolist()):
        own_T = own_logprobs(policy, rollouts.prompt_ids[i], rollouts.tokens_NT[i, :length].tolist())
        gaps.append(float((rollouts.logprobs_NT[i, :length] - own_T).abs().max()))
    return float(np.max(gaps))
