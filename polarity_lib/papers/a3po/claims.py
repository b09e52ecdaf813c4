"""The claims of A3PO (arXiv 2512.21625), and ours about its controls. Committed before the runs they judge."""

import functools

import numpy as np
import pandas as pd
from scipy import stats

from polarity_lib.claims import (
    RELATIVE_MARGIN, Claim, Finding, Subtest, absent, area, at_step, compare, difference, each_above, final,
    is_equivalent, is_greater, is_less, is_not_worse, is_ordered, relative_area, relative_final, tail,
)
from polarity_lib.experiments import Runs
from polarity_lib.papers.a3po.experiments import BASELINES, CELL_SCALES, CELLS, WEIGHTS
from polarity_lib.papers.a3po.probes import SHIFTED_WORLDS

PAPER = "arXiv 2512.21625"
ENTROPY, LENGTH = "validation/entropy", "test/length"
P1, P32 = tail(1), tail(32)
GRPO, PSR, NSR = "grpo", "psr_grpo_seq", "nsr_grpo_seq"  # single polarity as A3PO's code has it


def _entropy(rule, left: str, right: str, runs: Runs) -> Finding:
    """Mean entropy over training, left against right, in per cent."""
    return rule(relative_area(runs, left, right, ENTROPY), RELATIVE_MARGIN)


def _length(rule, left: str, right: str, runs: Runs) -> Finding:
    return rule(relative_final(runs, left, right, LENGTH), RELATIVE_MARGIN)


def _pair(rule, left: str, right: str) -> tuple[Subtest, ...]:
    """Entropy and final length of two arms, by one rule."""
    return (Subtest(f"entropy, {left} against {right}", ENTROPY, "", functools.partial(_entropy, rule, left, right)),
            Subtest(f"length, {left} against {right}", LENGTH, "", functools.partial(_length, rule, left, right)))


# --- C3, C4, C6, C7: probes of the finished policies ---------------------------------


def _more_hacked(left: str, right: str, runs: Runs) -> Finding:
    """Reward without faithful work, in points."""
    return is_greater(difference(runs, left, right, "probe/hacked"))


def _stranger(left: str, right: str, runs: Runs) -> Finding:
    """Surprise of the base policy at the answers, in per cent."""
    return is_greater(relative_final(runs, left, right, "probe/base_surprise"), RELATIVE_MARGIN)


ADMITTED = (0.05, 0.6)  # a shifted world says something where the base, mean over seeds, is neither lost nor at home


def _kept_ratio(runs: Runs):
    """Seeds x arms: pass@16 on the admitted shifted worlds over pass@16 on the test set."""
    low, high = ADMITTED
    admitted = [w for w in SHIFTED_WORLDS if low <= runs.metric(f"shifted/{w}/pass@16")["base"].mean() <= high]
    if not admitted:
        return None
    return sum(runs.metric(f"shifted/{w}/pass@16") for w in admitted) / len(admitted) / runs.metric(tail(16))


def _keeps_less(left: str, right: str, runs: Runs) -> Finding:
    ratio = _kept_ratio(runs)
    if ratio is None:
        return absent("the base scores outside {:g}-{:g} on every shifted world".format(*ADMITTED))
    return is_less((100 * (ratio[left] - ratio[right])).dropna())


def _pattern_order(metric: str, arms: list[str], runs: Runs) -> Finding:
    return is_ordered(final(runs, metric)[arms].dropna(), arms)


# --- C8, C9: the grid of polarity weights ---------------------------------------------

BOTH_SIGNS = [(p, n) for p, n in WEIGHTS if p and n]


def _grid(values, direction, runs: Runs) -> Finding:
    """Spearman's correlation over the grid with log(w+/w-), one per seed."""
    table = values(runs)
    logs = [np.log(p / n) for p, n in BOTH_SIGNS]
    rows = table[[f"P{p:g}N{n:g}" for p, n in BOTH_SIGNS]].dropna().to_numpy()
    return direction(np.array([stats.spearmanr(logs, row).statistic for row in rows]), 0.1)


def _early_reward(runs: Runs):
    return at_step(runs, "train/reward", 0.25)


def _mean_entropy(runs: Runs):
    return area(runs, ENTROPY)


def _equal_ratio(left: str, right: str) -> tuple[Subtest, ...]:
    """Two arms of one ratio: curves of entropy (per cent) and of reward (points)."""
    def reward(runs):
        mean = 100 * area(runs, "train/reward")
        return is_equivalent((mean[left] - mean[right]).dropna())

    return (Subtest(f"entropy, {left} = {right}", ENTROPY, "", functools.partial(_entropy, is_equivalent, left, right)),
            Subtest(f"reward, {left} = {right}", "train/reward", "", reward))


