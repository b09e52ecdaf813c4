"""Figures of notebooks 40 and 41 (LENS): tables to figures. Nothing here samples, trains or judges.

    group_table             one group by hand: confidence, odds, calibrated reward, advantage
    plot_schematic ...      notebook 40, from formulas
    plot_gaps ...           notebook 41, from the tables of runs

Every plot of runs draws what is there: an arm without runs is left out, a single seed has no interval.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from polarity_lib.papers.lens.claims import by_level
from polarity_lib.config import ConfigError
from polarity_lib.evaluation import pass_at_k, powers_of_two
from polarity_lib.experiments import Runs
from polarity_lib.plots import (
    COLOURS, NEUTRAL, RIGHT, WRONG, arm_colour, arm_colours, arm_label, draw_arms, draw_line, draw_seeds, plot_curves,
)
from polarity_lib.papers.lens.methods import LensOptions, calibrated_rewards, confidence, difficulty, lens_advantage, theory_odds
from polarity_lib.papers.lens.theory import value_weight
from polarity_lib.claims import difference
from polarity_lib.statistics import Interval, paired_t, simultaneous_t

MODELS = {"Llama": "s", "Qwen": "D"}  # the paper's, and their markers


# ---------------------------------------------------------------- by hand


def group_table(confidences, right, variant: str = "N", tokens: int = 200, alpha: float = 0.25, ddof: int = 1,
                **options) -> pd.DataFrame:
    """What LENS makes of one group, step by step.

    Args:
        confidences: length-normalised probability of each answer.
        right: whether each is right.
        tokens: length of every answer; variant R needs the probability of the whole answer.
        options: of `LensOptions`, such as factor and demean.

    Returns:
        One row per answer: confidence, right, D, odds (NaN where right), reward r~, advantage.
    """
    right_N, group_N = torch.as_tensor(np.asarray(right, dtype=float)), torch.zeros(len(right), dtype=torch.long)
    logprobs_NT = torch.as_tensor(np.log(np.asarray(confidences, dtype=float)))[:, None].repeat(1, tokens)
    mask_NT = torch.ones_like(logprobs_NT)
    logs_N = confidence(logprobs_NT, mask_NT)
    raw_N = confidence(logprobs_NT, mask_NT, normalise=False) if variant == "R" else None
    hard_N = difficulty(logs_N, right_N, group_N, options.get("factor", 2.0), raw_N)
    rewards_N = calibrated_rewards(right_N, logs_N, hard_N, group_N, options.get("over_group", True))
    lens_options = LensOptions(variant=variant, alpha=alpha, ddof=ddof, **options)
    advantages_N = lens_advantage(right_N, group_N, logprobs_NT, mask_NT, lens_options)
    odds_N = torch.where(right_N > 0, torch.nan, theory_odds(logs_N, hard_N))
    columns = {"D": hard_N.exp(), "odds": odds_N, "reward": rewards_N, "advantage": advantages_N}
    table = pd.DataFrame({"confidence": confidences, "right": right_N.bool().numpy()})
    return table.assign(**{name: values.numpy() + 0.0 for name, values in columns.items()})


def spread_out(mean: float, spread: float, size: int = 16) -> np.ndarray:
    """`size` confidences evenly spaced around a mean, with about this standard deviation, inside (0, 1)."""
    return (mean + spread * np.sqrt(3) * np.linspace(-1, 1, size)).clip(0.001, 0.999)


def negative_share(mean: float, spread: float, all_wrong: float, mixed: float, size: int = 16) -> dict[str, float]:
    """How much of the signal comes from all-wrong groups, by hand: sum |advantage| over a batch.

    Confidences are `spread_out`; the number right in a mixed group runs over 1 .. size - 1.

    Args:
        all_wrong, mixed: shares of the two kinds of groups.

    Returns:
        mean |A| of a row in either kind of group, and the all-wrong groups' share of the sum, in per cent.
    """
    sure = spread_out(mean, spread, size)
    inner = group_table(sure, [0] * size).advantage.abs().mean()
    # The right ones are spread over the confidences, not the surest or the least sure.
    order = np.argsort((np.arange(size) * 7) % size)
    outer = np.mean([group_table(sure, order < k).advantage.abs().mean() for k in range(1, size)])
    total = all_wrong * inner + mixed * outer
    share = 100 * all_wrong * inner / total if total else float("nan")
    return {"|A| in an all-wrong group": inner, "|A| in a mixed group": outer, "share of the signal, %": share}


# ---------------------------------------------------------------- notebook 40


def plot_schematic(p_star_K, negative: pd.DataFrame):
    """The paper's Figures 3 and 1 from numbers: a policy made of correctness probabilities; an all-wrong group.

    Args:
        p_star_K: [K] probability that each option is right.
        negative: `group_table` of an all-wrong group.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
    p_star_K = np.asarray(p_star_K, dtype=float)
    d = 1 / p_star_K.sum()
    place = np.arange(len(p_star_K))
    left.bar(place, p_star_K, 0.8, fill=False, ec="#777777", ls=(0, (3, 2)), label="p*, probability of being right")
    left.bar(place, d * p_star_K, 0.55, color=COLOURS["lens"], label=f"π* = D p*, a policy (D = {d:.2f})")
    left.set_xticks(place, [f"o{i + 1}" for i in place])
    left.set_ylim(0, 1.35)
    left.set_ylabel("probability")
    left.set_title("Normalised, a reward model is a policy")
    left.legend(loc="upper right")
    place = np.arange(len(negative))
    right.plot(place, np.zeros(len(place)), "D", ms=8, color=COLOURS["grpo"], zorder=3, label="GRPO: 0, nothing to learn")
    right.bar(place, negative.reward, 0.55, color=COLOURS["lens"], label="LENS: surer means heavier")
    for x, value in zip(place, negative.reward):
        right.text(x, value - 0.004, f"{value:.3f}", ha="center", va="top", fontsize=9)
    right.set_xticks(place, [f"{c:.2g}" for c in negative.confidence])
    right.set_xlabel("confidence in the wrong answer")
    right.set_ylabel("reward")
    right.set_ylim(1.2 * negative.reward.min(), 0.12)
    right.set_title("A group in which everything is wrong")
    right.legend(loc="upper right")
    for ax in (left, right):
        ax.grid(axis="x", visible=False)
    return fig


