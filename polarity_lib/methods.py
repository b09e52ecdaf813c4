"""Every method as one record that names its parts.

    collect(sampler, stream, prompts, group_size, seed)   -> Rollouts
    reward(rollouts)                                      -> rewards_N
    keep(rewards_N), or keep(rewards_N, group_N)          -> keep_N     rows that enter the update
    advantage(rollouts, rewards_N, progress)              -> A_NT
    token_loss(logp_NT, old_logp_NT, A_NT, mask_NT, extras) -> loss_NT
    aggregate(loss_NT, mask_NT, counts)                   -> scalar
    needs                                                 what `extras` must hold

The training loop knows this record and no method's name. `keep` is a part
because the released PSR and NSR codes drop rows *after* computing
advantages, and the dropped rows then do or do not count in a denominator.

The methods themselves stand in the papers' folders; `method_named` finds one.
"""

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Callable

import torch
from torch import Tensor

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.config import ConfigError, choose
from polarity_lib.registry import METHODS
from polarity_lib.rewards import correctness
from polarity_lib.rollouts import Rollouts


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for methods with schedules."""

    step: int  # batches of rollouts so far
    steps: int
    updates_per_step: int = 1  # optimizer steps each batch gives


def collect_fixed(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
    """The next `prompts` problems, `group_size` answers each, nothing thrown away."""
    return sampler.sample(stream.take(prompts), group_size, seed)


def stored_too(collect: Callable) -> Callable:
    """Decorator: a `collect` of a method's own that works with stored answers, too (`offline.Answers` in the sampler's place)."""
    collect.stored_too = True
    return collect


def keep_all(rewards_N: Tensor) -> Tensor:
    """[N] every row enters the update."""
    return torch.ones_like(rewards_N, dtype=torch.bool)


def keep_right(rewards_N: Tensor) -> Tensor:
    """[N] right rows enter the update, wrong ones are dropped."""
    return rewards_N > 0


def keep_wrong(rewards_N: Tensor) -> Tensor:
    """[N] wrong rows enter the update, right ones are dropped."""
    return rewards_N <= 0


def rows_kept(method: "Method", rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """[N] the rows that enter a method's update; a `keep` with a second parameter is given the groups too."""
    wants_groups = len(inspect.signature(method.keep).parameters) > 1
    return method.keep(rewards_N, group_N) if wants_groups else method.keep(rewards_N)


# What a method can ask the loop for, and the key in `extras`.
#   reference_logprobs   [N, T] under the base policy
#   values               [N, T] of a critic, which the loop then trains
#   entropies            [N, T] of the policy being trained, in nats
#   old_distributions    [N, T, V] log-probabilities of the policy before the batch's first update
#   old_hidden           [N, T, C] its last hidden states, from which those distributions were computed
#   sampled_logprobs     [N, T] under the policy that wrote the answers; of a data set's answers, as stored
#   groups               [N] which prompt a row answers, for losses that compare rows
#   tokens               [N, T] the sampled tokens
NEEDS = frozenset({"reference_logprobs", "values", "entropies", "old_distributions", "old_hidden", "sampled_logprobs", "groups",
                   "tokens"})


@dataclass(frozen=True)
class Method:
    """One method. Parts are pure functions; see the module head for their shapes."""

    name: str
    source: str
    advantage: Callable
    token_loss: Callable
    aggregate: Callable
    reward: Callable = correctness
    keep: Callable = keep_all
    collect: Callable = collect_fixed
    needs: frozenset = frozenset()  # of NEEDS
    # Rows whose advantage is zero everywhere cost a forward and a backward pass and
    # give no gradient. Not true once the loss has a term without the advantage (KL).
    zero_rows_are_free: bool = True

    def __post_init__(self):
        for need in self.needs:
            choose(f"need of method {self.name}", need, NEEDS)


@dataclass(frozen=True)
class Schedule(Method):
    """One method after another: at(progress) is the one in force. The other parts are those of the first."""

    at: Callable[[Progress], Method] | None = None


def scheduled(name: str, source: str, first: Method, at: Callable[[Progress], Method], needs=frozenset()) -> Schedule:
    """A schedule that begins with `first`; `needs`: of all its methods."""
    parts = {f.name: getattr(first, f.name) for f in dataclasses.fields(first)}
    return Schedule(**parts | {"name": name, "source": source, "at": at, "needs": first.needs | needs})


def in_force(method: Method, progress: Progress) -> Method:
    """The method of a step."""
    return method.at(progress) if isinstance(method, Schedule) else method


@dataclass(frozen=True)
class Bringing(Method):
    """A method whose own `collect` leaves numbers in `extras`, [N] each, for its loss and for the log; `brings`: their names."""

    brings: frozenset = frozenset()


def brought(method: Method) -> frozenset:
    """Names of the extras that a method's `collect` leaves."""
    return method.brings if isinstance(method, Bringing) else frozenset()


def takes_stored(method: Method) -> bool:
    """Whether a method can be given stored answers: another `collect` than the usual one must say so (`stored_too`)."""
    return method.collect is collect_fixed or getattr(method.collect, "stored_too", False)


def per_rollout(function: Callable, grouped: bool = True, **options) -> Callable:
    """An advantage that is one number per rollout, spread over its tokens."""

    def advantage(rollouts: Rollouts, rewards_N: Tensor, progress: Progress) -> Tensor:
        args = (rewards_N, rollouts.group_N) if grouped else (rewards_N,)
        return adv.expand(function(*args, **options), rollouts.mask_NT)

    return advantage


def token_loss(function: Callable, **options) -> Callable:
    """A pure token loss with its options fixed."""
    return lambda logp, old, A, mask, extras: function(logp, old, A, mask, **options)


def with_kl(base: Callable, coefficient: float) -> Callable:
    """Add coefficient * k3(policy, reference) to every token."""

    def loss(logp, old, A, mask, extras):
        return base(logp, old, A, mask, extras) + coefficient * obj.k3(logp, extras["reference_logprobs"], mask)

    return loss


def weighted(base: Callable, weights: Callable) -> Callable:
    """Multiply an advantage by token weights: weights(rollouts, progress) -> [N, T]. A new shaping rule is this."""

    def advantage(rollouts, rewards_N, progress):
        return base(rollouts, rewards_N, progress) * weights(rollouts, progress)

    return advantage


def probabilities(rollouts: Rollouts) -> Tensor:
    """[N, T] of the sampled tokens under the policy that sampled them, i.e. before the update."""
    return rollouts.logprobs_NT.exp()


def method_named(name: str, options: dict | None = None) -> Method:
    """Build a method from its name and options.

    A factory takes its options as arguments, or as one record called `options`.

    Raises:
        ConfigError: unknown name or option, with the near misses.
    """
    factory, given = METHODS[choose("method", name, METHODS)], options or {}
    parameters = inspect.signature(factory).parameters
    record = parameters["options"].default if list(parameters) == ["options"] else None
    valid = [f.name for f in dataclasses.fields(record)] if record else list(parameters)
    for option in given:
        if not valid:
            raise ConfigError(f"Method {name!r} takes no options, so {option!r} is not one.")
        choose(f"option of {name}", option, valid)
    return factory(dataclasses.replace(record, **given)) if record else factory(**given)
