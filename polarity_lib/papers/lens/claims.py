"""The claims of LENS (arXiv 2510.08696), and ours about its controls.

The rules were committed before the runs they judge; data/pilots.csv lists what had been looked at. Headline contrasts are
read in `rare` at each method's own rate, again at GRPO's rate for all, and at temperature 0.6.
"""

import functools
import json
from dataclasses import replace

import numpy as np
import pandas as pd

from polarity_lib.claims import (
    RELATIVE_MARGIN, Claim, Finding, Subtest, absent, area, at_equal, checks, compare, difference, final, is_greater, is_less,
    is_not_worse, is_ordered, relative_area, tail,
)
from polarity_lib.evaluation import powers_of_two
from polarity_lib.experiments import Runs
from polarity_lib.papers.lens.experiments import FACTORS, NEIGHBOURS, OTHER, WORLD
from polarity_lib.papers.lens.theory import consistency, sign_violations, theorem_checks
from polarity_lib.results import ROOT
from polarity_lib.statistics import Interval, fitted_slope, simultaneous_t

PAPER = "arXiv 2510.08696"
ACCURACY, ENTROPY, DEAD = "validation/pass@1", "validation/entropy", "groups/all_wrong"
P1, P16, P32, COOL = tail(1), tail(16), tail(32), "cool/pass@1"
KS = powers_of_two(16)
OVERHEAD = ROOT / "benchmarks" / "results" / "shaping.json"


def at_one_rate(test: Subtest) -> Subtest:
    """The same contrast at GRPO's rate for all, which can turn the first reading's word into "depends on the rate"."""
    return replace(test, name=f"{test.name}, one rate", theirs="", experiment="lens_one_rate", primary=False,
                   reading_of=test.name)


def twice(name: str, metric: str, theirs: str, find) -> tuple[Subtest, ...]:
    """A primary sub-test, and its reading at one rate."""
    first = Subtest(name, metric, theirs, find, primary=True)
    return first, at_one_rate(first)


def _at_k(k: int, runs: Runs) -> Finding:
    """LENS minus GRPO at k; the intervals hold for all k together."""
    differences_SK = np.stack([difference(runs, "lens", "grpo", tail(j)) for j in KS], axis=1)
    if len(differences_SK) < 2:
        return is_greater(differences_SK[:, KS.index(k)])
    return is_greater(None, interval=simultaneous_t(differences_SK)[KS.index(k)])


def by_level(runs: Runs) -> pd.DataFrame:
    """Test pass@1 in per cent: one row per (seed, arm), one column per level."""
    rows = runs.problems[runs.problems.set == "test"]
    rows = rows.assign(share=100 * rows.correct / rows.samples)
    return rows.groupby(["seed", "arm", "level"]).share.mean().unstack()


def _harder_gains_more(runs: Runs) -> Finding:
    """(gain of LENS over GRPO on the harder half of the levels) - (that on the easier half), in points of pass@1."""
    levels = by_level(runs)
    gain = levels.xs("lens", level="arm") - levels.xs("grpo", level="arm")
    half = len(gain.columns) // 2
    found = is_greater((gain.iloc[:, -half:].mean(axis=1) - gain.iloc[:, :half].mean(axis=1)).dropna())
    easy, hard = (", ".join(f"{level:g}" for level in part) for part in (gain.columns[:half], gain.columns[-half:]))
    return replace(found, reason=f"levels {hard} against {easy}; {found.reason}")


