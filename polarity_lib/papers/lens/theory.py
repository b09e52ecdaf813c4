"""The theorems behind LENS on a policy so small that everything can be enumerated.

    log_likelihood_loss  the likelihood of verdicts when p = pi / D
    theorem_1            its gradient, as the paper writes it
    preferred_odds       the same where some right answers are preferred to others
    value_function       what ascent on it maximises on-policy; theorem_2 is its gradient
    theorem_checks       both against autograd on random policies (claim LENS-C8)
    sign_violations      what 1/G is for (claim LENS-C9)
    consistency          more data, closer to the target policy (claim LENS-C14)
    group_table          one group by hand: confidence, odds, calibrated reward, advantage

Axes: K answers of a softmax policy, N rollouts, R replicates. Double precision throughout.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polarity_lib.papers.lens.methods import (
    LensOptions, calibrated_rewards, confidence, difficulty, lens_advantage, theory_odds, theory_rewards,
)

# ---------------------------------------------------------------- Theorem 1


def log_likelihood_loss(logits_K: Tensor, right_K: Tensor, wrong_K: Tensor, difficulty: float) -> Tensor:
    """Negative log-likelihood of verdicts, the reward model being p = pi / D.

        L = -1/n sum_a [ right_a log pi_a + wrong_a log(1 - pi_a / D) ]     n = sum_a (right_a + wrong_a)

    Source: arXiv 2510.08696, Eqs. 7 and 8.

    Args:
        logits_K: [K] of the softmax policy; carries the gradient.
        right_K: [K] how often each answer was drawn and judged right: counts, or probabilities.
        wrong_K: [K] the same for wrong.
        difficulty: D.

    Returns:
        Scalar loss; its constant log D is dropped, as in the paper.

    Raises:
        ValueError: pi >= D for an answer judged wrong; shapes differ; nothing was drawn.
    """
    _check_weights(logits_K, right_K, wrong_K)
    logs_K = logits_K.log_softmax(-1)
    z_K = torch.where(wrong_K > 0, logs_K.exp() / difficulty, 0.0)
    _check_below_one(z_K, "pi / D of an answer judged wrong")
    return -(right_K * logs_K + wrong_K * torch.log1p(-z_K)).sum() / (right_K + wrong_K).sum()


def theorem_1(logits_K: Tensor, right_K: Tensor, wrong_K: Tensor, difficulty: float) -> Tensor:
    """[K] the gradient of `log_likelihood_loss` by the logits.

        grad L = -1/n sum_a [ right_a - wrong_a pi_a / (D - pi_a) ] grad log pi_a

    Source: arXiv 2510.08696, Theorem 1.

    Raises:
        ValueError: as `log_likelihood_loss`.
    """
    _check_weights(logits_K, right_K, wrong_K)
    logs_K = logits_K.detach().log_softmax(-1)
    odds_K = _odds(torch.where(wrong_K > 0, logs_K, -torch.inf), difficulty)
    signal_K = (right_K - wrong_K * odds_K) / (right_K + wrong_K).sum()
    return -_along_scores(signal_K, logs_K.exp())


def preferred_odds(pi: Tensor, difficulty: float, preference: Tensor | float = 1.0) -> Tensor:
    """What a wrong answer is charged where some right answers are preferred: its odds under p = pi / (D rho).

        pi / (D rho - pi)        rho = 1: Theorem 1;   rho = pi: 1 / (D - 1), whatever the answer's confidence

    Source: arXiv 2510.08696, Appendix C, Eqs. 20-23.

    Args:
        pi: any shape, probabilities of whole answers.
        preference: rho, above zero, of pi's shape or one number.

    Raises:
        ValueError: pi >= D rho somewhere.
    """
    z = pi / (difficulty * preference)
    _check_below_one(z, "pi / (D rho)")
    return z / (1 - z)


# ---------------------------------------------------------------- Theorem 2


def value_weight(z: Tensor) -> Tensor:
    """How much on-policy ascent on the likelihood minds a wrong answer of p = pi / D = z.

        w(z) = 1/z log(1 / (1 - z)) - 1 = z/2 + z^2/3 + z^3/4 + ...      w(0) = 0, w(1-) = infinity

    Source: arXiv 2510.08696, Eq. 13; the series is ours.

    Args:
        z: any shape, in [0, 1); may carry a gradient.

    Raises:
        ValueError: z outside [0, 1).
    """
    z = torch.as_tensor(z) if isinstance(z, Tensor) else torch.as_tensor(z, dtype=torch.float64)
    _check_below_one(z, "z")
    if (z < 0).any():
        raise ValueError(f"z must not be negative; got {float(z.min()):.6g}.")
    small = z < 0.1  # there the closed form subtracts nearly equal numbers
    # Each branch sees only its own arguments: 0/0 in the other would turn its gradient into NaN.
    inside, outside = torch.where(small, z, 0.0), torch.where(small, 0.5, z)
    series = torch.zeros_like(z)
    for k in range(16, 0, -1):  # the first term left out is 0.1^17 / 18
        series = inside * (1 / (k + 1) + series)
    return torch.where(small, series, -torch.log1p(-outside) / outside - 1)


def value_function(logits_K: Tensor, p_star_K: Tensor, difficulty: float) -> Tensor:
    """J_MLE = J_+ - J_-, what on-policy ascent on the log-likelihood maximises.

        J_+ = sum_a pi_a p*_a        J_- = sum_a pi_a w(pi_a / D) (1 - p*_a)

    Source: arXiv 2510.08696, Theorem 2, Eqs. 11-13.

    Args:
        logits_K: [K] of the softmax policy; carries the gradient.
        p_star_K: [K] true probability that each answer is right.
        difficulty: D, above every pi.

    Raises:
        ValueError: pi >= D somewhere.
    """
    pi_K = logits_K.softmax(-1)
    return (pi_K * p_star_K).sum() - (pi_K * value_weight(pi_K / difficulty) * (1 - p_star_K)).sum()


def theorem_2(logits_K: Tensor, p_star_K: Tensor, difficulty: float) -> Tensor:
    """[K] the gradient of `value_function` by the logits.

        grad J = sum_a pi_a [ p*_a - (1 - p*_a) pi_a / (D - pi_a) ] grad log pi_a  =  - grad L, a drawn from pi

    Source: arXiv 2510.08696, Theorem 2.

    Raises:
        ValueError: pi >= D somewhere.
    """
    pi_K = logits_K.detach().softmax(-1)
    return -theorem_1(logits_K, pi_K * p_star_K, pi_K * (1 - p_star_K), difficulty)


# ---------------------------------------------------------------- claim LENS-C8


def theorem_checks(cases: int = 100, answers: int = 6, seed: int = 0) -> pd.DataFrame:
    """Theorems 1 and 2 and their consequences against autograd, on random policies.

    Returns:
        One row per sub-test: `ours`, the largest relative error (largest difference over the
        largest entry, worst case), its tolerance, and whether it passed.

    Source: arXiv 2510.08696, Theorems 1 and 2, Eq. 10, the remark on consistency.
    """
    rng = np.random.default_rng(seed)
    worst: dict[str, float] = {}
    for _ in range(cases):
        for name, (formula, autograd, scale) in _one_case(rng, answers).items():
            error = float((formula - autograd).abs().max() / scale.abs().max())
            worst[name] = max(worst.get(name, 0.0), error)
    tolerance = 1e-5
    return pd.DataFrame(
        [{"subtest": n, "ours": e, "tolerance": tolerance, "passed": bool(e <= tolerance)} for n, e in worst.items()]
    )


def _one_case(rng, answers: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Sub-test -> (formula, autograd, what the error is relative to)."""
    logits_K = torch.from_numpy(rng.uniform(0.2, 3.0) * rng.standard_normal(answers))
    pi_K = logits_K.softmax(-1)
    # D between the largest probability and 1, as the definition of D has it.
    d = float(pi_K.max() + (1 - pi_K.max()) * rng.uniform(0.02, 1.0))
    p_star_K = torch.from_numpy(rng.uniform(0.02, 0.98, answers))
    counts_K = torch.from_numpy(rng.integers(1, 20, answers).astype(float))
    right_K = torch.from_numpy(rng.binomial(counts_K.numpy().astype(int), p_star_K.numpy()).astype(float))

    by_counts = _gradient(lambda z: log_likelihood_loss(z, right_K, counts_K - right_K, d), logits_K)
    on_policy = _gradient(lambda z: log_likelihood_loss(z, pi_K * p_star_K, pi_K * (1 - p_star_K), d), logits_K)
    value = _gradient(lambda z: value_function(z, p_star_K, d), logits_K)
    z_K = (pi_K / d).requires_grad_()
    weight_K = value_weight(z_K)
    (slope_K,) = torch.autograd.grad(weight_K.sum(), z_K)
    odds_K = _odds(pi_K.log(), d)
    # At the target policy, with its own D and data drawn in proportion to the counts.
    true_d, mu_K = 1 / float(p_star_K.sum()), counts_K / counts_K.sum()
    at_target = _gradient(
        lambda z: log_likelihood_loss(z, mu_K * p_star_K, mu_K * (1 - p_star_K), true_d), (p_star_K * true_d).log()
    )
    return {
        "Theorem 1: gradient of the log-likelihood": (
            theorem_1(logits_K, right_K, counts_K - right_K, d), by_counts, by_counts),
        "Eq. 10: REINFORCE with the calibrated reward": (
            _reinforce(logits_K, counts_K, right_K, d), by_counts, by_counts),
        "Theorem 2: gradient of the value function": (theorem_2(logits_K, p_star_K, d), value, value),
        "Theorem 2: it is on-policy ascent on the log-likelihood": (-on_policy, value, value),
        "Theorem 2: w + z w' = pi / (D - pi)": (odds_K, (weight_K + z_K * slope_K).detach(), odds_K),
        "stationary at the target policy, any sampler": (torch.zeros(answers), at_target, mu_K * p_star_K),
    }


