"""How sure are we? Intervals, tests and the smallest difference we could have seen.

Seed s names a whole replicate: base policy s, problem order s, sampling stream s. The arms
of a comparison share their seeds, so what is analysed is one *difference per seed*, and its
spread holds the luck of the start, of training and of evaluation together. The number of
independent observations is the number of seeds, not of problems or rollouts.

With so few observations the choice of method matters:

    A percentile bootstrap over 5 seeds covers about 84 % where it promises 95 %: resampling
    cannot invent the spread that five numbers do not show. We use t intervals, or a
    bootstrap of the studentised mean.
    A sign-flip test over 5 seeds has 2^5 outcomes and so no p-value under 2/32 = 0.0625:
    it can never reject at 5 %.
    One seed has no interval. The functions then return NaN bounds, so that a figure shows
    the point alone and a claim comes out as inconclusive.

"No difference found" says little by itself, hence each interval carries the smallest
difference that its own test would have found with 80 % probability.

Axes are named by the last letters of a variable:

    S   seeds, paired across arms
    Q   problems of the evaluation set
    K   quantities compared at once, such as pass@k for several k
    A   arms, in the order a claim predicts
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats


@dataclass(frozen=True)
class Interval:
    """An estimate and where the truth plausibly lies.

    Attributes:
        estimate: the mean difference, mean or slope.
        low, high: bounds; NaN with too few seeds, infinite where a test is one-sided.
        level: probability that such an interval covers the truth.
        n: independent observations (seeds or groups; points for a plain regression).
        smallest_detectable: the true difference that a test of this size and spread finds
            with 80 % probability.
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int
    smallest_detectable: float


# ---------------------------------------------------------------- means over seeds


def paired_t(differences_S: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval for the mean of one difference per seed.

        mean +- t_{(1 + level)/2, n-1} * s / sqrt(n)

    Args:
        differences_S: [S] ours minus theirs, seed by seed. A NaN is not dropped: it makes
            everything NaN, because a seed that failed is a result.
        level: coverage.

    Returns:
        Interval; NaN bounds below two seeds. Identical differences give a width of zero,
        which says only that the metric is coarse.

    Raises:
        ValueError: not one-dimensional, or level outside (0, 1). Never for few seeds.
    """
    values = _vector(differences_S)
    _check_level(level)
    estimate = float(values.mean()) if len(values) else math.nan
    return _student(estimate, _standard_error(values), len(values) - 1, level, len(values))


def mean_t(values_S: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval for the mean of one value per seed: as `paired_t`, for one arm alone.

    For a comparison use `paired_t`: overlapping intervals of two arms are not a test.
    """
    return paired_t(values_S, level)


def smallest_detectable(differences_S: ArrayLike, level: float = 0.95, power: float = 0.8) -> float:
    """The true difference a paired t test with this many seeds and this spread would see.

    The d that solves, with T noncentral t on n - 1 degrees of freedom,

        P(|T(d sqrt(n) / s)| > t_{(1 + level)/2, n-1}) = power

    It takes the observed s for the true one, so with few seeds it is itself uncertain
    (nine times in ten, s from 5 seeds lies between 0.42 and 1.54 times the true one).

    Args:
        differences_S: [S] differences; only their spread and number matter.
        level: of the two-sided test (1 - alpha).
        power: probability of finding the difference.

    Returns:
        d, NaN below two seeds.

    Raises:
        ValueError: not one-dimensional, or level or power out of range.
    """
    values = _vector(differences_S)
    _check_level(level)
    if not 1 - level < power < 1:
        raise ValueError(f"power must lie between the test's size {1 - level:.3g} and 1; got {power}.")
    if len(values) < 2:
        return math.nan
    df = len(values) - 1
    return _standard_error(values) * _noncentrality(df, _critical(df, level), power)


def paired_t_pvalue(differences_S: ArrayLike, alternative: str = "two-sided") -> float:
    """P-value of the paired t test that the mean difference is zero.

    Args:
        differences_S: [S] ours minus theirs.
        alternative: "two-sided", "greater" (ours higher) or "less".

    Returns:
        p; NaN below two seeds. Differences without spread give 1 (all zero, two-sided) or 0.

    Raises:
        ValueError: not one-dimensional, or an unknown alternative.
    """
    values = _vector(differences_S)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"alternative must be two-sided, greater or less; got {alternative!r}.")
    if len(values) < 2:
        return math.nan
    t = _ratio(values.mean(), _standard_error(values))
    df = len(values) - 1
    tails = {"two-sided": 2 * stats.t.sf(abs(t), df), "greater": stats.t.sf(t, df), "less": stats.t.cdf(t, df)}
    return float(tails[alternative])


# ---------------------------------------------------------------- bootstrap over seeds and problems