EQUAL = (("P2N2", "P1N1"), ("P0.5N0.5", "P1N1"), ("P2N1", "P1N0.5"))

# --- C10, C11: four cells of tokens -----------------------------------------------------

# Raising these cells raises entropy, by the identity of the card's section 4.8; raising the others lowers it.
# Ranked by entropy instead of probability, the ends change places.
RAISING = {"probability": ("right_low", "wrong_high"), "entropy": ("right_high", "wrong_low")}


def _gains(runs: Runs, names: list[str]) -> pd.DataFrame:
    """Seeds x arms: mean entropy over training against the unshaped run, per cent; seeds that have every arm."""
    mean = area(runs, ENTROPY)[["none", *names]].dropna()
    return 100 * (mean.div(mean["none"], axis=0) - 1)


def _signs(metric: str, scales: tuple[float, ...], needed: int, runs: Runs) -> Finding:
    """How many (cell, scale) move entropy to the predicted side. Replicated: at least `needed`, none
    significantly to the other side. Differs here: more cells lie significantly opposite than as predicted."""
    prefix = "entropy/" if metric == "entropy" else ""
    gains = _gains(runs, [f"{prefix}{cell}x{scale:g}" for cell in CELLS for scale in scales])
    matches, agrees, opposite, matching_S = 0, [], [], []
    for cell in CELLS:
        for scale in scales:
            change = gains[f"{prefix}{cell}x{scale:g}"].to_numpy()
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


def _named_cells_gain_most(runs: Runs) -> Finding:
    """The smaller gain of the two named cells minus the larger one of the other two, all at x5, per cent."""
    gain = {arm.removesuffix("x5"): values for arm, values in _gains(runs, [f"{cell}x5" for cell in CELLS]).items()}
    named, others = RAISING["probability"], [c for c in CELLS if c not in RAISING["probability"]]
    return is_greater(np.minimum(*(gain[c] for c in named)) - np.maximum(*(gain[c] for c in others)), RELATIVE_MARGIN)


# --- C13, C14 ------------------------------------------------------------------------------


def _beats(world: str, baseline: str, theirs: str) -> Subtest:
    """A3PO above one baseline, the interval simultaneous over all five."""
    prefix = f"{world}/" if world != "chain" else ""
    others = tuple(f"{prefix}{b}" for b in BASELINES)
    return Subtest(f"above {baseline}, {world}", P1, theirs, each_above(f"{prefix}a3po", others, P1, f"{prefix}{baseline}"),
                   experiment="a3po_chain" if world == "chain" else "", world=world)


THEIR_GAINS = {"grpo": "+5.4 +6.2 +4.5", "dapo": "+4.1 +4.6 +3.3", "lp_reg": "+2.6 +3.1 +2.2",
               "dapo_fork": "+2.7 +3.6 +2.8", "w_reinforce": "+3.0 +3.4 +2.5"}


def _reward_at_end(left: str, right: str, metric: str, runs: Runs) -> Finding:
    late = 100 * at_step(runs, metric, 1.0, width=1)
    return is_not_worse((late[left] - late[right]).dropna())


def _keeps_exploring(prefix: str) -> tuple[Subtest, ...]:
    """Entropy, length and late reward of A3PO against GRPO and DAPO in one world."""
    world = prefix.rstrip("/") or "chain"
    where = {"experiment": "" if prefix else "a3po_chain", "world": world}
    ours, tests = f"{prefix}a3po", []
    # DAPO's batches hold mixed groups only, so its train/reward is of another kind. Changed after the countdown
    # runs were known: the first rule compared train/reward with DAPO's too, and found it 5 and 19 points lower.
    for name, reward in ((GRPO, "train/reward"), ("dapo", "validation/pass@1")):
        other = f"{prefix}{name}"
        tests += [
            Subtest(f"entropy above {name}, {world}", ENTROPY, "", functools.partial(_entropy, is_greater, ours, other), **where),
            Subtest(f"length not below {name}, {world}", LENGTH, "",
                    functools.partial(_length, is_not_worse, ours, other), **where),
            Subtest(f"reward not below {name}, {world}", reward, "",
                    functools.partial(_reward_at_end, ours, other, reward), **where)]
    return tuple(tests)


F30, F31, F32, F33 = "30_polarity_weights", "31_cells", "32_head_to_head", "33_dynamics"

