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
    assert math.isnan(unc.p_value(few))


def test_a_failed_seed_is_not_dropped():
    assert math.isnan(unc.paired_t([1.0, 2.0, math.nan]).estimate)
    assert math.isnan(unc.paired_t([1.0, 2.0, math.nan]).low)


def test_identical_differences():
    assert unc.paired_t([0.1] * 5) == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1), 0.95, 5, 0.0)


def test_p_values_by_hand():
    # t = 2 / 0.7071 = 2.828 with 4 degrees of freedom: two-sided p = 0.0474.
    assert unc.p_value(DIFFERENCES) == pytest.approx(0.0474, abs=1e-4)
    assert unc.p_value(DIFFERENCES, at=2) == pytest.approx(1)
    assert unc.p_value([0.1] * 5) == 0 and unc.p_value([0.1] * 5, at=0.1) == 1


def test_holm_by_hand():
    # 0.01 x 3, 0.02 x 2, 0.04 x 1, none below the one before; a test that was not run does not count.
    assert unc.holm([0.04, 0.01, math.nan, 0.02]).tolist()[:2] == pytest.approx([0.04, 0.03])
    assert unc.holm([0.04, 0.01, math.nan, 0.02])[3] == pytest.approx(0.04)
    assert math.isnan(unc.holm([0.04, math.nan])[1]) and unc.holm([0.6, 0.9]).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_one_test_and_bonferroni(p):
    adjusted = unc.holm(p)
    assert (adjusted >= np.array(p) - 1e-12).all() and (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
    assert (np.argsort(adjusted, kind="stable")[np.argsort(np.argsort(p, kind="stable"))] >= 0).all()


def test_resampling_seeds_and_problems():
    # Without spread between seeds, only problems are uncertain: 400 coins of 0 and 100 have an error of 2.5 points.
    coins = [np.tile([0.0, 100.0], 200)] * 4
    low, high = unc.nested_bootstrap(coins)
    assert (low, high) == (pytest.approx(50 - 1.96 * 2.5 / 2, abs=0.4), pytest.approx(50 + 1.96 * 2.5 / 2, abs=0.4))
    # With no spread inside a seed, it is the bootstrap of seed means.
    low, high = unc.nested_bootstrap([np.full(3, v) for v in (0.0, 1.0, 2.0)])
    assert 0 <= low < 1 < high <= 2
    assert all(math.isnan(v) for v in unc.nested_bootstrap([np.ones(3)]))


def test_more_seeds_see_smaller_differences():
    values = np.array([-1.0, 0.5, 1.5, -1.0])
    assert unc.detectable(values.std(ddof=1), 4) == pytest.approx(unc.paired_t(values).smallest_detectable)
    assert unc.detectable(2.0, 16) < unc.detectable(2.0, 8) < unc.detectable(2.0, 4)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "call",
    [
        lambda: unc.paired_t([[1.0]]),
        lambda: unc.paired_t([1.0], level=95),
        lambda: unc.simultaneous_t([1.0, 2.0]),
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


@given(samples)
def test_a_p_value_and_an_interval_agree(values):
    if 0 < np.ptp(values) < 1e-6:
        return  # rounding errors
    interval, p = unc.paired_t(values), unc.p_value(values)
    if abs(p - 0.05) > 1e-9:
        assert (p < 0.05) == (interval.low > 0 or interval.high < 0)


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
