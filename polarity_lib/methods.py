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
from polarity_lib import lens as confidence
from polarity_lib import objectives as obj
from polarity_lib import shaping
from polarity_lib.config import ConfigError, choose, derive_seed
from polarity_lib.rewards import correctness, overlong_penalty
from polarity_lib.rollouts import Rollouts, choose_groups, join
from polarity_lib.verification import verify


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for methods with schedules."""

    step: int  # batches of rollouts so far
    steps: int
    updates_per_step: int = 1  # optimizer steps each batch gives


def collect_fixed(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
    """The next `prompts` problems, `group_size` answers each, nothing thrown away."""
    return sampler.sample(stream.take(prompts), group_size, seed)


def collect_mixed(rounds: int = 10) -> Callable:
    """DAPO's dynamic sampling: draw until `prompts` groups hold both verdicts, `rounds` rounds at most.

    Everything drawn is counted in `Rollouts.drawn`. If the rounds do not fill the batch, it
    is filled with uniform groups, which teach nothing, so a batch is never short.

    Source: arXiv 2503.14476; baselines card, section 5 (recipe: at most 10 rounds).
    """

    def collect(sampler, stream, prompts: int, group_size: int, seed) -> Rollouts:
        parts, mixed = [], 0
        for round_number in range(rounds):
            part = sampler.sample(stream.take(prompts), group_size, f"{seed}/round/{round_number}")
            part = part.but(verdicts=verify(part.problems, part.texts, part.finished_N.tolist()))
            parts.append(part)
            mixed += len(mixed_groups(part))
            if mixed >= prompts:
                break
        everything = join(parts)
        wanted = mixed_groups(everything)[:prompts]
        spare = [g for g in everything.group_N.unique().tolist() if g not in set(wanted)]
        return choose_groups(everything, sorted(wanted + spare[: prompts - len(wanted)]))

    return collect


def mixed_groups(rollouts: Rollouts) -> list[int]:
    """The groups that hold right and wrong answers."""
    right_N, group_N = rollouts.correct_N, rollouts.group_N
    return [g for g in group_N.unique().tolist() if 0 < int(right_N[group_N == g].sum()) < int((group_N == g).sum())]


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
#   reference_logprobs   [N, T] under the base policy
#   values               [N, T] of a critic, which the loop then trains
#   entropies            [N, T] of the policy being trained, in nats
#   old_distributions    [N, T, V] log-probabilities of the policy before the batch's first update
NEEDS = frozenset({"reference_logprobs", "values", "entropies", "old_distributions"})


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


def weighted(base: Callable, weights: Callable) -> Callable:
    """Multiply an advantage by token weights: weights(rollouts, progress) -> [N, T]. A new shaping rule is this."""

    def advantage(rollouts, rewards_N, progress):
        return base(rollouts, rewards_N, progress) * weights(rollouts, progress)

    return advantage


def probabilities(rollouts: Rollouts) -> Tensor:
    """[N, T] of the sampled tokens under the policy that sampled them, i.e. before the update."""
    return rollouts.logprobs_NT.exp()


def signed_and_short(buffer_share: float) -> Callable:
    """DAPO's reward: +1 or -1, minus up to 1 in the last `buffer_share` of the length limit."""

    def reward(rollouts: Rollouts) -> Tensor:
        signs_N = 2 * correctness(rollouts) - 1
        limit = rollouts.max_new_tokens
        return signs_N + overlong_penalty(rollouts.mask_NT.sum(1), limit, max(1, round(buffer_share * limit)))

    return reward


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


# --- what A3PO is compared with ----------------------------------------------


def dapo(dynamic: bool = True, clip_high: float = 0.28, buffer_share: float = 0.2) -> Method:
    """GRPO with four changes: clip-higher, dynamic sampling, token mean, overlong penalty."""
    return Method(
        "dapo", "arXiv 2503.14476", advantage=per_rollout(adv.grpo),
        token_loss=token_loss(obj.ppo_clip, clip_low=0.2, clip_high=clip_high), aggregate=obj.token_mean,
        reward=signed_and_short(buffer_share), collect=collect_mixed() if dynamic else collect_fixed)