def _reinforce(logits_K: Tensor, counts_K: Tensor, right_K: Tensor, difficulty: float) -> Tensor:
    """[K] gradient of REINFORCE on single draws whose reward is `theory_rewards`."""
    arm_N = torch.arange(len(counts_K)).repeat_interleave(counts_K.long())
    place_N = torch.cat([torch.arange(int(c)) for c in counts_K])
    rewards_N = (place_N < right_K[arm_N]).double()
    logs_N = logits_K.log_softmax(-1)[arm_N]
    calibrated_N = theory_rewards(rewards_N, logs_N, torch.full_like(logs_N, difficulty).log())
    return _gradient(lambda z: -(calibrated_N * z.log_softmax(-1)[arm_N]).mean(), logits_K)


# ---------------------------------------------------------------- claim LENS-C9


def sign_violations(groups: int = 500, size: int = 8, seed: int = 0, variant: str = "N", factor: float = 2.0) -> pd.DataFrame:
    """Rows of random mixed groups whose advantage disagrees with their verdict, with 1/G and without.

    A right row disagrees when its advantage is not above 0, a wrong one when not below 0.
    Number right: uniform on 1 .. size - 1. Lengths: uniform on 1 .. 20. Mean token probability:
    uniform on (0.02, 1), so a right answer may well be the least confident of its group.

    Returns:
        Two rows with over_group (True, False), rows, violations.

    Raises:
        ValueError: size below 2 (no mixed group), or as `lens_advantage`.
    """
    if size < 2:
        raise ValueError(f"a mixed group holds at least two rollouts; got size {size}.")
    rng = np.random.default_rng(seed)
    rows = groups * size
    group_N = torch.arange(groups).repeat_interleave(size)
    place_N = torch.arange(size).repeat(groups)
    right_N = (place_N < torch.from_numpy(rng.integers(1, size, groups))[group_N]).double()
    mask_NT = (torch.arange(20)[None] < torch.from_numpy(rng.integers(1, 21, rows))[:, None]).double()
    logprobs_NT = torch.from_numpy(np.log(rng.uniform(0.02, 1.0, rows)))[:, None] * mask_NT

    def count(over_group: bool) -> int:
        options = LensOptions(variant=variant, factor=factor, over_group=over_group)
        advantages_N = lens_advantage(right_N, group_N, logprobs_NT, mask_NT, options)
        return int((advantages_N.sign() != 2 * right_N - 1).sum())

    return pd.DataFrame([{"over_group": o, "rows": rows, "violations": count(o)} for o in (True, False)])