CLAIMS = (
    Claim("A3PO-C1", "Right answers alone sharpen: entropy and length fall below those of both polarities.",
          "single_polarity", "33", F33, _pair(is_less, PSR, GRPO), "chain", PAPER),
    Claim("A3PO-C2", "Wrong answers alone explore: entropy and length stay at or above those of both polarities.",
          "single_polarity", "33", F33, _pair(is_not_worse, NSR, GRPO), "chain", PAPER),
    Claim("A3PO-C3", "Right answers alone end in reward hacking, more than both polarities do.",
          "single_polarity", "33", "33_hacking", (
        Subtest("PSR hacks more than the base", "probe/hacked", "",
                functools.partial(_more_hacked, f"{PSR} leaky", "base leaky")),
        Subtest("PSR hacks more than GRPO", "probe/hacked", "",
                functools.partial(_more_hacked, f"{PSR} leaky", f"{GRPO} leaky"))), "chain, leaky verifier", PAPER),
    Claim("A3PO-C4", "Wrong answers alone can become garbled.", "single_polarity", "33", "33_garbling", tuple(
        Subtest(f"{name} above {other}", metric, "", find)
        for other in ("base", GRPO) for name, metric, find in (
            ("unreadable answers", "probe/unreadable", compare(is_greater, NSR, other, "probe/unreadable")),
            ("surprise to the base", "probe/base_surprise", functools.partial(_stranger, NSR, other)))), "chain", PAPER),
    Claim("A3PO-C5", "Both polarities are needed; right answers alone narrow the tail.", "single_polarity", "33", F33, (
        Subtest("GRPO above PSR, chain", P1, "", compare(is_greater, GRPO, PSR, P1)),
        Subtest("GRPO above NSR, chain", P1, "", compare(is_greater, GRPO, NSR, P1)),
        Subtest("PSR below base at 32, chain", P32, "", compare(is_less, PSR, "base", P32)),
        Subtest("GRPO above PSR, countdown3", P1, "", compare(is_greater, GRPO, PSR, P1), "definitions", "countdown3"),
        Subtest("GRPO above NSR, countdown3", P1, "", compare(is_greater, GRPO, NSR, P1), "definitions", "countdown3")),
          "chain", PAPER),
    Claim("A3PO-C6", "Wrong answers protect generalisation: right answers alone keep least out of distribution.",
          "single_polarity", "33", "33_shifted", tuple(
        Subtest(f"PSR keeps less than {other}", "shifted pass@16 / test pass@16", "",
                functools.partial(_keeps_less, PSR, other)) for other in (GRPO, NSR)), "chain, shifted", PAPER),
    Claim("A3PO-C7", "Right answers sharpen known patterns, wrong ones discover new ones.",
          "single_polarity", "33", "33_patterns", (
        Subtest("novel n-grams: PSR < GRPO < NSR", "patterns/novel", "",
                functools.partial(_pattern_order, "patterns/novel", [PSR, GRPO, NSR])),
        Subtest("habits of the base: NSR < GRPO < PSR", "patterns/reused", "",
                functools.partial(_pattern_order, "patterns/reused", [NSR, GRPO, PSR]))), "chain", PAPER),
    Claim("A3PO-C8", "More weight on right answers: faster reward, less entropy.", "polarity_weights", "30", F30, (
        Subtest("early reward rises with the ratio", "train/reward", "", functools.partial(_grid, _early_reward, is_greater)),
        Subtest("entropy falls with the ratio", ENTROPY, "", functools.partial(_grid, _mean_entropy, is_less))),
          "countdown3", PAPER),
    Claim("A3PO-C9", "The ratio of the weights matters, not their size.", "polarity_weights", "30", "30_equal_ratios", (
        *(test for pair in EQUAL for test in _equal_ratio(*pair)),
        *(test for a, b in EQUAL for test in _equal_ratio(f"sgd/{a}", f"sgd/{b}")),
        *_equal_ratio("sgd+kl/P2N2", "sgd+kl/P1N1")), "countdown3", PAPER),
    Claim("A3PO-C10", "Raising unlikely right or likely wrong tokens raises entropy; the other cells do the reverse.",
          "token_shaping", "31", F31, (
        Subtest("16 signs by probability", ENTROPY, "16", functools.partial(_signs, "probability", CELL_SCALES, 14)),
        Subtest("8 signs by entropy", ENTROPY, "", functools.partial(_signs, "entropy", (0.2, 5.0), 7))), "chain", PAPER),
    Claim("A3PO-C11", "The two named cells gain most entropy and lose no accuracy.", "token_shaping", "31", F31, (
        Subtest("gain above the other cells", ENTROPY, "", _named_cells_gain_most),
        *(Subtest(f"{cell} x5 loses no accuracy", P1, "", compare(is_not_worse, f"{cell}x5", "none", P1))
          for cell in RAISING["probability"])), "chain", PAPER),
    Claim("A3PO-C12", "A decaying weight ends better than a constant one.", "a3po_ablations", "32", "32_ablations", tuple(
        Subtest(f"above {name}", P1, "", compare(is_greater, "a3po", name, P1)) for name in ("constant 2", "constant 5")),
          "chain", PAPER),
    Claim("A3PO-C13", "A3PO beats every baseline.", "a3po_countdown", "32", F32, (
        *(_beats(world, b, THEIR_GAINS[b]) for world in ("countdown3", "countdown4", "chain") for b in BASELINES),
        *(Subtest(f"DAPO above GRPO, {world}", P1, "+1.3 +1.6 +1.2", compare(is_greater, f"{world}/dapo", f"{world}/grpo", P1),
                  world=world) for world in ("countdown3", "countdown4"))), "countdown3, countdown4, chain", PAPER),
    Claim("A3PO-C14", "A3PO keeps more entropy and length than GRPO and DAPO, without less reward.",
          "a3po_countdown", "32", "32_dynamics", (
        *_keeps_exploring("countdown3/"), *_keeps_exploring("countdown4/"), *_keeps_exploring("")),
          "countdown3, countdown4, chain", PAPER),
    Claim("OURS-4", "What A3PO gains comes from its choice of tokens, not from larger steps.",
          "a3po_ablations", "32", "32_ablations", (
        *(Subtest(f"A3PO above {name}", P1, "", compare(is_greater, "a3po", name, P1))
          for name in ("random tokens", "same positions", "swapped")),
        Subtest("A3PO at GRPO's update size above GRPO", P1, "", compare(is_greater, "a3po matched", GRPO, P1)),
        Subtest("mean weight one is as good", P1, "", compare(is_equivalent, "mean one", "a3po", P1))), "chain", "ours"),
    Claim("OURS-5", "Under a lying verifier A3PO learns nothing.", "a3po_ablations", "32", "32_ablations", (
        Subtest("tossed verdicts below true ones", P1, "", compare(is_less, "a3po tossed", "a3po", P1)),
        Subtest("flipped verdicts below tossed", P1, "", compare(is_less, "a3po flipped", "a3po tossed", P1))), "chain", "ours"),
)