def dapo_fork(fraction: float = 0.2, dynamic: bool = True) -> Method:
    """DAPO on the most uncertain tokens only: the top fifth of the mini-batch by current entropy."""

    def loss(logp, old, A, mask, extras):
        return obj.fork_tokens(logp, old, A, mask, extras["entropies"], fraction)

    # Rows without advantage still take part in the ranking.
    return replace(dapo(dynamic), name="dapo_fork", source="arXiv 2506.01939", token_loss=loss,
                   needs=frozenset({"entropies"}), zero_rows_are_free=False)


def lp_reg(rho: float = 0.01, beta: float = 1.0, kappa: float = 0.02) -> Method:
    """GRPO's advantage, ratio limited to [0, 10], and a pull towards a filtered policy on rare punished tokens."""

    def loss(logp, old, A, mask, extras):
        top_NT, kept_NT = obj.filtered_mass(extras["old_distributions"], kappa)
        return obj.lp_reg(logp, old, A, mask, top_NT, kept_NT, rho, beta, kappa)

    return Method("lp_reg", "arXiv 2510.03222", advantage=per_rollout(adv.grpo), token_loss=loss,
                  aggregate=obj.token_mean, needs=frozenset({"old_distributions"}))


def cispo() -> Method:
    """GRPO's advantage on log-probabilities weighted by a clipped, constant ratio."""
    return Method("cispo", "arXiv 2506.13585", advantage=per_rollout(adv.grpo),
                  token_loss=token_loss(obj.cispo), aggregate=obj.token_mean)


def gspo() -> Method:
    """GRPO with one ratio, and one clip, per response."""
    return Method("gspo", "arXiv 2507.18071", advantage=per_rollout(adv.grpo),
                  token_loss=token_loss(obj.gspo), aggregate=obj.sequence_mean_token_mean)


# --- A3PO ----------------------------------------------------------------------


def token_shaped(right_high: float = 1.0, right_low: float = 1.0, wrong_high: float = 1.0, wrong_low: float = 1.0,
                 fraction: float = 0.2, metric: str = "probability") -> Method:
    """GRPO with constant weights on the likeliest / unlikeliest fifth of right / wrong answers (A3PO 4.4).

    Args:
        metric: "probability", or "entropy": then high and low rank the entropy of the position.
    """
    choose("metric", metric, ("probability", "entropy"))
    scales = {("right", "high"): right_high, ("right", "low"): right_low,
              ("wrong", "high"): wrong_high, ("wrong", "low"): wrong_low}
    scales = {cell: scale for cell, scale in scales.items() if scale != 1.0}

    def weights(rollouts, progress):
        values_NT = probabilities(rollouts) if metric == "probability" else rollouts.entropies_NT
        return shaping.cell_weights(values_NT, rollouts.mask_NT, rollouts.correct_N, scales, fraction)

    under = grpo()
    return replace(under, name="token_shaped", source=A3PO_CODE, advantage=weighted(under.advantage, weights))


SELECTIONS = ("a3po", "entropy", "swapped", "random", "position")


def a3po(weight: float = 2.0, reaches_one: float = 0.4, slope: float = 0.0, clock: str = "batches",
         fraction: float = 0.2, selection: str = "a3po", polarity: str = "both", mean_one: bool = False,
         base: str = "grpo") -> Method:
    """GRPO with extra weight, decaying to 1, on unlikely tokens of right and likely tokens of wrong answers.

    Args:
        weight: rho, the weight at the first step.
        reaches_one: share of the training after which the weight is 1; 0 keeps it constant.
        slope: alpha per tick of the clock, instead of `reaches_one` (the paper's 0.005).
        clock: "batches" of rollouts or optimizer "updates"; matters for `slope`. The paper does not say which.
        selection: which tokens. Controls: "swapped" cells, "random" tokens, or random at the same "position"s.
        polarity: "both", "right" or "wrong": whose tokens are weighted.
        mean_one: rescale each answer's weights to mean 1, so that the size of the step does not grow.
        base: "grpo", or "dapo" with its loss and its sampling. The paper does not say which it used.
    """
    choose("selection", selection, SELECTIONS)
    choose("clock", clock, ("batches", "updates"))
    choose("polarity", polarity, ("both", "right", "wrong"))
    choose("base", base, ("grpo", "dapo"))

    def weights(rollouts, progress):
        w = schedule(progress, weight, reaches_one, slope, clock)
        weights_NT = chosen_weights(rollouts, w, fraction, selection, progress.step)
        if polarity != "both":
            wanted_N = rollouts.correct_N if polarity == "right" else ~rollouts.correct_N
            weights_NT = torch.where(wanted_N[:, None], weights_NT, 1.0)
        return shaping.mean_one(weights_NT, rollouts.mask_NT) if mean_one else weights_NT

    under = grpo() if base == "grpo" else dapo()
    return replace(under, name="a3po", source="arXiv 2512.21625", advantage=weighted(under.advantage, weights))


