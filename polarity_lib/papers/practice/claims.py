"""P1 to P11: claims of public threads, judged like those of papers.

The rules were committed before the runs they judge; data/pilots.csv lists what had been looked at (of P1, two seeds).
Differences are in points of a share or, for entropies, lengths and divergences, in per cent of the right-hand arm.
"""

import functools
import math
from dataclasses import replace

import numpy as np
import pandas as pd

from polarity_lib.claims import (
    RELATIVE_MARGIN, Claim, Finding, Subtest, at_share, compare, difference, is_equivalent, is_greater, is_less,
    is_not_worse, relative_final, tail,
)
from polarity_lib.experiments import Runs
from polarity_lib.papers.practice.experiments import CHOSEN, COEFFICIENTS, DELTAS, UPPER
from polarity_lib.statistics import Interval, detectable

PAPER = "Disputes from public threads"
P1, P64 = tail(1), tail(64)
ENTROPY, ACCURACY = "test/entropy", "validation/pass@1"
HALVES = ("validation/half/even", "validation/half/odd")


def relative(rule, left: str, right: str, metric: str):
    """A rule on the last value of a metric, left against right, in per cent."""

    def find(runs: Runs) -> Finding:
        return rule(relative_final(runs, left, right, metric), RELATIVE_MARGIN)

    return find


def contrast(name: str, metric: str, rule, left: str, right: str, theirs: str = "", **where) -> Subtest:
    """A sub-test on two arms: points for shares, per cent for the rest."""
    share = metric.startswith(("test/pass@", "test/verdicts/", "cool/pass@"))
    find = compare(rule, left, right, metric) if share else relative(rule, left, right, metric)
    return Subtest(name, metric, theirs, find, **where)


def again(test: Subtest, name: str, experiment: str, **more) -> Subtest:
    """The same sub-test in other runs, as a second reading."""
    return replace(test, name=f"{test.name}, {name}", theirs="", experiment=experiment, primary=False, reading_of=test.name,
                   **more)


# --- rules of their own ---------------------------------------------------------------


def grows_with_updates(metric: str, runs: Runs) -> Finding:
    """(clip minus no clip) with 16 updates, minus the same with 4."""
    many, few = (difference(runs, f"nsr/{n} clip", f"nsr/{n} free", metric) for n in (16, 4))
    return is_greater(many - few)


def late_change(arm: str, metric: str, rule, scale: float, runs: Runs) -> Finding:
    """Mean of the last curve points minus that at a third of the run; entropies in per cent of the latter."""
    end, third = (at_share(runs, metric, share)[arm] for share in (1.0, 1 / 3))
    change = 100 * (end / third - 1) if not scale else scale * (end - third)
    return rule(change.dropna().to_numpy(), *(() if scale else (RELATIVE_MARGIN,)))


def roughness(runs: Runs) -> pd.DataFrame:
    """Seeds x arms: mean absolute change of held-out pass@1 from one curve point to the next, in points."""
    rows = runs.metric(ACCURACY, last=False).sort_values("step")
    return 100 * rows.groupby(["seed", "arm"]).value.agg(lambda v: v.diff().abs().mean()).unstack()


def steadier(left: str, right: str, runs: Runs) -> Finding:
    """The curve of `left` is less rough than that of `right`; one point is our margin."""
    table = roughness(runs)
    return is_less((table[left] - table[right]).dropna(), 1.0)


