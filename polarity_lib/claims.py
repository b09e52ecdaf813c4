"""Claims: each as data, the rules that judge them, and the call that judges one.

    judge("PSRNSR-C1", runs)        runs: of its experiment, or a dict {experiment: runs}

The rules say what a comparison over paired seeds must show for which word.

A claim has sub-tests; each compares arms over paired seeds and ends in one word:

    replicated    the interval lies on the claimed side (or inside the margin, for "as good as")
    contradicted  it lies on the other side
    no effect     it lies inside the margin around zero
    inconclusive  it does neither: more seeds might tell
    not run at this scale

Intervals are 95 % t intervals over paired seeds, in percentage points where
the metric is a share. MARGIN is ours: what counts as a difference at scale
tiny. "At least as good" is judged by a one-sided 95 % bound. The claims
themselves are in the papers' folders, `claims.py` each.
"""

import functools
from dataclasses import dataclass
from typing import Callable

import numpy as np
import pandas as pd

from polarity_lib.config import choose
from polarity_lib.experiments import Runs
from polarity_lib.registry import CLAIMS
from polarity_lib.statistics import Interval, equivalence, non_inferiority, page_trend, paired_t, simultaneous_t

MARGIN = 3.0  # points; ours
RELATIVE_MARGIN = 10.0  # per cent, for quantities that are not shares; ours
VERDICTS = ("replicated", "contradicted", "no effect", "inconclusive", "not run at this scale")
COLUMNS = ["claim", "subtest", "paper", "world", "scale", "metric", "theirs", "ours", "low", "high",
           "seeds", "smallest_detectable", "verdict", "notebook", "figure", "reason"]


@dataclass(frozen=True)
class Finding:
    """What one sub-test found."""

    interval: Interval
    verdict: str
    reason: str


@dataclass(frozen=True)
class Subtest:
    name: str
    metric: str
    theirs: str  # the paper's number, as text; "" where it gives none
    find: Callable[[Runs], Finding]
    experiment: str = ""  # where it is not the claim's own
    world: str = ""  # likewise


@dataclass(frozen=True)
class Claim:
    name: str
    says: str  # in our words
    experiment: str  # whose runs judge it; "" for claims that need no run
    notebook: str
    figure: str
    subtests: tuple[Subtest, ...] | Callable[[], tuple[Subtest, ...]]  # a function where making them computes
    world: str = "countdown3"
    paper: str = "arXiv 2506.01347"
    needed: int = 0  # sub-tests that must replicate, none being contradicted; 0: all

    def tests(self) -> tuple[Subtest, ...]:
        """The sub-tests, computed now where making them computes."""
        return self.subtests() if callable(self.subtests) else self.subtests


# --- rules ------------------------------------------------------------------------


def is_greater(differences, margin: float = MARGIN, interval: Interval | None = None) -> Finding:
    """Claimed: the difference is above zero; by `interval` where it is simultaneous with others."""
    it = "the simultaneous interval" if interval else "the interval"
    interval = interval or paired_t(differences)
    if interval.n < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    if interval.low > 0:
        return Finding(interval, "replicated", f"{it} lies above zero")
    if interval.high < 0:
        return Finding(interval, "contradicted", f"{it} lies below zero")
    if -margin < interval.low and interval.high < margin:
        return Finding(interval, "no effect", f"{it} lies within {margin:g} of zero")
    return Finding(interval, "inconclusive", f"{it} holds zero")


def is_less(differences, margin: float = MARGIN) -> Finding:
    """Claimed: the difference is below zero."""
    found = is_greater(-np.asarray(differences, dtype=float), margin)
    i = found.interval
    mirrored = Interval(-i.estimate, -i.high, -i.low, i.level, i.n, i.smallest_detectable)
    word = {"replicated": "the interval lies below zero", "contradicted": "the interval lies above zero"}
    return Finding(mirrored, found.verdict, word.get(found.verdict, found.reason))


def is_not_worse(differences, margin: float = MARGIN, interval: Interval | None = None) -> Finding:
    """Claimed: at least as good, by a one-sided bound, up to the margin."""
    two_sided = interval or paired_t(differences)
    if two_sided.n < 2:
        return Finding(two_sided, "inconclusive", "one seed gives no interval")
    within = interval.low > -margin if interval else non_inferiority(differences, margin)[0]
    if within:
        return Finding(two_sided, "replicated", f"not worse by more than {margin:g}")
    if two_sided.high < 0:
        return Finding(two_sided, "contradicted", "the interval lies below zero and reaches beyond the margin")
    return Finding(two_sided, "inconclusive", f"a loss of {margin:g} is not ruled out")


