"""LENS: advantages that use the policy's confidence in its wrong answers, and their rivals for all-wrong groups.

    confidence          log pbar, how sure the policy was of each rollout
    difficulty          log D, one number per group: how much confidence a right answer deserves
    calibrated_rewards  r~ = 1 where right, minus the odds pbar / (D - pbar) over G where wrong
    lens_advantage      r~ standardised in mixed groups, r~ minus its mean in all-wrong ones
    theory_rewards      the same reward as the theorem has it, without the heuristics
    ngrpo_advantage, uniform_penalty_advantage   other ways to learn from all-wrong groups
    METHODS             the methods made of them

Confidences are kept as logarithms: a long answer's probability underflows, and the odds need
only a difference, pbar / (D - pbar) = 1 / expm1(log D - log pbar). The theorems are checked
in `theory`.

Axes are named by the last letters of a variable:

    N   rollouts in the batch; groups may differ in size and rows may come in any order
    T   token positions of the longest response; shorter ones are masked

G is the size of a rollout's group. A group is *negative* when all its rollouts are wrong,
*positive* when all are right, otherwise *mixed*. Every result is a constant: no gradient.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polarity_lib import objectives as obj
from polarity_lib.advantages import (
    centred, check_verdicts, dr_grpo, expand, group_max, group_sum, grpo, in_double, in_precision_of,
)
from polarity_lib.config import choose, derive_seed
from polarity_lib.methods import Method, per_rollout, token_loss
from polarity_lib.papers.baselines import methods as baselines

TOLERANCE = 1e-4  # rounding may lift a log-probability this far above zero, no further

# ---------------------------------------------------------------- confidence and difficulty


def confidence(logprobs_NT: Tensor, mask_NT: Tensor, normalise: bool = True) -> Tensor:
    """How sure the policy was of each answer, as a logarithm.

        log pbar_n = 1/|o_n| sum_t mask_nt log pi_old(y_nt | x_n, y_n<t)      normalise = True
        log pi_n   =         sum_t mask_nt log pi_old(y_nt | x_n, y_n<t)      normalise = False

    Source: arXiv 2510.08696, the practical reward after Eq. 14; its length normalisation is
    motivated in Appendix C.

    Args:
        logprobs_NT: [N, T] log-probability of each sampled token under the policy that sampled it.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        normalise: the mean over the response, or the sum.

    Returns:
        [N] at most 0.

    Raises:
        ValueError: shapes differ, a response is empty, or a log-probability on a response
            token is NaN, infinite or above 0 by more than 1e-4.
    """
    if logprobs_NT.shape != mask_NT.shape or mask_NT.ndim != 2:
        raise ValueError(f"log-probabilities {list(logprobs_NT.shape)} and mask {list(mask_NT.shape)} must both be [N, T].")
    real_NT, values_NT = mask_NT.detach().cpu() > 0, in_double(logprobs_NT)
    if not real_NT.any(dim=1).all():
        raise ValueError("a row of the mask is empty: an answer without tokens has no confidence.")
    _check_logs(values_NT[real_NT], "a log-probability on a response token")
    values_NT = torch.where(real_NT, values_NT.clamp(max=0.0), 0.0)
    length_N = real_NT.sum(dim=1) if normalise else 1
    return in_precision_of(values_NT.sum(dim=1) / length_N, logprobs_NT)


def importance_difficulty(logs_N: Tensor, rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """The difficulty of a prompt, estimated from its right answers.

        D_imp = (1/G sum_i r_i / pi_i)^-1        log D_imp = log G - logsumexp_{i: r_i = 1} (-log pi_i)

    Source: arXiv 2510.08696, Eq. 14, which prints the raw sequence probability pi.

    Args:
        logs_N: [N] log-confidence, of whole sequences (as printed) or per token.
        rewards_N: [N] 1 right, 0 wrong.
        group_N: [N] integer prompt ids, ragged and in any order.

    Returns:
        [N] log D_imp of each row's group; +inf where nothing is right.

    Raises:
        ValueError: as `check_verdicts`, or log-confidences of another shape, not finite, or above 0.
    """
    check_verdicts(rewards_N, group_N)
    logs, right_N = _checked_logs(logs_N, rewards_N), in_double(rewards_N) > 0
    _, size_N, row_N = centred(rewards_N, group_N)
    terms_N = torch.where(right_N, -logs, -math.inf)
    # Subtracting the largest term keeps exp in range; a group without one stays at log 0.
    largest_N = torch.where(group_max(terms_N, row_N).isfinite(), group_max(terms_N, row_N), 0.0)
    total_N = group_sum((terms_N - largest_N).exp(), row_N)
    return in_precision_of(size_N.log() - largest_N - total_N.log(), logs_N)


def difficulty(
    logs_N: Tensor, rewards_N: Tensor, group_N: Tensor, factor: float = 2.0, importance_logs_N: Tensor | None = None
) -> Tensor:
    """The constant that ties a confidence to a probability of being right, p = pbar / D.

        D = factor max_j pbar_j                    negative group
            max(D_imp, factor max_j pbar_j)        any other; max_j over right rows too

    From 2 upwards, factor keeps the odds pbar / (D - pbar) in (0, 1].

    Source: arXiv 2510.08696, the practical reward after Eq. 14 (factor 2).

    Args:
        logs_N: [N] log-confidence, as `confidence` gives it.
        factor: the paper's 2; below it the odds reach 1 / (factor - 1), above 1.
        importance_logs_N: [N] the log-confidence inside D_imp where it is another: the sum over
            tokens gives Eq. 14 as printed (variant R). None: `logs_N` (variant N).

    Returns:
        [N] log D of each row's group, finite.

    Raises:
        ValueError: as `importance_difficulty`, or factor is not a finite number above 1.
    """
    if not (math.isfinite(factor) and factor > 1):
        raise ValueError(f"factor must be above 1, or the surest answer would be certainly right; got {factor}.")
    importance_N = importance_difficulty(logs_N if importance_logs_N is None else importance_logs_N, rewards_N, group_N)
    logs, row_N = _checked_logs(logs_N, rewards_N), centred(rewards_N, group_N)[2]
    floor_N = math.log(factor) + group_max(logs, row_N)
    importance_N = torch.where(in_double(importance_N).isfinite(), in_double(importance_N), -math.inf)
    return in_precision_of(torch.maximum(importance_N, floor_N), logs_N)


# ---------------------------------------------------------------- rewards


def theory_odds(logs: Tensor, log_difficulty: Tensor) -> Tensor:
    """How much a wrong answer is pushed down: the odds of p = pi / D.

        pi / (D - pi) = p / (1 - p) = 1 / expm1(log D - log pi)

    Source: arXiv 2510.08696, Theorem 1.

    Args:
        logs: log-confidence, any shape.
        log_difficulty: log D, of a shape that broadcasts.

    Returns:
        Odds of that shape.

    Raises:
        ValueError: pi >= D somewhere: a probability of being right of 1 or more.
    """
    gap = log_difficulty - logs
    if not (gap > 0).all():
        bad = int((~(gap > 0)).sum())
        raise ValueError(f"confidence must stay below the difficulty D; {bad} of {gap.numel()} wrong answers reach it.")
    return 1 / torch.expm1(gap)


def theory_rewards(rewards_N: Tensor, logs_N: Tensor, log_difficulty_N: Tensor) -> Tensor:
    """The calibrated reward of the theory, without length normalisation, estimated D or 1/G.

        r~ = r - (1 - r) pi / (D - pi)

    Source: arXiv 2510.08696, Eq. 10.

    Args:
        rewards_N: [N] 1 right, 0 wrong.
        logs_N: [N] log pi.
        log_difficulty_N: [N] log D.

    Returns:
        [N] 1 where right, minus the odds where wrong.

    Raises:
        ValueError: as `check_verdicts`; pi >= D for a wrong row; shapes differ.
    """
    check_verdicts(rewards_N)
    if log_difficulty_N.shape != rewards_N.shape:
        raise ValueError(f"log D must have shape [N], like the rewards; got {list(log_difficulty_N.shape)}.")
    verdicts_N, logs = in_double(rewards_N), _checked_logs(logs_N, rewards_N)
    # Right rows have no odds: at confidence 0 they count for nothing, whatever their D.
    wrong_logs_N = torch.where(verdicts_N > 0, -math.inf, logs)
    return in_precision_of(verdicts_N - theory_odds(wrong_logs_N, in_double(log_difficulty_N)), rewards_N)


def calibrated_rewards(
    rewards_N: Tensor, logs_N: Tensor, log_difficulty_N: Tensor, group_N: Tensor, over_group: bool = True
) -> Tensor:
    """The calibrated reward in use: the theory's, with the odds divided by the group's size.

        r~ = r - (1 - r) 1/G pbar / (D - pbar)

    With factor >= 2 the odds are at most 1, so r~ lies in [-1/G, 0] where wrong. The mean of a
    mixed group is then at least 1/G^2 > 0: wrong stays below it and right above, which
    fails without 1/G (`theory.sign_violations`).

    Source: arXiv 2510.08696, the practical reward after Eq. 14.

    Args:
        rewards_N: [N] 1 right, 0 wrong.
        logs_N: [N] log-confidence.
        log_difficulty_N: [N] log D, as `difficulty` gives it.
        group_N: [N] integer prompt ids.
        over_group: False leaves out 1/G.

    Returns:
        [N] 1 where right, at most 0 where wrong.

    Raises:
        ValueError: as `theory_rewards`, or bad groups.
    """
    check_verdicts(rewards_N, group_N)
    size_N = centred(rewards_N, group_N)[1]
    theory_N = theory_rewards(in_double(rewards_N), logs_N, log_difficulty_N)
    return in_precision_of(torch.where(theory_N > 0, theory_N, theory_N / size_N if over_group else theory_N), rewards_N)


# ---------------------------------------------------------------- advantages


@dataclass(frozen=True)
class LensOptions:
    """What LENS leaves open, and the controls.

    Attributes:
        variant: "N" length-normalised confidence in D_imp, "R" raw sequence probability (Eq. 14 as printed).
        alpha: weight of negative (and mirrored) groups.
        mixed: False gives mixed groups plain GRPO.
        negative: False gives negative groups 0, as GRPO does.
        mirror: True gives positive groups the mirrored signal.
        over_group: False leaves 1/G out of r~, in every kind of group.
        normalise: False replaces pbar by the raw sequence probability everywhere; N and R are then the same.
        demean: False leaves alpha r~ in negative groups (all wrong answers go down); the mirror stays centred.
        factor: D is at least factor max pbar, in mixed groups too; signs are only guaranteed from 2 upwards.
        epsilon, ddof: of the standard deviation, as in `grpo`.
        scramble: a control on negative groups. "shuffle" permutes r~ within each, "flip" reverses the advantages.

    Raises:
        ValueError: unknown variant or scramble; alpha negative or not finite.
    """

    variant: str = "N"
    alpha: float = 0.25
    mixed: bool = True
    negative: bool = True
    mirror: bool = False
    over_group: bool = True
    normalise: bool = True
    demean: bool = True
    factor: float = 2.0
    epsilon: float = 1e-6
    ddof: int = 1
    scramble: str = ""

    def __post_init__(self):
        choose("LENS variant", self.variant, ("N", "R"))
        choose("LENS scramble", self.scramble, ("", "shuffle", "flip"))
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be a finite number of at least 0; got {self.alpha}.")


def lens_advantage(
    rewards_N: Tensor, group_N: Tensor, logprobs_NT: Tensor, mask_NT: Tensor, options: LensOptions = LensOptions(),
    seed: int | None = None,
) -> Tensor:
    """Calibrated rewards turned into advantages.

        mixed group       A_i = (r~_i - mean r~) / (std r~ + epsilon)
        negative group    A_i = alpha (r~_i - mean r~)                   not divided by the std
        positive group    A_i = 0
              mirror      A_i = alpha (mean_j odds_j - odds_i) / G       ours

    In a negative group the advantages sum to 0: the less confident wrong answers are
    *reinforced*, so this levels confidence rather than pushing wrong answers down. The mirror
    is that very rule on right answers: the least confident gains most, and the sum is 0.
    A group of one, right or wrong, gets 0 (`grpo` alone would give a right one 1).

    Source: arXiv 2510.08696, the practical reward and final objective after Eq. 14. The paper leaves open whether D_imp uses
    raw or length-normalised probabilities, the std's divisor and epsilon; ours are options.

    Args:
        rewards_N: [N] 1 right, 0 wrong.
        group_N: [N] integer prompt ids, ragged and in any order.
        logprobs_NT: [N, T] log-probabilities under the policy that sampled.
        mask_NT: [N, T] 1 on response tokens, 0 on padding.
        seed: of a shuffle; a run needs another at every step. A shuffle depends on the order of rows.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `confidence`, `difficulty` and `grpo`; rewards other than 0 and 1; a shuffle without a seed.
    """
    check_verdicts(rewards_N, group_N)
    if options.scramble == "shuffle" and seed is None:
        raise ValueError("a shuffle needs an explicit integer seed.")
    if len(logprobs_NT) != len(rewards_N):
        raise ValueError(f"log-probabilities must have N = {len(rewards_N)} rows, one per reward; got {len(logprobs_NT)}.")
    verdicts_N, group_N = in_double(rewards_N), group_N.detach().cpu()
    logs_N = confidence(in_double(logprobs_NT), mask_NT, options.normalise)
    raw_N = confidence(in_double(logprobs_NT), mask_NT, normalise=False)
    hard_N = difficulty(logs_N, verdicts_N, group_N, options.factor, raw_N if options.variant == "R" else None)
    shaped_N = calibrated_rewards(verdicts_N, logs_N, hard_N, group_N, options.over_group)

    negative_N, positive_N = _uniform_groups(verdicts_N, group_N)
    advantages_N = grpo(shaped_N if options.mixed else verdicts_N, group_N, options.epsilon, options.ddof)
    signal_N = _negative_signal(shaped_N, group_N, negative_N, options, seed)
    advantages_N = torch.where(negative_N, options.alpha * signal_N if options.negative else 0.0, advantages_N)
    as_if_wrong_N = calibrated_rewards(0 * verdicts_N, logs_N, hard_N, group_N, options.over_group)
    mirrored_N = options.alpha * dr_grpo(as_if_wrong_N, group_N) if options.mirror else 0.0
    return in_precision_of(torch.where(positive_N, mirrored_N, advantages_N), rewards_N)


def ngrpo_advantage(rewards_N: Tensor, group_N: Tensor, epsilon: float = 1e-6, ddof: int = 1) -> Tensor:
    """GRPO with one fictitious right answer in every group, so that all-wrong groups teach too.

        A_i = (r_i - mean') / (std' + epsilon)      mean', std' over r_1, ..., r_G and one more 1

    An all-wrong group gets one negative constant, an all-right group 0, of any size.

    Source: arXiv 2509.18851; released code nangongrui-ngr/NGRPO, which gives a group of one mean 0 and deviation 1
    instead. Its clip and its dropping of all-right groups are in `ngrpo`.

    Args:
        rewards_N: [N] 1 right, 0 wrong.
        group_N: [N] integer prompt ids, ragged and in any order.
        epsilon, ddof: as in `grpo`.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `check_verdicts`, or ddof is neither 0 nor 1.
    """
    check_verdicts(rewards_N, group_N)
    groups = torch.unique(group_N.detach().cpu())
    verdicts = torch.cat([in_double(rewards_N), torch.ones(len(groups), dtype=torch.float64)])
    advantages = grpo(verdicts, torch.cat([group_N.detach().cpu(), groups]), epsilon, ddof)
    return in_precision_of(advantages[: len(rewards_N)], rewards_N)


def uniform_penalty_advantage(
    rewards_N: Tensor, group_N: Tensor, penalty: float, epsilon: float = 1e-6, ddof: int = 1
) -> Tensor:
    """GRPO, and one constant for every row of an all-wrong group, whatever its confidence.

        A_i = (r_i - mean) / (std + epsilon)    mixed group
              -penalty                          all wrong; subtracting a mean would leave 0
              0                                 all right

    A group of one is all wrong or all right.

    Source: ours, the baseline that reviewers of arXiv 2510.08696 asked for.

    Args:
        rewards_N: [N] 1 right, 0 wrong.
        group_N: [N] integer prompt ids, ragged and in any order.
        penalty: at least 0.
        epsilon, ddof: as in `grpo`.

    Returns:
        [N] advantages.

    Raises:
        ValueError: as `check_verdicts`; ddof is neither 0 nor 1; penalty negative or not finite.
    """
    check_verdicts(rewards_N, group_N)
    if not (math.isfinite(penalty) and penalty >= 0):
        raise ValueError(f"penalty must be a finite number of at least 0; got {penalty}.")
    verdicts_N, group_N = in_double(rewards_N), group_N.detach().cpu()
    negative_N, positive_N = _uniform_groups(verdicts_N, group_N)
    advantages_N = torch.where(negative_N, -float(penalty), grpo(verdicts_N, group_N, epsilon, ddof))
    return in_precision_of(torch.where(positive_N, 0.0, advantages_N), rewards_N)


# ---------------------------------------------------------------- helpers


def _check_logs(logs: Tensor, what: str) -> None:
    if not torch.isfinite(logs).all():
        raise ValueError(f"{what} is NaN or infinite.")
    if (logs > TOLERANCE).any():
        raise ValueError(f"{what} is {float(logs.max()):.4g}, above 0: were probabilities or negated values passed?")


def _checked_logs(logs_N: Tensor, rewards_N: Tensor) -> Tensor:
    if logs_N.shape != rewards_N.shape:
        raise ValueError(f"log-confidences must have shape [N] with N = {len(rewards_N)} rewards; got {list(logs_N.shape)}.")
    _check_logs(logs_N, "a log-confidence")
    return in_double(logs_N)


def _uniform_groups(verdicts_N: Tensor, group_N: Tensor) -> tuple[Tensor, Tensor]:
    """([N], [N]) whether each rollout's group is all wrong, all right."""
    _, size_N, row_N = centred(verdicts_N, group_N)
    right_N = group_sum(verdicts_N, row_N)
    return right_N == 0, right_N == size_N