def chosen(runs: Runs, arm: str, points: int = 0) -> pd.DataFrame:
    """What choosing a checkpoint by its score gives, per seed, in points; both halves take both parts and are averaged.

        told    the best score among the checkpoints, as a paper that chose on its test set would report it
        held    the score of that checkpoint on the other half of the problems
        last    the score of the last checkpoint

    Args:
        points: the last of an even spread of so many checkpoints; 0 takes all.

    Raises:
        KeyError: the runs kept no halves (they were made before the halves were kept).
    """
    rows = runs.metrics[(runs.metrics.arm == arm) & runs.metrics.metric.isin(HALVES)]
    if rows.empty:
        raise KeyError(f"{arm} has no {HALVES[0]}")
    found = {}
    for seed, mine in rows.groupby("seed"):
        table = 100 * mine.pivot_table(index="step", columns="metric", values="value").sort_index()
        places = np.unique(np.linspace(0, len(table) - 1, points or len(table)).round().astype(int))
        table, cells = table.iloc[places], []
        for mine_half, other in (HALVES, HALVES[::-1]):
            at = table[mine_half].to_numpy().argmax()
            cells.append((table[mine_half].iloc[at], table[other].iloc[at], table[mine_half].iloc[-1]))
        found[seed] = np.mean(cells, axis=0)
    return pd.DataFrame.from_dict(found, orient="index", columns=["told", "held", "last"])


def choosing_adds(arm: str, runs: Runs) -> Finding:
    """Best score minus what that checkpoint is worth on other problems: reported, and not there; one point is our margin."""
    table = chosen(runs, arm)
    return is_greater(table.told - table.held, 1.0)


def choosing_gains(arm: str, runs: Runs) -> Finding:
    """What the chosen checkpoint is worth on other problems, minus the last one's score."""
    table = chosen(runs, arm)
    return is_greater(table.held - table["last"], 1.0)


def choosing_reorders(left: str, right: str, runs: Runs) -> Finding:
    """(left minus right) of the best scores, minus the same of the last: does choosing favour one of two methods?"""
    a, b = chosen(runs, left), chosen(runs, right)
    return is_equivalent(((a.told - b.told) - (a["last"] - b["last"])).dropna())


def weaker_start_wider(runs: Runs) -> Finding:
    """(right only minus wrong only) from the weak start, minus the same from the strong one."""
    weak, strong = (difference(runs, f"{start}/psr", f"{start}/nsr", P1) for start in ("weak", "strong"))
    return is_greater(weak - strong)


def outside(_runs) -> Finding:
    """Somebody else's number, with no interval; PSRNSR-C1 has ours, and notebook 72 shows both."""
    interval = Interval(6.0, math.nan, math.nan, 0.95, 1, math.nan)
    return Finding(interval, "inconclusive", "one number of another person, without an interval; the paper has +11")


def seeds_to_decide(row, margin: float) -> float:
    """How many seeds would see a difference as large as the margin with 80 %, at the spread that these seeds show.

    Args:
        row: of `claims.judge`, with low, high and seeds.

    Returns:
        The number, at most 1,000 (inf beyond); NaN where there is no interval.
    """
    if not row.seeds or row.seeds < 2 or not math.isfinite(row.low):
        return math.nan
    unit = detectable(1.0, int(row.seeds))
    spread = row.smallest_detectable / unit
    return next((float(n) for n in range(2, 1001) if detectable(spread, n) <= margin), math.inf)


def undecided(judged: pd.DataFrame) -> pd.DataFrame:
    """Primary sub-tests that ended inconclusive, with the seeds that would decide them."""
    rows = judged[(judged.verdict == "inconclusive") & judged.primary.eq(True) & (judged.subtest != "")]
    margins = rows.metric.map(lambda m: 3.0 if "pass@" in m or "verdicts" in m or "half" in m else RELATIVE_MARGIN)
    wanted = [seeds_to_decide(row, m) for row, m in zip(rows.itertuples(), margins)]
    return rows[["claim", "subtest", "ours", "low", "high", "seeds"]].assign(margin=margins, seeds_that_would_decide=wanted)


# --- the claims -------------------------------------------------------------------------


