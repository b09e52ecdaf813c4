"""The time to discovery, and what judges it.

    times(runs)             per seed and arm: the first batch of whose answers half are worked, or "not within the horizon"
    found_by(times, ...)    Kaplan and Meier's curve, and two curves compared by the log-rank test
    lead(runs, a, b)        how much sooner a is than b, seed by seed
    before_found(runs)      what the updates gave to the rare way until then

scipy has both estimators (`scipy.stats.ecdf` on censored data, `scipy.stats.logrank`). The study has it already, BSD-licensed and
kept up; statsmodels or lifelines would add packages for the same two functions.

All runs of a comparison end at one horizon, so the only censoring is there, and min(time, horizon) is known of every run. Its
difference between two arms, paired by seed, is judged as every other difference here; in per cent of the horizon, RELATIVE_MARGIN
counting as a tie. The log-rank test, which is made for censored times, must agree before two arms are called different; it does
not know that seeds are paired, which makes it cautious. A run that collapses has not found anything.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from polarity_lib.claims import ALPHA, RELATIVE_MARGIN, Finding, is_greater
from polarity_lib.experiments import Runs
from polarity_lib.papers.discovery.watches import CELLS
from polarity_lib.statistics import Interval, detectable

FOUND = 0.5  # share of a batch's answers that are worked
FEWEST = 4  # discoveries in two arms together, below which a level tells nothing about them
CLOCKS = ("batches", "answers")


# ---------------------------------------------------------------- reading the runs


def batches(runs: Runs, metric: str) -> pd.DataFrame:
    """Batches x (seed, arm): a watch's metric. A run that ended early has NaN from there on."""
    rows = runs.metric(f"ways/{metric}", last=False)
    if rows.empty:
        raise KeyError(f"ways/{metric}")
    return rows.pivot(index="step", columns=["seed", "arm"], values="value").sort_index()


def times(runs: Runs) -> pd.DataFrame:
    """(seed, arm) -> found; batches, answers: how many were drawn before the batch in which half were worked, or in all.

    `batches_left`, `answers_left` tell the horizon: as many as the longest run of all has, and as this run drew itself.
    """
    worked, drawn = batches(runs, "worked"), batches(runs, "drawn")
    reached = worked >= FOUND
    found = reached.any()
    first = reached.idxmax().where(found, len(worked)).astype(int)
    total = drawn.fillna(drawn.mean()).cumsum()  # a collapsed run would have gone on drawing
    before = pd.Series({run: float(total[run].iloc[n - 1]) if n else 0.0 for run, n in first.items()})
    table = pd.DataFrame({"found": found, "batches": first, "answers": before, "batches_left": len(worked),
                          "answers_left": total.iloc[-1]})
    return table.rename_axis(["seed", "arm"])


@dataclass(frozen=True)
class Times:
    """Times of one arm, one per seed, cut at a horizon that may be shorter than the runs."""

    time_S: np.ndarray
    found_S: np.ndarray

    @property
    def censored(self) -> stats.CensoredData:
        return stats.CensoredData.right_censored(self.time_S, ~self.found_S)


def of_arm(table: pd.DataFrame, arm: str, clock: str = "batches", horizon: float = math.inf) -> Times:
    """An arm's times.

    Raises:
        KeyError: the arm is not there.
    """
    mine = table.xs(arm, level="arm")
    time_S = mine[clock].to_numpy(float)
    return Times(np.minimum(time_S, horizon), mine.found.to_numpy(bool) & (time_S < horizon))


def found_by(times_of: Times, level: float = 0.95) -> pd.DataFrame:
    """Kaplan and Meier's curve of the share that has found it: time, share, low, high (by Greenwood, log-log)."""
    curve = stats.ecdf(times_of.censored).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no bounds where everybody or nobody is left
        bounds = curve.confidence_interval(level, method="log-log")
    return pd.DataFrame({"time": curve.quantiles, "share": 1 - curve.probabilities, "low": 1 - bounds.high.probabilities,
                         "high": 1 - bounds.low.probabilities})


def logrank(left: Times, right: Times) -> float:
    """p of the log-rank test that two arms find it alike; NaN where neither ever does, or with one seed."""
    if not (left.found_S.any() or right.found_S.any()) or min(len(left.time_S), len(right.time_S)) < 2:
        return math.nan
    with np.errstate(all="ignore"):
        return float(stats.logrank(left.censored, right.censored).pvalue)


def half_time(times_of: Times) -> float:
    """By when half of the seeds have found it; infinite where fewer do."""
    curve = found_by(times_of)
    there = curve[curve.share >= 0.5 - 1e-9]
    return float(there.time.iloc[0]) if len(there) else math.inf


def pair(runs: Runs, left: str, right: str, clock: str = "batches") -> tuple[Times, Times, float]:
    """Two arms' times over the seeds that have both, and the horizon that both have.

    Raises:
        KeyError: an arm has no runs, or the runs were not watched.
    """
    table = times(runs)
    table = table[table.index.get_level_values("arm").isin([left, right])]
    both = table.groupby("seed").found.transform("size") == 2
    table = table[both]
    horizon = float(table[f"{clock}_left"].min()) if len(table) else math.nan
    return of_arm(table, left, clock, horizon), of_arm(table, right, clock, horizon), horizon


def lead(runs: Runs, left: str, right: str, clock: str = "batches") -> np.ndarray:
    """Per seed, how much sooner the left arm finds it than the right one, in per cent of the horizon; never counts as then."""
    mine, other, horizon = pair(runs, left, right, clock)
    return 100 * (other.time_S - mine.time_S) / horizon


# ---------------------------------------------------------------- rules


