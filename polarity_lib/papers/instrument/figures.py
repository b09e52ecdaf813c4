"""Tables to figures for notebook 04: gates, curves, the two controls, power."""

import numpy as np
import pandas as pd

from polarity_lib import plots
from polarity_lib.claims import difference, tail
from polarity_lib.papers.instrument.gates import Gate
from polarity_lib.papers.instrument.machines import apart
from polarity_lib.plots import RIGHT, WRONG
from polarity_lib.statistics import detectable

STYLES = {
    "grpo_quarter_tossed": ("GRPO, a quarter of verdicts tossed", WRONG, (0, (3, 1.5))),
    "grpo_twin": ("GRPO's twin", "#56B4E9", (0, (5, 1, 1, 1))),
}
CONTROLS = {"a quarter tossed": "grpo_quarter_tossed", "twin": "grpo_twin"}
WORLD_COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#44AA99", "#882255", "#999933")


def told(gate: Gate) -> str:
    """A gate's numbers, short: one, or the smallest and the largest of several."""
    found = np.atleast_1d(np.asarray(gate.found, dtype=float))
    return f"{found[0]:.3g}" if len(found) == 1 else f"{np.nanmin(found):.3g} … {np.nanmax(found):.3g}"


def plot_gates(worlds: dict[str, dict[str, Gate]]):
    """Gates against worlds: green where passed, with the number that was found."""
    names = list(next(iter(worlds.values())))
    fig, (ax,) = plots.panels(1, width=2.6 + 1.7 * len(worlds), height=0.42 * len(names) + 1.0)
    passed = [[1.0 if gates[name].passed else -1.0 for gates in worlds.values()] for name in names]
    words = [[told(gates[name]) for gates in worlds.values()] for name in names]
    labels = [f"{name}, minutes" if name == "is affordable" else name for name in names]  # all others are shares
    plots.heat(ax, passed, words, labels, worlds, vmin=-1.6, vmax=1.6)
    ax.set_title("What a world must show before it may judge (shares)")
    return fig


def plot_worlds(runs: dict):
    """Held-out pass@1 over training, per world: GRPO, its known handicap, its twin."""
    fig, axes = plots.panels(len(runs), columns=min(4, len(runs)), width=3.4)
    for ax, (world, found) in zip(axes, runs.items()):
        names = plots.present(found, ["grpo", *CONTROLS.values()])
        plots.curves(ax, found.metrics, "validation/pass@1", names, factor=100.0, within_seeds=True, in_view=True)
        ax.set_title(world)
        ax.set_xlabel("batch")
    axes[0].set_ylabel("held-out pass@1, %")
    plots.legend_below(fig, axes)
    return fig


def plot_dial(runs, rarities):
    """GRPO's way from bases that work their answers out ever more seldom: the share that does, and pass@1."""
    fig, axes = plots.panels(2, width=4.6)
    shown = {"validation/work_shown": "Answers that show their work, %", "validation/pass@1": "pass@1, held-out, %"}
    for ax, (metric, title) in zip(axes, shown.items()):
        for r, colour in zip(rarities, WORLD_COLOURS):
            plots.curves(ax, runs.metrics, metric, [f"{r:g}/grpo"], factor=100.0, style=lambda _: (f"r = {r:g}", colour, "-"))
        ax.set(title=title, xlabel="batch")
    plots.legend_below(fig, axes)
    return fig


def plot_controls(runs: dict):
    """Per world: the handicap and the twin, each minus GRPO, seed by seed."""
    fig, axes = plots.panels(len(runs), columns=min(4, len(runs)), width=3.4, height=1.9, sharey=True)
    for ax, (world, found) in zip(axes, runs.items()):
        groups = {label: difference(found, arm, "grpo", tail(1)) for label, arm in CONTROLS.items()}
        plots.differences(ax, groups, [plots.arm_colour(arm) for arm in CONTROLS.values()], reach=5.0, aside=0.22)
        ax.set_title(world)
        ax.set_xlabel("minus GRPO, points")
    return fig


def plot_machines(table: pd.DataFrame, twin: float = float("nan")):
    """What other arithmetic changes, seed by seed: every arm's pass@1, and two contrasts.

    Args:
        table: as in `machines.COLUMNS`.
        twin: spread over seeds of GRPO's twin minus GRPO, in points; drawn as a band of one such spread to both sides.
    """
    fig, (ax,) = plots.panels(1, width=6.4, height=2.9)
    found = apart(table)
    if np.isfinite(twin):
        ax.axvspan(-twin, twin, color="#ececec", lw=0, zorder=0)
    labels = {arm: " minus ".join(map(plots.arm_label, arm.split(" minus "))) for arm in found}
    plots.differences(ax, {labels[arm]: values for arm, values in found.items()},
                      [plots.arm_colour(arm.partition(" ")[0]) for arm in found], reach=5.0, aside=0.25)
    ax.set_title("Another processor, the same configurations")
    ax.set_xlabel("computed again minus committed, points at pass@1 (grey: one spread of the twin)")
    return fig


def spreads(runs: dict) -> pd.DataFrame:
    """Standard deviation over seeds of a paired difference at pass@1, in points: handicap and twin against GRPO."""
    rows = {world: {label: np.std(difference(found, arm, "grpo", tail(1)), ddof=1) for label, arm in CONTROLS.items()}
            for world, found in runs.items()}
    return pd.DataFrame(rows).T


def plot_power(table: pd.DataFrame, counts=(3, 4, 6, 8, 10, 12, 16)):
    """The difference that so many seeds find with 80 % probability, by the larger of a world's two spreads."""
    fig, (ax,) = plots.panels(1, width=6.4, height=3.6)
    for (world, spread), colour in zip(table.max(axis=1).items(), WORLD_COLOURS):
        if np.isfinite(spread):
            ax.plot(counts, [detectable(spread, n) for n in counts], color=colour, marker="o", ms=4.5, mew=0,
                    label=f"{world} (spread {spread:.1f})")
    ax.axhline(3.0, color=RIGHT, lw=1, ls=(0, (4, 2)))
    ax.set_xticks(counts)
    ax.set_ylim(0)
    ax.set_xlabel("seeds")
    ax.set_ylabel("points at pass@1")
    ax.set_title("How small a difference can be seen (dashed: our margin)")
    plots.legend_below(fig, [ax], columns=2)
    return fig