def _p1() -> tuple[Subtest, ...]:
    entropy = contrast("NSR, entropy, 4 updates: clip above none", ENTROPY, is_greater, "nsr/4 clip", "nsr/4 free", primary=True)
    far = contrast("NSR, pass@64, 4 updates: clip above none", P64, is_greater, "nsr/4 clip", "nsr/4 free", primary=True)
    return (
        entropy, again(entropy, "one rate", "practice_clip_one_rate"), far, again(far, "one rate", "practice_clip_one_rate"),
        Subtest("pass@64: the clip is worth more with 16 updates", P64, "", functools.partial(grows_with_updates, P64)),
        *(contrast(f"NSR, {what}, 16 updates: clip above none", metric, is_greater, "nsr/16 clip", "nsr/16 free")
          for what, metric in (("entropy", ENTROPY), ("pass@64", P64))),
        *(contrast(f"NSR, {what}: 4 updates above one", metric, is_greater, "nsr/4 clip", "nsr/1")
          for what, metric in (("entropy", ENTROPY), ("pass@64", P64))),
        contrast("NSR without the clip, pass@64: not below base", P64, is_not_worse, "nsr/4 free", "base"),
        contrast("NSR, pass@1, 4 updates: clip above none", P1, is_greater, "nsr/4 clip", "nsr/4 free"),
        contrast("NSR, pass@64, 16 updates not matched: clip above none", P64, is_greater, "nsr/16 clip", "nsr/16 free",
                 experiment="practice_clip_unmatched"),
        *(contrast(f"{method}, pass@64, 4 updates: clip above none", P64, is_greater, f"{method}/4 clip", f"{method}/4 free",
                   experiment="practice_clip_others") for method in ("psr", "w_reinforce")))


def _p9() -> tuple[Subtest, ...]:
    def above(world: str, primary: bool) -> Subtest:
        return contrast(f"right only above wrong only, {world}", P1, is_greater, "psr", "nsr", experiment=f"practice_own_{world}",
                        world=world, primary=primary)

    tests = []
    for world in ("search", "latent"):
        first = above(world, True)
        other = contrast(first.name, P1, is_greater, "psr_grpo_seq", "nsr_grpo_seq", experiment=f"practice_definitions_{world}",
                         world=world)
        tests += [first, again(first, "one rate", f"practice_one_rate_{world}"),
                  replace(other, name=f"{first.name}, group-normalised", reading_of=first.name, choice="definition"),
                  contrast(f"right only as good as both, {world}", P1, is_equivalent, "psr", "grpo",
                           experiment=f"practice_own_{world}", world=world),
                  contrast(f"wrong only below both, {world}", P1, is_less, "nsr", "grpo", experiment=f"practice_own_{world}",
                           world=world)]
    return (*tests,
            contrast("right only above wrong only, weak start", P1, is_greater, "weak/psr", "weak/nsr"),
            contrast("right only above wrong only, strong start", P1, is_greater, "strong/psr", "strong/nsr"),
            Subtest("the weaker the start, the more", P1, "", weaker_start_wider))


def _claim(number: int, says: str, experiment: str, notebook: str, figure: str, tests: tuple[Subtest, ...], world: str) -> Claim:
    return Claim(f"PRACTICE-P{number}", says, f"practice_{experiment}", notebook, f"{notebook}_{figure}", tests, world, PAPER)


def _length() -> tuple[Subtest, ...]:
    return (
        contrast("length of wrong answers: sequence mean above constant", "length/wrong", is_greater, "sequence/x1",
                 "constant/x1", primary=True),
        contrast("cut off at four times the rate: sequence mean above constant", "test/verdicts/truncated", is_greater,
                 "sequence/x4", "constant/x4", primary=True),
        contrast("length of wrong answers, four times the rate: sequence mean above constant", "length/wrong", is_greater,
                 "sequence/x4", "constant/x4"),
        contrast("length of wrong answers: token mean as constant", "length/wrong", is_equivalent, "token/x1", "constant/x1"),
        *(contrast(f"pass@1, {told}: sequence mean as good as constant", P1, is_equivalent, f"sequence/{rate}",
                   f"constant/{rate}")
          for rate, told in (("x1", "GRPO's rate"), ("x4", "four times the rate"))))


