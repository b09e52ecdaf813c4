"""Claims: each as data, the rules that judge them, and the call that judges one.

    judge("PSRNSR-C1", runs)        runs: of its experiment, or a dict {experiment: runs}
    judge_all(runs)                 every claim; Holm over each paper's primary sub-tests
    judge_notebook("10", found, scale)    those of one notebook, in the same words

A claim has sub-tests; each compares arms over paired seeds and ends in one word:

    replicated                 the interval lies on the claimed side (or inside the margin, for "as good as")
    differs here               it lies on the other side, in this world
    no effect                  it lies inside the margin around zero
    inconclusive               it does neither: more seeds might tell
    depends on the rate        readings at another choice of learning rate end on the other side
    depends on the definition  the same for another formula that goes by the same name
    contradicted               only of formulas and identities, which need no run
    not run at this scale

Intervals and words are of one level, 95 % over paired seeds, in points where the metric is a share. MARGIN is
ours: what counts as a difference at scale tiny. A claim's *primary* sub-tests, named before its runs, decide
its word; the others inform. The claims themselves are in the papers' folders, `claims.py` each.
"""

import functools
import math
import re
from dataclasses import dataclass, replace
from typing import Callable

import numpy as np
import pandas as pd

from polarity_lib import experiments
from polarity_lib.config import choose
from polarity_lib.evaluation import gather_counts
from polarity_lib.experiments import Runs
from polarity_lib.registry import CLAIMS, papers
from polarity_lib.statistics import Interval, holm, nested_bootstrap, p_value, paired_t, simultaneous_t

MARGIN = 3.0  # points; ours
RELATIVE_MARGIN = 10.0  # per cent, for quantities that are not shares; ours
ALPHA = 0.05
VERDICTS = ("replicated", "differs here", "no effect", "inconclusive", "depends on the rate", "depends on the definition",
            "contradicted", "not run at this scale")
OPPOSITE = {"replicated": "differs here", "differs here": "replicated"}
COLUMNS = ["claim", "subtest", "primary", "paper", "world", "scale", "metric", "theirs", "ours", "low", "high", "boot_low",
           "boot_high", "seeds", "smallest_detectable", "p", "p_holm", "verdict", "notebook", "figure", "reason"]


@dataclass(frozen=True)
class Finding:
    """What one sub-test found.

    Attributes:
        p: of the test behind the word, below 0.05 exactly when the 95 % interval gives it; NaN where there is none.
        resampled: the interval by resampling seeds and problems; NaN where problems are not compared.
    """

    interval: Interval
    verdict: str
    reason: str
    p: float = math.nan
    resampled: tuple[float, float] = (math.nan, math.nan)


@dataclass(frozen=True)
class Subtest:
    """One comparison.

    Attributes:
        theirs: the paper's number, as text; "" where it gives none.
        experiment, world: where they are not the claim's own.
        primary: decides the claim's word. Where a claim names none, all do.
        reading_of: the primary sub-test that this one reads again, with another `choice` ("rate" or "definition"):
            if the two end on opposite sides, that one's word becomes "depends on the <choice>".
        shown: what `ours` is, where it is not the difference that the name speaks of but what lies beyond a threshold
            ("the gain minus 2").
    """

    name: str
    metric: str
    theirs: str
    find: Callable[[Runs], Finding]
    experiment: str = ""
    world: str = ""
    primary: bool = False
    reading_of: str = ""
    choice: str = "rate"
    shown: str = ""


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
    needed: int = 0  # sub-tests that must replicate, none differing; 0: all

    def tests(self) -> tuple[Subtest, ...]:
        """The sub-tests, computed now where making them computes."""
        return self.subtests() if callable(self.subtests) else self.subtests


# --- rules ------------------------------------------------------------------------


def is_greater(differences, margin: float = MARGIN, interval: Interval | None = None) -> Finding:
    """Claimed: the difference is above zero; by `interval` where it is simultaneous with others."""
    it = "the simultaneous interval" if interval else "the interval"
    p = math.nan if interval else p_value(differences)
    interval = interval or paired_t(differences)
    if interval.n < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    if interval.low > 0:
        return Finding(interval, "replicated", f"{it} lies above zero", p)
    if interval.high < 0:
        return Finding(interval, "differs here", f"{it} lies below zero", p)
    if _inside(interval, margin):
        return Finding(interval, "no effect", f"{it} lies within {margin:g} of zero", _p_inside(differences, margin))
    return Finding(interval, "inconclusive", f"{it} holds zero", p)


