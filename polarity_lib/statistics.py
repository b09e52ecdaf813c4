"""How sure are we? Intervals, tests and the smallest difference we could have seen.

Seed s names a whole replicate: base policy s, problem order s, sampling stream s. The arms
of a comparison share their seeds, so what is analysed is one *difference per seed*, and its
spread holds the luck of the start, of training and of evaluation together. The number of
independent observations is the number of seeds, not of problems or rollouts.

With so few observations the choice of method matters:

    A percentile bootstrap over 5 seeds covers about 84 % where it promises 95 %: resampling
    cannot invent the spread that five numbers do not show. So t intervals decide, and a
    bootstrap over seeds and problems only stands beside them.
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


# ---------------------------------------------------------------- p-values


def p_value(differences_S: ArrayLike, at: float = 0.0) -> float:
    """Two-sided p-value of Student's test that the mean is `at`: below 0.05 exactly when the 95 % interval leaves it out.

    Returns:
        NaN below two seeds or with a NaN; 0 or 1 where all differences are equal.

    Raises:
        ValueError: not one-dimensional.
    """
    values = _vector(differences_S)
    if len(values) < 2 or np.isnan(values).any():
        return math.nan
    if np.ptp(values) == 0:
        return float(values[0] == at)
    return float(stats.ttest_1samp(values, at).pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values: reject those below alpha, and no true one among them is rejected oftener than alpha.

        adjusted_(i) = max over j <= i of  min(1, (m - j + 1) p_(j)),      p_(1) <= ... <= p_(m)

    Args:
        p_values: [m] of the tests that belong together; NaN (not run) is passed through and not counted.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    p = _vector(p_values)
    adjusted, there = np.full(len(p), math.nan), np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * p[order]
    adjusted[order] = np.maximum.accumulate(np.minimum(steps, 1.0)) if len(order) else steps
    return adjusted


# ---------------------------------------------------------------- seeds and problems


def nested_bootstrap(differences: list[ArrayLike], level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean over seeds, resampling seeds and, within each, problems.

    It shows how much of the uncertainty is the test set's. With few seeds it is too narrow (five seeds cover
    84 % where it promises 95), so it stands beside the t interval and decides nothing.

    Args:
        differences: per seed, [Q] one paired difference per test problem; Q may differ between seeds.

    Returns:
        (low, high); NaN below two seeds.
    """
    _check_level(level)
    if len(differences) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    # The mean of each seed's resampled problems, `draws` times; a seed that is drawn twice takes two of these.
    means_SB = np.stack([
        np.asarray(d, float)[rng.integers(len(d), size=(draws, len(d)))].mean(axis=1) for d in differences])
    chosen_BS = rng.integers(len(means_SB), size=(draws, len(means_SB)))
    found_B = means_SB[chosen_BS, rng.integers(draws, size=chosen_BS.shape)].mean(axis=1)
    low, high = np.quantile(found_B, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def detectable(spread: float, seeds: int, level: float = 0.95) -> float:
    """The true difference that `seeds` pairs find with 80 % probability, at a standard deviation between seeds."""
    return spread / math.sqrt(seeds) * _noncentrality(seeds - 1, _critical(seeds - 1, level), 0.8)


# ---------------------------------------------------------------- slopes


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