def _truncation() -> tuple[Subtest, ...]:
    return (
        *(contrast(f"GRPO, pass@1, {limit} cut: masked above wrong", P1, is_greater, f"grpo/{limit} mask", f"grpo/{limit} wrong",
                   primary=True) for limit in ("20 %", "5 %")),
        contrast("NSR, pass@1, 20 % cut: masked above wrong", P1, is_greater, "nsr/20 % mask", "nsr/20 % wrong"),
        *(contrast(f"{method.upper()}, pass@1, {limit} cut: as written above wrong", P1, is_greater,
                   f"{method}/{limit} as_written", f"{method}/{limit} wrong")
          for method, limit in (("grpo", "20 %"), ("grpo", "5 %"), ("nsr", "20 %"))),
        *(Subtest(f"{method.upper()}, {limit} cut: masked is steadier", ACCURACY, "", functools.partial(
            steadier, f"{method}/{limit} mask", f"{method}/{limit} wrong"))
          for method, limit in (("grpo", "20 %"), ("grpo", "5 %"), ("nsr", "20 %"))))


def _clip_higher() -> tuple[Subtest, ...]:
    tests = []
    for upper in UPPER[1:]:
        arm, first = f"dapo/{upper:g}", upper == 0.28
        tests += [
            Subtest(f"{upper:g}: entropy rises late", "validation/entropy", "", functools.partial(
                late_change, arm, "validation/entropy", is_greater, 0.0), primary=first),
            Subtest(f"{upper:g}: accuracy falls late", ACCURACY, "", functools.partial(
                late_change, arm, ACCURACY, is_less, 100.0), primary=first),
            contrast(f"{upper:g}: more entropy than 0.2", ENTROPY, is_greater, arm, "dapo/0.2"),
            contrast(f"{upper:g}: pass@1 below 0.2", P1, is_less, arm, "dapo/0.2")]
    return tuple(tests)