def is_less(differences, margin: float = MARGIN) -> Finding:
    """Claimed: the difference is below zero."""
    found = is_greater(-np.asarray(differences, dtype=float), margin)
    i = found.interval
    mirrored = Interval(-i.estimate, -i.high, -i.low, i.level, i.n, i.smallest_detectable)
    word = {"replicated": "the interval lies below zero", "differs here": "the interval lies above zero"}
    return replace(found, interval=mirrored, reason=word.get(found.verdict, found.reason))


def is_not_worse(differences, margin: float = MARGIN, interval: Interval | None = None) -> Finding:
    """Claimed: at least as good, up to the margin."""
    simultaneous = interval is not None
    interval = interval or paired_t(differences)
    if interval.n < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    p_margin, p_zero = (math.nan, math.nan) if simultaneous else (p_value(differences, -margin), p_value(differences))
    if interval.low > -margin:
        return Finding(interval, "replicated", f"not worse by more than {margin:g}", p_margin)
    if interval.high < 0:
        return Finding(interval, "differs here", "the interval lies below zero and reaches beyond the margin", p_zero)
    return Finding(interval, "inconclusive", f"a loss of {margin:g} is not ruled out", p_margin)


def is_equivalent(differences, margin: float = MARGIN) -> Finding:
    """Claimed: as good as; the interval lies inside the margin on both sides."""
    interval = paired_t(differences)
    if interval.n < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    if _inside(interval, margin):
        return Finding(interval, "replicated", f"the interval lies within {margin:g} of zero", _p_inside(differences, margin))
    if interval.low > 0 or interval.high < 0:
        return Finding(interval, "differs here", "they differ, and equality within the margin is not shown", p_value(differences))
    return Finding(interval, "inconclusive", f"a difference of {margin:g} is not ruled out", _p_inside(differences, margin))


def _inside(interval: Interval, margin: float) -> bool:
    return -margin < interval.low and interval.high < margin


def _p_inside(differences, margin: float) -> float:
    """Two tests, one per side of the margin; the larger p."""
    if differences is None:
        return math.nan
    return max(p_value(differences, -margin), p_value(differences, margin))


def is_ordered(values_SA, arms: list[str], margin: float = MARGIN) -> Finding:
    """Claimed: the arms stand in increasing order; every neighbouring pair by one simultaneous interval.

    Shown is the pair that decides: the one with the lowest bound. An order of five with one pair reversed is
    no order, which a trend test would not notice.
    """
    values = np.asarray(values_SA, dtype=float)
    if len(values) < 2:
        return Finding(paired_t(values[:, -1] - values[:, 0]), "inconclusive", "one seed gives no interval")
    steps = simultaneous_t(np.diff(values, axis=1))
    order = " < ".join(f"{arm} ({mean:.1f})" for arm, mean in zip(arms, values.mean(0)))
    pair, worst = min(enumerate(steps), key=lambda step: step[1].low)
    told = f"claimed {order}; shown is {arms[pair + 1]} minus {arms[pair]}"
    if worst.low > 0:
        return Finding(worst, "replicated", told)
    if against := [f"{arms[i + 1]} below {arms[i]}" for i, step in enumerate(steps) if step.high < 0]:
        return Finding(worst, "differs here", f"{told}; {', '.join(against)}")
    if all(_inside(step, margin) for step in steps):
        return Finding(worst, "no effect", f"{told}; every neighbouring pair lies within {margin:g}")
    return Finding(worst, "inconclusive", told)


def roll_up(verdicts: list[str], needed: int = 0) -> tuple[str, str]:
    """A claim's verdict from those of the sub-tests that decide it.

    All alike: that word. Any "contradicted", "differs here" or "depends on ...": the first of these. Otherwise
    inconclusive, unless a claim says that `needed` replications are enough.
    "Partly" is said in the reason, with the counts.
    """
    counts = {v: verdicts.count(v) for v in VERDICTS if v in verdicts}
    text = ", ".join(f"{n} {v}" for v, n in counts.items())
    if len(counts) == 1:
        return verdicts[0], text
    against = [v for v in ("contradicted", "depends on the definition", "depends on the rate", "differs here") if v in counts]
    if needed and counts.get("replicated", 0) >= needed and not against:
        return "replicated", text
    partly = "partly: " if "replicated" in counts else ""
    return (against[0] if against else "inconclusive"), partly + text


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
    """Seeds x arms: mean of the `width` curve points that end at a share of the run; a collapsed run's own, shorter one.

    `at_share` reads that of the longest run instead. Rules that have been judged by this one keep it.
    """
    rows = runs.metric(metric, last=False)

    def pick(group):
        group = group.sort_values("step")
        end = max(width, round(share * len(group)))
        return group.value.iloc[end - width : end].mean()

    return rows.groupby(["seed", "arm"])[["step", "value"]].apply(pick).unstack()


