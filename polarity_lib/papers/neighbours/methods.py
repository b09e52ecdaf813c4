"""One pure function per neighbour. All were read in a third party's implementation or abstract, not in the papers themselves.

    maxrl     (R - mean) / mean                                     arXiv 2602.02710
    f_grpo    GRPO's advantage times (1 - p)^gamma                  arXiv 2602.06717
    qae       a quantile of the group as baseline                   arXiv 2509.22611
    rl_zvp    uniform groups teach by token entropy                 arXiv 2509.21880
    aspo      right tokens with the importance ratio turned round   arXiv 2510.06062
    cw_nsr    NSR, a wrong answer's penalty by its likelihood       arXiv 2605.07137

Axes: N rollouts (groups may differ in size, rows may come in any order), T token positions. p is a group's share of
right answers. Every advantage is a constant: it carries no gradient.
"""

from dataclasses import replace

import torch
from torch import Tensor

from polarity_lib import objectives as obj
from polarity_lib.advantages import centred, check_verdicts, expand, group_max, group_sum, grpo, in_double, in_precision_of
from polarity_lib.methods import Method, keep_wrong, per_rollout, token_loss
from polarity_lib.papers.baselines import methods as baselines

# ---------------------------------------------------------------- advantages


def success_rate(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """[N] p of each rollout's group.

    Raises:
        ValueError: as `check_verdicts`.
    """
    check_verdicts(rewards_N, group_N)
    return in_double(rewards_N) - centred(rewards_N, group_N)[0]


def maxrl_advantage(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """MaxRL: the rarer right answers are, the more a right one weighs.

        A_i = (R_i - p) / p        0 where nothing is right

    Source: arXiv 2602.02710, as SkyRL and prime-rl have it (read there, not in the paper).

    Args:
        rewards_N: [N] 1 right, 0 wrong.
        group_N: [N] integer prompt ids.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `check_verdicts`.
    """
    p_N = success_rate(rewards_N, group_N)
    found_N = torch.where(p_N > 0, (in_double(rewards_N) - p_N) / p_N.clamp(min=1e-12), 0.0)
    return in_precision_of(found_N, rewards_N)


def f_grpo_advantage(rewards_N: Tensor, group_N: Tensor, gamma: float = 1.0, epsilon: float = 1e-6, ddof: int = 1) -> Tensor:
    """F-GRPO: easy groups count less.

        A_i = GRPO's A_i (1 - p)^gamma

    Source: arXiv 2602.06717, by a third party; the published gamma is unverified, 1 is ours.

    Args, returns: as `maxrl_advantage`; epsilon, ddof as in `grpo`.

    Raises:
        ValueError: as `check_verdicts`, or gamma is below zero.
    """
    if gamma < 0:
        raise ValueError(f"gamma must be zero or above, not {gamma}.")
    weight_N = (1 - success_rate(rewards_N, group_N)) ** gamma
    return in_precision_of(in_double(grpo(rewards_N, group_N, epsilon, ddof)) * weight_N, rewards_N)


def qae_advantage(rewards_N: Tensor, group_N: Tensor, quantile: float = 0.4, epsilon: float = 1e-6, ddof: int = 1) -> Tensor:
    """QAE: the K-quantile of the group as baseline, which for verdicts is a switch between PSR and NSR per problem.

        b   = 0 where p <= 1 - K,  1 elsewhere
        A_i = (R_i - b) / (std + epsilon)        0 in a uniform group

    In a hard group the right answers alone teach, with +; in an easy one the wrong ones alone, with -.

    Source: arXiv 2509.22611, by a third party; its quantile rule and epsilon are unverified.

    Args:
        quantile: K, between 0 and 1.

    Returns, raises: as `f_grpo_advantage`; ValueError if K is outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1, not {quantile}.")
    p_N, rewards = success_rate(rewards_N, group_N), in_double(rewards_N)
    centred_N, size_N, row_N = centred(rewards_N, group_N)
    spread_N = (group_sum(centred_N**2, row_N) / (size_N - ddof).clamp(min=1)).sqrt()
    baseline_N = (p_N > 1 - quantile + 1e-9).double()
    mixed_N = (p_N > 0) & (p_N < 1)
    return in_precision_of(torch.where(mixed_N, (rewards - baseline_N) / (spread_N + epsilon), 0.0), rewards_N)


def rl_zvp_advantage(rewards_N: Tensor, group_N: Tensor, entropies_NT: Tensor, mask_NT: Tensor, alpha: float = 0.1) -> Tensor:
    """RL-ZVP: groups of one verdict teach too, token by token, by how uncertain the policy was.

        mixed group   A_it = GRPO's A_i
        all right     A_it =  alpha H_it
        all wrong     A_it = -alpha (max_k H_ik - H_it)        an answer's own largest entropy

    Source: arXiv 2509.21880, by a third party.

    Args:
        entropies_NT: [N, T] nats, of the full distribution at each position; no gradient goes through them.
        mask_NT: [N, T] 1 on response tokens.
        alpha: zero or above.

    Returns:
        [N, T] advantages, 0 on padding.

    Raises:
        ValueError: as `check_verdicts`, or alpha is below zero.
    """
    if alpha < 0:
        raise ValueError(f"alpha must be zero or above, not {alpha}.")
    p_N = success_rate(rewards_N, group_N)
    entropies_NT = torch.where(mask_NT.bool(), entropies_NT.detach(), 0.0)
    certain_NT = entropies_NT.amax(dim=1, keepdim=True) - entropies_NT
    uniform_NT = torch.where((p_N == 1)[:, None], alpha * entropies_NT, -alpha * certain_NT)
    mixed_NT = expand(grpo(rewards_N, group_N), mask_NT)
    return torch.where(((p_N > 0) & (p_N < 1))[:, None], mixed_NT, uniform_NT * mask_NT)


def cw_nsr_advantage(rewards_N: Tensor, group_N: Tensor, logprobs_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Confidence-weighted NSR: the surer the policy was of a wrong answer, the more it is punished.

        pbar_i = exp( mean over tokens of log pi_old )
        A_i    = 0 where right,   - pbar_i / max over its group's wrong answers of pbar    where wrong

    Source: arXiv 2605.07137, by a third party; what "normalised likelihood" is divided by there is unverified, the largest of
    the group's wrong answers is ours.

    Args:
        logprobs_NT: [N, T] log-probability of each sampled token under the policy that sampled it.

    Returns:
        [N] advantages between -1 and 0.

    Raises:
        ValueError: as `check_verdicts`.
    """
    check_verdicts(rewards_N, group_N)
    mask_NT = mask_NT.double()
    logs_N = (torch.where(mask_NT > 0, logprobs_NT.detach().double(), 0.0)).sum(1) / mask_NT.sum(1).clamp(min=1)
    wrong_N = in_double(rewards_N) == 0
    _, _, row_N = centred(rewards_N, group_N)
    largest_N = group_max(torch.where(wrong_N, logs_N, -torch.inf), row_N)
    return in_precision_of(torch.where(wrong_N, -torch.exp(logs_N - largest_N), 0.0), rewards_N)


# ---------------------------------------------------------------- a loss


def aspo_loss(logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_NT: Tensor, mask_NT: Tensor,
              clip_low: float = 0.2, clip_high: float = 0.2) -> Tensor:
    """ASPO: where A > 0, the importance ratio is turned round, so that tokens that became unlikely gain, not those that grew.

        A > 0:   loss = -sg(clip(pi_old / pi, 1 - clip_low, 1 + clip_high)) A log pi        sg: no gradient
        A < 0:   PPO's clipped loss

    With one update per batch every ratio is 1, and it is REINFORCE.

    Source: arXiv 2510.06062, by a third party. Its soft dual clip is read here as bounds on the weight, which keep a gradient
    on every token; the bounds are ours.

    Args, returns, raises: as `objectives.policy_gradient`.
    """
    negative_NT = obj.ppo_clip(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT, clip_low, clip_high)
    logprobs_NT, old_NT, advantages_NT, real_NT = obj.clean(logprobs_NT, old_logprobs_NT, advantages_NT, mask_NT)
    turned_NT = (old_NT - logprobs_NT).exp().clamp(1 - clip_low, 1 + clip_high).detach()
    positive_NT = obj.on_tokens(-turned_NT * advantages_NT * logprobs_NT, real_NT)
    return torch.where(advantages_NT > 0, positive_NT, negative_NT)


# ---------------------------------------------------------------- methods


def maxrl() -> Method:
    """Reward minus the group's mean, over that mean; otherwise as GRPO."""
    return replace(baselines.grpo(), name="maxrl", source="arXiv 2602.02710", advantage=per_rollout(maxrl_advantage))


def f_grpo(gamma: float = 1.0) -> Method:
    """GRPO with less weight on easy groups."""
    return replace(baselines.grpo(), name="f_grpo", source="arXiv 2602.06717",
                   advantage=per_rollout(f_grpo_advantage, gamma=gamma))


def qae(quantile: float = 0.4) -> Method:
    """Right answers alone in hard groups, wrong ones alone in easy groups."""
    return replace(baselines.grpo(), name="qae", source="arXiv 2509.22611",
                   advantage=per_rollout(qae_advantage, quantile=quantile))


def rl_zvp(alpha: float = 0.1) -> Method:
    """GRPO in mixed groups; token entropy teaches in uniform ones. Upper clip 0.28."""

    def advantage(rollouts, rewards_N, progress):
        return rl_zvp_advantage(rewards_N, rollouts.group_N, rollouts.entropies_NT, rollouts.mask_NT, alpha)

    return replace(baselines.grpo(), name="rl_zvp", source="arXiv 2509.21880", advantage=advantage,
                   token_loss=token_loss(obj.ppo_clip, clip_low=0.2, clip_high=0.28))


def aspo() -> Method:
    """GRPO with the ratio of right tokens turned round; differs with several updates per batch only."""
    return replace(baselines.grpo(), name="aspo", source="arXiv 2510.06062", token_loss=token_loss(aspo_loss))


def cw_nsr() -> Method:
    """Wrong rows only, each by the policy's confidence in it."""

    def advantage(rollouts, rewards_N, progress):
        return expand(cw_nsr_advantage(rewards_N, rollouts.group_N, rollouts.logprobs_NT, rollouts.mask_NT), rollouts.mask_NT)

    return replace(baselines.reinforce(), name="cw_nsr", source="arXiv 2605.07137", advantage=advantage, keep=keep_wrong)


METHODS = {f.__name__: f for f in (maxrl, f_grpo, qae, rl_zvp, aspo, cw_nsr)}
LIMITS = {"f_grpo": {"gamma": "[0, inf)"}, "qae": {"quantile": "(0, 1)"}, "rl_zvp": {"alpha": "[0, inf)"}}
