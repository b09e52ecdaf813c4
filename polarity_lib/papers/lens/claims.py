"""The claims of LENS (arXiv 2510.08696), and ours about its controls. Committed before the runs they judge."""

import functools
import json

import numpy as np
import pandas as pd

from polarity_lib.claims import (
    RELATIVE_MARGIN, Claim, Finding, Subtest, absent, checks, compare, difference, final, is_greater,
    is_not_worse, is_ordered, relative_area, tail,
)
from polarity_lib.evaluation import powers_of_two
from polarity_lib.experiments import Runs
from polarity_lib.papers.lens.experiments import FACTORS
from polarity_lib.papers.lens.theory import consistency, sign_violations, theorem_checks
from polarity_lib.results import ROOT
from polarity_lib.statistics import Interval, fitted_slope, simultaneous_t

PAPER = "arXiv 2510.08696"
ENTROPY = "validation/entropy"
P1, P16, P32 = tail(1), tail(16), tail(32)
KS = powers_of_two(16)
OVERHEAD = ROOT / "benchmarks" / "results" / "shaping.json"


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
    """(gain on levels 4-5) - (gain on level 3), in points of pass@1."""
    levels = by_level(runs)
    gain = levels.xs("lens", level="arm") - levels.xs("grpo", level="arm")
    return is_greater((gain[[4, 5]].mean(axis=1) - gain[3]).dropna())