def is_equivalent(differences, margin: float = MARGIN) -> Finding:
    """Claimed: as good as, by two one-sided tests."""
    interval = paired_t(differences)
    if interval.n < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    if equivalence(differences, margin)[0]:
        return Finding(interval, "replicated", f"the 90 % interval lies within {margin:g} of zero")
    if interval.low > 0 or interval.high < 0:
        return Finding(interval, "contradicted", "they differ, and equality within the margin is not shown")
    return Finding(interval, "inconclusive", f"a difference of {margin:g} is not ruled out")


def is_ordered(values_SA, arms: list[str]) -> Finding:
    """Claimed: the arms stand in increasing order (Page's trend test over seeds)."""
    values = np.asarray(values_SA, dtype=float)
    interval = paired_t(values[:, -1] - values[:, 0])
    if len(values) < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    _, up = page_trend(values)
    _, down = page_trend(values[:, ::-1])
    order = " < ".join(f"{arm} ({mean:.1f})" for arm, mean in zip(arms, values.mean(0)))
    if up < 0.05:
        return Finding(interval, "replicated", f"{order}: trend p = {up:.3g}; shown is last minus first")
    if down < 0.05:
        return Finding(interval, "contradicted", f"the reverse of {order}: trend p = {down:.3g}")
    return Finding(interval, "inconclusive", f"{order}: trend p = {up:.3g}")


def roll_up(verdicts: list[str], needed: int = 0) -> tuple[str, str]:
    """A claim's verdict from those of its sub-tests.

    All alike: that word. Any contradicted: contradicted. Otherwise
    inconclusive, unless a claim says that `needed` replications are enough.
    "Partly" is said in the reason, with the counts.
    """
    counts = {v: verdicts.count(v) for v in VERDICTS if v in verdicts}
    text = ", ".join(f"{n} {v}" for v, n in counts.items())
    if len(counts) == 1:
        return verdicts[0], text
    if needed and counts.get("replicated", 0) >= needed and "contradicted" not in counts:
        return "replicated", text
    partly = "partly: " if "replicated" in counts else ""
    return ("contradicted" if "contradicted" in counts else "inconclusive"), partly + text


# --- reading the runs ---------------------------------------------------------------


def final(runs: Runs, metric: str, scale: float = 100.0) -> pd.DataFrame:
    """Seeds x arms: the last value of a metric, shares as percentages."""
    return runs.metric(metric) * scale


def difference(runs: Runs, left: str, right: str, metric: str, scale: float = 100.0) -> np.ndarray:
    """left minus right, paired by seed."""
    table = final(runs, metric, scale)
    return (table[left] - table[right]).dropna().to_numpy()


def area(runs: Runs, metric: str) -> pd.DataFrame:
    """Seeds x arms: the mean of a curve over training."""
    rows = runs.metric(metric, last=False)
    return rows.groupby(["seed", "arm"]).value.mean().unstack()


def at_step(runs: Runs, metric: str, share: float, width: int = 2) -> pd.DataFrame:
    """Seeds x arms: mean of the `width` curve points that end at a share of the run."""
    rows = runs.metric(metric, last=False)

    def pick(group):
        group = group.sort_values("step")
        end = max(width, round(share * len(group)))
        return group.value.iloc[end - width : end].mean()

    return rows.groupby(["seed", "arm"])[["step", "value"]].apply(pick).unstack()


def compare(rule: Callable, left: str, right: str, metric: str, **options) -> Callable[[Runs], Finding]:
    """A sub-test's `find`: a rule on left minus right, paired by seed."""
    return lambda runs: rule(difference(runs, left, right, metric), **options)


def tail(k: int) -> str:
    """The metric that holds pass@k of the test set."""
    return f"test/pass@{k}"


def absent(reason: str) -> Finding:
    """What a sub-test says that has no runs."""
    return Finding(Interval(np.nan, np.nan, np.nan, 0.95, 0, np.nan), "not run at this scale", reason)


