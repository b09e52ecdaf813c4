"""The claims of A3PO (arXiv 2512.21625), and two of ours about its controls. All are read in the world *latent*.

The rules were committed before the runs they judge; data/pilots.csv lists what had been looked at.

Entropy is read over the second half of a run, as a geometric mean (`settled`). The entropy of latent's start is about which way
to work, and GRPO has lost most of it by the first curve point (seen in the gates of notebook 04): over the whole course, the arm
that finds the accurate way a curve point later would count as the one that explores. The whole course stands beside it.
"""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from polarity_lib.claims import (
    MARGIN, RELATIVE_MARGIN, Claim, Finding, Subtest, absent, area, at_step, compare, each_above, final, in_order,
    is_equivalent, is_greater, is_less, is_not_worse, relative_final, tail,
)
from polarity_lib.experiments import Runs
from polarity_lib.papers.a3po.experiments import BASELINES, CELL_SCALES, CELLS, WEIGHTS, WORLD
from polarity_lib.papers.a3po.probes import SHIFTED_WORLDS
from polarity_lib.statistics import simultaneous_t

PAPER = "arXiv 2512.21625"
ENTROPY, HELD_OUT, LENGTH, COOL = "validation/entropy", "validation/pass@1", "test/length", "cool/pass@1"
P1, P8 = tail(1), tail(8)  # latent's tail is read at 8: 32 answers solve everything
GRPO, PSR, NSR = "grpo", "psr_grpo_seq", "nsr_grpo_seq"  # single polarity as A3PO's code has it
NAMES = {GRPO: "GRPO", PSR: "PSR", NSR: "NSR"}


# --- entropy, length, reward ----------------------------------------------------------


def settled(runs: Runs, metric: str = ENTROPY, since: float = 0.5) -> pd.DataFrame:
    """Seeds x arms: geometric mean of the curve points from a share of the run on; a start that was trained on takes no part."""
    rows = runs.metric(metric, last=False)
    end = rows.groupby(["seed", "arm"]).step.transform("max")
    late = rows[(rows.step >= since * end) & ((rows.step > 0) | (end == 0))]
    return np.exp(np.log(late.value.clip(lower=1e-9)).groupby([late.seed, late.arm]).mean()).unstack()


def entropy(rule, left: str, right: str, runs: Runs, since: float = 0.5) -> Finding:
    """Entropy of the settled policy, left against right, in per cent."""
    mean = settled(runs, ENTROPY, since)
    return rule((100 * (mean[left] / mean[right] - 1)).dropna(), RELATIVE_MARGIN)


def length(rule, left: str, right: str, runs: Runs) -> Finding:
    """Length of the answers to test problems at the end, in per cent."""
    return rule(relative_final(runs, left, right, LENGTH), RELATIVE_MARGIN)


def late_reward(left: str, right: str, metric: str, runs: Runs) -> Finding:
    """Not worse in the last curve point's window, in points."""
    late = 100 * at_step(runs, metric, 1.0, width=1)
    return is_not_worse((late[left] - late[right]).dropna())


def accuracy(rule, left: str, right: str):
    """pass@1 on the test set."""
    return compare(rule, left, right, P1)


# Two further released formulas that go by the names PSR and NSR; `definitions_latent` has them at the same rate.
DEFINITIONS = {"constant weights": {PSR: "psr", NSR: "nsr"}, "token mean": {PSR: "psr_grpo_tok", NSR: "nsr_grpo_tok"}}


def by_definition(name: str, metric: str, find, left: str, right: str) -> tuple[Subtest, ...]:
    """A primary contrast of one polarity with both, as A3PO's code has it, and by the other formulas.

    Args:
        find: (left, right) -> what a sub-test finds.
    """
    others = (Subtest(f"{name}, {words}", metric, "", find(arms.get(left, left), arms.get(right, right)), "definitions_latent",
                      reading_of=name, choice="definition") for words, arms in DEFINITIONS.items())
    return (Subtest(name, metric, "", find(left, right), primary=True), *others)


def of_both_kinds(rule, left: str) -> tuple[Subtest, ...]:
    """Entropy and length of one polarity alone against both, by one rule; the whole course beside it."""
    pair = f"{NAMES[left]} against GRPO"
    return (*by_definition(f"entropy, {pair}", ENTROPY, functools.partial(functools.partial, entropy, rule), left, GRPO),
            *by_definition(f"length, {pair}", LENGTH, functools.partial(functools.partial, length, rule), left, GRPO),
            Subtest(f"entropy, {pair}, whole course", ENTROPY, "", functools.partial(entropy, rule, left, GRPO, since=0.0)))


