"""Tables to figures for notebook 60: discovery curves, their reason, the map of methods."""

import textwrap

import numpy as np
import pandas as pd

from polarity_lib import plots, registry
from polarity_lib.papers.discovery import clock, theory
from polarity_lib.plots import RIGHT, WRONG, arm_colour, arm_label

UNITS = {"batches": "batch", "answers": "answers drawn, thousands"}
FACTORS = {"batches": 1.0, "answers": 1e-3}


def curve(ax, table: pd.DataFrame, name: str, arm: str, by: str = "batches", band: bool = True) -> None:
    """One arm's share of seeds that have found it, as steps from zero to the horizon, with its interval.

    Args:
        table: of `clock.times`.
        name: the arm in that table; `arm` is what it is drawn as.
    """
    (label, colour, dashes), factor = plots.style_of(arm), FACTORS[by]
    horizon = float(table.xs(name, level="arm")[f"{by}_left"].max())
    found = clock.found_by(clock.of_arm(table, name, by))
    start, end = pd.DataFrame([{"time": 0.0, "share": 0.0, "low": 0.0, "high": 0.0}]), pd.DataFrame([{"time": horizon}])
    found = pd.concat([start, found, end], ignore_index=True).ffill()
    ax.step(factor * found.time, 100 * found.share, where="post", color=colour, ls=dashes, label=label)
    if band:
        ax.fill_between(factor * found.time, 100 * found.low, 100 * found.high, step="post", color=colour, alpha=0.10, lw=0)
    ax.set_xlim(0, max(ax.get_xlim()[1], factor * horizon))


def plot_discovery(runs, arms, clocks=clock.CLOCKS, band: bool = True):
    """The share of seeds that have found the rare way, against batches and against answers drawn."""
    table = clock.times(runs)
    arms = [arm for arm in arms if arm in table.index.get_level_values("arm")]
    fig, axes = plots.panels(len(clocks), width=5.2, height=3.8, sharey=True)
    for ax, name in zip(axes, clocks):
        for arm in arms:
            curve(ax, table, arm, arm, name, band)
        ax.set(xlabel=UNITS[name], ylim=(-3, 103), title=f"Found, by {UNITS[name].split(',')[0]}")
    axes[0].set_ylabel("seeds that have found it, %")
    plots.legend_below(fig, axes, columns=4)
    return fig


def plot_levels(runs, levels, arms):
    """The same at every level of the dial."""
    table = clock.times(runs)
    have = set(table.index.get_level_values("arm"))
    levels = [r for r in levels if any(f"{r:g}/{arm}" in have for arm in arms)]
    fig, axes = plots.panels(len(levels), width=3.4, sharey=True)
    for ax, r in zip(axes, levels):
        for arm in arms:
            if f"{r:g}/{arm}" in have:
                curve(ax, table, f"{r:g}/{arm}", arm, band=False)
        ax.set(xlabel="batch", ylim=(-3, 103), title=f"r = {r:g}")
    axes[0].set_ylabel("seeds that have found it, %")
    plots.legend_below(fig, axes)
    return fig


def plot_reason(found: pd.DataFrame, arms):
    """Until the discovery, arm by arm: worked answers per batch, what right and wrong ones were given, the push."""
    arms = [arm for arm in arms if arm in found.index.get_level_values("arm")]
    shown = {"worked": ("Worked answers per batch", 1.0), "from_right": ("Weight of worked right ones, %", 100.0),
             "from_wrong": ("Weight of worked wrong ones, %", 100.0), "push": ("Push towards the rare way, %", 100.0)}
    fig, axes = plots.panels(len(shown), width=3.3, height=0.36 * len(arms) + 1.4, sharey=True)
    for ax, (name, (title, factor)) in zip(axes, shown.items()):
        plots.arms(ax, factor * found[name].unstack(), arms)
        ax.set_title(title, fontsize=10)
        if name != "worked":
            ax.axvline(0, color="#777777", lw=1, zorder=0.9)
    return fig


def plot_forecast(expected: pd.DataFrame, found: pd.DataFrame, times: pd.DataFrame):
    """By arithmetic against what was seen: the push, and the clearness of the signal against the time, a dot per method."""
    fig, axes = plots.panels(2, width=4.6)
    seen, late = found.groupby("arm").push.mean(), times.groupby("arm").batches.mean()
    for arm in [arm for arm in expected.index if arm in seen.index]:
        for ax, x, y in ((axes[0], expected.clear[arm], 100 * seen[arm]), (axes[1], expected.clear[arm], late[arm])):
            ax.plot(x, y, "o", ms=6, color=arm_colour(arm))
            ax.annotate(arm_label(arm), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=8)
    axes[0].set(ylabel="push seen, % of all weight", title="The signal")
    axes[1].set(ylabel="batches until found, mean", title="The clock")
    for ax in axes:
        ax.set_xlabel("push / its spread per batch, by arithmetic")
    return fig


def plot_map(size: int = 8, columns: int = 5):
    """What a group with success rate p gives to its right answers (up) and to its wrong ones (down), a panel per family."""
    told, _ = theory.map_of_methods(size)
    found = theory.families(told)
    p_P = np.linspace(0, 1, 101)
    fig, axes = plots.panels(len(found), columns=columns, width=2.6, height=2.15, sharex=True)
    for ax, (names, gives_K2) in zip(axes, found.items()):
        map_P2 = theory.on_map(gives_K2, p_P)
        for column, (word, colour) in enumerate((("right answers", RIGHT), ("wrong answers", WRONG))):
            ax.plot(p_P, map_P2[:, column], color=colour, label=word)
            ax.fill_between(p_P, 0, map_P2[:, column], color=colour, alpha=0.15, lw=0)
        ax.axhline(0, color="#777777", lw=0.8)
        top = 1.15 * max(np.abs(map_P2).max(), 1e-9)
        ax.set(ylim=(-top, top), xlim=(0, 1))
        ax.set_title(_title(names), fontsize=8.5)
        ax.tick_params(labelsize=8)
    fig.supxlabel(f"p, success rate of the group's answers (groups of {size})", fontsize=10)
    fig.supylabel("advantage per answer of the group", fontsize=10)
    axes[0].legend(fontsize=7.5, loc="lower right")
    return fig


def _title(names: tuple[str, ...], most: int = 3, width: int = 28) -> str:
    """The labels of a family, on as many lines as needed; those without a label of their own are counted."""
    words = list(dict.fromkeys(arm_label(name) for name in names if name in registry.STYLES))[:most] or [names[0]]
    more = len(names) - len(words)
    return textwrap.fill("; ".join(words) + (f"; {more} more" if more else ""), width)