CLAIMS = (
    _claim(1, "NSR keeps entropy and tail only because of the clip, with several updates per batch.", "clip", "70", "clip", _p1(),
           "search"),
    _claim(2, "Leaving dead groups out of the denominator gains accuracy.", "denominator", "71", "denominator", (
        contrast("tokens, many dead groups: mixed above all", P1, is_greater, "tokens/mixed", "tokens/all", "+2.4", primary=True),
        contrast("tokens, few dead groups: mixed above all", P1, is_greater, "tokens/mixed", "tokens/all", "+2.4", primary=True,
                 experiment="practice_denominator_few", world="latent"),
        contrast("tokens, many dead groups: mixed above all at a higher rate", P1, is_greater, "tokens/mixed",
                 "tokens/all faster"),
        contrast("tokens, many dead groups: a higher rate above all", P1, is_greater, "tokens/all faster", "tokens/all"),
        *(contrast(name, P1, is_greater, left, right, experiment="practice_denominator_more", world="latent")
          for name, left, right in (
            ("rows: mixed above all", "rows/mixed", "rows/all"), ("SGD: mixed above all", "sgd/mixed", "sgd/all"),
            ("SGD: mixed above all at a higher rate", "sgd/mixed", "sgd/all faster")))), "search"),
    _claim(3, "With a divergence term, dead groups should be masked.", "divergence", "71", "divergence", (
        contrast("pass@1, 0.04: masked above not", P1, is_greater, "kl=0.04/mixed", "kl=0.04/all", primary=True),
        contrast("distance from the base, 0.04: masked above not", "from_base/kl", is_greater, "kl=0.04/mixed", "kl=0.04/all",
                 primary=True),
        *(contrast(f"pass@1, {kl:g}: masked above not", P1, is_greater, f"kl={kl:g}/mixed", f"kl={kl:g}/all")
          for kl in COEFFICIENTS[:-1])), "latent"),
    _claim(4, "Dividing by each answer's length makes wrong answers long; a constant prevents it.", "length", "71", "length",
           _length(), "latent"),
    _claim(5, "Answers that were cut off should be masked.", "truncation", "71", "truncation", _truncation(), "latent"),
    _claim(6, "A higher upper clip makes entropy rise late, and accuracy then falls.", "clip_higher", "70", "clip_higher",
           _clip_higher(), "latent"),
    _claim(7, "Choosing the best checkpoint on the test set adds what is not there.", "own_search", "72", "checkpoints", (
        *(Subtest(f"{m}, search: best score above its worth elsewhere", HALVES[0], "", functools.partial(choosing_adds, m),
                  primary=m in ("grpo", "nsr")) for m in CHOSEN),
        *(Subtest(f"{m}, search: the chosen one above the last", HALVES[0], "", functools.partial(choosing_gains, m))
          for m in CHOSEN),
        Subtest("NSR against GRPO, search: choosing changes nothing", HALVES[0], "", functools.partial(
            choosing_reorders, "nsr", "grpo")),
        *(Subtest(f"{m}, latent: best score above its worth elsewhere", HALVES[0], "", functools.partial(choosing_adds, m),
                  experiment="practice_own_latent", world="latent") for m in CHOSEN[:2])), "search"),
    Claim("PRACTICE-P8", "An independent replication of NSR finds about half of the paper's gain.", "", "72", "72_outside", (
        Subtest("NSR above base, Qwen3-4B, somebody else's", "MATH pass@1", "+11 (the paper)", outside),), "no run", PAPER),
    _claim(9, "Removing right answers hurts more than removing wrong ones.", "starts", "72", "starts", _p9(), "search, latent"),
    _claim(10, "A negative sequence mask makes several updates per batch safe.", "sequence_mask", "70", "sequence_mask", (
        *(contrast(f"{m.upper()}, pass@1, 16 updates: mask above clip alone", P1, is_greater, f"{m}/16 mask 0.1", f"{m}/16 clip",
                   primary=True) for m in ("nsr", "grpo")),
        *(contrast(f"{m.upper()}, pass@1: 16 updates with the mask not below 4 with the clip", P1, is_not_worse,
                   f"{m}/16 mask 0.1", f"{m}/4 clip") for m in ("nsr", "grpo")),
        *(contrast(f"{m.upper()}, pass@1, 4 updates: mask above clip alone", P1, is_greater, f"{m}/4 mask 0.1", f"{m}/4 clip")
          for m in ("nsr", "grpo")),
        *(contrast(f"NSR, pass@1, 16 updates, {d:g}: mask above clip alone", P1, is_greater, f"nsr/16 mask {d:g}", "nsr/16 clip")
          for d in DELTAS if d != 0.1)), "latent"),
    _claim(11, "The lower clip raises entropy, the upper one lowers it.", "one_side", "70", "one_side", (
        contrast("entropy: both above the upper one alone", ENTROPY, is_greater, "grpo/both", "grpo/upper", primary=True),
        contrast("entropy: both below the lower one alone", ENTROPY, is_less, "grpo/both", "grpo/lower", primary=True),
        contrast("pass@64: both above the upper one alone", P64, is_greater, "grpo/both", "grpo/upper"),
        contrast("pass@64: both below the lower one alone", P64, is_less, "grpo/both", "grpo/lower")), "search"),
)

# --- for written pages (a sentence for the README is added when the runs that make it are committed) ---

KNOWN_BEFORE = (
    "Of P1, two seeds of NSR with and without the clip, at two rates over 200 batches, had been seen (data/pilots.csv): at 5e-5 "
    "the clip was worth about 15 points of pass@64, at 1.25e-5 nothing, and its effect on entropy had no clear sign. Of P4 and "
    "P5, the lengths of one base policy's answers. P8 is a number from the thread itself.")