# ---------------------------------------------------------------- claim LENS-C14


def maximum_likelihood(right_RK: Tensor, wrong_RK: Tensor, difficulty_R: Tensor) -> Tensor:
    """The policy that minimises `log_likelihood_loss`, found exactly.

    In p = pi / D the loss is a concave likelihood of Bernoulli trials under one constraint,
    sum_a p_a = 1 / D, and 0 < p < 1 is pi < D. So pi cannot leave its domain on the way, as
    a gradient step on logits could. With a multiplier m for the constraint,

        right/p - wrong/(1 - p) = m,   that is   m p^2 - (m + n) p + right = 0,   n = right + wrong,

    whose root in (0, 1) falls as m grows: bisection on m meets the constraint.

    Args:
        right_RK: [R, K] counts of right draws. Answers never drawn leave the minimum open; a
            millionth of a draw of each verdict makes them share what the others leave.
        wrong_RK: [R, K] counts of wrong draws.
        difficulty_R: [R] D, each above 1/K, since probabilities below D must add up to 1.

    Returns:
        [R, K] probabilities, each below D.

    Raises:
        ValueError: D is not above 1/K.
    """
    right_RK, wrong_RK = right_RK.double() + 1e-6, wrong_RK.double() + 1e-6
    drawn_RK, total_R1 = right_RK + wrong_RK, 1 / difficulty_R.double()[:, None]
    answers = right_RK.shape[1]
    if not (total_R1 < answers).all():
        raise ValueError(f"D must be above 1/{answers}: {answers} probabilities below D must add up to 1.")

    def root(m_R1: Tensor) -> Tensor:
        b_RK = m_R1 + drawn_RK
        # This form of (m + n)^2 - 4 m right is a sum of two squares, so never below 0.
        spread_RK = ((b_RK - 2 * right_RK) ** 2 + 4 * right_RK * wrong_RK).sqrt()
        # Of the two equal forms, the one that adds numbers of one sign; the second has m < 0.
        return torch.where(b_RK >= 0, 2 * right_RK / (b_RK + spread_RK), (b_RK - spread_RK) / (2 * m_R1))

    # p <= right / m for m > 0 and 1 - p <= wrong / |m| for m < 0 bracket the multiplier.
    low_R1 = -wrong_RK.sum(1, keepdim=True) / (answers - total_R1)
    high_R1 = right_RK.sum(1, keepdim=True) / total_R1
    for _ in range(200):
        middle_R1 = (low_R1 + high_R1) / 2
        too_much_R1 = root(middle_R1).sum(1, keepdim=True) > total_R1
        low_R1, high_R1 = torch.where(too_much_R1, middle_R1, low_R1), torch.where(too_much_R1, high_R1, middle_R1)
    return root(high_R1) / total_R1


