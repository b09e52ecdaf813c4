"""Figures of BCPG-NSA, notebooks 50 to 52: tables to figures.

Every plot of runs draws what is there: an arm without runs is left out, a single seed has no interval.
"""

import numpy as np
import pandas as pd

from polarity_lib import plots
from polarity_lib.claims import difference, tail
from polarity_lib.experiments import Runs
from polarity_lib.papers.bcpg_nsa.claims import JUDGES as NOMINAL
from polarity_lib.papers.bcpg_nsa.claims import at_round, by_level
from polarity_lib.papers.bcpg_nsa.experiments import ROUNDS
from polarity_lib.plots import BASE, NEUTRAL, RIGHT, WRONG, over, panels, present

BCPG, NSA = "#0072B2", "#D4428E"
STYLES = {
    "rft": ("RFT (right only)", RIGHT), "dpo": ("DPO", "#E69F00"), "topr": ("TOPR", "#44AA99"),
    "grpo_offline": ("GRPO, offline", "#6699CC"), "bcpg": ("BCPG", BCPG), "bcpg_nsa": ("BCPG-NSA, true labels", NSA),
    "bcpg_nsa and": ("BCPG-NSA, two judges agree", "#332288"), "bcpg_nsa llm": ("LLM-like judge alone", "#AA4499"),
    "bcpg_nsa prm": ("PRM-like judge alone", "#882255"), "bcpg_nsa or": ("either judge", "#CC6677"),
    "bcpg_nsa anywhere": ("random tokens anywhere", NEUTRAL),
    "bcpg_nsa random": ("random tokens of the answer", NEUTRAL, (0, (1, 1))),
    "bcpg_nsa uniform": ("one weight for all wrong", "#999933"), "bcpg_nsa answer": ("each answer's mean weight", "#DDCC77"),
    "bcpg_nsa bad": ("the other tokens spared", WRONG), "bcpg_nsa prefix": ("only before the first error", "#117733"),
    "bcpg_nsa recentred": ("BCPG-NSA, ratio centred", "#332288"), "bcpg_nsa product": ("BCPG-NSA, judges multiplied", "#AA4499"),
    "bcpg centred": ("BCPG, ratio centred", BCPG), "bcpg per token": ("BCPG, penalty per token", BCPG),
    "bcpg no length": ("BCPG, no length factor", BCPG), "topr mined": ("TOPR, right steps spared", "#44AA99"),
    "grpo_offline mined": ("GRPO, right steps spared", "#6699CC"),
    **{f"{m} {kind}": (f"{name}, {words}", colour) for m, name, colour in (("bcpg", "BCPG", BCPG), ("dpo", "DPO", "#E69F00"))
       for kind, words in (("own", "its own wrong answers"), ("plausible", "plausible ones"), ("near", "near ones"),
                           ("garbled", "garbled ones"))},
    "reinforce_offline": ("±1, nothing held", WRONG), "bcpg tau=0": ("BCPG without the constraint", BCPG, (0, (1, 1))),
    "right traces": ("right traces", RIGHT), "wrong traces": ("wrong traces", WRONG),
    "wrong traces (mostly right)": ("wrong, most steps right", "#E69F00"),
    "wrong traces (nothing right)": ("wrong, no step right", "#8B2F00"),
    "first_error": ("first error only", "#332288"), "from_first_error": ("from the first error", "#117733"),
    "prefix_only": ("right beginning only", WRONG), "oracle sparing": ("right steps spared", NSA),
    "random sparing": ("random tokens spared", NEUTRAL), "step_values": ("step values by sampling", "#E69F00"),
    "nthr": ("NTHR", "#882255"), "nthr graded": ("NTHR, graded", "#AA4499"),
}
LABELS = {"right": RIGHT, "repaired": "#56B4E9", "follows": "#E69F00", "wrong": WRONG, "final": "#777777"}


# ---------------------------------------------------------------- notebook 50