def compare_times(rule: Callable, left: str, right: str, runs: Runs, clock: str = "batches") -> Finding:
    """A rule on the lead of left over right. A difference also needs the log-rank test; a level where hardly any run of
    the two arms finds it, or where every run finds it at once, decides nothing."""
    mine, other, horizon = pair(runs, left, right, clock)
    found = rule(100 * (other.time_S - mine.time_S) / horizon, RELATIVE_MARGIN)
    n, hits, theirs, p = len(mine.time_S), int(mine.found_S.sum()), int(other.found_S.sum()), logrank(mine, other)
    told = f"found by {hits} and {theirs} of {n}, log-rank p = {p:.2g}; {found.reason}"
    if n < 2:
        return replace(found, reason=told)
    if hits + theirs < FEWEST:
        return replace(found, verdict="inconclusive", p=1.0, reason=f"found by {hits} and {theirs} of {n}: too few to compare")
    if not np.any(mine.time_S) and not np.any(other.time_S):
        return replace(found, verdict="inconclusive", p=1.0,
                       reason="no rare way: half of the answers are worked from the start")
    apart = found.interval.low > 0 or found.interval.high < 0
    if apart and found.verdict in ("replicated", "differs here") and not _within(found, rule):
        if not p < ALPHA:
            return replace(found, verdict="inconclusive", reason=f"{told}, but the log-rank test does not tell them apart",
                           p=max(found.p, 1.0 if math.isnan(p) else p))
        found = replace(found, p=max(found.p, p))
    return replace(found, reason=told)


def _within(found: Finding, rule: Callable) -> bool:
    """Whether a word is about the margin and not about a difference, as that of "not worse"."""
    return rule is not is_greater and found.verdict == "replicated"


def most_find_it(rule: Callable, arm: str, runs: Runs) -> Finding:
    """Claimed: more than half of the seeds find it (`is_greater`), or fewer (`is_less`); in points beyond a half.

    A seed finds it or does not, so the interval is the binomial's own (Clopper and Pearson): a t interval over zeros and ones
    has no width where all seeds agree, and three of three would be certainty.
    """
    found_S = times(runs).xs(arm, level="arm").found
    hits, n = int(found_S.sum()), len(found_S)
    exact = stats.binomtest(hits, n)
    bounds = exact.proportion_ci(0.95)
    interval = Interval(100 * hits / n - 50, 100 * bounds.low - 50, 100 * bounds.high - 50, 0.95, n, majority_seen(n))
    above, below = ("replicated", "differs here") if rule is is_greater else ("differs here", "replicated")
    word = above if interval.low > 0 else below if interval.high < 0 else "inconclusive"
    return Finding(interval, word, f"found by {hits} of {n}, minus half", float(exact.pvalue))


def majority_seen(n: int) -> float:
    """Points beyond a half that a true share must lie so that n seeds tell it with 80 % probability; NaN below six seeds."""
    enough = [k for k in range(n // 2, n + 1) if 2 * k > n and stats.binomtest(k, n).pvalue < ALPHA]
    if not enough:
        return math.nan
    return next(100 * p - 50 for p in np.linspace(0.5, 1, 501) if stats.binom.sf(enough[0] - 1, n, p) >= 0.8)


def seeds_needed(lead_S: np.ndarray, most: int = 400) -> int | None:
    """How many pairs would find a lead as large as the mean of these with 80 % probability; None: more than `most`."""
    size, spread = abs(float(np.mean(lead_S))), float(np.std(lead_S, ddof=1)) if len(lead_S) > 1 else math.nan
    if not (size > 0 and math.isfinite(spread)):
        return None
    return next((n for n in range(3, most + 1) if detectable(spread, n) <= size), None)


# ---------------------------------------------------------------- what the updates gave to the rare way


def push(runs: Runs) -> pd.DataFrame:
    """Batches x (seed, arm): how an update moves the log-odds of the rare way, relative to all its first tokens' weights.

        sum over first tokens of w (1[worked] - q) / sum of |w| over (way, verdict),      q: share of worked answers

    It is the gradient by the logit of "work" of a policy that chooses its way by one number; between -1 and 1. Constant
    factors, which Adam takes out again, cancel. 0 where an update has no weight; NaN where the method's weights are not known.
    """
    cells = {cell: batches(runs, "weight_{}_{}".format(*cell)) for cell in CELLS}
    q = batches(runs, "worked")
    size = sum(weight.abs() for weight in cells.values())
    moved = sum(weight * ((1 - q) if way == "worked" else -q) for (way, _), weight in cells.items())
    return (moved / size.where(size > 0, 1.0)).where(size.notna())


def before_found(runs: Runs) -> pd.DataFrame:
    """(seed, arm) -> means over the batches before the discovery, or over all batches.

    worked, worked_right: answers per batch of that kind; push, and how far single batches stray from it; from_right,
    from_wrong: parts of all first tokens' weights that fall on worked answers, by verdict.
    """
    table, pushes, drawn = times(runs), push(runs), batches(runs, "drawn")
    shares = {name: batches(runs, name) for name in ("worked", "worked_right")}
    cells = {cell: batches(runs, "weight_{}_{}".format(*cell)) for cell in CELLS}
    size = sum(weight.abs() for weight in cells.values())
    rows = {}
    for run, time in table.batches.items():
        early = slice(0, max(1, time))
        rows[run] = {name: float((share[run] * drawn[run])[early].mean()) for name, share in shares.items()}
        rows[run] |= {"push": float(pushes[run][early].mean()), "strays": float(pushes[run][early].std())}
        total = size[run][early].sum()
        for verdict in ("right", "wrong"):
            given = cells["worked", verdict][run][early].sum()
            rows[run][f"from_{verdict}"] = float(given / total) if total else 0.0
    return pd.DataFrame(rows).T.rename_axis(["seed", "arm"])