def plot_weight(largest: float = 6.0):
    """The weight of Theorem 2 against z = π / D, with the odds that act in the gradient (the paper's Figure 4)."""
    z = np.linspace(0, 0.999, 1000)
    fig, ax = plt.subplots(figsize=(7.0, 4.0))
    ax.plot(z, value_weight(torch.from_numpy(z)).numpy(), color=COLOURS["lens"], label="w(z), in the value function")
    ax.plot(z, z / (1 - z), color=WRONG, label="z / (1 − z), in the gradient")
    ax.plot(z, z / 2, color=NEUTRAL, ls=(0, (4, 2)), label="z / 2, first term of w's series")
    ax.set_ylim(0, largest)
    ax.set_xlabel("z = π / D, how sure the policy is that a wrong answer is right")
    ax.set_ylabel("weight of the wrong answer")
    ax.legend(loc="upper left")
    return fig


def plot_rewards(negative: pd.DataFrame, sizes: pd.Series, violations: pd.DataFrame):
    """What LENS does to an all-wrong group, how large that is, and what 1/G is for.

    Args:
        negative: `group_table` of an all-wrong group.
        sizes: label -> mean |advantage|.
        violations: rows of `lens_theory.sign_violations`, with a column factor.
    """
    fig, (first, second, third) = plt.subplots(1, 3, figsize=(12.5, 3.9), width_ratios=(1.1, 1, 1))
    for rows, colour, label in ((negative[negative.advantage >= 0], RIGHT, "wrong, and reinforced"),
                                (negative[negative.advantage < 0], WRONG, "wrong, and suppressed")):
        first.vlines(rows.confidence, 0, rows.advantage, color=colour, lw=1.5)
        first.plot(rows.confidence, rows.advantage, "o", color=colour, label=label)
    first.axhline(0, color="#333333", lw=0.8)
    first.set_xlabel("confidence in the wrong answer")
    first.set_ylabel("advantage, α included")
    first.set_title(f"All {len(negative)} answers wrong: sum zero")
    first.legend(loc="lower left")
    place = np.arange(len(sizes))[::-1]
    second.barh(place, sizes, 0.6, color=[COLOURS["lens"] if "all wrong" in name else NEUTRAL for name in sizes.index])
    for y, value in zip(place, sizes):
        second.text(value * 1.15, y, f"{value:.2g}", va="center", fontsize=9)
    second.set_xscale("log")
    second.set_xlim(sizes.min() / 3, sizes.max() * 6)
    second.set_yticks(place, sizes.index)
    second.set_xlabel("mean |advantage| of a row (log scale)")
    second.set_title("How large that is")
    second.grid(axis="y", visible=False)
    for over_group, colour, label in ((False, WRONG, "without 1/G"), (True, COLOURS["lens"], "with 1/G")):
        rows = violations[violations.over_group == over_group]
        third.plot(rows.factor, 100 * rows.violations / rows.rows, "o-", color=colour, label=label)
    third.axvline(2, color=NEUTRAL, ls=(0, (3, 2)), lw=1.2)
    third.set_xscale("log", base=2)
    third.set_xticks(sorted(set(violations.factor)), [f"{f:g}" for f in sorted(set(violations.factor))])
    third.minorticks_off()
    third.set_xlabel("factor in D = factor × max π̄ (paper: 2)")
    third.set_ylabel("rows with the wrong sign, %")
    third.set_title("Mixed groups: signs")
    third.legend(loc="upper right")
    return fig


