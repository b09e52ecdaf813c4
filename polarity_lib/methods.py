"""Every method as one record that names its parts. Look a method up here.

    collect(sampler, stream, prompts, group_size, seed)   -> Rollouts
    reward(rollouts)                                      -> rewards_N
    keep(rewards_N)                                       -> keep_N     rows that enter the update
    advantage(rollouts, rewards_N, progress)              -> A_NT
    token_loss(logp_NT, old_logp_NT, A_NT, mask_NT, extras) -> loss_NT
    aggregate(loss_NT, mask_NT, counts)                   -> scalar
    needs                                                 what `extras` must hold

The training loop knows this record and no method's name. `keep` is a part
because the released PSR and NSR codes drop rows *after* computing
advantages, and the dropped rows then do or do not count in a denominator.

Three formulas go by the names "positive only" and "negative only":

    psr, nsr                   constant +1 / -1            RLVR-Decomposed
    psr_grpo_seq, nsr_grpo_seq group-normalised, filtered, mean over sequences    A3PO's code
    psr_grpo_tok, nsr_grpo_tok group-normalised, filtered, token mean x row share Dissecting's code
"""

from dataclasses import dataclass, replace
from typing import Callable

import torch
from torch import Tensor

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.config import ConfigError, choose
from polarity_lib.rewards import correctness
from polarity_lib.rollouts import Rollouts


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for methods with schedules."""

    step: int
    steps: int


def collect_fixed(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
    """The next `prompts` problems, `group_size` answers each, nothing thrown away."""
    return sampler.sample(stream.take(prompts), group_size, seed)


def keep_all(rewards_N: Tensor) -> Tensor:
    """[N] every row enters the update."""
    return torch.ones_like(rewards_N, dtype=torch.bool)


def keep_right(rewards_N: Tensor) -> Tensor:
    """[N] right rows enter the update, wrong ones are dropped."""
    return rewards_N > 0


def keep_wrong(rewards_N: Tensor) -> Tensor:
    """[N] wrong rows enter the update, right ones are dropped."""
    return rewards_N <= 0


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


# What a method can ask the loop for, and the key in `extras`.
NEEDS = frozenset({"reference_logprobs", "values"})


# --- how a pure function becomes a part --------------------------------------


def per_rollout(function: Callable, grouped: bool = True, **options) -> Callable:
    """An advantage that is one number per rollout, spread over its tokens."""

    def advantage(rollouts: Rollouts, rewards_N: Tensor, progress: Progress) -> Tensor:
        args = (rewards_N, rollouts.group_N) if grouped else (rewards_N,)
        return adv.expand(function(*args, **options), rollouts.mask_NT)

    return advantage


def polarity_weighted(base: Callable, positive_weight: float, negative_weight: float) -> Callable:
    """PxNy (A3PO section 4.3): scale an advantage by the verdict's polarity."""

    def advantage(rollouts, rewards_N, progress):
        base_NT = base(rollouts, rewards_N, progress)
        return adv.weight_polarities(base_NT, rewards_N, positive_weight, negative_weight)

    return advantage


def critic_advantage(rollouts: Rollouts, rewards_N: Tensor, progress: Progress) -> Tensor:
    """PPO: generalised advantage estimation on the critic's values, whitened over tokens."""
    advantages_NT, returns_NT = adv.gae(rollouts.extras["values"], rewards_N, rollouts.mask_NT)
    rollouts.extras["returns"] = returns_NT  # what the critic is fitted to
    return adv.whiten(advantages_NT, rollouts.mask_NT)


def token_loss(function: Callable, **options) -> Callable:
    """A pure token loss with its options fixed."""
    return lambda logp, old, A, mask, extras: function(logp, old, A, mask, **options)


def with_kl(base: Callable, coefficient: float) -> Callable:
    """Add coefficient * k3(policy, reference) to every token."""

    def loss(logp, old, A, mask, extras):
        return base(logp, old, A, mask, extras) + coefficient * obj.k3(logp, extras["reference_logprobs"], mask)

    return loss


PPO_CLIP = token_loss(obj.ppo_clip, clip_low=0.2, clip_high=0.2)
DECOMPOSED = "RLVR-Decomposed; arXiv 2506.01347"
A3PO_CODE = "Sample-Polarity-of-RLVR; arXiv 2512.21625"
DISSECT_CODE = "Dissect-Long-Reason-Models"


# --- the methods -------------------------------------------------------------


def base() -> Method:
    """No update: the policy as it starts. Runs of zero steps carry this name."""
    return Method("base", "ours", advantage=lambda rollouts, rewards_N, progress: 0.0 * rollouts.mask_NT,
                  token_loss=token_loss(obj.policy_gradient), aggregate=obj.token_mean)


def reinforce(positive_weight: float = 1.0, negative_weight: float = 1.0) -> Method:
    """+w+ on right rows, -w- on wrong ones, no baseline. (1, 1) is the paper's REINFORCE."""
    return Method(
        "reinforce", DECOMPOSED,
        advantage=per_rollout(adv.signed_constant, grouped=False,
                              positive_weight=positive_weight, negative_weight=negative_weight),
        token_loss=PPO_CLIP, aggregate=obj.kept_token_mean_times_share,
    )


