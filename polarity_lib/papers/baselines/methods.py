"""Methods that several papers compare with, from REINFORCE to DAPO."""

from dataclasses import replace
from typing import Callable

from torch import Tensor

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.methods import Method, Progress, collect_fixed, per_rollout, token_loss, with_kl
from polarity_lib.papers.baselines import losses
from polarity_lib.rewards import correctness, overlong_penalty
from polarity_lib.rollouts import Rollouts, choose_groups, join
from polarity_lib.verification import verify


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


def signed_and_short(buffer_share: float) -> Callable:
    """DAPO's reward: +1 or -1, minus up to 1 in the last `buffer_share` of the length limit."""

    def reward(rollouts: Rollouts) -> Tensor:
        signs_N = 2 * correctness(rollouts) - 1
        limit = rollouts.max_new_tokens
        return signs_N + overlong_penalty(rollouts.mask_NT.sum(1), limit, max(1, round(buffer_share * limit)))

    return reward


DECOMPOSED = "RLVR-Decomposed; arXiv 2506.01347"
PPO_CLIP = token_loss(obj.ppo_clip, clip_low=0.2, clip_high=0.2)


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


def ppo() -> Method:
    """Clipped policy gradient on the advantages of a small critic."""
    return Method("ppo", "standard", advantage=critic_advantage, token_loss=PPO_CLIP,
                  aggregate=obj.token_mean, needs=frozenset({"values"}), zero_rows_are_free=False)


def dapo(dynamic: bool = True, clip_high: float = 0.28, buffer_share: float = 0.2) -> Method:
    """GRPO with four changes: clip-higher, dynamic sampling, token mean, overlong penalty."""
    return Method(
        "dapo", "arXiv 2503.14476", advantage=per_rollout(adv.grpo),
        token_loss=token_loss(obj.ppo_clip, clip_low=0.2, clip_high=clip_high), aggregate=obj.token_mean,
        reward=signed_and_short(buffer_share), collect=collect_mixed() if dynamic else collect_fixed)


def dapo_fork(fraction: float = 0.2, dynamic: bool = True) -> Method:
    """DAPO on the most uncertain tokens only: the top fifth of the mini-batch by current entropy."""

    def loss(logp, old, A, mask, extras):
        return losses.fork_tokens(logp, old, A, mask, extras["entropies"], fraction)

    # Rows without advantage still take part in the ranking.
    return replace(dapo(dynamic), name="dapo_fork", source="arXiv 2506.01939", token_loss=loss,
                   needs=frozenset({"entropies"}), zero_rows_are_free=False)


def lp_reg(rho: float = 0.01, beta: float = 1.0, kappa: float = 0.02) -> Method:
    """GRPO's advantage, ratio limited to [0, 10], and a pull towards a filtered policy on rare punished tokens."""

    def loss(logp, old, A, mask, extras):
        return losses.lp_reg(logp, old, A, mask, losses.filtered_mass(extras["old_distributions"], kappa), rho, beta, kappa)

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


METHODS = {
    f.__name__: f
    for f in (base, reinforce, w_reinforce, reinforce_baseline, rloo, grpo, dr_grpo, ppo, dapo, dapo_fork, lp_reg, cispo, gspo)
}

WEIGHTS = {"positive_weight": "[0, inf)", "negative_weight": "[0, inf)"}
LIMITS = {
    "reinforce": WEIGHTS,
    "w_reinforce": {"positive_weight": "[0, inf)"},
    "grpo": WEIGHTS | {"kl": "[0, inf)", "epsilon": "(0, inf)", "ddof": "[0, 1]"},
    "dapo": {"clip_high": "[0, inf)", "buffer_share": "[0, 1]"},
    "dapo_fork": {"fraction": "(0, 1]"},
    "lp_reg": {"rho": "[0, 1]", "beta": "[0, inf)", "kappa": "(0, 1]"},
}