def consistency(
    sample_sizes=(30, 100, 300, 1000, 3000, 10000, 30000), seed: int = 0, repeats: int = 40, answers: int = 8,
    factor: float = 1.0,
) -> pd.DataFrame:
    """How far the maximum-likelihood policy is from the target policy as data grow.

    Every replicate draws its own p* (uniform on 0.05 .. 0.95), which fixes D = 1 / sum p* and
    the target pi* = D p*, and its own sampler (weights uniform on 0.2 .. 1, so of full support
    and unrelated to pi*). The same replicates are used at every sample size.

    Args:
        sample_sizes: numbers of draws n.
        repeats: replicates.
        factor: times the true D. 1 is the theorem's case; with any other D the distance does not vanish.

    Returns:
        One row per n: n, total_variation = mean over replicates of 1/2 sum_a |pi_a - pi*_a|.

    Source: arXiv 2510.08696, the remark after Theorem 1.

    Raises:
        ValueError: as `maximum_likelihood`; a sample size below 1.
    """
    if min(sample_sizes) < 1:
        raise ValueError(f"sample sizes must be at least 1; got {min(sample_sizes)}.")
    rng = np.random.default_rng(seed)
    p_star_RK = rng.uniform(0.05, 0.95, (repeats, answers))
    sampler_RK = rng.uniform(0.2, 1.0, (repeats, answers))
    sampler_RK /= sampler_RK.sum(1, keepdims=True)
    difficulty_R = torch.from_numpy(1 / p_star_RK.sum(1))
    target_RK = torch.from_numpy(p_star_RK) * difficulty_R[:, None]
    rows = []
    for n in sample_sizes:
        drawn_RK = rng.multinomial(n, sampler_RK)
        right_RK = torch.from_numpy(rng.binomial(drawn_RK, p_star_RK))
        found_RK = maximum_likelihood(right_RK, torch.from_numpy(drawn_RK) - right_RK, factor * difficulty_R)
        rows.append({"n": n, "total_variation": float((found_RK - target_RK).abs().sum(1).mean() / 2)})
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- by hand