def plot_contents(steps: pd.DataFrame):
    """Left: tokens of wrong answers by the label of their step, per way of working. Right: labels by the step's place.

    Args:
        steps: `mining.contents`.
    """
    fig, (left, right) = panels(2, width=5.0, height=3.4)
    shares = steps.groupby(["way", "label"]).tokens.sum().unstack(fill_value=0)
    shares = 100 * shares / shares.to_numpy().sum()
    _stacked(left, shares)
    left.set(title="Tokens of wrong answers", ylabel="% of all their tokens", xlabel="")
    placed = steps[steps.label != "final"]
    counts = placed.groupby(["step", "label"]).size().unstack(fill_value=0)
    counts = counts[counts.sum(axis=1) >= 10] if (counts.sum(axis=1) >= 10).any() else counts
    _stacked(right, 100 * counts.div(counts.sum(axis=1), axis=0))
    right.set(title="Steps by their place in the answer", ylabel="%", xlabel="step")
    plots.legend_below(fig, (left, right))
    return fig


def _stacked(ax, table: pd.DataFrame) -> None:
    bottom, place = np.zeros(len(table)), np.arange(len(table))
    for label, colour in LABELS.items():
        if label in table:
            ax.bar(place, table[label], 0.7, bottom=bottom, color=colour, label=label)
            bottom += table[label].to_numpy()
    ax.set_xticks(place, [str(name) for name in table.index])


def plot_judge_quality(quality: pd.DataFrame):
    """Precision against quantity: how many tokens of wrong answers each judge calls right, and how many of these are.

    Args:
        quality: `mining.judge_quality`.
    """
    fig, (ax,) = panels(1, width=5.6, height=3.8)
    for name, row in quality.iterrows():
        ax.plot(100 * row["called right"], 100 * row["precision"], "o", ms=8, color=plots.arm_colour(f"bcpg_nsa {name}"))
        ax.annotate(name, (100 * row["called right"], 100 * row["precision"]), xytext=(6, 4), textcoords="offset points")
    ax.set(xlabel="tokens called right, % of those in wrong answers", ylabel="of these truly right, %",
           title="What is mined, and how pure it is")
    ax.set_xlim(left=0)
    ax.set_ylim(top=105)
    return fig


# ---------------------------------------------------------------- notebook 51


def minus_table(runs: Runs, names, other: str, metrics) -> pd.DataFrame:
    """Mean difference to one arm, and seeds, per arm and metric, in points."""
    rows = []
    for name in present(runs, names):
        for metric in metrics:
            gap = difference(runs, name, other, metric)
            rows.append({"arm": name, "metric": metric, "minus": other, "points": gap.mean() if len(gap) else np.nan,
                         "seeds": len(gap)})
    return pd.DataFrame(rows, columns=["arm", "metric", "minus", "points", "seeds"])


def plot_minus(runs: Runs, names, other: str, titles: dict[str, str], margin: float = 3.0):
    """A panel per metric: each arm minus one, seed by seed."""
    names = present(runs, names)
    fig, axes = panels(len(titles), width=3.7 if len(titles) > 1 else 5.5, height=0.42 * len(names) + 1.4, sharey=True)
    for ax, (metric, title) in zip(axes, titles.items()):
        groups = {plots.arm_label(n): difference(runs, n, other, metric) for n in names}
        plots.differences(ax, groups, [plots.arm_colour(n) for n in names], margin)
        ax.set(title=title, xlabel=f"points (grey: less than {margin:g})" if margin else "points")
    return fig


def plot_levels(runs: Runs, names, other: str, levels=(2, 3, 4, 5)):
    """Arms minus one, by the number of operations."""
    fig, (ax,) = panels(1, width=6.0, height=3.5)
    tables = {level: by_level(runs, (level,)) for level in levels}
    for name in present(runs, names):
        columns = [(tables[level][name] - tables[level][other]).dropna() for level in levels if name in tables[level]]
        if columns and all(len(c) for c in columns):
            over(ax, levels, columns, plots.arm_colour(name), plots.arm_label(name))
    ax.axhline(0, color=BASE, lw=1)
    ax.set_xticks(list(levels))
    ax.set(xlabel="operations", ylabel=f"minus {plots.arm_label(other)}, points", title="By difficulty")
    plots.legend_below(fig, [ax], columns=3)
    return fig


