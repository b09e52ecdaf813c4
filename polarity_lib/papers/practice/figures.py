"""Figures of the disputes, notebooks 70 to 72: tables to figures."""

import numpy as np
import pandas as pd

from polarity_lib import plots
from polarity_lib.claims import MARGIN, difference, final
from polarity_lib.experiments import Runs
from polarity_lib.papers.practice.claims import chosen
from polarity_lib.plots import BASE, NEUTRAL, RIGHT, WRONG, arm_colour, over, panels

DENOMINATED = {
    "sequence": ("mean over sequences", "#0072B2"),
    "token": ("mean over tokens", "#44AA99"),
    "constant": ("constant", "#AA7744", (0, (3, 1))),
}
CLIP, FREE = "#0072B2", "#D55E00"
BOUNDS = {"dapo/0.2": "#0072B2", "dapo/0.28": "#44AA99", "dapo/0.4": "#D55E00"}
TREATED = {"wrong": "#555555", "mask": "#0072B2", "as_written": "#E69F00"}
TAKEN = {"clip/raised": "raised tokens", "clip/lowered": "lowered tokens", "clip/lowered_rare": "lowered, drawn at p < 0.1",
         "clip/lowered_middle": "lowered, p 0.1 to 0.5", "clip/lowered_sure": "lowered, p > 0.5"}


def has(runs: Runs | None, *metrics: str) -> bool:
    """Whether there are runs that kept these metrics (some were kept later than others)."""
    return runs is not None and set(metrics) <= set(runs.metrics.metric)


def plot_updates(runs: Runs, metrics: dict[str, tuple[str, float]], method: str = "nsr"):
    """A metric at the end over the updates per batch, with and without the clip; one update has no clip to switch off.

    Args:
        metrics: metric -> (title, factor); those that the runs lack are left out.
    """
    metrics = {name: told for name, told in metrics.items() if has(runs, name)}
    fig, axes = panels(len(metrics), width=4.4, height=3.5)
    for ax, (metric, (title, factor)) in zip(axes, metrics.items()):
        table = factor * runs.metric(metric)
        for kind, colour, label in (("clip", CLIP, "clip 0.2"), ("free", FREE, "no clip")):
            names = {1: f"{method}/1", **{n: f"{method}/{n} {kind}" for n in (4, 16)}}
            have = {n: table[name] for n, name in names.items() if name in table}
            if have:
                over(ax, list(have), list(have.values()), colour, label, log=True)
        if "base" in table:
            ax.axhline(table["base"].mean(), color=BASE, ls="--", label="base")
        ax.set(title=title, xlabel="updates per batch")
    plots.legend_below(fig, axes)
    return fig


def taken_by_clip(runs: Runs) -> pd.DataFrame:
    """Per arm, the mean over training of what a clip of 0.2 blocks, in per cent; empty where the runs did not keep it."""
    rows = runs.metrics[runs.metrics.metric.isin(TAKEN)]
    if rows.empty:
        return pd.DataFrame(columns=list(TAKEN.values()))
    table = 100 * rows.groupby(["arm", "metric"], sort=False).value.mean().unstack()
    return table.reindex(columns=list(TAKEN)).rename(columns=TAKEN)


def dropped_by_mask(runs: Runs) -> pd.DataFrame:
    """Per arm, the share of wrong answers beyond each threshold, mean over updates and training, in per cent."""
    names = [m for m in dict.fromkeys(runs.metrics.metric) if m.startswith("away/")]
    rows = runs.metrics[runs.metrics.metric.isin(names)]
    if rows.empty:
        return pd.DataFrame()
    table = 100 * rows.groupby(["arm", "metric"], sort=False).value.mean().unstack()
    return table.rename(columns=lambda m: f"beyond {m.partition('/')[2]}, %")


def plot_contrasts(found: dict[str, Runs], contrasts: dict[str, tuple[str, str, str]], metric: str = "test/pass@1",
                   title: str = "", unit: str = "points", margin: float = MARGIN):
    """Differences between two arms of one experiment, a row each; grey: the margin.

    Args:
        found: experiment -> runs.
        contrasts: label -> (experiment, left, right); a row whose arms have no runs says so.
        unit: "points" of a share, or "per cent" of the right-hand arm.
    """
    groups, colours = {}, []
    for label, (name, left, right) in contrasts.items():
        groups[label], found_runs = np.array([]), found.get(name)
        colours.append(arm_colour(left.partition("/")[0]))
        if has(found_runs, metric) and len(plots.present(found_runs, (left, right))) == 2:
            table = found_runs.metric(metric)
            groups[label] = (difference(found_runs, left, right, metric) if unit == "points"
                             else (100 * (table[left] / table[right] - 1)).dropna().to_numpy())
    fig, (ax,) = panels(1, width=7.5, height=0.42 * len(groups) + 1.4)
    plots.differences(ax, groups, colours, margin=margin, reach=2 * margin, aside=0.2)
    ax.set(title=title, xlabel=unit)
    return fig