# --- for the README: sentences, whose words are checked against the numbers they are written with ---


def _equals_grpo(load) -> str:
    """A3PO against GRPO and Lp-Reg on countdown; its tokens against random ones."""
    runs, worlds = load("a3po_countdown"), ("countdown3", "countdown4")
    largest = max(abs(difference(runs, f"{w}/a3po", f"{w}/{other}", P1).mean()) for w in worlds for other in (GRPO, "lp_reg"))
    it = is_greater(relative_area(load("token_shaping"), "a3pox5", "randomx5", ENTROPY)).interval
    assert largest < 1 and it.low < 0 < it.high
    return (f"**A3PO** equals GRPO and Lp-Reg on countdown (within {largest:.1f} points of pass@1). Five-fold weight on the "
            f"tokens it picks moves entropy no more than on random tokens: {it.estimate:+.2f} % ({it.low:+.2f}, {it.high:+.2f}).")


def _leak(load) -> str:
    """What a leaky verifier did to accuracy, and what it paid, against the base."""
    runs = load("single_polarity")
    paid, right = (100 * runs.metric(m).mean() for m in ("probe/rewarded", P1))
    arms = {name: f"{name} leaky" for name in (PSR, GRPO, NSR)}
    extra = [is_greater(difference(runs, arm, "base leaky", "probe/rewarded")).interval for arm in arms.values()]
    assert right[arms[NSR]] < right["base"] / 4 and all(it.low <= 0 for it in extra)
    return (f"**Under a leaky verifier** (chain) wrong answers alone collapsed, from {right['base']:.0f} to "
            f"{right[arms[NSR]]:.0f} % right. No method earned reliably more held-out reward than the leak pays the base "
            f"({paid['base leaky']:.0f} %): right answers alone {paid[arms[PSR]]:.0f} %, both {paid[arms[GRPO]]:.0f} %, "
            f"wrong ones alone {paid[arms[NSR]]:.0f} %.")


KNOWN_BEFORE = (
    "Five runs were known when the rule of C5 was written. In C14 the comparison of late reward with DAPO was moved from "
    "training batches to held-out problems when the countdown runs were known: DAPO's batches hold mixed groups only, so its "
    "training reward is of another kind.")
FINDINGS = (_equals_grpo, _leak)
SUMMARIES = (("A3PO and its baselines, three-digit countdown, per cent", "a3po_countdown", "countdown3/", (1, 32)),
             ("Four-digit countdown", "a3po_countdown", "countdown4/", (1, 32)), ("Chain", "a3po_chain", "", (1, 32)))