def at_share(runs: Runs, metric: str, share: float, width: int = 2) -> pd.DataFrame:
    """Seeds x arms: mean of the `width` curve points that end at a share of the longest run; where runs may collapse.

    A run that ended early is worth from then on what it was worth at its end.
    """
    rows = runs.metric(metric, last=False).sort_values("step")
    end = max(width, round(share * rows.step.nunique()))
    table = rows.pivot(index="step", columns=["seed", "arm"], values="value").ffill()
    return table.iloc[end - width : end].mean().unstack()


def at_equal(runs: Runs, left: str, right: str, x: str, y: str, scale: float = 100.0) -> np.ndarray:
    """left minus right in y, seed by seed, where each path first reaches the x that both reach.

    Between two curve points both run on a straight line. An arm that never rises above its start is compared there.
    """
    paths = {(seed, arm): rows.sort_values("step") for (seed, arm), rows in _both(runs, x, y).groupby(["seed", "arm"])}
    found = []
    for seed in sorted({seed for seed, _ in paths if {(seed, left), (seed, right)} <= set(paths)}):
        mine, other = paths[seed, left], paths[seed, right]
        level = min(mine[x].max(), other[x].max())
        found.append(scale * (_reached(mine, level, x, y) - _reached(other, level, x, y)))
    return np.array(found)


def _both(runs: Runs, x: str, y: str) -> pd.DataFrame:
    """Seed, arm, step, x and y of every curve point."""
    rows = runs.metrics[runs.metrics.metric.isin([x, y])]
    table = rows.pivot_table(index=["seed", "arm", "step"], columns="metric", values="value")
    return table[[x, y]].dropna().reset_index()


def _reached(path: pd.DataFrame, level: float, x: str, y: str) -> float:
    """y where the path first reaches a level of x, which it does."""
    at = int((path[x] >= level).to_numpy().argmax())
    if at == 0:
        return float(path[y].iloc[0])
    before, after = path.iloc[at - 1], path.iloc[at]
    return float(np.interp(level, [before[x], after[x]], [before[y], after[y]]))


def told(interval: Interval) -> str:
    """An estimate and its interval as sentences have them."""
    return "{:+.{d}f} ({:+.{d}f}, {:+.{d}f})".format(interval.estimate, interval.low, interval.high, d=decimals(interval))


def decimals(interval: Interval) -> int:
    """One, and two where the interval is so narrow that it would begin and end in nearly the same digit."""
    return 2 if interval.high - interval.low < 0.5 else 1


def compare(rule: Callable, left: str, right: str, metric: str, **options) -> Callable[[Runs], Finding]:
    """A sub-test's `find`: a rule on left minus right, paired by seed; for pass@k also by seeds and problems."""

    def find(runs: Runs) -> Finding:
        found = rule(difference(runs, left, right, metric), **options)
        if not metric.startswith("test/pass@"):
            return found
        return replace(found, resampled=nested_bootstrap(by_problem(runs, left, right, int(metric.partition("@")[2]))))

    return find


def in_order(metric: str, arms: tuple[str, ...], runs: Runs) -> Finding:
    """`is_ordered` on the last value of a metric, over the seeds that have every arm."""
    return is_ordered(final(runs, metric)[list(arms)].dropna(), list(arms))


def by_problem(runs: Runs, left: str, right: str, k: int) -> list[np.ndarray]:
    """Per seed that has both arms: pass@k in points, left minus right, problem by problem of that seed's test set."""
    if runs.problems.empty:
        return []
    rows = runs.problems[(runs.problems.set == "test") & runs.problems.arm.isin([left, right])].reset_index(drop=True)
    rows = rows.assign(value=100 * gather_counts(rows, k))
    rows = rows.assign(place=rows.groupby(["seed", "arm"]).cumcount())  # the same problems in the same order
    table = rows.pivot(index=["seed", "place"], columns="arm", values="value")
    if not {left, right} <= set(table):
        return []
    gaps = (table[left] - table[right]).dropna()
    return [gap.to_numpy() for _, gap in gaps.groupby("seed")]


def tail(k: int) -> str:
    """The metric that holds pass@k of the test set."""
    return f"test/pass@{k}"


