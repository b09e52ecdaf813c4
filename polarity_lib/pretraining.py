"""Base policies made from scratch: a supervised warm start, cached.

A corpus is a mixture of *sources* by weight, in one or two phases, so that what a base already knows, and
how reliably, is a dial. Texts come from the pretrain split only. Sources of the chain worlds:

    worked    step by step, right      checked   each step done twice      direct    the answer at once
    noisy     lines may be wrong       unmarked  worked, its answer not marked

and of countdown: correct expressions for three and four digits.

Errors of the base policy come from limited training, not from errors planted
in the text: a policy taught errors samples them on purpose, its greedy
answer is far better than its samples, and whatever sharpens wins by
construction.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from polarity_lib.config import ConfigError, StartConfig, choose, derive_seed
from polarity_lib.policy import Policy, build_policy, hidden_states, one_thread, pack
from polarity_lib.problems import chain, countdown
from polarity_lib.results import (
    Damaged, RunFolder, clear_storage_errors, load_tensors, runs_root, save_tensors, say, say_if_changed,
)

CHECKPOINT_EVERY = 20  # steps

@dataclass(frozen=True)
class Corpus:
    """Phases of the warm start: (share of the steps at which it ends, {source: weight}); who writes; which problems."""

    phases: tuple[tuple[float, dict[str, float]], ...]
    write: Callable = chain.write_examples
    problems: dict = field(default_factory=dict)  # levels and operands
    short: tuple[int, dict[str, float]] | None = None  # in the last phase, up to this level: {source: weight}


LEARNED = (0.6, {"worked": 1.0})  # a first phase in which the accurate way is learned well
CORPORA: dict[str, Corpus] = {
    "countdown": Corpus(((1.0, {}),), countdown.write_examples),
    "chain_cold": Corpus(((1.0, {"worked": 1.0}),)),
    "chain_zero": Corpus(((1.0, {"worked": 0.5, "checked": 0.2, "direct": 0.3}),)),
    "chain_latent": Corpus((LEARNED, (1.0, {"direct": 0.95, "worked": 0.05})), problems={"levels": (2, 3, 4), "high": 20}),
    "latent": Corpus((LEARNED, (1.0, {"direct": 0.95, "worked": 0.05})), problems={"levels": (2, 3, 4), "high": 20}),
    # The dials of world rare: how long direct answers are learned, which decides how often they are right; how seldom long
    # chains are worked out; how often short ones. Kept base policies go by a corpus's name: change it with the numbers.
    "rare_long": Corpus(((0.8, {"worked": 1.0}), (1.0, {"direct": 0.99, "worked": 0.01})),
                        problems={"levels": tuple(sorted(set(chain.RARE_LEVELS))), "high": chain.RARE_HIGH},
                        short=(2, {"direct": 0.5, "worked": 0.5})),
    "gems_large": Corpus(((0.6, {"worked": 0.7, "checked": 0.3}), (1.0, {"worked": 0.35, "checked": 0.25, "direct": 0.4})),
                         problems={"levels": (2, 3, 4, 5), "high": 50}),
    "mix": Corpus(((1.0, {"worked": 0.2, "checked": 0.1, "direct": 0.7}),), problems={"levels": (2, 3, 4, 5), "high": 20}),
    # Prompts of which one in ten, or three, hold a remark in brackets; a start's own mixture says which texts the last phase has.
    "remarks": Corpus(((1.0, {"worked": 1.0}),), problems={"levels": (2, 3, 4), "high": 20, "remarks": 0.1}),
    "remarks_learned": Corpus(((0.75, {"worked": 1.0}), (1.0, {"worked": 1.0})),
                              problems={"levels": (2, 3, 4), "high": 20, "remarks": 0.3}),
    "strong": Corpus(((1.0, {"worked": 0.35, "checked": 0.2, "direct": 0.45}),), problems={"levels": (2, 3, 4, 5), "high": 20}),
}


def write_texts(start: StartConfig, step: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """The (prompt, answer) pairs of one step of a warm start."""
    corpus = CORPORA[start.corpus]
    last = len(corpus.phases) - 1
    phase = next(i for i, (end, _) in enumerate(corpus.phases) if step / start.steps < end)
    sources = dict(start.mixture) if start.mixture and phase == last else corpus.phases[phase][1]
    more = {"short": corpus.short} if corpus.short and phase == last else {}
    return corpus.write(start.batch, rng, **({"styles": sources} if sources else {}), **corpus.problems, **more)


def texts_digest(start: StartConfig) -> str:
    """A short name for what a start reads: some texts of its first and of its last step. A corpus's numbers are in no hash."""
    few, rng = replace(start, batch=16), np.random.default_rng(0)
    pairs = [pair for step in (0, start.steps - 1) for pair in write_texts(few, step, rng)]
    return "texts-" + hashlib.sha256(repr(pairs).encode()).hexdigest()[:10]


def told_mixture(mixture: tuple) -> str:
    """A mixture as a command line takes it: worked=0.75,checked=0.25."""
    return ",".join(f"{source}={weight!r}" for source, weight in mixture)


