"""What every trainer that borrows a method needs: whether it can, and a record of rollouts from plain tensors."""

import torch
from torch import Tensor

from polarity_lib.config import ConfigError
from polarity_lib.methods import Method, collect_fixed, method_named
from polarity_lib.problems import Problem
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import Verdict


def obstacle(method: Method) -> str:
    """Why a trainer that samples by itself and has no critic of ours cannot run a method; "" where it can."""
    if method.collect is not collect_fixed:
        return "it chooses which rollouts to keep while it samples, and there the trainer samples"
    if "values" in method.needs:
        return "it needs a critic, which is trained beside the policy in our own loop only"
    return ""


def borrowed(name: str, options: dict | None = None) -> Method:
    """A method by name, for another trainer. One that samples in its own way is taken with `dynamic=False` where it has that.

    Raises:
        ConfigError: unknown name or option, or it cannot run there; the line says why.
    """
    method = method_named(name, options)
    if why := obstacle(method):
        hint = ""
        if "dynamic" not in (options or {}) and has_option(name, "dynamic"):
            hint = " Its option dynamic=False leaves that part out."
        raise ConfigError(f"Method {name!r} cannot run there: {why}.{hint}")
    return method


def has_option(name: str, option: str) -> bool:
    """Whether a method takes an option."""
    try:
        method_named(name, {option: False})
    except ConfigError:
        return False
    return True


def as_rollouts(right_N: Tensor, group_N: Tensor, mask_NT: Tensor, logprobs_NT: Tensor, entropies_NT: Tensor,
                max_new_tokens: int, keys: list[str], tokens_NT: Tensor | None = None, finished_N: Tensor | None = None,
                texts: list[str] | None = None, extras: dict | None = None) -> Rollouts:
    """A record of rollouts from another trainer's tensors, on the CPU; log-probabilities are taken in single precision at least.

    Args:
        right_N: [N] true where the trainer's reward says right.
        group_N: [N] which prompt; numbered 0, 1, ... here, in the order in which they come.
        keys: [N] what names a row's prompt; methods that draw at random take their seed from it.
    """
    N = len(right_N)
    seen: dict = {}
    group_N = torch.tensor([seen.setdefault(g, len(seen)) for g in group_N.tolist()])
    mask_NT = mask_NT.detach().float().cpu()
    where = mask_NT.bool()
    logprobs_NT, entropies_NT = (torch.where(where, x.detach().float().cpu(), 0.0) for x in (logprobs_NT, entropies_NT))
    return Rollouts(
        problems=[Problem("another trainer's", "", "", key) for key in keys], group_N=group_N,
        prompt_ids=[[] for _ in range(N)],
        tokens_NT=torch.zeros_like(mask_NT).long() if tokens_NT is None else tokens_NT.cpu(), mask_NT=mask_NT,
        # Rounding may put one a little above zero, which some methods refuse.
        logprobs_NT=logprobs_NT.clamp(max=0.0), entropies_NT=entropies_NT.clamp(min=0.0),
        finished_N=torch.ones(N, dtype=torch.bool) if finished_N is None else finished_N.cpu(),
        texts=texts or [""] * N,
        verdicts=[Verdict("correct" if right else "wrong", None, "", "by the trainer's reward") for right in right_N.tolist()],
        drawn=N, max_new_tokens=max_new_tokens, extras=extras or {})