def plot_consistency(tables: dict[str, pd.DataFrame]):
    """Distance to the target policy against the number of samples, one line per assumed difficulty.

    Args:
        tables: label -> table of `lens_theory.consistency`; the first is the true difficulty.
    """
    fig, ax = plt.subplots(figsize=(7.0, 4.0))
    colours = (COLOURS["lens"], COLOURS["grpo"], COLOURS["reinforce"], COLOURS["dr_grpo"])
    for (label, table), colour in zip(tables.items(), colours):
        ax.plot(table.n, table.total_variation, "o-", ms=4, color=colour, label=label)
    first = next(iter(tables.values()))
    line = first.total_variation.iloc[0] * np.sqrt(first.n.iloc[0] / first.n)
    ax.plot(first.n, line, color=NEUTRAL, ls=(0, (4, 2)), lw=1.2, label="slope of 1 / √n")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("judged samples (log scale)")
    ax.set_ylabel("total variation to π* (log scale)")
    ax.legend(loc="lower left")
    return fig


# ---------------------------------------------------------------- reading runs


def present(runs: Runs, arms) -> list[str]:
    """Those of the arms that have runs, in the given order."""
    have = {arm.name for arm in runs.arms}
    return [name for name in arms if name in have]


def gap(runs: Runs, left: str, right: str, metric: str, scale: float = 100.0) -> np.ndarray:
    """left minus right by seed, over the seeds that both have; empty where an arm or the metric is missing."""
    try:
        values = difference(runs, left, right, metric, scale)
    except KeyError:
        return np.array([])
    return values[np.isfinite(values)]


def largest_k(runs: Runs, at_most: int) -> int:
    """The largest k up to a limit at which these runs have test pass@k."""
    found = [int(m.split("@")[1]) for m in set(runs.metrics.metric) if m.startswith("test/pass@")]
    return max((k for k in found if k <= at_most), default=1)


def gap_table(runs: Runs, left: str, others, metrics, scale: float = 100.0) -> pd.DataFrame:
    """left minus each other arm, per metric: ours, low, high, seeds."""
    rows = []
    for other in present(runs, others):
        for metric in metrics:
            i = paired_t(gap(runs, left, other, metric, scale))
            rows.append({"left": left, "other": other, "metric": metric, "ours": i.estimate, "low": i.low, "high": i.high,
                         "seeds": i.n})
    return pd.DataFrame(rows, columns=["left", "other", "metric", "ours", "low", "high", "seeds"])