# --- C3, C4, C6, C7: probes of the finished policies ---------------------------------


def paid_unearned(left: str, right: str, runs: Runs) -> Finding:
    """Share of the last batches that the training's verifier paid and the true one would not, in points."""
    late = 100 * (at_step(runs, "train/paid", 1.0, width=1) - at_step(runs, "train/reward", 1.0, width=1))
    return is_greater((late[left] - late[right]).dropna())


def stranger(left: str, right: str, runs: Runs) -> Finding:
    """Surprise of the base policy at the answers, in per cent."""
    return is_greater(relative_final(runs, left, right, "probe/base_surprise"), RELATIVE_MARGIN)


ADMITTED = (0.05, 0.6)  # a shifted world says something where the base, mean over seeds, is neither lost nor at home


def kept_ratio(runs: Runs) -> pd.DataFrame | None:
    """Seeds x arms: pass@1 on the admitted shifted worlds over pass@1 on the test set; None where none is admitted."""
    low, high = ADMITTED
    admitted = [w for w in SHIFTED_WORLDS if low <= runs.metric(f"shifted/{w}/pass@16")["base"].mean() <= high]
    if not admitted:
        return None
    return sum(runs.metric(f"shifted/{w}/pass@1") for w in admitted) / len(admitted) / runs.metric(P1)


def keeps_less(left: str, right: str, runs: Runs) -> Finding:
    """What is kept of pass@1 on the shifted worlds, left minus right, in points of the ratio."""
    ratio = kept_ratio(runs)
    if ratio is None:
        return absent("the base scores outside {:g}-{:g} on every shifted world".format(*ADMITTED))
    return is_less((100 * (ratio[left] - ratio[right])).dropna())


# --- C8, C9: the grid of polarity weights ---------------------------------------------

BOTH_SIGNS = [(p, n) for p, n in WEIGHTS if p and n]


def along_ratio(values, direction, runs: Runs) -> Finding:
    """Spearman's correlation over the grid with log(w+/w-), one per seed."""
    table = values(runs)
    logs = [np.log(p / n) for p, n in BOTH_SIGNS]
    rows = table[[f"P{p:g}N{n:g}" for p, n in BOTH_SIGNS]].dropna().to_numpy()
    return direction(np.array([stats.spearmanr(logs, row).statistic for row in rows]), 0.1)


def early_reward(runs: Runs) -> pd.DataFrame:
    """Seeds x arms: reward on the pool at a quarter of the run."""
    return at_step(runs, "train/reward", 0.25)


def same_reward(left: str, right: str, runs: Runs) -> Finding:
    """Mean reward over training, in points."""
    mean = 100 * area(runs, "train/reward")
    return is_equivalent((mean[left] - mean[right]).dropna())


EQUAL = (("P2N2", "P1N1"), ("P0.5N0.5", "P1N1"), ("P2N1", "P1N0.5"))
HEADLINE = ("P2N2", "P1N1")


def equal_ratio(left: str, right: str, prefix: str = "") -> tuple[Subtest, ...]:
    """Two arms of one ratio: reward over training (points) and entropy (per cent)."""
    a, b = prefix + left, prefix + right
    primary = (left, right) == HEADLINE and prefix in ("", "sgd/")
    return (Subtest(f"reward, {a} = {b}", "train/reward", "", functools.partial(same_reward, a, b), primary=primary),
            Subtest(f"entropy, {a} = {b}", ENTROPY, "", functools.partial(entropy, is_equivalent, a, b)))


# --- C10, C11: four cells of tokens -----------------------------------------------------

# Raising these cells raises entropy, by the identity of the card's section 4.8; raising the others lowers it.
# Ranked by entropy instead of probability, the ends change places.
RAISING = {"probability": ("right_low", "wrong_high"), "entropy": ("right_high", "wrong_low")}


def gains(runs: Runs, names: list[str]) -> pd.DataFrame:
    """Seeds x arms: settled entropy against the unshaped run, per cent; seeds that have every arm."""
    mean = settled(runs)[["none", *names]].dropna()
    return 100 * (mean.div(mean["none"], axis=0) - 1)


