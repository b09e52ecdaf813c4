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


def slope(x: ArrayLike, y: ArrayLike, groups: ArrayLike, level: float = 0.95) -> Interval:
    """Least-squares slope of y on x within each group (seed), with Student's interval over groups.

    Points of one seed share its luck; counting them as independent would make the interval too narrow.

    Args:
        x, y: [n] points.
        groups: [n] label of the seed each point belongs to.
        level: coverage.

    Returns:
        Interval; NaN bounds below two groups.

    Raises:
        ValueError: lengths differ, or all x of a group are equal, which has no slope.
    """
    x, y, groups = _vector(x), _vector(y), np.asarray(groups)
    if not len(x) == len(y) == len(groups):
        raise ValueError(f"x, y and groups must have one length; got {len(x)}, {len(y)} and {len(groups)}.")
    return paired_t([fitted_slope(x[groups == g], y[groups == g]) for g in np.unique(groups)], level)


def fitted_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Slope of the least-squares line through some points.

    Raises:
        ValueError: all x are equal (or there is none).
    """
    if len(x) == 0 or np.ptp(x) == 0:
        raise ValueError("all x are equal (or there is none): a line through them has no slope.")
    return float(stats.linregress(x, y).slope)


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