def _negative_signal(shaped_N, group_N, negative_N, options: LensOptions, seed: int | None) -> Tensor:
    """[N] what negative groups learn, before alpha; anything elsewhere."""
    if options.scramble == "shuffle":
        shaped_N = _shuffled(shaped_N, group_N, negative_N, seed)
    signal_N = dr_grpo(shaped_N, group_N) if options.demean else shaped_N
    return -signal_N if options.scramble == "flip" else signal_N


def _shuffled(values_N: Tensor, group_N: Tensor, chosen_N: Tensor, seed: int) -> Tensor:
    """Values permuted within each group of the chosen rows."""
    rng, shuffled_N = np.random.default_rng(seed), values_N.clone()
    for group in group_N[chosen_N].unique():
        members = (group_N == group).nonzero()[:, 0]
        shuffled_N[members] = values_N[members[torch.from_numpy(rng.permutation(len(members)))]]
    return shuffled_N


# ---------------------------------------------------------------- the methods


def lens(options: LensOptions = LensOptions()) -> Method:
    """GRPO on rewards that punish confident wrong answers more, and that give all-wrong groups a signal."""

    def advantage(rollouts, rewards_N, progress):
        seed = derive_seed("lens", progress.step, *(p.key for p in rollouts.problems))
        advantages_N = lens_advantage(rewards_N, rollouts.group_N, rollouts.logprobs_NT, rollouts.mask_NT, options, seed)
        return expand(advantages_N, rollouts.mask_NT)

    return replace(baselines.grpo(), name="lens", source="arXiv 2510.08696", advantage=advantage)


