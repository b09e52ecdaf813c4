"""Figures of LENS, notebooks 40 and 41: tables to figures.

Every plot of runs draws what is there: an arm without runs is left out, a single seed has no interval.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch

from polarity_lib import plots
from polarity_lib.claims import difference, tail
from polarity_lib.config import ConfigError
from polarity_lib.evaluation import pass_at_k, powers_of_two
from polarity_lib.experiments import Runs
from polarity_lib.papers.lens.claims import by_level
from polarity_lib.papers.lens.theory import value_weight
from polarity_lib.plots import BASE, NEUTRAL, RIGHT, WRONG, arm_colour, arm_label, curves, heat, over, panels, present, seeds
from polarity_lib.statistics import fitted_slope, paired_t, simultaneous_t

LENS, GRPO = "#882255", "#0072B2"
# Paul Tol's muted colours stand apart from the baselines'.
STYLES = {
    "lens": ("LENS", LENS), "alpha=0.25": ("LENS", LENS), "ngrpo": ("NGRPO", "#332288"),
    "uniform_penalty": ("uniform penalty", "#999933"),
    "mixed only": ("mixed groups only", "#CC6677"), "alpha=0": ("mixed groups only", "#CC6677"),
    "negative only": ("negative groups only", "#44AA99"), "uniform penalty": ("uniform penalty", "#999933"),
    "shuffled": ("rewards shuffled", "#117733"), "flipped": ("sign flipped", "#661100"),
}
MODELS = {"Llama": "s", "Qwen": "D"}  # the paper's, and their markers
DASHES = (0, (4, 2))
TRAINED = ("grpo", "lens", "uniform penalty", "uniform_penalty")
OVER_GRID = {"frameon": True, "edgecolor": "white"}  # a legend whose words no grid line crosses


# ---------------------------------------------------------------- notebook 40


def plot_schematic(p_star_K, negative: pd.DataFrame):
    """The paper's Figures 3 and 1 from numbers: a policy made of correctness probabilities; an all-wrong group.

    Args:
        p_star_K: [K] probability that each option is right.
        negative: `theory.group_table` of an all-wrong group.
    """
    fig, (left, right) = panels(2, width=5.2, height=3.9)
    p_star_K, place = np.asarray(p_star_K, dtype=float), np.arange(len(p_star_K))
    d = 1 / p_star_K.sum()
    left.bar(place, p_star_K, 0.8, fill=False, ec="#777777", ls=(0, (3, 2)), label="p*, probability of being right")
    left.bar(place, d * p_star_K, 0.55, color=LENS, label=f"π* = D p*, a policy (D = {d:.2f})")
    left.set_xticks(place, [f"o{i + 1}" for i in place])
    left.set(ylim=(0, 1.35), ylabel="probability", title="Normalised, a reward model is a policy")
    place = np.arange(len(negative))
    right.plot(place, np.zeros(len(place)), "D", ms=8, color=GRPO, zorder=3, label="GRPO: 0, nothing to learn")
    right.bar(place, negative.reward, 0.55, color=LENS, label="LENS: surer means heavier")
    for x, value in zip(place, negative.reward):
        right.text(x, value - 0.004, f"{value:.3f}", ha="center", va="top", fontsize=9)
    right.set_xticks(place, [f"{c:.2g}" for c in negative.confidence])
    right.set(xlabel="confidence in the wrong answer", ylabel="reward", ylim=(1.2 * negative.reward.min(), 0.12),
              title="A group in which everything is wrong")
    for ax in (left, right):
        ax.grid(axis="x", visible=False)
        ax.legend(loc="upper right", **OVER_GRID)
    return fig


def plot_weight():
    """The weight of Theorem 2 against z = π / D, with the odds that act in the gradient (the paper's Figure 4)."""
    z = np.linspace(0, 0.999, 1000)
    fig, (ax,) = panels(1, width=7.0, height=4.0)
    ax.plot(z, value_weight(torch.from_numpy(z)).numpy(), color=LENS, label="w(z), in the value function")
    ax.plot(z, z / (1 - z), color=WRONG, label="z / (1 − z), in the gradient")
    ax.plot(z, z / 2, color=NEUTRAL, ls=DASHES, label="z / 2, first term of w's series")
    ax.set(ylim=(0, 6), xlabel="z = π / D, how sure the policy is that a wrong answer is right",
           ylabel="weight of the wrong answer")
    ax.legend(loc="upper left", **OVER_GRID)
    return fig


def plot_rewards(negative: pd.DataFrame, sizes: pd.Series, violations: pd.DataFrame):
    """What LENS does to an all-wrong group, how large that is, and what 1/G is for.

    Args:
        negative: `theory.group_table` of an all-wrong group.
        sizes: label -> mean |advantage|.
        violations: rows of `theory.sign_violations`, with a column factor.
    """
    fig, (first, second, third) = panels(3, width=4.2, height=3.9)
    up = negative.advantage >= 0
    for rows, colour, label in ((negative[up], RIGHT, "wrong, and reinforced"), (negative[~up], WRONG, "wrong, and suppressed")):
        first.stem(rows.confidence, rows.advantage, linefmt=colour, markerfmt="o", basefmt=" ", label=label)
    first.axhline(0, color="#333333", lw=0.8)
    first.set(xlabel="confidence in the wrong answer", ylabel="advantage, α included",
              title=f"All {len(negative)} answers wrong: sum zero")
    first.legend(loc="lower left")
    colours = [LENS if "all wrong" in name else NEUTRAL for name in sizes.index]
    sns.barplot(x=sizes.to_numpy(), y=list(sizes.index), hue=list(sizes.index), palette=colours, saturation=1, ax=second)
    for bars in second.containers:
        second.bar_label(bars, fmt="%.2g", padding=4, fontsize=9)
    second.set(xscale="log", xlim=(sizes.min() / 3, sizes.max() * 6), xlabel="mean |advantage| of a row (log scale)",
               title="How large that is")
    for over_group, colour, label in ((False, WRONG, "without 1/G"), (True, LENS, "with 1/G")):
        rows = violations[violations.over_group == over_group]
        over(third, rows.factor, [[share] for share in 100 * rows.violations / rows.rows], colour, label, log=True)
    third.axvline(2, color=NEUTRAL, ls=":", lw=1.5)
    third.set(xlabel="factor in D = factor × max π̄ (paper: 2)", ylabel="rows with the wrong sign, %", title="Mixed groups: signs")
    third.legend(loc="upper right")
    return fig


def plot_consistency(tables: dict[str, pd.DataFrame]):
    """Distance to the target policy against the number of samples, one line per assumed difficulty.

    Args:
        tables: label -> table of `theory.consistency`; the first is the true difficulty.
    """
    fig, (ax,) = panels(1, width=7.0, height=4.0)
    for (label, table), colour in zip(tables.items(), (LENS, GRPO, arm_colour("reinforce"), arm_colour("dr_grpo"))):
        ax.plot(table.n, table.total_variation, "o-", ms=4, color=colour, label=label)
    first = next(iter(tables.values()))
    line = first.total_variation.iloc[0] * np.sqrt(first.n.iloc[0] / first.n)
    ax.plot(first.n, line, color=NEUTRAL, ls=DASHES, lw=1.2, label="slope of 1 / √n")
    ax.set(xscale="log", yscale="log", xlabel="judged samples (log scale)", ylabel="total variation to π* (log scale)")
    ax.legend(loc="lower left")
    return fig


# ---------------------------------------------------------------- reading runs


def gap(runs: Runs, left: str, right: str, metric: str, scale: float = 100.0) -> np.ndarray:
    """left minus right by seed, over the seeds that both have; empty where an arm or the metric is missing."""
    try:
        values = difference(runs, left, right, metric, scale)
    except KeyError:
        return np.array([])
    return values[np.isfinite(values)]


def gap_table(runs: Runs, left: str, others, metrics) -> pd.DataFrame:
    """left minus each other arm, per metric: ours, low, high, seeds."""
    rows = []
    for other in present(runs, others):
        for metric in metrics:
            i = paired_t(gap(runs, left, other, metric))
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


def dead_over_training(runs: Runs) -> pd.DataFrame:
    """Share of all-wrong groups in the first and the last window of the log, per cent, by arm; means over seeds."""
    rows = runs.metric("groups/all_wrong", last=False).sort_values("step").groupby(["arm", "seed"], sort=False).value
    ends = 100 * pd.DataFrame({"first batches, %": rows.first(), "last batches, %": rows.last()})
    return ends.groupby("arm", sort=False).mean()


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
    fig, (left, right) = panels(2, width=5.3, height=4.4, sharex=True, sharey=True)
    for (name, runs), colour, shift in zip(worlds.items(), (LENS, GRPO), (0.96, 1.04)):
        mine = [k for k in powers_of_two(limit) if len(gap(runs, "lens", "grpo", tail(k)))]
        if not mine:
            continue
        found = simultaneous_t(np.stack([gap(runs, "lens", "grpo", tail(k)) for k in mine], axis=1))
        middle = np.array([i.estimate for i in found])
        reach = [middle - [i.low for i in found], [i.high for i in found] - middle] if found[0].n > 1 else None
        many = "one seed" if found[0].n == 1 else f"{found[0].n} seeds"
        left.errorbar(shift * np.array(mine), middle, yerr=reach, fmt="o-", color=colour, label=f"{name}, {many}")
    for (table, model), row in theirs.iterrows():
        colour, data = (LENS, "DAPO") if table == "Table 1" else (GRPO, "Numina")
        over(right, row.index, row.to_numpy()[:, None], colour, f"{model}, MATH + {data}", log=True, marker=MODELS[model],
             alpha=0.8 if model == "Llama" else 0.45)
    for ax, title in ((left, "Ours, LENS minus GRPO"), (right, "The paper, LENS minus GRPO")):
        ax.axhline(0, color=BASE, lw=1.2)
        ax.set(title=title, xlabel="k, answers per problem")
        ax.margins(y=0.25)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    left.set_ylabel("points of pass@k")
    return fig


def plot_accuracy(worlds: dict[str, Runs], metric: str = "validation/pass@1"):
    """Held-out accuracy over training, LENS and GRPO, one panel per world (as the paper's Figures 5 and 6)."""
    fig, axes = panels(len(worlds), width=5.2, height=3.7)
    for ax, (name, runs) in zip(axes, worlds.items()):
        curves(ax, runs.metrics, metric, ("grpo", "lens"), within_seeds=True)
        ax.set(title=name, ylabel="pass@1, held-out")
    axes[0].legend(loc="best")
    return fig


def plot_two_by_two(runs: Runs, theirs: pd.DataFrame, metric: str = "test/pass@1", column: str = "Llama pass@1"):
    """Mixed groups on or off x negative groups on or off: pass@1, and its difference from GRPO with interval.

    Args:
        theirs: rows of data/papers.csv; the paper's Table 2 stands beside ours.
    """
    squares = [["grpo", "negative only"], ["mixed only", "lens"]]
    table_2 = theirs[(theirs.table == "Table 2") & (theirs.column == column)].set_index("row").value
    ours = 100 * runs.metric(metric).mean()
    fig, axes = panels(2, width=5.2, height=4.0)
    for ax, (title, values) in zip(axes, (("Ours, pass@1 in %", ours), ("The paper's Table 2 (one run), pass@1 in %", table_2))):
        gains = np.array([[values.get(a, np.nan) - values["grpo"] for a in row] for row in squares])
        largest = 1.6 * max(1.0, float(np.nanmax(np.abs(gains))))
        words = [[_square(a, values, runs if values is ours else None, metric) for a in row] for row in squares]
        heat(ax, np.nan_to_num(gains), words, ["mixed:\nGRPO", "mixed:\nLENS"],
             ["negative groups:\nnothing", "negative groups:\nLENS"],
             vmin=-largest, vmax=largest, annot_kws={"size": 10})
        ax.set_title(title)
    return fig


def _square(arm: str, values: pd.Series, runs: Runs | None, metric: str) -> str:
    """A cell of the 2 x 2: name, value, difference from GRPO, interval where there are runs."""
    if arm not in values or np.isnan(values[arm]):
        return f"{arm_label(arm)}\nno run"
    words = f"{arm_label(arm)}\n{values[arm]:.1f}"
    if arm == "grpo":
        return words
    words += f"\n{values[arm] - values['grpo']:+z.1f}"
    found = paired_t(gap(runs, arm, "grpo", metric)) if runs else None
    return words if found is None or np.isnan(found.low) else f"{words}\n({found.low:+z.1f}, {found.high:+z.1f})"


def plot_minus(runs: Runs, pairs: list[tuple[str, str]], metrics: dict[str, str], axes=None, side: int = 0):
    """Differences between arms, one panel per metric.

    Args:
        pairs: (left, right): left minus right; a pair with a missing arm is left out.
        metrics: metric -> title.
        side: which arm of a pair names and colours its row, 0 or 1.
    """
    pairs = [p for p in pairs if len(present(runs, p)) == 2]
    if axes is None:
        axes = panels(len(metrics), width=4.6, height=0.36 * len(pairs) + 1.5, sharey=True)[1]
    for ax, (metric, title) in zip(axes, metrics.items()):
        groups = {arm_label(pair[side]): gap(runs, *pair, metric) for pair in pairs}
        plots.differences(ax, groups, [arm_colour(pair[side]) for pair in pairs], aside=0.28)
        ax.set(title=title, xlabel="points")
    return axes[0].figure


def plot_controls(runs: Runs, controls=("uniform penalty", "shuffled", "flipped"), ks=(1, 16)):
    """Above: what LENS and each control gain over GRPO. Below: LENS minus each control, which the claim is about."""
    names = present(runs, ("lens", *controls))
    fig, axes = plt.subplots(2, len(ks), figsize=(4.6 * len(ks) + 1, 0.72 * len(names) + 2.4), sharey="row",
                             height_ratios=(len(names) + 1, max(len(names), 2)), squeeze=False)
    rest = [name for name in names if name != "lens"]
    plot_minus(runs, [(name, "grpo") for name in names], {tail(k): f"pass@{k}, minus GRPO" for k in ks}, axes[0])
    plot_minus(runs, [("lens", name) for name in rest], {tail(k): f"pass@{k}, LENS minus …" for k in ks}, axes[1], 1)
    return fig


def plot_dead_groups(worlds: dict[str, Runs], marks: dict[str, float] | None = None):
    """All-wrong groups, a row per world: in the batches of training, and among groups of other sizes before and after it.

    Args:
        worlds: name -> runs; arms beside base, GRPO and LENS are drawn where they are there.
        marks: label -> per cent, up to two, drawn as level lines beside the training curves.
    """
    fig, axes = panels(2 * len(worlds), columns=2, width=5.2, height=3.9)
    for (left, right), (world, runs) in zip(zip(axes[::2], axes[1::2]), worlds.items()):
        curves(left, runs.metrics, "groups/all_wrong", present(runs, TRAINED), factor=100, within_seeds=True)
        plt.setp(left.lines, marker="o", ms=4.5, mew=0)  # a short run has one point
        for (label, value), dashes in zip((marks or {}).items(), (":", DASHES)):
            left.axhline(value, color=NEUTRAL, ls=dashes, lw=1.5, label=label)
        shares = dead_shares(runs)
        for name in present(runs, ("base", *TRAINED)):
            mine = shares.loc[name]
            over(right, list(mine.columns), [mine[g] for g in mine.columns], arm_colour(name), arm_label(name), log=True)
        right.set_xlabel("G, answers per group")
        for ax, title in ((left, "while training"), (right, "test problems, by size of the group")):
            ax.set(title=f"{world}: {title}", ylabel="groups with no right answer, %")
            ax.set_ylim(bottom=0)
            ax.legend(loc="best")
    return fig


def plot_over_rate(runs: Runs, methods, metrics: dict[str, str], base: dict[str, float] | None = None):
    """Metrics at the end of training over the learning rate, a panel per metric, a line per method.

    Args:
        runs: with arms `method/rate`.
        metrics: metric -> title.
        base: metric -> the base policy's value in per cent.
    """
    fig, axes = panels(len(metrics), width=4.6, height=3.6)
    rates = sorted({float(arm.name.split("/")[1]) for arm in runs.arms})
    for ax, (metric, title) in zip(axes, metrics.items()):
        table = 100 * runs.metric(metric)
        for method in methods:
            have = [rate for rate in rates if f"{method}/{rate:g}" in table]
            if have:
                over(ax, have, [table[f"{method}/{rate:g}"] for rate in have], arm_colour(method), arm_label(method), log=True)
        if base and metric in base:
            ax.axhline(base[metric], color=BASE, ls="--", label="base")
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.minorticks_off()
        ax.set(title=title, xlabel="learning rate", ylabel="%")
    plots.legend_below(fig, axes)
    return fig


def plot_levels(runs: Runs):
    """pass@1 by difficulty level, and what LENS gains over GRPO at each, with intervals over seeds."""
    levels = by_level(runs)
    fig, (left, right) = panels(2, width=5.2, height=3.7)
    for name in present(runs, ("base", "grpo", "lens")):
        mine = levels.xs(name, level="arm")
        over(left, list(mine.columns), [mine[x] for x in mine.columns], arm_colour(name), arm_label(name))
    if len(present(runs, ("lens", "grpo"))) == 2:
        gains = (levels.xs("lens", level="arm") - levels.xs("grpo", level="arm")).dropna(how="all")
        seeds(right, {level: gains[level] for level in gains.columns}, [LENS] * gains.shape[1], upright=True, aside=0.08)
    right.axhline(0, color=BASE, lw=1.2)
    for ax, title, unit in ((left, "By level", "pass@1, %"), (right, "LENS minus GRPO", "points of pass@1")):
        ax.set_xticks(list(levels.columns), [f"{x:g}" for x in levels.columns])
        ax.set(xlabel="level, number of operations", ylabel=unit, title=title)
    left.legend(loc="best")
    return fig


LONG = {"validation/pass@1": "pass@1, held-out", "validation/entropy": "Entropy, held-out (nats per token)",
        "validation/length": "Length, held-out (tokens)", "validation/verdicts/no_answer": "Share without an answer"}


def plot_long(runs: Runs):
    """Long runs: accuracy with each arm's line through the last third, entropy, length, unreadable answers."""
    fig = plots.plot_curves(runs, ("grpo", "lens"), LONG, columns=2, within_seeds=True)
    rows = runs.metrics[runs.metrics.metric == "validation/pass@1"]
    late = rows[rows.step >= 2 / 3 * rows.step.max()]
    for name in present(runs, ("grpo", "lens")):
        mine = late[late.arm == name]
        if mine.step.nunique() > 1:
            ends = np.array([mine.step.min(), mine.step.max()])
            line = mine.value.mean() + fitted_slope(mine.step, mine.value) * (ends - mine.step.mean())
            fig.axes[0].plot(ends, line, color=arm_colour(name), ls=(0, (2, 1)), lw=3)
    return fig


def plot_diversity(runs: Runs, arms=("base", "grpo", "lens")):
    """Entropy over training and at equal accuracy; different right answers and pass@k at the end."""
    fig, (first, second, third, fourth) = panels(4, columns=2, width=5.2, height=3.2)
    trained = present(runs, [a for a in arms if a != "base"])
    curves(first, runs.metrics, "validation/entropy", trained, within_seeds=True)
    first.set(title="Entropy over training", ylabel="nats per token, held-out")
    first.legend(loc="best")
    rows = runs.metrics[runs.metrics.metric.isin(["validation/entropy", "validation/pass@1"])]
    means = rows.groupby(["arm", "step", "metric"]).value.mean().unstack()
    for name in trained:
        x, y = 100 * means.loc[name]["validation/pass@1"], means.loc[name]["validation/entropy"]
        second.plot(x, y, "o-", ms=3.5, lw=1.4, color=arm_colour(name))
        second.plot(x.iloc[-1], y.iloc[-1], "s", ms=8, color=arm_colour(name))
    second.set(title="The same at equal accuracy (square: the end)", xlabel="pass@1, held-out, %",
               ylabel="nats per token, held-out")
    k = max(k for k in powers_of_two(32) if tail(k) in set(runs.metrics.metric))
    for ax, metric, scale, title in ((third, "test/distinct", 1, "Different right answers per problem"),
                                     (fourth, tail(k), 100, f"pass@{k}, %")):
        plots.arms(ax, scale * runs.metric(metric), present(runs, arms))
        ax.set(title=title, xlabel="mean over test problems")
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
    fig, axes = panels(len(metrics), width=3.9, height=3.6)
    for ax, (metric, (title, scale)) in zip(axes, metrics.items()):
        over(ax, list(have), [gap(runs, arm, "grpo", metric, scale) for arm in have.values()], LENS, "LENS minus GRPO")
        ax.axhline(0, color=GRPO, ls="--", lw=1.5, label="GRPO")
        if usual is not None:
            ax.axvline(usual, color=NEUTRAL, ls=":", lw=1.5, label=f"the paper's {usual:g}")
        if linear_below:
            ax.set_xscale("symlog", linthresh=linear_below, linscale=0.4)
            ax.set_xlim(-0.2 * linear_below, 1.4 * max(have))
        else:
            ax.set_xscale("log")
        ax.set_xticks(list(have), [f"{x:g}" for x in have], rotation=45)
        ax.minorticks_off()
        ax.set(xlabel=xlabel, title=title)
    plots.legend_below(fig, axes)
    return fig