def absent(reason: str) -> Finding:
    """What a sub-test says that has no runs."""
    return Finding(Interval(np.nan, np.nan, np.nan, 0.95, 0, np.nan), "not run at this scale", reason)


@functools.cache
def checks(table: Callable[[], pd.DataFrame], metric: str = "largest error") -> tuple[Subtest, ...]:
    """Sub-tests that need no run: one per row of a table with columns subtest, ours, tolerance, passed.

    A column `theirs` says what ours should be, as a number or as text ("> 1"); without one ours is an error, which should be 0.
    """

    def find(row, _runs) -> Finding:
        interval = Interval(row.ours, row.ours, row.ours, 1.0, 1, row.tolerance)
        return Finding(interval, "replicated" if row.passed else "contradicted", f"tolerance {row.tolerance:g}")

    rows = table()  # computes: asked once
    rows = rows if "theirs" in rows else rows.assign(theirs="0")
    return tuple(Subtest(row.subtest, metric, row.theirs if isinstance(row.theirs, str) else f"{row.theirs:.4g}",
                         functools.partial(find, row)) for row in rows.itertuples())


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
    rows, tests = [], claim.tests()
    for test in tests:
        mine = runs.get(test.experiment or claim.experiment)
        found = find(claim, test, mine)
        i = found.interval
        rows.append(_row(claim, scale_of(claim, mine)) | {
            "subtest": test.name, "primary": test.primary, "world": test.world or claim.world, "metric": test.metric,
            "theirs": test.theirs, "ours": i.estimate, "low": i.low, "high": i.high, "boot_low": found.resampled[0],
            "boot_high": found.resampled[1], "seeds": i.n, "smallest_detectable": i.smallest_detectable, "p": found.p,
            "p_holm": math.nan, "verdict": found.verdict, "reason": found.reason})
    return with_whole(claim, read_again(tests, pd.DataFrame(rows, columns=COLUMNS)))


def read_again(tests: tuple[Subtest, ...], table: pd.DataFrame) -> pd.DataFrame:
    """Words of primary sub-tests whose other readings end on the other side."""
    table = table.set_index("subtest", drop=False)
    for test in tests:
        if test.reading_of and table.verdict[test.name] == OPPOSITE.get(table.verdict[test.reading_of], "-"):
            table.loc[test.reading_of, "reason"] += f"; {test.name}: {table.verdict[test.name]}"
            table.loc[test.reading_of, "verdict"] = f"depends on the {test.choice}"
    return table.reset_index(drop=True)


def with_whole(claim: Claim, table: pd.DataFrame) -> pd.DataFrame:
    """The sub-tests' rows and the claim's own, judged by its primary sub-tests, or by all where none is named."""
    table = table[table.subtest != ""]
    primary = table[table.primary.astype(bool)]
    verdict, reason = roll_up((primary if len(primary) else table).verdict.tolist(), claim.needed)
    scales = [scale for scale in table.scale if scale]
    whole = _row(claim, scales[0] if scales else "") | {
        "theirs": claim.says, "seeds": table.seeds.max(), "verdict": verdict, "reason": reason}
    return pd.concat([table, pd.DataFrame([whole], columns=COLUMNS)], ignore_index=True)


def judge_all(runs: dict[str, Runs]) -> pd.DataFrame:
    """Every claim of every paper, in order; Holm over the primary sub-tests of each paper."""
    judged = [judge_paper(paper.part("claims", "CLAIMS", ()), runs) for paper in papers()]
    return pd.concat([table for tables in judged for table in tables.values()], ignore_index=True)


def judge_paper(claims: tuple[Claim, ...], runs: dict[str, Runs]) -> dict[str, pd.DataFrame]:
    """A paper's claims by name; Holm over their primary sub-tests."""
    return after_holm({claim.name: judge(claim.name, runs) for claim in claims})


def judge_notebook(number: str, found: dict[str, Runs], scale: str) -> pd.DataFrame:
    """The claims of one notebook, with the words that the table of all claims has: Holm over the whole paper.

    Args:
        found: the notebook's runs by experiment. The paper's other experiments are read as far as their runs exist.
    """
    judged = []
    for paper in papers():
        claims = paper.part("claims", "CLAIMS", ())
        if any(claim.notebook == number for claim in claims):
            named = {test.experiment or claim.experiment for claim in claims for test in claim.tests()} - {"", *found}
            known = experiments.experiments_at(scale)  # a language model has few
            wanted = {name: experiments.experiment(name, "all", scale, known[name].seeds) for name in sorted(named & set(known))}
            others = {name: experiments.load_finished(arms) for name, arms in wanted.items()}
            tables = judge_paper(claims, found | others)
            judged += [tables[claim.name] for claim in claims if claim.notebook == number]
    return pd.concat(judged, ignore_index=True)