def signs(metric: str, scales: tuple[float, ...], needed: int, runs: Runs) -> Finding:
    """How many (cell, scale) move entropy to the predicted side. Replicated: at least `needed`, none
    significantly to the other side. Differs here: more cells lie significantly opposite than as predicted."""
    prefix = "entropy/" if metric == "entropy" else ""
    change_SA = gains(runs, [f"{prefix}{cell}x{scale:g}" for cell in CELLS for scale in scales])
    matches, agrees, opposite, matching_S = 0, [], [], []
    for cell in CELLS:
        for scale in scales:
            change = change_SA[f"{prefix}{cell}x{scale:g}"].to_numpy()
            up = (cell in RAISING[metric]) == (scale > 1)
            found = (is_greater if up else is_less)(change, RELATIVE_MARGIN)
            matches += bool((change.mean() > 0) == up)
            agrees += [cell] * (found.verdict == "replicated")
            opposite += [f"{cell} x{scale:g}"] * (found.verdict == "differs here")
            matching_S.append((change > 0) == up)
    interval = is_greater(np.sum(matching_S, axis=0).astype(float)).interval  # matches per seed
    reason = f"{matches} of {len(matching_S)} signs match, {len(agrees)} of them significantly; " \
             f"significantly opposite: {', '.join(opposite) or 'none'}; the interval is of matches per seed"
    if interval.n < 2:
        return Finding(interval, "inconclusive", "one seed gives no interval")
    if matches >= needed and not opposite:
        return Finding(interval, "replicated", reason)
    return Finding(interval, "differs here" if len(opposite) > len(agrees) else "inconclusive", reason)


def named_cells_gain_most(runs: Runs) -> Finding:
    """The smaller gain of the two named cells minus the larger one of the other two, all at x5, per cent."""
    gain = {arm.removesuffix("x5"): values for arm, values in gains(runs, [f"{cell}x5" for cell in CELLS]).items()}
    named, others = RAISING["probability"], [c for c in CELLS if c not in RAISING["probability"]]
    return is_greater(np.minimum(*(gain[c] for c in named)) - np.maximum(*(gain[c] for c in others)), RELATIVE_MARGIN)


def no_cell_loses(runs: Runs) -> Finding:
    """pass@1 of both named cells at x5 against no shaping; shown is the one with the lower simultaneous bound."""
    arms = [f"{cell}x5" for cell in RAISING["probability"]]
    table = final(runs, P1)[[*arms, "none"]].dropna()  # the seeds that every arm has
    gap_SA = table[arms].to_numpy() - table[["none"]].to_numpy()
    if len(gap_SA) < 2:
        return is_not_worse(gap_SA.min(axis=1))
    arm, worst = min(zip(arms, simultaneous_t(gap_SA)), key=lambda pair: pair[1].low)
    found = is_not_worse(None, interval=worst)
    return replace(found, reason=f"shown is {arm}; {found.reason}")


# --- C12, C13, C14 ------------------------------------------------------------------------------

THEIR_GAINS = {"grpo": "+5.4 +6.2 +4.5", "dapo": "+4.1 +4.6 +3.3", "lp_reg": "+2.6 +3.1 +2.2",
               "dapo_fork": "+2.7 +3.6 +2.8", "w_reinforce": "+3.0 +3.4 +2.5"}


def calmer(left: str, right: str, runs: Runs) -> Finding:
    """Gradient norm before clipping at the end, in per cent. No sampler differs from its trainer here, so no gap is compared."""
    return is_less(relative_final(runs, left, right, "update/gradient_norm"), RELATIVE_MARGIN)


def above_every(metric: str, runs: Runs) -> Finding:
    """A3PO above each baseline, by intervals that hold for all together; shown is the pair with the lowest bound.

    One baseline above it, or one that ties with it (inside the margin), is enough to fail.
    """
    table = final(runs, metric)[["a3po", *BASELINES]].dropna()
    gap_SB = table[["a3po"]].to_numpy() - table[list(BASELINES)].to_numpy()
    if len(gap_SB) < 2:
        return is_greater(gap_SB.min(axis=1))
    pairs = dict(zip(BASELINES, simultaneous_t(gap_SB)))
    beaten = [b for b, i in pairs.items() if i.low > 0]
    told = f"above {len(beaten)} of {len(pairs)}"
    ties = {"differs here": lambda i: i.high < 0, "no effect": lambda i: -MARGIN < i.low <= 0 and i.high < MARGIN}
    for word, fails in ties.items():
        if against := [b for b, i in pairs.items() if fails(i)]:
            worst = min(against, key=lambda b: pairs[b].low)
            return Finding(pairs[worst], word, f"{told}; shown is {worst}")
    worst = min(pairs, key=lambda b: pairs[b].low)
    return Finding(pairs[worst], "replicated" if len(beaten) == len(pairs) else "inconclusive", f"{told}; shown is {worst}")