def dead_shares(runs: Runs, sizes=(4, 8, 16, 32)) -> pd.DataFrame:
    """Share of all-wrong groups of G answers, from the counts of the test problems.

    Of n stored samples of a problem, c of them right, G drawn without replacement are all wrong with
    probability C(n - c, G) / C(n, G); the mean over problems, in per cent. Sizes above n are left out.

    Returns:
        One row per (arm, seed), one column per G.
    """
    rows = runs.problems[runs.problems.set == "test"]

    def shares(table: pd.DataFrame) -> pd.Series:
        n = int(table.samples.iloc[0])
        return pd.Series({g: 100 * (1 - pass_at_k(n, table.correct, g)).mean() for g in sizes if g <= n})

    return rows.groupby(["arm", "seed"], sort=False)[["samples", "correct"]].apply(shares)


def paper_gaps(theirs: pd.DataFrame) -> pd.DataFrame:
    """LENS minus GRPO in the paper's tables: one row per (table, model), one column per k.

    Args:
        theirs: rows of data/papers.csv, columns such as "Llama pass@4".
    """
    rows = theirs[theirs.row.isin(["lens", "grpo"]) & theirs.table.isin(["Table 1", "Table 3"])]
    words = rows.column.str.split(" pass@", expand=True)
    rows = rows.assign(model=words[0], k=words[1].astype(int))
    wide = rows.pivot(index=["table", "model"], columns=["row", "k"], values="value")
    return (wide["lens"] - wide["grpo"]).round(2)


# ---------------------------------------------------------------- notebook 41


def plot_gaps(worlds: dict[str, Runs], theirs: pd.DataFrame, limit: int = 16):
    """LENS minus GRPO at every k: ours per world, with intervals that hold for all k together, and the paper's.

    Args:
        worlds: name -> runs with the arms lens and grpo.
        theirs: `paper_gaps`.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), sharey=True)
    ks = powers_of_two(limit)
    for (name, runs), colour, shift in zip(worlds.items(), (COLOURS["lens"], COLOURS["grpo"]), (0.96, 1.04)):
        mine = [k for k in ks if len(gap(runs, "lens", "grpo", f"test/pass@{k}"))]
        if not mine:
            continue
        found = simultaneous_t(np.stack([gap(runs, "lens", "grpo", f"test/pass@{k}") for k in mine], axis=1))
        x = shift * np.array(mine)
        seeds = f"{found[0].n} seed{'s' if found[0].n > 1 else ''}"
        left.plot(x, [i.estimate for i in found], "o-", color=colour, label=f"{name}, {seeds}")
        if found[0].n > 1:
            left.vlines(x, [i.low for i in found], [i.high for i in found], color=colour, lw=2)
    for (table, model), row in theirs.iterrows():
        colour, data = (COLOURS["lens"], "DAPO") if table == "Table 1" else (COLOURS["grpo"], "Numina")
        right.plot(row.index, row, f"{MODELS[model]}-", ms=5, color=colour, alpha=0.8 if model == "Llama" else 0.45,
                   label=f"{model}, MATH + {data}")
    left.set_title("Ours, LENS minus GRPO")
    right.set_title("The paper, LENS minus GRPO")
    for ax in (left, right):
        ax.axhline(0, color=COLOURS["base"], lw=1.2)
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, [str(k) for k in ks])
        ax.set_xlabel("k, answers per problem")
        ax.margins(y=0.25)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    left.set_ylabel("points of pass@k")
    return fig


def plot_accuracy(worlds: dict[str, Runs], metric: str = "validation/pass@1"):
    """Held-out accuracy over training, LENS and GRPO, one panel per world (as the paper's Figures 5 and 6)."""
    fig, axes = plt.subplots(1, len(worlds), figsize=(5.2 * len(worlds), 3.7), squeeze=False)
    for ax, (name, runs) in zip(axes[0], worlds.items()):
        plot_curves(runs.metrics, metric, ax, present(runs, ("grpo", "lens")), within_seeds=True)
        ax.set_title(name)
        ax.set_ylabel("pass@1, held-out")
    axes[0, 0].legend(loc="best")
    return fig


def _cell(value: float, found: Interval | None) -> str:
    if found is None:
        return f"{value:.1f}"
    text = f"{value:.1f}\n{found.estimate:+.1f}"
    return text if np.isnan(found.low) else f"{text}\n({found.low:+.1f}, {found.high:+.1f})"


def plot_two_by_two(runs: Runs, theirs: pd.DataFrame, metric: str = "test/pass@1", column: str = "Llama pass@1"):
    """Mixed groups on or off x negative groups on or off: pass@1, and its difference from GRPO with interval.

    Args:
        theirs: rows of data/papers.csv; the paper's Table 2 stands beside ours.
    """
    squares = [["grpo", "negative only"], ["mixed only", "lens"]]
    table_2 = theirs[(theirs.table == "Table 2") & (theirs.column == column)].set_index("row").value
    ours = 100 * runs.metric(metric).mean()
    exact = {a: Interval(table_2[a] - table_2["grpo"], np.nan, np.nan, 0.95, 1, np.nan) for a in table_2.index if a != "grpo"}
    gains = {a: paired_t(gap(runs, a, "grpo", metric)) for a in sum(squares, []) if a != "grpo"}
    panels = (("Ours, pass@1 in %", ours, gains), ("The paper's Table 2 (one run), pass@1 in %", table_2, exact))
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.0))
    for ax, (title, values, found) in zip(axes, panels):
        shown = np.array([[found[a].estimate if a in found and a in values else 0.0 for a in row] for row in squares])
        largest = max(1.0, float(np.nanmax(np.abs(shown))))
        ax.imshow(np.nan_to_num(shown), cmap=_diverging(), vmin=-1.6 * largest, vmax=1.6 * largest, aspect="auto")
        for (y, x), name in np.ndenumerate(squares):
            known = name in values and not np.isnan(values[name])
            words = _cell(values[name], found.get(name)) if known else "no run"
            ax.text(x, y, f"{arm_label(name)}\n{words}", ha="center", va="center", fontsize=10)
        ax.set_xticks([0, 1], ["negative groups: nothing", "negative groups: LENS"])
        ax.set_yticks([0, 1], ["mixed:\nGRPO", "mixed:\nLENS"])
        ax.set_title(title)
        ax.tick_params(length=0)
        ax.grid(visible=False)
    return fig