def plot_bounds(runs: Runs):
    """DAPO's upper bound: entropy, accuracy and length over three times the horizon."""
    def style(arm):
        return f"upper bound {arm.partition('/')[2]}", BOUNDS.get(arm, NEUTRAL), "-"

    shown = {"validation/entropy": "Entropy, held-out (nats)", "validation/pass@1": ("pass@1, held-out, %", 100.0),
             "validation/length": "Length, held-out (tokens)"}
    return plots.plot_curves(runs, list(BOUNDS), shown, within_seeds=True, style=style)


def plot_lengths(runs: Runs):
    """Length of wrong answers and share cut off over training, three denominators, two rates (thick: the higher)."""
    names = [f"{name}/{rate}" for rate in ("x1", "x4") for name in ("sequence", "token", "constant")]

    def style(arm):
        name, _, rate = arm.partition("/")
        return f"{DENOMINATED[name][0]}, rate {rate}", DENOMINATED[name][1], "-" if rate == "x1" else (0, (2, 1))

    shown = {"length/wrong": "Length of wrong answers (tokens)", "validation/verdicts/truncated": ("Cut off, held-out, %", 100.0),
             "validation/pass@1": ("pass@1, held-out, %", 100.0)}
    return plots.plot_curves(runs, names, shown, within_seeds=True, style=style)


def plot_treatments(runs: Runs):
    """Held-out accuracy over training under the three treatments, a panel per method and limit."""
    places = list(dict.fromkeys(arm.name.rpartition(" ")[0] for arm in runs.arms))
    fig, axes = panels(len(places), width=4.2, height=3.4, sharey=True)
    for ax, place in zip(axes, places):
        plots.curves(ax, runs.metrics, "validation/pass@1", [f"{place} {t}" for t in TREATED], 100.0, within_seeds=True,
                     style=lambda arm: (arm.rpartition(" ")[2].replace("_", " "), TREATED[arm.rpartition(" ")[2]], "-"))
        ax.set(title=f"{place} cut", ylabel="pass@1, held-out, %")
    plots.legend_below(fig, axes)
    return fig


def plot_checkpoints(found: dict[str, Runs], methods, counts=(2, 3, 5, 9)):
    """What choosing among so many checkpoints seems to add, and adds: solid and dashed, both against the last checkpoint.

    Args:
        found: world -> runs that kept both halves of their problems.
    """
    fig, axes = panels(len(found), width=5.0, height=3.7)
    for ax, (world, runs) in zip(axes, found.items()):
        for method in plots.present(runs, methods):
            tables = [chosen(runs, method, count) for count in counts]
            for column, dashes in (("told", "-"), ("held", (0, (3, 2)))):
                over(ax, counts, [t[column] - t["last"] for t in tables], arm_colour(method),
                     plots.arm_label(method) + (", told" if column == "told" else ", held elsewhere"), ls=dashes)
        ax.axhline(0, color=BASE, lw=1)
        ax.set(title=world, xlabel="checkpoints to choose among", ylabel="points above the last one")
    plots.legend_below(fig, axes, columns=4)
    return fig


def plot_outside(found: dict[str, Runs], theirs: dict[str, float]):
    """NSR's gain over its base: other people's numbers, without interval, above ours.

    Args:
        found: world -> runs.
        theirs: label -> points.
    """
    groups = {label: np.array([value]) for label, value in theirs.items()}
    groups |= {f"ours, {world}": difference(runs, "nsr", "base", "test/pass@1") for world, runs in found.items()}
    fig, (ax,) = panels(1, width=7.0, height=0.42 * len(groups) + 1.4)
    plots.differences(ax, groups, [NEUTRAL] * len(theirs) + [arm_colour("nsr")] * len(found), margin=MARGIN, aside=0.2)
    ax.set(title="NSR minus its base, pass@1", xlabel="points")
    return fig


def plot_starts(found: dict[str, Runs]):
    """Right only minus wrong only, a row per start, rate and formula.

    Args:
        found: label -> (runs, arm of right only, arm of wrong only).
    """
    rows = {}
    for label, (runs, right, wrong) in found.items():
        rows[label] = difference(runs, right, wrong, "test/pass@1")
    fig, (ax,) = panels(1, width=7.5, height=0.42 * len(rows) + 1.4)
    plots.differences(ax, rows, [RIGHT if np.mean(v) > 0 else WRONG for v in rows.values()], margin=MARGIN, reach=6.0, aside=0.2)
    ax.set(title="Right only minus wrong only, pass@1 (right of zero: removing right answers hurts more)", xlabel="points")
    return fig


def dead_over_training(runs: Runs) -> pd.Series:
    """Per arm, the share of dead groups, mean over training, in per cent."""
    rows = runs.metrics[runs.metrics.metric.isin(["groups/all_right", "groups/all_wrong"])]
    return 100 * rows.groupby(["arm", "metric"], sort=False).value.mean().unstack().sum(axis=1)


def ends(runs: Runs, metrics: dict[str, float]) -> pd.DataFrame:
    """Means over seeds at the end, arms in their order; metrics that the runs lack are left out."""
    arms = list(dict.fromkeys(arm.name for arm in runs.arms))
    return pd.DataFrame({m: final(runs, m, factor).mean() for m, factor in metrics.items() if has(runs, m)}).reindex(arms)