def _all_wrong(runs: Runs, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Share of all-wrong groups in the first and in the last window of training, per cent, per seed."""
    rows = runs.metric("groups/all_wrong", last=False).query("arm == @arm").sort_values("step").groupby("seed").value
    return 100 * rows.first().to_numpy(), 100 * rows.last().to_numpy()


def _many_at_first(runs: Runs) -> Finding:
    first, _ = _all_wrong(runs, "grpo")
    found = is_greater(first - 25)
    return Finding(found.interval, found.verdict, f"{first.mean():.0f} % of groups at first, minus 25; {found.reason}")


def _slowly_fewer(runs: Runs) -> Finding:
    first, last = _all_wrong(runs, "grpo")
    found = is_greater(last - first / 2)
    return Finding(found.interval, found.verdict,
                   f"from {first.mean():.0f} % to {last.mean():.0f} %; the last minus half of the first; {found.reason}")


def _half_of_the_gain(runs: Runs) -> Finding:
    """Gain of negative groups alone minus half of the full gain."""
    table = final(runs, P1)
    return is_greater((table["negative only"] - table["grpo"] - (table["lens"] - table["grpo"]) / 2).dropna())


def _near_its_best(runs: Runs) -> Finding:
    """Last minus best validation pass@1 of LENS in a long run; the best is picked, so this is below zero by chance too."""
    rows = runs.metric("validation/pass@1", last=False).query("arm == 'lens'").sort_values("step").groupby("seed").value
    return is_not_worse(100 * (rows.last() - rows.max()).to_numpy(), margin=5.0)


def _late_slope(runs: Runs) -> Finding:
    """Slope of validation pass@1 over the last third, points per 100 batches, LENS minus GRPO."""
    rows = runs.metric("validation/pass@1", last=False)
    late = rows[rows.step >= 2 / 3 * rows.step.max()]
    slopes = late.groupby(["seed", "arm"])[["step", "value"]].apply(
        lambda g: 1e4 * fitted_slope(g.step, g.value)).unstack()
    return is_greater((slopes["lens"] - slopes["grpo"]).to_numpy(), margin=1.0)


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


def _factor_order(runs: Runs) -> Finding:
    """Claimed: the smaller the factor of the difficulty, the more entropy at the end."""
    arms = [f"factor={f:g}" for f in sorted(FACTORS, reverse=True)]
    found = is_ordered(100 * runs.metric("test/entropy")[arms].dropna(), arms)
    return Finding(found.interval, found.verdict, f"100 x nats: {found.reason}")


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
        "subtest": "with 1/G no sign is wrong" if row.over_group else "without 1/G some are", "ours": float(row.violations),
        "tolerance": 0.0, "passed": bool(row.violations == 0) == bool(row.over_group)} for row in table.itertuples()])


def consistency_checks() -> pd.DataFrame:
    """C14: the distance to the target policy falls at every tenfold number of samples."""
    table = consistency()
    ratio = float(table.total_variation.iloc[-1] / table.total_variation.iloc[0])
    return pd.DataFrame([
        {"subtest": "total variation falls at every size", "ours": float(table.total_variation.diff().max()),
         "tolerance": 0.0, "passed": bool((table.total_variation.diff().dropna() < 0).all())},
        {"subtest": "last over first", "ours": ratio, "tolerance": 0.1, "passed": ratio < 0.1}])


F40, F41 = "40_weight", "41_pass_at_k"

CLAIMS = (
    Claim("LENS-C1", "LENS beats GRPO at every pass@k, k = 1 to 16.", "lens_countdown", "41", F41, tuple(
        Subtest(f"k = {k}", tail(k), theirs, functools.partial(_at_k, k))
        for k, theirs in zip(KS, ("+2.54 +1.53", "+1.96 +1.93", "+1.31 +2.21", "+2.89 +1.79", "+2.64 +1.77"))),
          "countdown4", PAPER, needed=4),
    Claim("LENS-C2", "The same options carry over to another world and another base policy.", "lens_chain", "41", F41, (
        *(Subtest(f"chain_hard, {m}", m, theirs, compare(is_greater, "lens", "grpo", m))
          for m, theirs in ((P1, "+1.76 +2.58"), (P16, "+0.60 +1.15"))),
        *(Subtest(f"countdown4, {m}", m, theirs, compare(is_greater, "lens", "grpo", m), "lens_countdown", "countdown4")
          for m, theirs in ((P1, "+2.54 +1.53"), (P16, "+2.64 +1.77")))), "chain_hard", PAPER),
    Claim("LENS-C3", "Gains concentrate on hard problems.", "lens_chain", "41", "41_levels", (
        Subtest("levels 4-5 gain more than level 3", P1, "", _harder_gains_more),), "chain_hard", PAPER),
    Claim("LENS-C4", "All-wrong groups are a large, slowly shrinking share under GRPO.",
          "lens_countdown", "41", "41_dead_groups", (
        Subtest("over a quarter at first", "groups/all_wrong", "45 %", _many_at_first),
        Subtest("still over half of that at the end", "groups/all_wrong", "35 %", _slowly_fewer)), "countdown4", PAPER),
    Claim("LENS-C5", "Both parts help; negative groups alone give most of the gain.", "lens_countdown", "41", "41_two_by_two", (
        Subtest("negative groups alone above GRPO", P1, "+1.26", compare(is_greater, "negative only", "grpo", P1)),
        Subtest("mixed groups alone above GRPO", P1, "+0.54", compare(is_greater, "mixed only", "grpo", P1)),
        Subtest("negative groups give over half of the gain", P1, "+0.38", _half_of_the_gain)), "countdown4", PAPER),
    Claim("LENS-C6", "Stable in long training.", "lens_long", "41", "41_long", (
        Subtest("within 5 points of its own best", "validation/pass@1", "", _near_its_best),), "countdown4", PAPER),
    Claim("LENS-C7", "LENS goes on improving where GRPO has stopped.", "lens_long", "41", "41_long", (
        Subtest("slope of the last third", "validation/pass@1", "", _late_slope),), "countdown4", PAPER),
    Claim("LENS-C8", "Theorems 1 and 2.", "", "40", F40, functools.partial(checks, theorem_checks),
          "a softmax that can be enumerated", PAPER),
    Claim("LENS-C9", "1/G keeps every sign of a mixed group.", "", "40", "40_rewards",
          functools.partial(checks, sign_checks, "rows with a wrong sign"), "random groups", PAPER),
    Claim("LENS-C10", "More exploration and diversity.", "lens_countdown", "41", "41_diversity", (
        Subtest("entropy above GRPO", ENTROPY, "", _more_entropy),
        Subtest("more distinct right answers", "test/distinct", "", _more_distinct),
        Subtest("pass@32 above GRPO", P32, "", compare(is_greater, "lens", "grpo", P32))), "countdown4", PAPER),
    Claim("LENS-C11", "Raw sequence probability makes the adjustment sparse; length normalisation mends it.",
          "lens_countdown", "41", "41_variants", (
        Subtest("more odds under 0.01", "sparse/raw - sparse/normalised", "", _sparser),
        Subtest("normalised above raw", P1, "", compare(is_greater, "alpha=0.25", "raw confidence", P1),
                "lens_sweep")), "countdown4", PAPER),
    Claim("LENS-C12", "A smaller difficulty means stronger penalties and more exploration.", "lens_sweep", "41", "41_factor", (
        Subtest("entropy falls with the factor", "test/entropy", "", _factor_order),), "countdown4", PAPER),
    Claim("LENS-C13", "Negligible overhead.", "", "41", "41_variants", (
        Subtest("LENS", "share of a step", "", functools.partial(_overhead, "lens")),), "chain", PAPER),
    Claim("LENS-C14", "With the true difficulty the likelihood recovers the target policy.", "", "40", "40_consistency",
          functools.partial(checks, consistency_checks, "total variation"), "a table", PAPER),
    Claim("OURS-6", "LENS's gain needs its confidence weights: controls gain less.", "lens_countdown", "41", "41_controls", tuple(
        Subtest(f"LENS above {name}, {m}", m, "", compare(is_greater, "lens", name, m))
        for name in ("uniform penalty", "shuffled", "flipped") for m in (P1, P16)), "countdown4", "ours"),
)


# --- for the README: a sentence, whose words are checked against the numbers it is written with ---


def _no_gain(load) -> str:
    """LENS against GRPO in both worlds."""
    told = {}
    for name in ("lens_countdown", "lens_chain"):
        one, many = (is_greater(difference(load(name), "lens", "grpo", m)).interval for m in (P1, P32))
        assert one.low < 0 < one.high and many.estimate < 0
        told[name] = [f"{it.estimate:+.1f} ({it.low:+.1f}, {it.high:+.1f})" for it in (one, many)]
    (one, many), (chain_one, chain_many) = told.values()
    return (f"**LENS** gains nothing over GRPO at pass@1: {one} on countdown, {chain_one} on the chain. Its {many} and "
            f"{chain_many} at pass@32 are of a size that two runs of one method may show too: no such twin was run.")


KNOWN_BEFORE = (
    "The share of dead groups was known when C4 was written. LENS on the chain was cut from eight arms to three, for want of "
    "time, before any of its runs was looked at.")
FINDINGS = (_no_gain,)
SUMMARIES = (("LENS, its parts and controls, four-digit countdown, per cent", "lens_countdown", "", (1, 32)),
             ("Chain", "lens_chain", "", (1, 32)))