def _diverging():
    return plt.matplotlib.colors.LinearSegmentedColormap.from_list("gain", [WRONG, "white", RIGHT])


def plot_minus(runs: Runs, pairs: list[tuple[str, str]], metrics: dict[str, str], axes=None, side: int = 0):
    """Differences between arms: seeds as dots, mean and interval as a bar, one panel per metric.

    Args:
        pairs: (left, right): left minus right; a pair with a missing arm is left out.
        metrics: metric -> title.
        side: which arm of a pair names and colours its row, 0 or 1.
    """
    pairs = [p for p in pairs if len(present(runs, p)) == 2]
    if axes is None:
        axes = plt.subplots(1, len(metrics), figsize=(4.2 * len(metrics) + 1, 0.36 * len(pairs) + 1.5), sharey=True)[1]
    axes = np.atleast_1d(axes)
    for ax, (metric, title) in zip(axes, metrics.items()):
        for y, pair in enumerate(reversed(pairs)):
            draw_seeds(ax, y, gap(runs, *pair, metric), arm_colour(pair[side]))
        ax.axvline(0, color=COLOURS["base"], lw=1.2)
        ax.set_yticks(range(len(pairs)), [arm_label(pair[side]) for pair in reversed(pairs)])
        ax.set_ylim(-0.6, max(len(pairs), 1) - 0.4)
        ax.set_title(title)
        ax.set_xlabel("points")
    return axes[0].figure


