"""A method from anywhere: found by name or in a file, and looked at part by part before anything is computed.

    name = find_method("mine.py")       a registered name, a file, or file.py:function
    check_method(name)                  one line that names the part that cannot be right

A method from a file carries a digest of its code in its name: an edited method is another method, and never gets the runs of its
older self.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from polarity_lib.config import ConfigError, choose
from polarity_lib.digests import method_digest
from polarity_lib.mechanism import hand_made
from polarity_lib.methods import NEEDS, Method, Progress, brought, collect_fixed, in_force, method_named, rows_kept
from polarity_lib.objectives import BatchCounts
from polarity_lib.outside import first_line
from polarity_lib.registry import METHODS


def find_method(text: str) -> str:
    """The name under which a method is known; a file is read and its method given a name of its own.

    Args:
        text: a registered name; `file.py`, whose METHODS holds one method; or `file.py:name`, one of several or a function.

    Raises:
        ConfigError: no such name, file or method, or the file cannot be read.
    """
    where, _, wanted = text.partition(":")
    if not where.endswith(".py"):
        return choose("method", text, METHODS)
    module = _read(Path(where).expanduser())
    offered = dict(getattr(module, "METHODS", {}))
    if wanted and wanted not in offered and callable(getattr(module, wanted, None)):
        offered[wanted] = getattr(module, wanted)
    if wanted:
        wanted = choose(f"method of {where}", wanted, offered)
    elif len(offered) == 1:
        wanted = next(iter(offered))
    else:
        held = f"holds {', '.join(offered)}: name one" if offered else "holds no METHODS = {name: function}: name the function"
        raise ConfigError(f"{where} {held}, as {where}:name.")
    return register(wanted, offered[wanted])


def register(label: str, factory: Callable) -> str:
    """Give a function that builds a method a name of its own, with a digest of its code, and return that name."""
    name = f"{label}_{method_digest(factory)[5:10]}"
    METHODS[name], _LABELS[name] = factory, label
    return name


_LABELS: dict[str, str] = {}


def _read(path: Path):
    """A file as a module.

    Raises:
        ConfigError: there is none, or it raises.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file.")
    name = f"compared_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a person's own code may raise anything
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}: {first_line(error)}") from error
    return module


def label_of(method: str) -> str:
    """A method's name without the digest of its code."""
    return _LABELS.get(method, method)


class Left(dict):
    """Extras as a method's own `collect` may have left them for its advantage: undeclared, [N, T] under any name of its own.

    No collecting is done here, so what is read under such a name is made up. What the loop provides must still be declared.
    """

    def __init__(self, known: dict, made_up: Callable[[], torch.Tensor]):
        super().__init__(known)
        self.made_up = made_up

    def __missing__(self, name):
        if name in NEEDS:
            raise KeyError(name)
        return self.setdefault(name, self.made_up())


def batch_by_hand(method: Method) -> tuple:
    """(rollouts, extras of the loss): a mixed group, one all right, one all wrong, with what the method declares or collects."""
    G, C, V = 4, 3, 5
    right = [True, False, False, True] + [True] * G + [False] * G
    lengths = [2, 6, 3, 4] * 3
    rollouts = hand_made(right, [0] * G + [1] * G + [2] * G, lengths, max_new_tokens=8)
    draw = torch.Generator().manual_seed(0)
    mask_NT, (N, T) = rollouts.mask_NT.float(), rollouts.mask_NT.shape
    logprobs_NT = -torch.rand(N, T, generator=draw) * mask_NT
    given = {"reference_logprobs": logprobs_NT - 0.1 * mask_NT, "values": torch.rand(N, T, generator=draw) * mask_NT,
             "entropies": torch.rand(N, T, generator=draw) * mask_NT,
             "old_distributions": torch.randn(N, T, V, generator=draw).log_softmax(-1),
             "old_hidden": torch.randn(N, T, C, generator=draw), "sampled_logprobs": logprobs_NT,
             "groups": rollouts.group_N, "tokens": rollouts.tokens_NT}
    declared = {need: given[need] for need in method.needs} | {name: torch.zeros(N) for name in brought(method)}
    early = {name: declared[name] for name in declared if name in ("reference_logprobs", "values") or name in brought(method)}
    if method.collect is not collect_fixed:
        early = Left(early, lambda: torch.rand(N, T, generator=draw) * mask_NT)
    return rollouts.but(mask_NT=mask_NT, logprobs_NT=logprobs_NT, entropies_NT=given["entropies"], drawn=N,
                        extras=early), declared


def check_method(name: str) -> None:
    """Every part of a method on a batch by hand, at the start, the middle and the end of a run.

    Raises:
        ConfigError: one line that names the part: it raises, reads what it did not declare, has another shape than it should,
            or gives a number that is not finite.
    """
    whole, label = method_named(name), label_of(name)
    for step in (0, 50, 99):
        progress = Progress(step, 100, 4)
        method = in_force(whole, progress)
        rollouts, extras = batch_by_hand(replace(method, needs=whole.needs))
        N, T = rollouts.mask_NT.shape
        rewards_N = _part(label, "reward", (N,), method.reward, rollouts)
        keep_N = _part(label, "keep", (N,), rows_kept, method, rewards_N, rollouts.group_N)
        if keep_N.dtype != torch.bool:
            raise ConfigError(f"{label}: keep gives {keep_N.dtype}, where true or false for every row is wanted.")
        advantages_NT = _part(label, "advantage", (N, T), method.advantage, rollouts, rewards_N, progress)
        advantages_NT = advantages_NT * keep_N[:, None]
        logprobs_NT = (rollouts.logprobs_NT * 1.1).detach().requires_grad_()
        loss_NT = _part(label, "token_loss", (N, T), method.token_loss, logprobs_NT, rollouts.logprobs_NT, advantages_NT,
                        rollouts.mask_NT, extras)
        counts = BatchCounts.of(rollouts.mask_NT, keep_N, rollouts.max_new_tokens)
        loss = _part(label, "aggregate", (), method.aggregate, loss_NT, rollouts.mask_NT, counts)
        if loss.requires_grad:
            _part(label, "token_loss (its gradient)", (N, T), lambda: torch.autograd.grad(loss, logprobs_NT)[0])
        elif advantages_NT.any():
            raise ConfigError(f"{label}: token_loss does not hang on the log-probabilities, so nothing could be learned.")


def _part(label: str, part: str, shape: tuple, function: Callable, *args):
    """What a part gives, looked at."""
    try:
        found = function(*args)
    except KeyError as error:
        missing = error.args[0] if error.args else ""
        told = "reads extras[{!r}], which `needs` does not declare" if missing in NEEDS else "raises KeyError: {!r}"
        raise ConfigError(f"{label}: {part} {told.format(missing)}.") from error
    except Exception as error:  # a person's own code may raise anything
        raise ConfigError(f"{label}: {part} raises {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(found, torch.Tensor):
        raise ConfigError(f"{label}: {part} gives {type(found).__name__}, where a tensor is wanted.")
    if tuple(found.shape) != shape:
        wanted = {1: "[N], one number per rollout", 2: "[N, T], one per token"}.get(len(shape), "one number")
        raise ConfigError(f"{label}: {part} gives shape {list(found.shape)}, where {list(shape)} is wanted ({wanted}).")
    if found.is_floating_point() and not torch.isfinite(found).all():
        raise ConfigError(f"{label}: {part} gives a number that is not finite.")
    return found