def read_mixture(text: str) -> tuple:
    """A mixture from a command line.

    Raises:
        ConfigError: not name=weight, or a weight that is no number above zero.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    try:
        mixture = tuple((source.strip(), float(weight)) for source, _, weight in pairs)
    except ValueError:
        mixture = ()
    if len(mixture) != len(pairs) or not all(weight > 0 for _, weight in mixture):
        raise ConfigError(f"A mixture is written worked=0.75,checked=0.25 with weights above zero, not {text!r}.")
    return mixture


def _pack_texts(policy: Policy, pairs: list[tuple[str, str]]):
    """The loss counts answer tokens and the end of text; the prompt is given."""
    eos = policy.tokenizer.eos_token_id
    return pack([(policy.encode(p), [policy.encode(a) + [eos]]) for p, a in pairs])


def _rate(step: int, start: StartConfig) -> float:
    """Linear warm-up over 5 % of the steps, then cosine to zero."""
    warm = max(1, start.steps // 20)
    if step < warm:
        return start.rate * (step + 1) / warm
    return start.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, start.steps - warm)))


def beginning(start: StartConfig, folder: RunFolder) -> tuple[RunFolder, int]:
    """What starts have in common that differ in the mixture of their last phase alone: its checkpoint's folder, and the step
    at which they part (0: from the first text). So the levels of a dial cost one beginning and an end each."""
    phases = CORPORA[start.corpus].phases
    parts_at = next((s for s in range(start.steps) if len(phases) == 1 or s / start.steps >= phases[-2][0]), start.steps)
    common = replace(start, mixture=())
    return RunFolder(f"beginning-{common.name}-{texts_digest(common)}", common.identity, folder.path.parent), parts_at


def warm_start(start: StartConfig, folder: RunFolder, device: str = "cpu") -> Policy:
    """Train one base policy: next-token cross-entropy on the answers of a corpus.

    Continues from the folder's checkpoint if there is one, with the same
    texts in the same order, so that an interruption changes no bit.

    Raises:
        ConfigError: unknown corpus or size.
    """
    choose("corpus", start.corpus, CORPORA)
    policy = build_policy(start.size, derive_seed("init", start.seed))
    model = policy.model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=start.rate, weight_decay=0.01, fused=True)
    rng = np.random.default_rng(derive_seed("corpus", start.corpus, start.seed))
    first, common, branches_at = 0, *beginning(start, folder)
    if saved := folder.load_checkpoint() or common.load_checkpoint():
        first = saved["step"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        rng.bit_generator.state = saved["rng"]
        say(f"base policy {start.name}: continues at step {first} of {start.steps}")
    began = time.monotonic()
    for step in range(first, start.steps):
        packed = _pack_texts(policy, write_texts(start, step, rng))
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, start)
        logits_MV = model.lm_head(hidden_states(model, packed))
        loss = torch.nn.functional.cross_entropy(logits_MV, packed.targets_M.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == branches_at:
            folder.watch({"step": step, "steps": start.steps, "loss": loss.item()})
            state = {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "rng": rng.bit_generator.state}
            folder.save_checkpoint(state)
            if step + 1 == branches_at:
                with common.lock():
                    common.save_checkpoint(state)
        if (step + 1) % 100 == 0:
            left = (time.monotonic() - began) / (step + 1 - first) * (start.steps - step - 1)
            say(f"base policy {start.name}: step {step + 1}/{start.steps}, loss {loss.item():.3f}, {left:.0f} s left")
    model.eval()
    return policy


def base_policy(start: StartConfig, device: str = "cpu", root: Path | None = None) -> Policy:
    """The base policy of a start: loaded if it is cached and whole, else made.

    Cached under `<runs>/starts/<name>` in the Hugging Face format, with a
    checksummed copy of the weights that decides whether the folder is whole.
    """
    folder = RunFolder(start.name, start.identity, root or runs_root() / "starts")
    path = folder.path / "weights.pt"
    choose("corpus", start.corpus, CORPORA)
    with folder.lock():
        say_if_changed(f"corpus {start.corpus}", folder.record().get("texts_digest"), lambda: texts_digest(start),
                       f"To make the base policy anew, delete {folder.path}")
        if not path.exists() and not (folder.path / "checkpoint.pt").exists():
            folder.begin({"texts_digest": texts_digest(start)})
        policy = build_policy(start.size, derive_seed("init", start.seed))
        if path.exists():
            try:
                policy.model.load_state_dict(load_tensors(path))
                policy.model.to(device)
                return policy
            except Damaged as error:
                say(f"{error}; the base policy is made again")
        with one_thread(device):  # whoever asks: a notebook's kernel has more threads, and would make other weights
            policy = warm_start(start, folder, device)
        with clear_storage_errors(folder.path):
            policy.save(folder.path / "hf")
        save_tensors(path, {k: v.cpu() for k, v in policy.model.state_dict().items()})
        folder.drop_checkpoint()
    return policy