def plot_controls(runs: Runs, controls=("uniform penalty", "shuffled", "flipped"), ks=(1, 16)):
    """Above: what LENS and each control gain over GRPO. Below: LENS minus each control, which the claim is about."""
    names = present(runs, ("lens", *controls))
    fig, axes = plt.subplots(2, len(ks), figsize=(4.6 * len(ks) + 1, 0.72 * len(names) + 2.4), sharey="row",
                             height_ratios=(len(names) + 1, max(len(names), 2)), squeeze=False)
    titles = {f"test/pass@{k}": f"pass@{k}" for k in ks}
    plot_minus(runs, [(name, "grpo") for name in names], {m: f"{t}, minus GRPO" for m, t in titles.items()}, axes[0])
    plot_minus(runs, [("lens", name) for name in names if name != "lens"],
               {m: f"{t}, LENS minus …" for m, t in titles.items()}, axes[1], side=1)
    return fig


def plot_dead_groups(runs: Runs, marks: dict[str, float] | None = None):
    """All-wrong groups: in the batches of training, and among groups of other sizes before and after it.

    Args:
        marks: label -> per cent, up to two, drawn as level lines beside the training curves.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
    rows = runs.metrics[runs.metrics.metric == "groups/all_wrong"]
    rows = rows.assign(value=100 * rows.value)
    plot_curves(rows, "groups/all_wrong", left, present(runs, ("grpo", "lens")), within_seeds=True)
    plt.setp(left.lines, marker="o", ms=3.5)  # a short run has one point
    for (label, value), dashes in zip((marks or {}).items(), (":", (0, (4, 2)))):
        left.axhline(value, color=NEUTRAL, ls=dashes, lw=1.5, label=label)
    left.set_ylabel("groups with no right answer, %")
    left.set_title("While training")
    left.set_ylim(bottom=0)
    left.legend(loc="best")
    shares = dead_shares(runs)
    for name, colour in arm_colours(present(runs, ("base", "grpo", "lens"))).items():
        mine = shares.loc[name]
        draw_line(right, list(mine.columns), [mine[g].to_numpy() for g in mine.columns], colour, arm_label(name))
    right.set_xscale("log", base=2)
    right.set_xticks(list(shares.columns), [str(g) for g in shares.columns])
    right.set_xlabel("G, answers per group")
    right.set_ylabel("groups with no right answer, %")
    right.set_title("Test problems, by size of the group")
    right.set_ylim(bottom=0)
    right.legend(loc="best")
    return fig


def plot_levels(runs: Runs):
    """pass@1 by difficulty level, and what LENS gains over GRPO at each, with intervals over seeds."""
    levels = by_level(runs)
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.7))
    for name, colour in arm_colours(present(runs, ("base", "grpo", "lens"))).items():
        mine = levels.xs(name, level="arm")
        draw_line(left, list(mine.columns), [mine[x].to_numpy() for x in mine.columns], colour, arm_label(name))
    if len(present(runs, ("lens", "grpo"))) == 2:
        gains = (levels.xs("lens", level="arm") - levels.xs("grpo", level="arm")).dropna(how="all")
        for level in gains.columns:
            draw_seeds(right, level, gains[level].dropna(), COLOURS["lens"], upright=True)
    right.axhline(0, color=COLOURS["base"], lw=1.2)
    for ax, title, unit in ((left, "By level", "pass@1, %"), (right, "LENS minus GRPO", "points of pass@1")):
        ax.set_xticks(list(levels.columns), [f"{x:g}" for x in levels.columns])
        ax.set_xlabel("level, number of operations")
        ax.set_ylabel(unit)
        ax.set_title(title)
    left.legend(loc="best")
    return fig


def plot_long(runs: Runs, arms=("grpo", "lens")):
    """Long runs: accuracy with each arm's line through the last third, entropy, length, unreadable answers."""
    panels = {"validation/pass@1": "pass@1, held-out", "validation/entropy": "Entropy, held-out (nats per token)",
              "validation/length": "Length, held-out (tokens)", "validation/verdicts/no_answer": "Share without an answer"}
    fig, axes = plt.subplots(2, 2, figsize=(10.5, 6.2))
    names = present(runs, arms)
    for ax, (metric, title) in zip(axes.flat, panels.items()):
        plot_curves(runs.metrics, metric, ax, names, within_seeds=True)
        ax.set_title(title)
        ax.set_ylabel("")
    rows = runs.metrics[runs.metrics.metric == "validation/pass@1"]
    late = rows[rows.step >= 2 / 3 * rows.step.max()]
    for name, colour in arm_colours(names).items():
        mine = late[late.arm == name]
        if mine.step.nunique() > 1:
            ends = np.array([mine.step.min(), mine.step.max()])
            line = np.polyval(np.polyfit(mine.step, mine.value, 1), ends)
            axes[0, 0].plot(ends, line, color=colour, ls=(0, (2, 1)), lw=3)
    axes[0, 0].legend(loc="best")
    return fig