@functools.cache
def checks(table: Callable[[], pd.DataFrame], metric: str = "largest error") -> tuple[Subtest, ...]:
    """Sub-tests that need no run: one per row of a table with columns subtest, ours, tolerance, passed."""

    def find(row, _runs) -> Finding:
        interval = Interval(row.ours, row.ours, row.ours, 1.0, 1, row.tolerance)
        return Finding(interval, "replicated" if row.passed else "contradicted", f"tolerance {row.tolerance:g}")

    return tuple(Subtest(row.subtest, metric, "0", functools.partial(find, row)) for row in table().itertuples())


def each_above(left: str, others: tuple[str, ...], metric: str, other: str, margin: float = MARGIN) -> Callable:
    """left above `other`, with an interval that holds for all of `others` together (simultaneous 95 %)."""

    def find(runs: Runs) -> Finding:
        table = final(runs, metric)[[left, *others]].dropna()  # seeds that have every arm
        differences_SK = table[[left]].to_numpy() - table[list(others)].to_numpy()
        if len(differences_SK) < 2:
            return is_greater(differences_SK[:, others.index(other)])
        return is_greater(None, margin, simultaneous_t(differences_SK)[others.index(other)])

    return find


def relative_area(runs: Runs, left: str, right: str, metric: str) -> np.ndarray:
    """The mean of a curve over training, left against right, in per cent, seed by seed."""
    mean = area(runs, metric)
    return (100 * (mean[left] / mean[right] - 1)).dropna().to_numpy()


def relative_final(runs: Runs, left: str, right: str, metric: str) -> np.ndarray:
    """The last value of a metric, left against right, in per cent, seed by seed."""
    table = runs.metric(metric)
    return (100 * (table[left] / table[right] - 1)).dropna().to_numpy()


# --- judging ------------------------------------------------------------------------


def judge(name: str, runs: Runs | dict[str, Runs] | None = None) -> pd.DataFrame:
    """One claim: a row per sub-test, then the roll-up row with an empty `subtest`.

    Args:
        runs: of the claim's experiment, or those of several by name. None, or runs
            without the arms and metrics a sub-test needs, gives "not run at this scale".

    Raises:
        ConfigError: unknown claim, with the near misses.
    """
    claim = CLAIMS[choose("claim", name, CLAIMS)]
    runs = runs if isinstance(runs, dict) else {claim.experiment: runs} if runs is not None else {}
    rows = []
    for test in claim.tests():
        mine = runs.get(test.experiment or claim.experiment)
        found = find(claim, test, mine)
        i = found.interval
        rows.append(_row(claim, scale_of(claim, mine)) | {
            "subtest": test.name, "world": test.world or claim.world, "metric": test.metric, "theirs": test.theirs,
            "ours": i.estimate, "low": i.low, "high": i.high, "seeds": i.n,
            "smallest_detectable": i.smallest_detectable, "verdict": found.verdict, "reason": found.reason})
    verdict, reason = roll_up([row["verdict"] for row in rows], claim.needed)
    scales = [row["scale"] for row in rows if row["scale"]]
    rows.append(_row(claim, scales[0] if scales else "") | {
        "theirs": claim.says, "seeds": max((row["seeds"] for row in rows), default=0), "verdict": verdict, "reason": reason})
    return pd.DataFrame(rows, columns=COLUMNS)


def find(claim: Claim, test: Subtest, runs: Runs | None) -> Finding:
    """What a sub-test finds, or why it cannot be run."""
    if claim.experiment and (runs is None or not len(runs.metrics)):
        return absent("no runs")
    try:
        return test.find(runs)
    except KeyError:  # an arm was left out, or this scale draws fewer than k samples
        return absent(f"the runs at hand hold no {test.metric} for every arm it compares")


def scale_of(claim: Claim, runs: Runs | None) -> str:
    """The scale of the runs; "any" for a claim that needs none."""
    if runs is not None and len(runs.metrics):
        return runs.metrics.scale.iloc[0]
    return "" if claim.experiment else "any"


def _row(claim: Claim, scale: str) -> dict:
    return {"claim": claim.name, "subtest": "", "paper": claim.paper, "world": claim.world, "scale": scale,
            "notebook": claim.notebook, "figure": claim.figure}