def schedule(progress: Progress, weight: float, reaches_one: float, slope: float, clock: str) -> float:
    """A3PO's weight now: linear from `weight` to 1, by a literal slope or a share of the training."""
    ticks = progress.step * (progress.updates_per_step if clock == "updates" else 1)
    if slope:
        return shaping.decayed_weight(ticks, weight, slope)
    if not reaches_one:
        return weight
    return shaping.decayed_weight(progress.step, weight, (weight - 1) / (reaches_one * progress.steps))


def chosen_weights(rollouts: Rollouts, weight: float, fraction: float, selection: str, step: int) -> Tensor:
    """A3PO's token weights, or those of one of its controls."""
    mask_NT, right_N, probs_NT = rollouts.mask_NT, rollouts.correct_N, probabilities(rollouts)
    if selection == "entropy":
        return shaping.a3po_weights_by_entropy(rollouts.entropies_NT, mask_NT, right_N, weight, fraction)
    if selection == "swapped":
        return shaping.swapped_weights(probs_NT, mask_NT, right_N, weight, fraction)
    seed = derive_seed(selection, step, *(p.key for p in rollouts.problems))
    if selection == "random":
        return shaping.random_weights(mask_NT, weight, seed, fraction)
    if selection == "position":
        chosen_NT = shaping.a3po_weights(probs_NT, mask_NT, right_N, 2.0, fraction) > 1
        return shaping.position_matched_weights(chosen_NT, mask_NT, weight, seed, right_N)
    return shaping.a3po_weights(probs_NT, mask_NT, right_N, weight, fraction)


# --- LENS ----------------------------------------------------------------------


def lens(variant: str = "N", alpha: float = 0.25, mixed: bool = True, negative: bool = True, over_group: bool = True,
         normalise: bool = True, demean: bool = True, factor: float = 2.0, mirror: bool = False,
         scramble: str = "") -> Method:
    """GRPO on rewards that punish confident wrong answers more, and that give all-wrong groups a signal.

    Options are those of `polarity_lib.lens.lens`; scramble "shuffle" or "flip" are controls.
    """
    choose("LENS variant", variant, ("N", "R"))  # here too, so that a misspelt one fails before any run
    choose("LENS scramble", scramble, ("", "shuffle", "flip"))

    def advantage(rollouts, rewards_N, progress):
        seed = derive_seed("lens", progress.step, *(p.key for p in rollouts.problems))
        advantages_N = confidence.lens(
            rewards_N, rollouts.group_N, rollouts.logprobs_NT, rollouts.mask_NT, variant=variant, alpha=alpha,
            mixed=mixed, negative=negative, over_group=over_group, normalise=normalise, demean=demean, factor=factor,
            mirror=mirror, scramble=scramble or None, seed=seed)
        return adv.expand(advantages_N, rollouts.mask_NT)

    return replace(grpo(), name="lens", source="arXiv 2510.08696", advantage=advantage)


def uniform_penalty(penalty: float = 0.05) -> Method:
    """GRPO, and the same small penalty on every answer of an all-wrong group (asked for by LENS's reviewers)."""
    return replace(grpo(), name="uniform_penalty", source="reviews of arXiv 2510.08696",
                   advantage=per_rollout(confidence.uniform_penalty, penalty=penalty))


def ngrpo() -> Method:
    """GRPO with one imagined right answer in every group's mean and spread."""
    return replace(grpo(), name="ngrpo", source="arXiv 2509.18851, by a secondary digest",
                   advantage=per_rollout(confidence.ngrpo))


METHODS: dict[str, Callable[..., Method]] = {
    f.__name__: f
    for f in (base, reinforce, w_reinforce, psr, nsr, psr_all_tokens, nsr_all_tokens, reinforce_baseline,
              rloo, grpo, dr_grpo, psr_grpo_seq, nsr_grpo_seq, psr_grpo_tok, nsr_grpo_tok, ppo,
              dapo, dapo_fork, lp_reg, cispo, gspo, token_shaped, a3po, lens, uniform_penalty, ngrpo)
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