def w_reinforce(positive_weight: float = 0.1) -> Method:
    """lambda = positive_weight on right rows, -1 on wrong ones; lambda = 0.1 in the paper."""
    return replace(reinforce(positive_weight, 1.0), name="w_reinforce")


def psr() -> Method:
    """Right rows only, constant +1; wrong rows are dropped before the update."""
    return replace(reinforce(), name="psr", keep=keep_right)


def nsr() -> Method:
    """Wrong rows only, constant -1; right rows are dropped before the update."""
    return replace(reinforce(), name="nsr", keep=keep_wrong)


def psr_all_tokens() -> Method:
    """psr divided by the tokens of both polarities (ours; no released code divides like this)."""
    return replace(psr(), name="psr_all_tokens", source="ours", aggregate=obj.token_mean)


def nsr_all_tokens() -> Method:
    """nsr divided by the tokens of both polarities (ours; no released code divides like this)."""
    return replace(nsr(), name="nsr_all_tokens", source="ours", aggregate=obj.token_mean)


def reinforce_baseline() -> Method:
    """Reward minus the batch mean."""
    return replace(reinforce(), name="reinforce_baseline", source="standard",
                   advantage=per_rollout(adv.batch_baseline, grouped=False), aggregate=obj.token_mean)


def rloo() -> Method:
    """Reward minus the mean of the group's other rewards."""
    return Method("rloo", "standard", advantage=per_rollout(adv.rloo),
                  token_loss=token_loss(obj.policy_gradient), aggregate=obj.sequence_mean_token_sum)


def grpo(positive_weight: float = 1.0, negative_weight: float = 1.0, kl: float = 0.0,
         epsilon: float = 1e-6, ddof: int = 1) -> Method:
    """Group-normalised advantage, clip 0.2, mean over sequences of token means."""
    advantage = per_rollout(adv.grpo, epsilon=epsilon, ddof=ddof)
    if (positive_weight, negative_weight) != (1.0, 1.0):
        advantage = polarity_weighted(advantage, positive_weight, negative_weight)
    method = Method("grpo", "arXiv 2402.03300", advantage=advantage, token_loss=PPO_CLIP,
                    aggregate=obj.sequence_mean_token_mean)
    if kl:
        method = replace(method, token_loss=with_kl(PPO_CLIP, kl), zero_rows_are_free=False,
                         needs=frozenset({"reference_logprobs"}))
    return method


def dr_grpo() -> Method:
    """Reward minus group mean, token sum over a constant."""
    return Method("dr_grpo", "arXiv 2503.20783", advantage=per_rollout(adv.dr_grpo),
                  token_loss=PPO_CLIP, aggregate=obj.token_sum_over_constant)


def psr_grpo_seq() -> Method:
    """Right rows of group-normalised advantages; uniform groups give nothing."""
    return replace(grpo(), name="psr_grpo_seq", source=A3PO_CODE, keep=keep_right)


def nsr_grpo_seq() -> Method:
    """Wrong rows of group-normalised advantages; uniform groups give nothing."""
    return replace(grpo(), name="nsr_grpo_seq", source=A3PO_CODE, keep=keep_wrong)


def psr_grpo_tok() -> Method:
    """As psr_grpo_seq with the token mean over kept rows times their share of the batch."""
    return replace(psr_grpo_seq(), name="psr_grpo_tok", source=DISSECT_CODE,
                   aggregate=obj.kept_token_mean_times_share)


def nsr_grpo_tok() -> Method:
    """As nsr_grpo_seq with the token mean over kept rows times their share of the batch."""
    return replace(nsr_grpo_seq(), name="nsr_grpo_tok", source=DISSECT_CODE,
                   aggregate=obj.kept_token_mean_times_share)


def ppo() -> Method:
    """Clipped policy gradient on the advantages of a small critic."""
    return Method("ppo", "standard", advantage=critic_advantage, token_loss=PPO_CLIP,
                  aggregate=obj.token_mean, needs=frozenset({"values"}), zero_rows_are_free=False)


METHODS: dict[str, Callable[..., Method]] = {
    f.__name__: f
    for f in (base, reinforce, w_reinforce, psr, nsr, psr_all_tokens, nsr_all_tokens, reinforce_baseline,
              rloo, grpo, dr_grpo, psr_grpo_seq, nsr_grpo_seq, psr_grpo_tok, nsr_grpo_tok, ppo)
}


def method_named(name: str, options: dict | None = None) -> Method:
    """Build a method from its name and options.

    Raises:
        ConfigError: unknown name or option, with the near misses.
    """
    factory = METHODS[choose("method", name, METHODS)]
    valid = factory.__code__.co_varnames[: factory.__code__.co_argcount]
    for option in options or {}:
        if option not in valid:
            if not valid:
                raise ConfigError(f"Method {name!r} takes no options, so {option!r} is not one.")
            choose(f"option of {name}", option, valid)
    return factory(**(options or {}))