def _dead(runs: Runs, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Share of all-wrong groups in the first and in the last window of training, per cent, per seed."""
    rows = runs.metric(DEAD, last=False).query("arm == @arm").sort_values("step").groupby("seed").value
    return 100 * rows.first().to_numpy(), 100 * rows.last().to_numpy()


def _many_at_first(runs: Runs) -> Finding:
    first, _ = _dead(runs, "grpo")
    found = is_greater(first - 25)
    return replace(found, reason=f"{first.mean():.0f} % of groups at first, minus 25; {found.reason}")


def _slowly_fewer(runs: Runs) -> Finding:
    first, last = _dead(runs, "grpo")
    found = is_greater(last - first / 2)
    told = f"from {first.mean():.0f} % to {last.mean():.0f} %; the last minus half of the first"
    return replace(found, reason=f"{told}; {found.reason}")


def _fewer_dead(arm: str, runs: Runs) -> Finding:
    """All-wrong groups over the whole training, LENS or a control minus GRPO, in points."""
    mean = 100 * area(runs, DEAD)
    return is_less((mean[arm] - mean["grpo"]).dropna())


def _half_of_the_gain(runs: Runs) -> Finding:
    """Gain of negative groups alone minus half of the full gain."""
    table = final(runs, P1)
    return is_greater((table["negative only"] - table["grpo"] - (table["lens"] - table["grpo"]) / 2).dropna())


def _near_its_best(runs: Runs) -> Finding:
    """Last minus best validation pass@1 of LENS in a long run; the best is picked, so this is below zero by chance too."""
    rows = runs.metric(ACCURACY, last=False).query("arm == 'lens'").sort_values("step").groupby("seed").value
    return is_not_worse(100 * (rows.last() - rows.max()).to_numpy(), margin=5.0)


def _late_slope(runs: Runs) -> Finding:
    """Slope of validation pass@1 over the last third, points per 100 batches, LENS minus GRPO."""
    rows = runs.metric(ACCURACY, last=False)
    late = rows[rows.step >= 2 / 3 * rows.step.max()]
    slopes = late.groupby(["seed", "arm"])[["step", "value"]].apply(
        lambda g: 1e4 * fitted_slope(g.step, g.value)).unstack()
    return is_greater((slopes["lens"] - slopes["grpo"]).to_numpy(), margin=1.0)


def _entropy_at_equal_pass_1(runs: Runs) -> Finding:
    """Entropy where both first reach the pass@1 that both reach, LENS minus GRPO, in per cent of the start's."""
    gap = at_equal(runs, "lens", "grpo", ACCURACY, ENTROPY, scale=1.0)
    first = runs.metric(ENTROPY, last=False).sort_values("step").groupby(["seed", "arm"]).value.first().unstack()
    start = first[["lens", "grpo"]].dropna()["grpo"]  # of the seeds that have both, as `at_equal` compares them
    return is_greater(100 * gap / start.to_numpy(), RELATIVE_MARGIN)


def _more_entropy(runs: Runs) -> Finding:
    return is_greater(relative_area(runs, "lens", "grpo", ENTROPY), RELATIVE_MARGIN)


def _more_distinct(runs: Runs) -> Finding:
    """Different right answers per problem, in per cent."""
    table = runs.metric("test/distinct")
    return is_greater((100 * (table["lens"] / table["grpo"] - 1)).dropna(), RELATIVE_MARGIN)


def _sparser(runs: Runs) -> Finding:
    """Share of wrong answers of the base with odds under 0.01: raw sequence probability minus length-normalised."""
    table = final(runs, "sparse/raw") - final(runs, "sparse/normalised")
    return is_greater(table["base"].dropna())


def _entropy_over_factors(runs: Runs) -> Finding:
    """Change of the final entropy from the smallest factor of the difficulty to the largest, in per cent; a line per seed."""
    logs = np.log(runs.metric("test/entropy")[[f"factor={f:g}" for f in FACTORS]].dropna())
    x = np.log(np.array(FACTORS))
    slopes = np.array([fitted_slope(x, row) for row in logs.to_numpy()])
    return is_less(100 * np.expm1(slopes * (x.max() - x.min())), RELATIVE_MARGIN)


def _factor_order(runs: Runs) -> Finding:
    """Claimed: the smaller the factor of the difficulty, the more entropy at the end."""
    arms = [f"factor={f:g}" for f in sorted(FACTORS, reverse=True)]
    found = is_ordered(100 * runs.metric("test/entropy")[arms].dropna(), arms)
    return replace(found, reason=f"100 x nats: {found.reason}")


def _overhead(name: str, _runs) -> Finding:
    """Seconds of the shaping over seconds of a whole step, per cent, from the committed benchmark."""
    if not OVERHEAD.exists():
        return absent("benchmarks/shaping.py has not been run")
    share = 100 * json.loads(OVERHEAD.read_text(encoding="utf-8"))["ratio"][name]
    interval = Interval(share, share, share, 1.0, 1, float("nan"))
    return Finding(interval, "replicated" if share < 1 else "contradicted", "per cent of a step; claimed: under 1")


def sign_checks() -> pd.DataFrame:
    """C9: no row's advantage may have the wrong sign with 1/G; without it some do."""
    table = sign_violations()
    return pd.DataFrame([{
        "subtest": "with 1/G no sign is wrong" if row.over_group else "without 1/G some are",
        "theirs": "0" if row.over_group else "> 0", "ours": float(row.violations),
        "tolerance": 0.0, "passed": bool(row.violations == 0) == bool(row.over_group)} for row in table.itertuples()])


def consistency_checks() -> pd.DataFrame:
    """C14: the distance to the target policy falls at every tenfold number of samples."""
    table = consistency()
    ratio = float(table.total_variation.iloc[-1] / table.total_variation.iloc[0])
    return pd.DataFrame([
        {"subtest": "total variation falls at every size", "theirs": "< 0", "ours": float(table.total_variation.diff().max()),
         "tolerance": 0.0, "passed": bool((table.total_variation.diff().dropna() < 0).all())},
        {"subtest": "last over first", "theirs": "< 0.1", "ours": ratio, "tolerance": 0.1, "passed": ratio < 0.1}])


CONTROLS = ("uniform penalty", "shuffled", "flipped")
F40, F41 = "40_weight", "41_pass_at_k"
THEIRS = dict(zip(KS, ("+2.54 +1.53", "+1.96 +1.93", "+1.31 +2.21", "+2.89 +1.79", "+2.64 +1.77")))  # Table 1, Llama and Qwen


def above(other: str, metric: str = P1, left: str = "lens"):
    """left above other."""
    return compare(is_greater, left, other, metric)


CLAIMS = (
    Claim("LENS-C1", "LENS beats GRPO at every pass@k, k = 1 to 16.", "lens", "41", F41, (
        *(test for k in (1, 16) for test in twice(f"k = {k}", tail(k), THEIRS[k], above("grpo", tail(k)))),
        *(Subtest(f"k = {k}, every k together", tail(k), THEIRS[k], functools.partial(_at_k, k)) for k in KS),
        Subtest("temperature 0.6", COOL, THEIRS[1], above("grpo", COOL)),
        Subtest("temperature 0.6, one rate", COOL, "", above("grpo", COOL), "lens_one_rate")), WORLD, PAPER),
    Claim("LENS-C2", "The same options carry over to another world and another base policy.", "lens_search", "41", F41, (
        *(test for k, theirs in ((1, "+1.76 +2.58"), (16, "+0.60 +1.15")) for test in (
            Subtest(f"k = {k}", tail(k), theirs, above("grpo", tail(k)), primary=True),
            Subtest(f"k = {k}, one rate", tail(k), "", above("grpo", tail(k), "lens at one rate"), reading_of=f"k = {k}"))),
        Subtest("temperature 0.6", COOL, "+1.76 +2.58", above("grpo", COOL))), OTHER, PAPER),
    Claim("LENS-C3", "Gains concentrate on hard problems.", "lens", "41", "41_levels",
          twice("harder levels gain more", P1, "", _harder_gains_more), WORLD, PAPER),
    Claim("LENS-C4", "All-wrong groups are a large, slowly shrinking share under GRPO.", "lens", "41", "41_dead_groups", (
        Subtest("over a quarter at first", DEAD, "45 %", _many_at_first, primary=True),
        Subtest("still over half of that at the end", DEAD, "35 %", _slowly_fewer, primary=True),
        *(Subtest(f"fewer under {arm}", DEAD, "", functools.partial(_fewer_dead, arm)) for arm in ("lens", "uniform penalty")),
        Subtest("over a quarter at first, search", DEAD, "45 %", _many_at_first, "lens_search", OTHER),
        Subtest("still over half of that at the end, search", DEAD, "35 %", _slowly_fewer, "lens_search", OTHER),
        *(Subtest(f"fewer under {arm}, search", DEAD, "", functools.partial(_fewer_dead, arm), "lens_search", OTHER)
          for arm in ("lens", "uniform_penalty"))), WORLD, PAPER),
    Claim("LENS-C5", "Both parts help; negative groups alone give most of the gain.", "lens", "41", "41_two_by_two", (
        *twice("negative groups alone above GRPO", P1, "+1.26", above("grpo", left="negative only")),
        *twice("negative groups give over half of the gain", P1, "+0.38", _half_of_the_gain),
        Subtest("mixed groups alone above GRPO", P1, "+0.54", above("grpo", left="mixed only")),
        Subtest("negative groups alone above GRPO, temperature 0.6", COOL, "", above("grpo", COOL, "negative only"))),
        WORLD, PAPER),
    Claim("LENS-C6", "Stable in long training.", "lens_long", "41", "41_long", (
        Subtest("within 5 points of its own best", ACCURACY, "", _near_its_best, primary=True),), WORLD, PAPER),
    Claim("LENS-C7", "LENS goes on improving where GRPO has stopped.", "lens_long", "41", "41_long", (
        Subtest("slope of the last third", ACCURACY, "", _late_slope, primary=True),), WORLD, PAPER),
    Claim("LENS-C8", "Theorems 1 and 2.", "", "40", F40, functools.partial(checks, theorem_checks),
          "a softmax that can be enumerated", PAPER),
    Claim("LENS-C9", "1/G keeps every sign of a mixed group.", "", "40", "40_rewards",
          functools.partial(checks, sign_checks, "rows with a wrong sign"), "random groups", PAPER),
    Claim("LENS-C10", "More exploration and diversity.", "lens", "41", "41_diversity", (
        *twice("entropy above GRPO at equal pass@1", ENTROPY, "", _entropy_at_equal_pass_1),
        *twice("more distinct right answers", "test/distinct", "", _more_distinct),
        Subtest("entropy above GRPO over training", ENTROPY, "", _more_entropy),
        Subtest("pass@32 above GRPO", P32, "", above("grpo", P32))), WORLD, PAPER),
    Claim("LENS-C11", "Raw sequence probability makes the adjustment sparse; length normalisation mends it.",
          "lens", "41", "41_variants", (
        Subtest("more odds under 0.01", "sparse/raw - sparse/normalised", "", _sparser, primary=True),
        Subtest("normalised above raw", P1, "", above("raw confidence", left="alpha=0.25"), "lens_sweep", primary=True)),
        WORLD, PAPER),
    Claim("LENS-C12", "A smaller difficulty means stronger penalties and more exploration.", "lens_sweep", "41", "41_factor", (
        Subtest("entropy falls from the smallest factor to the largest", "test/entropy", "", _entropy_over_factors, primary=True),
        Subtest("every step of the order", "test/entropy", "", _factor_order)), WORLD, PAPER),
    Claim("LENS-C13", "Negligible overhead.", "", "41", "41_variants", (
        Subtest("LENS", "share of a step", "", functools.partial(_overhead, "lens")),), "chain", PAPER),
    Claim("LENS-C14", "With the true difficulty the likelihood recovers the target policy.", "", "40", "40_consistency",
          functools.partial(checks, consistency_checks, "total variation"), "a table", PAPER),
    Claim("OURS-6", "LENS's gain needs its confidence weights: controls gain less.", "lens", "41", "41_controls", (
        *twice("LENS above the uniform penalty", P1, "", above("uniform penalty")),
        Subtest("LENS above shuffled rewards", P1, "", above("shuffled"), primary=True),  # they share a rate by definition
        Subtest("LENS above flipped rewards", P1, "", above("flipped")),
        *(Subtest(f"LENS above {name}, k = 16", P16, "", above(name, P16)) for name in CONTROLS),
        *(Subtest(f"LENS above {name}, temperature 0.6", COOL, "", above(name, COOL)) for name in CONTROLS),
        *(Subtest(f"LENS above {name}, neighbours", P1, "", above(name), "lens_neighbours") for name in NEIGHBOURS),
        Subtest("LENS above the uniform penalty, search", P1, "", above("uniform_penalty"), "lens_search", OTHER)),
        WORLD, "ours"),
)


KNOWN_BEFORE = (
    "How many groups are all wrong before training, and that their share falls under GRPO, are conditions by which world rare "
    "was chosen (data/pilots.csv), so both halves of C4 were known there in kind when its rule was written. That it hardly "
    "falls in search was known from pilots. Earlier runs of LENS, in worlds where GRPO itself moved little, had been looked at; "
    "none of them is read here.")
SUMMARIES = (("LENS, its parts and controls, world rare, per cent", "lens", "", (1, 16)),
             ("Search, groups of 16", "lens_search", "", (1, 16)))