def studentised_bootstrap(
    ours_SQ: ArrayLike, theirs_SQ: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Bootstrap-t interval: paired seeds resampled, problems resampled inside each seed.

        t* = (mean* - mean) / se*,       se = s over seeds / sqrt(S)
        [mean - q_{(1+level)/2}(t*) se,  mean - q_{(1-level)/2}(t*) se]

    Studentising is what repairs the percentile bootstrap with few seeds, and unlike
    `paired_t` the interval may be lopsided. A resample that draws one seed S times has no
    spread and counts as infinitely far off; below 5 seeds these are common, and the
    interval may be infinite. Prefer `paired_t` there.

    Args:
        ours_SQ, theirs_SQ: [S, Q] score of each problem under each seed, same seeds, same problems.
        level: coverage.
        resamples: bootstrap samples.
        seed: of the resampling; independent of the seeds of training.

    Returns:
        Interval; NaN bounds below two seeds.

    Raises:
        ValueError: shapes differ or are not [S, Q], no problem, or level outside (0, 1).
    """
    ours_SQ, theirs_SQ = np.asarray(ours_SQ, float), np.asarray(theirs_SQ, float)
    if ours_SQ.shape != theirs_SQ.shape or ours_SQ.ndim != 2 or ours_SQ.shape[1] == 0:
        raise ValueError(f"both must be [S, Q] with problems in common; got {ours_SQ.shape} and {theirs_SQ.shape}.")
    differences_SQ = ours_SQ - theirs_SQ
    plain = paired_t(differences_SQ.mean(axis=1), level)
    if plain.n < 2 or not math.isfinite(plain.estimate):
        return plain
    error = _standard_error(differences_SQ.mean(axis=1))
    means_BS = _resampled_seed_means(differences_SQ, resamples, np.random.default_rng(seed))
    errors_B = means_BS.std(axis=1, ddof=1) / math.sqrt(plain.n)
    t_B = _ratio(means_BS.mean(axis=1) - plain.estimate, errors_B)
    # Order statistics, not interpolation: between a number and infinity there is no middle.
    lower = np.quantile(t_B, (1 - level) / 2, method="lower")
    upper = np.quantile(t_B, (1 + level) / 2, method="higher")
    low, high = (plain.estimate - upper * error, plain.estimate - lower * error) if error else (plain.low, plain.high)
    return Interval(plain.estimate, float(low), float(high), level, plain.n, plain.smallest_detectable)


def _resampled_seed_means(differences_SQ: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """[B, S] for each resample, the mean difference of each drawn seed over its own draw of problems."""
    seeds, problems = differences_SQ.shape
    means_BS = np.empty((resamples, seeds))
    block = max(1, 2_000_000 // (seeds * problems))  # bounds memory for large evaluation sets
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        seed_BS1 = rng.integers(seeds, size=(size, seeds, 1))
        problem_BSQ = rng.integers(problems, size=(size, seeds, problems))
        means_BS[start : start + size] = differences_SQ.take(seed_BS1 * problems + problem_BSQ).mean(axis=2)
    return means_BS


# ---------------------------------------------------------------- several quantities at once


def simultaneous_t(differences_SK: ArrayLike, level: float = 0.95, seed: int = 0) -> list[Interval]:
    """Intervals that cover all K truths at once with probability `level`.

        mean_k +- c s_k / sqrt(S),     c = level-quantile of max_k |t_k|

    where the t_k are those of Gaussian data of S seeds with the observed correlation between
    columns, each studentised by its own spread. This was chosen by simulation: 8 seeds, 9
    columns, correlation 0 to 0.9, promised 95 %:

        this one                                    94-96 %
        multivariate t (all columns share one s)    92-95 %, too narrow
        bootstrap over seeds of max |t|             98-99 %, a third to a half too wide
        Bonferroni                                  95-98 %, does not profit from correlation

    Pass@k at neighbouring k are strongly correlated, so c is well below Bonferroni's. Under
    5 seeds a correlation cannot be estimated (coverage fell to 91 %): c is Bonferroni's then.

    Args:
        differences_SK: [S, K] ours minus theirs.
        level: joint coverage.
        seed: of the simulation that finds c.

    Returns:
        K intervals. Columns without spread have no width and do not enter c. NaN bounds below two seeds.

    Raises:
        ValueError: not [S, K], no column, or level outside (0, 1).
    """
    differences_SK = np.asarray(differences_SK, float)
    if differences_SK.ndim != 2 or differences_SK.shape[1] == 0:
        raise ValueError(f"expected [S, K] with at least one column; got shape {differences_SK.shape}.")
    _check_level(level)
    seeds = len(differences_SK)
    errors_K = np.array([_standard_error(column) for column in differences_SK.T])
    means_K = differences_SK.mean(axis=0) if seeds else np.full(len(errors_K), math.nan)
    varies_K = errors_K > 0  # false for NaN too
    critical = _max_t_quantile(differences_SK[:, varies_K], level, seed) if varies_K.any() else 0.0
    return [
        _student(float(mean), float(error), seeds - 1, level, seeds, critical)
        for mean, error in zip(means_K, errors_K, strict=True)
    ]


def _max_t_quantile(differences_SK: np.ndarray, level: float, seed: int, draws: int = 4000) -> float:
    seeds, columns = differences_SK.shape
    if columns == 1 or seeds < 5:
        return _critical(seeds - 1, 1 - (1 - level) / columns)
    correlation_KK = np.corrcoef(differences_SK, rowvar=False)
    # Fewer seeds than columns make this singular: a square root by eigenvalues bears that, Cholesky does not.
    values_K, vectors_KK = np.linalg.eigh(correlation_KK)
    root_KK = vectors_KK * np.sqrt(values_K.clip(min=0))
    data_BSK = np.random.default_rng(seed).standard_normal((draws, seeds, columns)) @ root_KK.T
    t_BK = data_BSK.mean(axis=1) * math.sqrt(seeds) / data_BSK.std(axis=1, ddof=1)
    return float(np.quantile(np.abs(t_BK).max(axis=1), level))


# ---------------------------------------------------------------- margins


def equivalent(interval: Interval, margin: float) -> bool:
    """Does the interval lie strictly inside (-margin, margin)? NaN bounds: no.

    With a 90 % interval this is two one-sided tests (TOST) at 5 %.

    Raises:
        ValueError: margin is not above zero.
    """
    _check_margin(margin)
    return bool(-margin < interval.low and interval.high < margin)


def equivalence(differences_S: ArrayLike, margin: float, alpha: float = 0.05) -> tuple[bool, Interval]:
    """Two one-sided tests: is the difference smaller than the margin, either way?

    Equivalent at alpha exactly when the 1 - 2 alpha interval lies inside (-margin, margin).
    A difference can be significant and equivalent at once (small but real), or neither.

    Args:
        differences_S: [S] ours minus theirs.
        margin: the largest difference that does not matter, in the same unit.
        alpha: size of each one-sided test.

    Returns:
        (whether equivalent, the 1 - 2 alpha interval). Fewer than two seeds: not shown, so False.

    Raises:
        ValueError: margin not above zero, alpha outside (0, 0.5), not one-dimensional.
    """
    _check_alpha(alpha)
    interval = paired_t(differences_S, 1 - 2 * alpha)
    return equivalent(interval, margin), interval


def non_inferiority(differences_S: ArrayLike, margin: float, alpha: float = 0.05) -> tuple[bool, Interval]:
    """One-sided: are we at most `margin` worse? mean - t_{1-alpha, n-1} s / sqrt(n) > -margin.

    Args:
        differences_S: [S] ours minus theirs, higher is better.
        margin: the loss that would not matter, above zero.
        alpha: size of the test.

    Returns:
        (whether shown, the one-sided 1 - alpha interval, whose high is infinite).
        Fewer than two seeds: not shown, so False.

    Raises:
        ValueError: margin not above zero, alpha outside (0, 0.5), not one-dimensional.
    """
    _check_margin(margin)
    _check_alpha(alpha)
    # The lower end of a two-sided 1 - 2 alpha interval is the one-sided 1 - alpha bound.
    both = paired_t(differences_S, 1 - 2 * alpha)
    high = math.nan if math.isnan(both.low) else math.inf
    interval = Interval(both.estimate, both.low, high, 1 - alpha, both.n, both.smallest_detectable)
    return bool(interval.low > -margin), interval


# ---------------------------------------------------------------- many tests, ordered arms, levels


def holm(pvalues: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values: reject where they are under alpha, and the chance of any false rejection is.

        sorted ascending, adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))

    Args:
        pvalues: one per test of the family. NaN (a test that could not be run) stays NaN but
            counts in m: leaving out what failed would make the rest look better.

    Returns:
        Adjusted p-values in the order given.

    Raises:
        ValueError: not one-dimensional, or a value outside [0, 1].
    """
    pvalues = _vector(pvalues)
    if ((pvalues < 0) | (pvalues > 1)).any():
        raise ValueError("p-values must lie in [0, 1].")
    order = np.argsort(pvalues)  # NaN sorts last
    scaled = np.minimum(1, pvalues[order] * np.arange(len(pvalues), 0, -1))
    adjusted = np.empty_like(pvalues)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def page_trend(values_SA: ArrayLike) -> tuple[float, float]:
    """Page's L: do the arms rise in the predicted order, within each seed?

        L = sum_a a * (sum over seeds of arm a's rank within the seed)

    Args:
        values_SA: [S, A] one value per seed and arm, arms from the lowest predicted to the highest.

    Returns:
        (L, one-sided p-value); (NaN, NaN) below two seeds.

    Raises:
        ValueError: not [S, A], fewer than three arms (compare two with `paired_t`), or NaN.
    """
    values_SA = np.asarray(values_SA, float)
    if values_SA.ndim != 2 or values_SA.shape[1] < 3:
        raise ValueError(f"a trend needs [S, A] with at least three arms; got shape {values_SA.shape}.")
    if np.isnan(values_SA).any():
        raise ValueError("a value is NaN: every seed must have every arm.")
    if len(values_SA) < 2:
        return math.nan, math.nan
    test = stats.page_trend_test(values_SA)
    return float(test.statistic), float(test.pvalue)


def slope(x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """Least-squares slope of y on x, with Student's interval.

        b = sum (x - mean x)(y - mean y) / sum (x - mean x)^2

    Without groups, se^2 = residual sum / (n - 2) / sum (x - mean x)^2 on n - 2 degrees of
    freedom. With groups (seeds), one slope per group and `paired_t` over them: points of one
    seed share its luck, and counting them as independent would make the interval too narrow.

    Args:
        x, y: [n] points.
        groups: [n] label of the seed each point belongs to, or None.
        level: coverage.

    Returns:
        Interval; NaN bounds below three points, or below two groups.

    Raises:
        ValueError: lengths differ, or all x (of a group) are equal, which has no slope.
    """
    x, y = _vector(x), _vector(y)
    _check_level(level)
    if len(x) != len(y):
        raise ValueError(f"x and y must have one length; got {len(x)} and {len(y)}.")
    if groups is None:
        estimate, error = _line(x, y)
        return _student(estimate, error, len(x) - 2, level, len(x))
    groups = np.asarray(groups)
    if groups.shape != x.shape:
        raise ValueError(f"every point needs a group; got {groups.shape} for {len(x)} points.")
    return paired_t([_line(x[groups == g], y[groups == g])[0] for g in np.unique(groups)], level)


# ---------------------------------------------------------------- helpers


def _vector(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 1:
        raise ValueError(f"expected one number per seed, shape [S]; got {values.shape}.")
    return values


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is a probability between 0 and 1; got {level}.")


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5; got {alpha}.")


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"a margin must be above zero; got {margin}.")


def _standard_error(values: np.ndarray) -> float:
    if len(values) < 2:
        return math.nan
    # Equal values are checked, not subtracted: rounding would leave a spread of 1e-17.
    return 0.0 if np.ptp(values) == 0 else float(values.std(ddof=1)) / math.sqrt(len(values))


def _ratio(difference: ArrayLike, error: ArrayLike) -> np.ndarray:
    """difference / error; without spread 0 for no difference and infinity for any."""
    difference, error = np.asarray(difference, float), np.asarray(error, float)
    exact = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    return np.where(error == 0, exact, difference / np.where(error == 0, 1.0, error))


def _critical(df: int, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, df))


def _student(estimate: float, error: float, df: int, level: float, n: int, critical: float | None = None) -> Interval:
    """estimate +- critical * error, and what a test with that critical value could see."""
    if df < 1:
        return Interval(estimate, math.nan, math.nan, level, n, math.nan)
    critical = _critical(df, level) if critical is None else critical
    detectable = error * _noncentrality(df, critical, 0.8)
    return Interval(estimate, estimate - critical * error, estimate + critical * error, level, n, detectable)


@lru_cache(maxsize=4096)
def _noncentrality(df: int, critical: float, power: float) -> float:
    """The noncentrality at which |T| exceeds `critical` with probability `power`.

    With u the root of a chi-square over its degrees of freedom, T = (Z + c) / u, so that
    P(|T| > critical) = E_u[ Phi(c - critical u) + Phi(-c - critical u) ]. The mean over u is
    taken at equally spaced quantiles: scipy's noncentral t returns NaN far from zero.
    """
    u = np.sqrt(stats.chi2.ppf((np.arange(10_000) + 0.5) / 10_000, df) / df)

    def shortfall(centre: float) -> float:
        return float((special.ndtr(centre - critical * u) + special.ndtr(-centre - critical * u)).mean()) - power

    if shortfall(0.0) >= 0:  # a test so lax that it "finds" no difference at all often enough
        return 0.0
    return float(optimize.brentq(shortfall, 0.0, 4 * critical + 20))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and its standard error (NaN below three points)."""
    if len(x) == 0 or np.ptp(x) == 0:
        raise ValueError("all x are equal (or there is none): a line through them has no slope.")
    spread = float(((x - x.mean()) ** 2).sum())
    estimate = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    if len(x) < 3:
        return estimate, math.nan
    residuals = y - y.mean() - estimate * (x - x.mean())
    return estimate, math.sqrt(float((residuals**2).sum()) / (len(x) - 2) / spread)