def answers_drawn(runs: Runs) -> pd.DataFrame:
    """arm, seed, step, drawn: answers sampled for training up to each curve point, thrown away ones included.

    `sampling/drawn` is a mean over the steps since the curve point before, so it counts once per such step.
    """
    rows = runs.metrics[runs.metrics.metric == "sampling/drawn"].sort_values("step")
    steps = rows.groupby(["arm", "seed"]).step.diff().fillna(rows.step)
    drawn = (rows.value * steps).groupby([rows.arm, rows.seed]).cumsum()
    start = rows.drop_duplicates(["arm", "seed"]).assign(step=0, drawn=0.0)
    return pd.concat([start, rows.assign(drawn=drawn)], ignore_index=True)[["arm", "seed", "step", "drawn"]]


def over_answers(runs: Runs, metric: str = HELD_OUT) -> pd.DataFrame:
    """arm, seed, step, drawn, value: a curve over the answers drawn so far."""
    points = runs.metrics[runs.metrics.metric == metric][["arm", "seed", "step", "value"]]
    return answers_drawn(runs).merge(points, on=["arm", "seed", "step"]).sort_values("step")


def per_answer(left: str, right: str, runs: Runs) -> Finding:
    """Held-out pass@1 after as many answers as the thriftier of the two drew in all, read off straight lines; points."""
    paths = {key: rows for key, rows in over_answers(runs).groupby(["seed", "arm"])}
    seeds = sorted({seed for seed, _ in paths if (seed, left) in paths and (seed, right) in paths})
    if not seeds:
        raise KeyError(left)

    def at(rows, budget):
        return np.interp(budget, rows.drawn, rows.value)

    gaps = []
    for pair in ((paths[seed, left], paths[seed, right]) for seed in seeds):
        budget = min(rows.drawn.max() for rows in pair)
        gaps.append(100 * (at(pair[0], budget) - at(pair[1], budget)))
    return is_greater(np.array(gaps))


def at_both_rates(name: str, metric: str, theirs: str, find) -> tuple[Subtest, Subtest]:
    """A primary contrast at each method's own rate, and again at one rate for all."""
    return (Subtest(name, metric, theirs, find, primary=True),
            Subtest(f"{name}, one rate", metric, "", find, "a3po_one_rate", reading_of=name))


def secondary_exploring() -> tuple[Subtest, ...]:
    """The rest of C14. DAPO's batches hold mixed groups only, so its training reward is of another kind: held-out instead."""
    parts = (("entropy above DAPO", ENTROPY, functools.partial(entropy, is_greater, "a3po", "dapo")),
             ("entropy above GRPO, whole course", ENTROPY, functools.partial(entropy, is_greater, "a3po", GRPO, since=0.0)),
             ("length not below GRPO", LENGTH, functools.partial(length, is_not_worse, "a3po", GRPO)),
             ("length not below DAPO", LENGTH, functools.partial(length, is_not_worse, "a3po", "dapo")),
             ("held-out not below DAPO", HELD_OUT, functools.partial(late_reward, "a3po", "dapo", HELD_OUT)))
    return tuple(Subtest(name, metric, "", find) for name, metric, find in parts)


# --- the claims ---------------------------------------------------------------------

F30, F31, F32, F33 = "30_polarity_weights", "31_cells", "32_head_to_head", "33_dynamics"
LEAKY = {arm: f"{arm} leaky" for arm in ("base", PSR, GRPO)}

