"""What every trainer that borrows a method needs: whether it can, and a record of rollouts from plain tensors."""

import torch
from torch import Tensor

from polarity_lib.config import ConfigError
from polarity_lib.methods import Method, Progress, Schedule, collect_fixed, in_force, method_named, rows_kept
from polarity_lib.problems import Problem
from polarity_lib.rollouts import Rollouts
from polarity_lib.verification import Verdict


HANDED_OVER = {"reference_logprobs", "old_distributions", "entropies"}


def obstacle(method: Method) -> str:
    """Why a trainer that samples by itself and has no critic of ours cannot run a method; "" where it can."""
    if method.collect is not collect_fixed:
        return "it chooses which rollouts to keep while it samples, and there the trainer samples"
    if "values" in method.needs:
        return "it needs a critic, which is trained beside the policy in our own loop only"
    if missing := sorted(method.needs - HANDED_OVER):
        return f"it needs {', '.join(missing)}, which our own loop keeps and no other trainer hands over"
    return "it reads answers as text, step by step, as only our own worlds write them" if reads(method, "texts") else ""


def obstacle_in_verl(method: Method) -> str:
    """The same for verl, whose estimators and losses are handed less."""
    reasons = {
        "reference_logprobs": "verl adds that penalty itself: actor.use_kl_loss=True, kl_loss_type=low_var_kl",
        "entropies": "its loss reads entropies, which verl hands to no policy loss",
        "old_distributions": "its loss reads whole distributions, which verl does not keep",
    }
    if why := obstacle(method) or next((reasons[need] for need in sorted(method.needs) if need in reasons), ""):
        return why
    if isinstance(method, Schedule):
        return "it becomes another method during the run, and verl's losses are not told where a run stands"
    return "its advantage reads entropies, which verl hands to no estimator" if reads(method, "entropies_NT") else ""


def reads(method: Method, field: str) -> bool:
    """Whether a method looks at a field of rollouts before the update, at any time of a run; found by leaving it out."""
    mask_NT = torch.ones(4, 3)
    rollouts = as_rollouts(
        torch.tensor([True, False, False, False]), torch.tensor([0, 0, 1, 1]), mask_NT, -0.1 * mask_NT.cumsum(1), mask_NT, 4,
        ["a", "a", "b", "b"]).but(texts=[""] * 4, finished_N=torch.ones(4, dtype=torch.bool))
    rollouts = rollouts.but(**{field: Absent(field, 4)})
    for progress in (Progress(step, 10) for step in range(10 if isinstance(method, Schedule) else 1)):
        now = in_force(method, progress)
        try:
            rewards_N = now.reward(rollouts)
            rows_kept(now, rewards_N, rollouts.group_N)
            now.advantage(rollouts, rewards_N, progress)
        except NotThere:
            return True
    return False


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


class NotThere(ConfigError):
    """A method reads what nobody handed over."""


class Absent:
    """Stands where a trainer hands nothing over; whoever touches it learns what is missing. How long it is may be known.

    Raises:
        NotThere: at any other use.
    """

    def __init__(self, what: str, length: int | None = None):
        object.__setattr__(self, "_what", what)
        object.__setattr__(self, "_length", length)

    def __len__(self) -> int:
        length = object.__getattribute__(self, "_length")
        return object.__getattribute__(self, "_refuse")() if length is None else length

    def _refuse(self, *args, **options):
        raise NotThere(f"this method reads the {object.__getattribute__(self, '_what')}, which are not there.")

    def __getattribute__(self, name):
        object.__getattribute__(self, "_refuse")()

    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __neg__ = __getitem__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __iter__ = __invert__ = __and__ = __rand__ = __or__ = __ror__ = _refuse

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        for x in (*args, *(kwargs or {}).values()):
            if isinstance(x, cls):
                object.__getattribute__(x, "_refuse")()


ROUNDING = 0.02  # may put a log-probability that much above zero in half precision, which some methods refuse


def as_rollouts(right_N: Tensor, group_N: Tensor, mask_NT: Tensor, logprobs_NT: Tensor | None, entropies_NT: Tensor | None,
                max_new_tokens: int, keys: list[str]) -> Rollouts:
    """A record of rollouts from another trainer's tensors, on the CPU; log-probabilities are taken in single precision at least.

    Tokens are zeros, and there are no texts, nor whether an answer ended: a method that reads these is refused. A caller who
    knows more adds it by `.but(...)`.

    Args:
        right_N: [N] true where the trainer's reward says right.
        logprobs_NT, entropies_NT: of the sampled tokens under the policy that sampled them, and of the whole distribution
            there; None: a method that reads them is refused.
        group_N: [N] which prompt; numbered 0, 1, ... here, in the order in which they come.
        keys: [N] what names a row's prompt; methods that draw at random take their seed from it.

    Raises:
        ConfigError: a log-probability above zero by more than half precision rounds.
    """
    N = len(right_N)
    seen: dict = {}
    group_N = torch.tensor([seen.setdefault(g, len(seen)) for g in group_N.tolist()])
    mask_NT = mask_NT.detach().float().cpu()

    def on_tokens(x, what):
        return Absent(what) if x is None else torch.where(mask_NT.bool(), x.detach().float().cpu(), 0.0)

    if logprobs_NT is not None:
        logprobs_NT = torch.where(mask_NT.bool(), logprobs_NT.detach().float().cpu(), 0.0)
        if (logprobs_NT > ROUNDING).any():
            raise ConfigError(f"log-probabilities lie above zero, up to {float(logprobs_NT.max()):.3g}, where none can be: are "
                              "they negative log-likelihoods? Give them the other sign.")
        logprobs_NT = logprobs_NT.clamp(max=0.0)
    return Rollouts(
        problems=[Problem("another trainer's", "", "", key) for key in keys], group_N=group_N,
        prompt_ids=[[] for _ in range(N)],
        tokens_NT=torch.zeros_like(mask_NT).long(), mask_NT=mask_NT,
        logprobs_NT=on_tokens(logprobs_NT, "token log-probabilities"), entropies_NT=on_tokens(entropies_NT, "token entropies"),
        finished_N=Absent("ends of answers"), texts=Absent("texts of answers", N),
        verdicts=[Verdict("correct" if right else "wrong", None, "", "by the trainer's reward") for right in right_N.tolist()],
        drawn=N, max_new_tokens=max_new_tokens, extras={})