def group_table(confidences, right, variant: str = "N", tokens: int = 200, alpha: float = 0.25, ddof: int = 1,
                **options) -> pd.DataFrame:
    """What LENS makes of one group, step by step.

    Args:
        confidences: length-normalised probability of each answer.
        right: whether each is right.
        tokens: length of every answer; variant R needs the probability of the whole answer.
        options: of `LensOptions`, such as factor and demean.

    Returns:
        One row per answer: confidence, right, D, odds (NaN where right), reward r~, advantage.
    """
    right_N, group_N = torch.as_tensor(np.asarray(right, dtype=float)), torch.zeros(len(right), dtype=torch.long)
    logprobs_NT = torch.as_tensor(np.log(np.asarray(confidences, dtype=float)))[:, None].repeat(1, tokens)
    mask_NT = torch.ones_like(logprobs_NT)
    logs_N = confidence(logprobs_NT, mask_NT)
    raw_N = confidence(logprobs_NT, mask_NT, normalise=False) if variant == "R" else None
    hard_N = difficulty(logs_N, right_N, group_N, options.get("factor", 2.0), raw_N)
    rewards_N = calibrated_rewards(right_N, logs_N, hard_N, group_N, options.get("over_group", True))
    lens_options = LensOptions(variant=variant, alpha=alpha, ddof=ddof, **options)
    advantages_N = lens_advantage(right_N, group_N, logprobs_NT, mask_NT, lens_options)
    odds_N = torch.where(right_N > 0, torch.nan, theory_odds(logs_N, hard_N))
    columns = {"D": hard_N.exp(), "odds": odds_N, "reward": rewards_N, "advantage": advantages_N}
    table = pd.DataFrame({"confidence": confidences, "right": right_N.bool().numpy()})
    return table.assign(**{name: values.numpy() + 0.0 for name, values in columns.items()})


def spread_out(mean: float, spread: float, size: int = 16) -> np.ndarray:
    """`size` confidences evenly spaced around a mean, with about this standard deviation, inside (0, 1)."""
    return (mean + spread * np.sqrt(3) * np.linspace(-1, 1, size)).clip(0.001, 0.999)


def negative_share(mean: float, spread: float, all_wrong: float, mixed: float, size: int = 16) -> dict[str, float]:
    """How much of the signal comes from all-wrong groups, by hand: sum |advantage| over a batch.

    Confidences are `spread_out`; the number right in a mixed group runs over 1 .. size - 1.

    Args:
        all_wrong, mixed: shares of the two kinds of groups.

    Returns:
        mean |A| of a row in either kind of group, and the all-wrong groups' share of the sum, in per cent.
    """
    sure = spread_out(mean, spread, size)
    inner = group_table(sure, [0] * size).advantage.abs().mean()
    # The right ones are spread over the confidences, not the surest or the least sure.
    order = np.argsort((np.arange(size) * 7) % size)
    outer = np.mean([group_table(sure, order < k).advantage.abs().mean() for k in range(1, size)])
    total = all_wrong * inner + mixed * outer
    share = 100 * all_wrong * inner / total if total else float("nan")
    return {"|A| in an all-wrong group": inner, "|A| in a mixed group": outer, "share of the signal, %": share}


# ---------------------------------------------------------------- helpers


def _check_weights(logits_K: Tensor, right_K: Tensor, wrong_K: Tensor) -> None:
    if logits_K.ndim != 1 or right_K.shape != logits_K.shape or wrong_K.shape != logits_K.shape:
        raise ValueError(
            f"logits {list(logits_K.shape)}, right {list(right_K.shape)} and wrong {list(wrong_K.shape)} must all be [K]."
        )
    if (right_K < 0).any() or (wrong_K < 0).any() or not (right_K + wrong_K).sum() > 0:
        raise ValueError("right and wrong must be counts or probabilities: none negative, not all zero.")


def _check_below_one(z: Tensor, what: str) -> None:
    if not (z < 1).all():
        raise ValueError(f"{what} must stay below 1; got {float(z.max()):.6g}.")


def _odds(logs_K: Tensor, difficulty: float) -> Tensor:
    return theory_odds(logs_K, torch.tensor(difficulty, dtype=torch.float64).log())


def _along_scores(signal_K: Tensor, pi_K: Tensor) -> Tensor:
    """sum_a signal_a grad log pi_a by the logits, where grad log pi_a = (1 at a) - pi."""
    return signal_K - pi_K * signal_K.sum()


def _gradient(function, logits_K: Tensor) -> Tensor:
    logits_K = logits_K.detach().double().requires_grad_()
    return torch.autograd.grad(function(logits_K), logits_K)[0]