def uniform_penalty(penalty: float = 0.05) -> Method:
    """GRPO, and the same small penalty on every answer of an all-wrong group (asked for by LENS's reviewers)."""
    return replace(baselines.grpo(), name="uniform_penalty", source="reviews of arXiv 2510.08696",
                   advantage=per_rollout(uniform_penalty_advantage, penalty=penalty))


def keep_unless_all_right(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """[N] rows of groups in which something is wrong; the others leave the denominator too."""
    return ~_uniform_groups(in_double(rewards_N), group_N.detach().cpu())[1]


def ngrpo(clip_low: float = 0.16, clip_high: float = 0.24) -> Method:
    """One imagined right answer in a group's mean and spread; all-right groups are dropped, clip 0.16 and 0.24, token mean."""
    return replace(baselines.grpo(), name="ngrpo", source="arXiv 2509.18851; released code nangongrui-ngr/NGRPO",
                   advantage=per_rollout(ngrpo_advantage), keep=keep_unless_all_right,
                   token_loss=token_loss(obj.ppo_clip, clip_low=clip_low, clip_high=clip_high), aggregate=obj.kept_token_mean)


METHODS = {f.__name__: f for f in (lens, uniform_penalty, ngrpo)}
LIMITS = {
    "lens": {"alpha": "[0, inf)", "factor": "(1, inf)", "epsilon": "(0, inf)", "ddof": "[0, 1]"},
    "uniform_penalty": {"penalty": "[0, inf)"},
    "ngrpo": {"clip_low": "[0, 1]", "clip_high": "[0, inf)"},
}