CLAIMS = (
    Claim("A3PO-C1", "Right answers alone sharpen: entropy and length fall below those of both polarities.",
          "single_polarity", "33", F33, of_both_kinds(is_less, PSR), WORLD, PAPER),
    Claim("A3PO-C2", "Wrong answers alone explore: entropy and length stay at or above those of both polarities.",
          "single_polarity", "33", F33, of_both_kinds(is_not_worse, NSR), WORLD, PAPER),
    Claim("A3PO-C3", "Right answers alone end in reward hacking, more than both polarities do.",
          "single_polarity", "33", "33_hacking", (
        Subtest("unearned reward of PSR above the base's", "probe/unearned", "",
                compare(is_greater, LEAKY[PSR], LEAKY["base"], "probe/unearned"), primary=True),
        Subtest("unearned reward of PSR above GRPO's", "probe/unearned", "",
                compare(is_greater, LEAKY[PSR], LEAKY[GRPO], "probe/unearned"), primary=True),
        Subtest("unearned on the pool, PSR above GRPO", "train/paid - train/reward", "",
                functools.partial(paid_unearned, LEAKY[PSR], LEAKY[GRPO])),
        *(Subtest(f"reward without work, PSR above {other}", "probe/hacked", "",
                  compare(is_greater, LEAKY[PSR], LEAKY[other], "probe/hacked")) for other in ("base", GRPO))),
          f"{WORLD}, leaky verifier", PAPER),
    Claim("A3PO-C4", "Wrong answers alone can become garbled.", "single_polarity", "33", "33_garbling", tuple(
        Subtest(f"{name} above {NAMES.get(other, other)}", metric, "", find, primary=other == GRPO)
        for other in (GRPO, "base") for name, metric, find in (
            ("unreadable answers", "probe/unreadable", compare(is_greater, NSR, other, "probe/unreadable")),
            ("surprise to the base", "probe/base_surprise", functools.partial(stranger, NSR, other)))), WORLD, PAPER),
    Claim("A3PO-C5", "Both polarities are needed; right answers alone narrow the tail.", "single_polarity", "33", F33, (
        *by_definition("GRPO above PSR", P1, functools.partial(accuracy, is_greater), GRPO, PSR),
        *by_definition("GRPO above NSR", P1, functools.partial(accuracy, is_greater), GRPO, NSR),
        *(Subtest(f"GRPO above {NAMES[half]}, temperature 0.6", COOL, "", compare(is_greater, GRPO, half, COOL))
          for half in (PSR, NSR)),
        *(Subtest(f"GRPO above {NAMES[half]}, constant weights, own rates", P1, "", accuracy(is_greater, GRPO, arm),
                  "psr_nsr_latent") for half, arm in DEFINITIONS["constant weights"].items()),
        Subtest("PSR below base at 8", P8, "", compare(is_less, PSR, "base", P8))), WORLD, PAPER),
    Claim("A3PO-C6", "Wrong answers protect generalisation: right answers alone keep least out of distribution.",
          "single_polarity", "33", "33_shifted", tuple(
        Subtest(f"PSR keeps less than {NAMES[other]}", "shifted pass@1 / test pass@1", "",
                functools.partial(keeps_less, PSR, other), primary=True) for other in (GRPO, NSR)), f"{WORLD}, shifted", PAPER),
    Claim("A3PO-C7", "Right answers sharpen known patterns, wrong ones discover new ones.",
          "single_polarity", "33", "33_patterns", (
        Subtest("novel n-grams: PSR < GRPO < NSR", "patterns/novel", "",
                functools.partial(in_order, "patterns/novel", (PSR, GRPO, NSR)), primary=True),
        Subtest("habits of the base: NSR < GRPO < PSR", "patterns/reused", "",
                functools.partial(in_order, "patterns/reused", (NSR, GRPO, PSR)), primary=True)), WORLD, PAPER),
    Claim("A3PO-C8", "More weight on right answers: faster reward, less entropy.", "polarity_weights", "30", F30, (
        Subtest("early reward rises with the ratio", "train/reward", "",
                functools.partial(along_ratio, early_reward, is_greater), primary=True),
        Subtest("entropy falls with the ratio", ENTROPY, "", functools.partial(along_ratio, settled, is_less), primary=True)),
          WORLD, PAPER),
    Claim("A3PO-C9", "The ratio of the weights matters, not their size.", "polarity_weights", "30", "30_equal_ratios", (
        *(test for pair in EQUAL for test in equal_ratio(*pair)),
        *(test for pair in EQUAL for test in equal_ratio(*pair, prefix="sgd/")),
        *equal_ratio(*HEADLINE, prefix="sgd+kl/")), WORLD, PAPER),
    Claim("A3PO-C10", "Raising unlikely right or likely wrong tokens raises entropy; the other cells do the reverse.",
          "token_shaping", "31", F31, (
        Subtest("16 signs by probability", ENTROPY, "16", functools.partial(signs, "probability", CELL_SCALES, 14), primary=True),
        Subtest("8 signs by entropy", ENTROPY, "", functools.partial(signs, "entropy", (0.2, 5.0), 7))), WORLD, PAPER),
    Claim("A3PO-C11", "The two named cells gain most entropy and lose no accuracy.", "token_shaping", "31", F31, (
        Subtest("gain above the other cells", ENTROPY, "", named_cells_gain_most, primary=True),
        Subtest("neither loses accuracy", P1, "", no_cell_loses, primary=True)), WORLD, PAPER),
    Claim("A3PO-C12", "A decaying weight ends better than a constant one.", "a3po_ablations", "32", "32_ablations", (
        *(Subtest(f"above {name}", P1, "", accuracy(is_greater, "a3po", name), primary=True)
          for name in ("constant 2", "constant 5")),
        *(Subtest(f"gradient at the end below {name}", "update/gradient_norm", "", functools.partial(calmer, "a3po", name))
          for name in ("constant 2", "constant 5"))), WORLD, PAPER),
    Claim("A3PO-C13", "A3PO beats every baseline.", "a3po", "32", F32, (
        *at_both_rates("above GRPO", P1, THEIR_GAINS[GRPO], accuracy(is_greater, "a3po", GRPO)),
        *at_both_rates("above every baseline", P1, THEIR_GAINS["lp_reg"], functools.partial(above_every, P1)),
        *(Subtest(f"above {b}, among five", P1, THEIR_GAINS[b], each_above("a3po", BASELINES, P1, b)) for b in BASELINES),
        Subtest("above GRPO, temperature 0.6", COOL, "", compare(is_greater, "a3po", GRPO, COOL)),
        Subtest("above every baseline, temperature 0.6", COOL, "", functools.partial(above_every, COOL)),
        Subtest("above GRPO at 8", P8, "", compare(is_greater, "a3po", GRPO, P8)),
        Subtest("above DAPO per answer drawn", HELD_OUT, "", functools.partial(per_answer, "a3po", "dapo")),
        Subtest("DAPO above GRPO", P1, "+1.3 +1.6 +1.2", accuracy(is_greater, "dapo", GRPO)),
        Subtest("DAPO above GRPO per answer drawn", HELD_OUT, "", functools.partial(per_answer, "dapo", GRPO))),
          WORLD, PAPER),
    Claim("A3PO-C14", "A3PO keeps more entropy and length than GRPO and DAPO, without less reward.",
          "a3po", "32", "32_dynamics", (
        *at_both_rates("entropy above GRPO", ENTROPY, "", functools.partial(entropy, is_greater, "a3po", GRPO)),
        *at_both_rates("reward not below GRPO", "train/reward", "", functools.partial(late_reward, "a3po", GRPO, "train/reward")),
        *secondary_exploring()), WORLD, PAPER),
    # Ours: what must hold for the comparisons above to mean anything.
    Claim("OURS-4", "What A3PO gains comes from its choice of tokens, not from larger steps.", "a3po_ablations", "32",
          "32_ablations", (
        *(Subtest(f"A3PO above {name}", P1, "", accuracy(is_greater, "a3po", name), primary=name != "swapped")
          for name in ("random tokens", "same positions", "swapped")),
        *(Subtest(f"entropy, A3PO above {name}", ENTROPY, "", functools.partial(entropy, is_greater, "a3po", name))
          for name in ("random tokens", "swapped")),
        Subtest("A3PO at GRPO's update size above GRPO", P1, "", accuracy(is_greater, "a3po matched", GRPO)),
        Subtest("mean weight one is as good", P1, "", accuracy(is_equivalent, "mean one", "a3po"))), WORLD, "ours"),
    Claim("OURS-5", "Under a lying verifier A3PO learns nothing.", "a3po_ablations", "32", "32_ablations", (
        Subtest("tossed verdicts below true ones", P1, "", accuracy(is_less, "a3po tossed", "a3po"), primary=True),
        Subtest("flipped verdicts below tossed", P1, "", accuracy(is_less, "a3po flipped", "a3po tossed"), primary=True)),
          WORLD, "ours"),
)


# --- for the written pages: what was known, and which means belong to the summary ---

KNOWN_BEFORE = (
    "GRPO's own runs of the gates in latent, whose entropy is why it is read over the second half; the base policy alone on the "
    "shifted problems; the pilots of data/pilots.csv, among them one run of A3PO in a harder latent. The first study, in worlds "
    "in which little moved, is no longer read.")
SUMMARIES = (("A3PO and its baselines in latent, each at its own rate, per cent", "a3po", "", (1, 8)),)