def plot_sweep(runs: Runs, sweeps: dict[str, tuple], panels_of: dict[str, tuple[str, float]], xlabel: str,
               level: str = "", log: bool = False):
    """Metrics at the end against a number.

    Args:
        sweeps: label -> (levels, prefix of the arms' names, colour).
        panels_of: metric -> (title, factor).
        level: an arm drawn as a horizontal line.
    """
    fig, axes = panels(len(panels_of), width=4.4)
    for ax, (metric, (title, factor)) in zip(axes, panels_of.items()):
        table = plots.levelled(factor * runs.metric(metric))
        for label, (levels, prefix, colour) in sweeps.items():
            have = [x for x in levels if f"{prefix}{x:g}" in table]
            if have:
                over(ax, have, [table[f"{prefix}{x:g}"].dropna() for x in have], colour, label)
        if level and level in table:
            ax.axhline(table[level].mean(), color=BASE, lw=1, ls=(0, (4, 2)), label=plots.arm_label(level))
        if log:
            ax.set_xscale("log")
        ax.set(title=title, xlabel=xlabel)
    axes[0].set_ylabel("each seed's own level taken out", fontsize=9)
    plots.legend_below(fig, axes)
    return fig


def plot_fraction(runs: Runs, shares, arms=("rft", "bcpg", "bcpg_nsa")):
    """pass@1 against the share of the problems, one line per method."""
    sweeps = {plots.arm_label(m): (shares, f"{m}/", plots.arm_colour(m)) for m in arms}
    return plot_sweep(runs, sweeps, {tail(1): ("pass@1, %", 100.0)}, "share of the problems")


def plot_noise(runs: Runs, false_alarms, paired, precision_of):
    """pass@1 against the labels' precision; plain BCPG and the true labels as levels.

    Args:
        precision_of: (false alarm, paired) -> precision.
    """
    table = plots.levelled(100 * runs.metric(tail(1)))
    fig, (ax,) = panels(1, width=6.0, height=3.6)
    kinds = (("one judge", false_alarms, "noise=", NSA), ("two that must agree", paired, "pair=", "#332288"))
    for label, levels, prefix, colour in kinds:
        have = [f for f in levels if f"{prefix}{f:g}" in table]
        if have:
            over(ax, [100 * precision_of(f, prefix == "pair=") for f in have], [table[f"{prefix}{f:g}"].dropna() for f in have],
                 colour, label)
    for name in ("bcpg", "bcpg_nsa"):
        if name in table:
            ax.axhline(table[name].mean(), color=plots.arm_colour(name), lw=1, ls=(0, (4, 2)), label=plots.arm_label(name))
    ax.set(xlabel="precision of the labels, % (recall 80 %)", ylabel="pass@1, %, each seed's level taken out",
           title="How good must labels be?")
    plots.legend_below(fig, [ax], columns=2)
    return fig


def plot_precision_quantity(runs: Runs):
    """Gain over BCPG against the judges' nominal precision, and against the share they call right."""
    fig, axes = panels(2, width=4.6, sharey=True)
    gaps = {arm: difference(runs, arm, "bcpg", tail(1)) for arm in present(runs, NOMINAL)}
    for which, (ax, xlabel) in enumerate(zip(axes, ("precision, %", "tokens called right, %"))):
        for arm, gap in gaps.items():
            if len(gap):
                plots.seeds(ax, {100 * NOMINAL[arm][which]: gap}, [plots.arm_colour(arm)], upright=True)
        for arm in gaps:  # behind all of them: a legend's entries that are there already would be drawn with each
            ax.plot([], [], "D", color=plots.arm_colour(arm), label=plots.arm_label(arm))
        ax.axhline(0, color=BASE, lw=1)
        ax.set(xlabel=xlabel)
    axes[0].set_ylabel("pass@1 minus BCPG, points")
    plots.legend_below(fig, axes, columns=3)
    return fig


def rounds_table(runs: Runs) -> pd.DataFrame:
    """Validation pass@1 at the end of each round, per cent; mean over seeds."""
    return pd.DataFrame({r: at_round(runs, r).mean() for r in range(1, ROUNDS + 1)}).T.rename_axis("round")


def plot_over_training(runs: Runs, names, metrics: dict[str, tuple[str, float]]):
    """Curves over training."""
    return plots.plot_curves(runs, present(runs, names), metrics)