def plot_diversity(runs: Runs, arms=("base", "grpo", "lens")):
    """Entropy over training and at equal accuracy; different right answers and pass@k at the end."""
    fig, axes = plt.subplots(2, 2, figsize=(10.5, 6.4))
    trained = present(runs, [a for a in arms if a != "base"])
    plot_curves(runs.metrics, "validation/entropy", axes[0, 0], trained, within_seeds=True)
    axes[0, 0].set_title("Entropy over training")
    axes[0, 0].set_ylabel("nats per token, held-out")
    axes[0, 0].legend(loc="best")
    curves = runs.metrics[runs.metrics.metric.isin(["validation/entropy", "validation/pass@1"])]
    means = curves.groupby(["arm", "step", "metric"]).value.mean().unstack()
    for name, colour in arm_colours(trained).items():
        path = means.loc[name]
        axes[0, 1].plot(100 * path["validation/pass@1"], path["validation/entropy"], "o-", ms=3.5, lw=1.4, color=colour)
        axes[0, 1].plot(100 * path["validation/pass@1"].iloc[-1], path["validation/entropy"].iloc[-1], "s", ms=8, color=colour)
    axes[0, 1].set_title("The same at equal accuracy (square: the end)")
    axes[0, 1].set_xlabel("pass@1, held-out, %")
    axes[0, 1].set_ylabel("nats per token, held-out")
    k = largest_k(runs, 32)
    for ax, metric, scale, title in ((axes[1, 0], "test/distinct", 1, "Different right answers per problem"),
                                     (axes[1, 1], f"test/pass@{k}", 100, f"pass@{k}, %")):
        draw_arms(ax, scale * runs.metric(metric), present(runs, arms))
        ax.set_title(title)
        ax.set_xlabel("mean over test problems")
    return fig


def plot_sweep(runs: Runs, levels: dict[float, str], metrics: dict[str, tuple[str, float]], xlabel: str,
               linear_below: float = 0.0, usual: float | None = None):
    """Metrics at the end of training, minus GRPO's of the same seed, against an option's value.

    Args:
        levels: value of the option -> arm; those without runs are left out.
        metrics: metric -> (title, factor).
        linear_below: the axis is logarithmic above this; 0 for logarithmic throughout.
        usual: the paper's value, marked by a dotted line.

    Raises:
        ConfigError: no level has runs, or GRPO has none.
    """
    have = {x: arm for x, arm in sorted(levels.items()) if len(present(runs, [arm, "grpo"])) == 2}
    if not have:
        raise ConfigError(f"grpo and at least one of these arms must have runs: {', '.join(levels.values())}.")
    fig, axes = plt.subplots(1, len(metrics), figsize=(3.9 * len(metrics), 3.6), squeeze=False)
    for ax, (metric, (title, scale)) in zip(axes[0], metrics.items()):
        gaps = [gap(runs, arm, "grpo", metric, scale) for arm in have.values()]
        draw_line(ax, list(have), gaps, COLOURS["lens"], "LENS minus GRPO")
        ax.axhline(0, color=COLOURS["grpo"], ls="--", lw=1.5, label="GRPO")
        if usual is not None:
            ax.axvline(usual, color=NEUTRAL, ls=":", lw=1.5, label=f"the paper's {usual:g}")
        if linear_below:
            ax.set_xscale("symlog", linthresh=linear_below, linscale=0.4)
            ax.set_xlim(left=-0.2 * linear_below)
        else:
            ax.set_xscale("log")
        ax.set_xticks(list(have), [f"{x:g}" for x in have], rotation=45)
        ax.minorticks_off()
        ax.set_xlabel(xlabel)
        ax.set_title(title)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig
