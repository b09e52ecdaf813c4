"""Intervals a reader can redo with a table of Student's t, then coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polarity_lib import statistics as unc
from polarity_lib.statistics import Interval

# Five seeds, differences in points: mean 2, variance 2.5.
DIFFERENCES = [0.0, 1.0, 2.0, 3.0, 4.0]
ERROR = math.sqrt(2.5 / 5)


# ---------------------------------------------------------------- by hand


def test_paired_t_by_hand():
    interval = unc.paired_t(DIFFERENCES)
    assert (interval.estimate, interval.n, interval.level) == (2.0, 5, 0.95)
    assert interval.low == pytest.approx(2 - 2.776 * ERROR, abs=1e-3)  # t_{0.975, 4} = 2.776
    assert interval.high == pytest.approx(2 + 2.776 * ERROR, abs=1e-3)


@pytest.mark.parametrize("few", [[], [1.0]])
def test_too_few_seeds_give_no_interval_and_no_error(few):
    interval = unc.paired_t(few)
    assert interval.n == len(few)
    assert all(math.isnan(x) for x in (interval.low, interval.high, interval.smallest_detectable))
    assert not unc.equivalence(few, 3.0)[0]
    assert not unc.non_inferiority(few, 3.0)[0]


def test_a_failed_seed_is_not_dropped():
    assert math.isnan(unc.paired_t([1.0, 2.0, math.nan]).estimate)
    assert math.isnan(unc.paired_t([1.0, 2.0, math.nan]).low)


def test_identical_differences():
    assert unc.paired_t([0.1] * 5) == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1), 0.95, 5, 0.0)


def test_margins_by_hand():
    # 90 % interval: t_{0.95, 4} = 2.132, so 2 +- 1.507
    shown, interval = unc.equivalence(DIFFERENCES, margin=3.6)
    assert shown
    assert interval.level == pytest.approx(0.9)
    assert (interval.low, interval.high) == (pytest.approx(0.493, abs=1e-3), pytest.approx(3.507, abs=1e-3))
    assert not unc.equivalence(DIFFERENCES, margin=3.5)[0]
    lowered = np.subtract(DIFFERENCES, 2)  # mean 0, lower bound -1.507
    assert unc.non_inferiority(lowered, margin=1.51)[0]
    shown, interval = unc.non_inferiority(lowered, margin=1.50)
    assert not shown
    assert (interval.high, interval.level) == (math.inf, 0.95)


def test_a_difference_can_be_significant_and_negligible_at_once():
    small = [0.9, 1.0, 1.1, 1.0, 1.0]
    assert unc.paired_t(small, level=0.99).low > 0
    assert unc.equivalence(small, margin=3.0)[0]


def test_equivalent_reads_any_interval():
    assert unc.equivalent(Interval(0, -1, 1, 0.9, 8, 1), 2)
    assert not unc.equivalent(Interval(0, -1, 2, 0.9, 8, 1), 2)  # touching is not inside
    assert not unc.equivalent(Interval(0, math.nan, math.nan, 0.9, 1, math.nan), 2)


def test_page_by_hand():
    # Three arms in perfect order in each of 4 seeds: L = 4 (1 + 4 + 9), p = (1/6)^4 exactly.
    statistic, p = unc.page_trend([[1, 2, 3], [0, 5, 6], [2, 3, 9], [-1, 0, 1]])
    assert statistic == 56
    assert p == pytest.approx((1 / 6) ** 4)
    assert unc.page_trend([[3, 2, 1]] * 4)[1] == pytest.approx(1)
    assert all(math.isnan(x) for x in unc.page_trend([[1, 2, 3]]))


def test_slope_by_hand():
    assert unc.fitted_slope([0, 1, 2], [1, 3, 5]) == pytest.approx(2)
    # Seed "a" has slope 1, seed "b" slope 3, whatever their levels.
    interval = unc.slope([0, 1, 0, 1], [0, 1, 100, 103], groups=["a", "a", "b", "b"])
    assert (interval.estimate, interval.n) == (2, 2)
    assert interval.high == pytest.approx(2 + 12.706 * 1, abs=1e-2)  # t_{0.975, 1} = 12.706, s / sqrt(2) = 1
    alone = unc.slope([0, 1, 2], [1, 3, 5], groups=["a"] * 3)
    assert alone.estimate == pytest.approx(2) and alone.n == 1 and math.isnan(alone.low)  # one seed has no interval


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "call",
    [
        lambda: unc.paired_t([[1.0]]),
        lambda: unc.paired_t([1.0], level=95),
        lambda: unc.simultaneous_t([1.0, 2.0]),
        lambda: unc.equivalence([1.0, 2.0], margin=0),
        lambda: unc.equivalence([1.0, 2.0], margin=1, alpha=0.95),
        lambda: unc.non_inferiority([1.0, 2.0], margin=-1),
        lambda: unc.page_trend(np.ones((4, 2))),
        lambda: unc.page_trend([[1, 2, math.nan]] * 3),
        lambda: unc.slope([1, 2], [1], groups=[0, 0]),
        lambda: unc.slope([1, 1], [1, 2], groups=[0, 0]),
        lambda: unc.fitted_slope([1, 1], [1, 2]),
        lambda: unc.fitted_slope([], []),
        lambda: unc.slope([1, 2, 3, 3], [1, 2, 3, 4], groups=[0, 0, 1, 1]),
        lambda: unc.slope([1, 2], [1, 2], groups=[0]),
    ],
)
def test_wrong_use_is_refused(call):
    with pytest.raises(ValueError):
        call()


# ---------------------------------------------------------------- for any numbers

samples = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@given(samples, st.sampled_from([0.8, 0.9, 0.95]))
def test_paired_t_equals_scipy(values, level):
    ours = unc.paired_t(values, level)
    if np.ptp(values) < 1e-6:
        return  # scipy divides rounding errors here
    theirs = stats.ttest_1samp(values, 0)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(level)))


@given(samples, st.floats(0.1, 10), st.floats(-5, 5))
def test_units_and_shifts(values, scale, shift):
    before, after = unc.paired_t(values), unc.paired_t(np.multiply(values, scale) + shift)
    assert after.estimate == pytest.approx(before.estimate * scale + shift, abs=1e-9)
    assert after.high - after.low == pytest.approx((before.high - before.low) * scale, abs=1e-9)
    assert after.smallest_detectable == pytest.approx(before.smallest_detectable * scale, abs=1e-9)


def pvalue(values, alternative):
    """scipy's one-sided p-value of Student's test, and its limit where all values are equal."""
    if np.ptp(values) == 0:
        return float(values[0] <= 0 if alternative == "greater" else values[0] >= 0)
    return stats.ttest_1samp(values, 0, alternative=alternative).pvalue


@given(samples, st.floats(0.01, 100))
def test_margin_tests_agree_with_their_p_values(values, margin):
    if 0 < np.ptp(values) < 1e-6:
        return  # scipy divides rounding errors here
    above, below = pvalue(np.add(values, margin), "greater"), pvalue(np.subtract(values, margin), "less")
    if min(abs(above - 0.05), abs(below - 0.05)) < 1e-9:
        return
    assert unc.non_inferiority(values, margin)[0] == (above < 0.05)
    assert unc.equivalence(values, margin)[0] == (max(above, below) < 0.05)


@given(st.lists(st.tuples(st.integers(-20, 20), st.floats(-50, 50)), min_size=3, max_size=12))
def test_a_fitted_slope_is_that_of_least_squares(points):
    x, y = np.array(points).T
    if np.ptp(x) == 0:
        return  # no slope
    assert unc.fitted_slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-7)
    # Least squares: the residuals do not go with x.
    residuals = y - y.mean() - unc.fitted_slope(x, y) * (x - x.mean())
    assert residuals @ (x - x.mean()) == pytest.approx(0, abs=1e-6)


@given(st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=2, max_size=6))
def test_slope_over_seeds_is_the_interval_of_their_slopes(curves):
    x, y, seeds = np.tile([0.0, 1.0, 3.0], len(curves)), np.ravel(curves), np.repeat(np.arange(len(curves)), 3)
    assert unc.slope(x, y, seeds) == unc.paired_t([unc.fitted_slope([0.0, 1.0, 3.0], curve) for curve in curves])


def test_page_equals_scipy():
    values = np.random.default_rng(0).normal(size=(8, 5)) + 0.5 * np.arange(5)
    expected = stats.page_trend_test(values)
    assert unc.page_trend(values) == (expected.statistic, expected.pvalue)


# ---------------------------------------------------------------- smallest detectable difference


@pytest.mark.parametrize("seeds", [3, 5, 8, 20])
def test_smallest_detectable_has_the_promised_power(seeds):
    values = np.arange(seeds, dtype=float)
    difference = unc.paired_t(values).smallest_detectable
    centre = difference / (values.std(ddof=1) / math.sqrt(seeds))
    critical = stats.t.ppf(0.975, seeds - 1)
    # The lower tail (finding the wrong sign) is below 1e-4 here; scipy's own is NaN that far out.
    assert stats.nct.sf(critical, seeds - 1, centre) == pytest.approx(0.8, abs=1e-4)
    # A wider interval misses larger differences.
    assert unc.paired_t(values, level=0.99).smallest_detectable > difference


def test_smallest_detectable_matches_a_published_table():
    # Cohen's table: one-sample t, two-sided 5 %, power 0.8, effect 0.5 needs n = 34; effect 0.8 needs 15.
    for effect, seeds in ((0.5, 34), (0.8, 15)):
        values = stats.norm.ppf((np.arange(seeds) + 0.5) / seeds)
        enough, fewer = (unc.paired_t(v / v.std(ddof=1)).smallest_detectable for v in (values, values[1:-1]))
        assert enough <= effect < fewer


# ---------------------------------------------------------------- simultaneous bands


def test_simultaneous_bands_lie_between_one_t_and_bonferroni():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(8, 1)) + 0.5 * rng.normal(size=(8, 6))
    for differences in (shared, rng.normal(size=(8, 6)), shared[:3]):
        widths = [i.high - i.low for i in unc.simultaneous_t(differences)]
        bonferroni = [unc.paired_t(column, 1 - 0.05 / 6) for column in differences.T]
        for width, column, wide in zip(widths, differences.T, bonferroni, strict=True):
            alone = unc.paired_t(column)
            assert alone.high - alone.low < width <= (wide.high - wide.low) * 1.03  # 3 % for its own simulation


def test_simultaneous_bands_of_one_quantity_are_plain_intervals():
    assert unc.simultaneous_t(np.array([DIFFERENCES]).T) == [unc.paired_t(DIFFERENCES)]


def test_copies_of_one_quantity_cost_nothing():
    bands = unc.simultaneous_t(np.array([DIFFERENCES] * 4).T)
    assert bands[0].low == pytest.approx(unc.paired_t(DIFFERENCES).low, abs=0.15)


def test_a_column_without_spread_stays_a_point():
    columns = np.array([DIFFERENCES, [0.0] * 5]).T
    bands = unc.simultaneous_t(columns)
    assert bands[0] == unc.paired_t(DIFFERENCES)
    assert (bands[1].low, bands[1].high) == (0, 0)
    assert all(math.isnan(i.low) for i in unc.simultaneous_t([[1.0, 2.0]]))


def test_a_sign_flip_over_five_seeds_never_reaches_five_percent():
    test = stats.permutation_test(
        (np.array([1.0, 2, 3, 4, 5]), np.zeros(5)), lambda a, b: (a - b).mean(), permutation_type="samples"
    )
    assert test.pvalue == pytest.approx(2 / 32)  # the most extreme data possible


# ---------------------------------------------------------------- coverage, by simulation


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_simultaneous_bands_cover_with_eight_seeds(correlation):
    rng = np.random.default_rng(5)
    root = np.linalg.cholesky(np.full((9, 9), correlation) + (1 - correlation) * np.eye(9))
    covered = [
        all(i.low <= 0 <= i.high for i in unc.simultaneous_t(rng.standard_normal((8, 9)) @ root.T, seed=trial))
        for trial in range(600)
    ]
    assert 0.92 < np.mean(covered) < 0.98  # promised 0.95, simulation error 0.009


@pytest.mark.slow
def test_a_percentile_bootstrap_over_five_seeds_does_not_cover():
    # The reason why this module has none.
    rng = np.random.default_rng(7)
    data = rng.standard_normal((3000, 5))
    draws = data[:, rng.integers(5, size=(500, 5))].mean(axis=2)
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.84, abs=0.025)