def after_holm(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """A paper's claims, by name, whose primary sub-tests keep their word only if it survives Holm among them all.

    Sub-tests with p NaN (identities, and simultaneous intervals, which guard against their own number) take no part.
    """
    if not tables:
        return {}
    together = pd.concat(tables, names=["name", "line"])
    mine = together.primary.eq(True) & together.p.notna()  # the whole claim's row has neither
    together.loc[mine, "p_holm"] = holm(together.p[mine].astype(float))
    lost = mine & (together.p_holm >= ALPHA) & ~together.verdict.isin(("inconclusive", "not run at this scale"))
    together.loc[lost, "reason"] += f"; not after Holm over the paper's {mine.sum()} primary sub-tests"
    together.loc[lost, "verdict"] = "inconclusive"
    return {name: with_whole(CLAIMS[name], table.reset_index(drop=True)) for name, table in together.groupby("name", sort=False)}


def find(claim: Claim, test: Subtest, runs: Runs | None) -> Finding:
    """What a sub-test finds, or why it cannot be run, or why what it found is no result."""
    if claim.experiment and (runs is None or not len(runs.metrics)):
        return absent("no runs")
    lost = collapsed(runs)
    try:
        found = test.find(runs)
    except KeyError:  # an arm was left out, or this scale draws fewer than k samples
        return absent(f"the runs at hand hold no {test.metric} for every arm it compares")
    except ValueError as error:
        if not lost:
            raise
        return absent(f"runs diverged, and what is left of them cannot be compared ({error})")
    if found.interval.n == 2 and math.isclose(found.interval.low, found.interval.high, abs_tol=1e-9):  # chance, not certainty
        return _no_result(found, "both seeds differ by exactly as much, which says nothing of the spread")
    if found.verdict == "no effect" and test.shown:  # zero is then a threshold, and to reach it just so is no absence
        return replace(found, verdict="inconclusive", reason="near the threshold, and on neither side for certain")
    seeds = {seed for arm, of_arm in lost.items() if found.interval.n and reads(test, found, runs, arm) for seed in of_arm}
    if seeds and not _worth_nothing(test.metric):  # a seed that failed is a result; of this one only the beginning is there
        return _no_result(found, f"runs diverged in {len(seeds)} seeds, whose {test.metric} at the end nobody knows")
    return found


def _no_result(found: Finding, reason: str) -> Finding:
    """Inconclusive; in Holm's correction it still counts as one of the tests."""
    return replace(found, verdict="inconclusive", reason=reason, p=found.p if math.isnan(found.p) else 1.0)


def collapsed(runs: Runs | None) -> dict[str, set[int]]:
    """The seeds in which an arm's run diverged, by arm."""
    if runs is None or not len(runs.metrics):
        return {}
    rows = runs.metrics[runs.metrics.metric == "run/diverged"]
    return {arm: set(of_arm.seed) for arm, of_arm in rows.groupby("arm")}


def reads(test: Subtest, found: Finding, runs: Runs, arm: str) -> bool:
    """Whether a sub-test looks at an arm: without it, it finds something else or nothing."""
    tables = {name: table[table.arm != arm] if "arm" in table else table
              for name in ("metrics", "problems", "rollouts") for table in [getattr(runs, name)]}
    try:
        other = test.find(replace(runs, **tables)).interval
    except (KeyError, ValueError):
        return True
    both = [[i.estimate, i.low, i.high, i.n] for i in (other, found.interval)]
    return not np.array_equal(*both, equal_nan=True)


def _worth_nothing(metric: str) -> bool:
    """Whether a metric is accuracy, of which a lost policy has none: zero is then its value, and no missing one."""
    return all(re.fullmatch(r"(test|pool|validation)/pass@\d+", part) for part in metric.split(" - "))


def scale_of(claim: Claim, runs: Runs | None) -> str:
    """The scale of the runs; "any" for a claim that needs none."""
    if runs is not None and len(runs.metrics):
        return runs.metrics.scale.iloc[0]
    return "" if claim.experiment else "any"


def _row(claim: Claim, scale: str) -> dict:
    return {"claim": claim.name, "subtest": "", "paper": claim.paper, "world": claim.world, "scale": scale,
            "notebook": claim.notebook, "figure": claim.figure}
