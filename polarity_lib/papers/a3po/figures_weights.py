"""Figures of notebooks 30 and 31: weights of whole polarities, and weights of single tokens.

Tables to figures, as in `figures.py`. Arms and seeds without runs are left out and not refused,
since sweeps fill up one run at a time. Intervals are 95 % t intervals over seeds, paired where
two arms are compared; a single seed has none.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from polarity_lib.papers.a3po.experiments import CELL_SCALES, CELLS
from polarity_lib.papers.a3po.claims import EQUAL, RAISING
from polarity_lib.experiments import Runs
from polarity_lib.plots import COLOURS, NEUTRAL, RIGHT, WRONG, draw_line, draw_seeds, without_seed_effects
from polarity_lib.claims import MARGIN, RELATIVE_MARGIN, area, at_step, relative_area
from polarity_lib.statistics import paired_t

ENTROPY = "validation/entropy"
UP, DOWN = COLOURS["grpo"], COLOURS["reinforce"]  # entropy rises, entropy falls


def _values(function, *arguments) -> np.ndarray:
    """Numbers over seeds; none where an arm or a metric is missing."""
    try:
        values = np.asarray(function(*arguments), dtype=float)
    except KeyError:
        return np.array([])
    return values[np.isfinite(values)]


def _column(table: pd.DataFrame, arm: str) -> np.ndarray:
    return _values(lambda: table[arm].dropna())


def _point(ax, place: float, values: np.ndarray, colour, marker: str = "o", upright: bool = True) -> None:
    """`draw_seeds` with the seeds beside the mean: here points are many and their intervals narrow."""
    draw_seeds(ax, place, values, colour, upright, marker, aside=0.13 if len(values) > 1 else 0.0)


def _reach(groups, floor: float) -> float:
    """Half the height of an axis around zero: every seed and, up to three times as far, the intervals."""
    seeds = [abs(v) for values in groups for v in values]
    ends = [abs(e) for values in groups if len(values) > 1 for e in (paired_t(values).low, paired_t(values).high)]
    largest = max(seeds, default=0.0)
    return 1.12 * max(floor, largest, min(max(ends, default=0.0), 3 * largest))


# ---------------------------------------------------------------- notebook 30: weights of polarities


def weights_of(arm: str) -> tuple[float, float]:
    """`sgd/P2N0.5` -> (2.0, 0.5)."""
    positive, negative = arm.split("/")[-1].removeprefix("P").split("N")
    return float(positive), float(negative)


def ratio_colour(arm: str) -> str:
    """From the colour of wrong answers over grey to that of right answers, by log2(w+ / w-)."""
    positive, negative = weights_of(arm)
    share = 0.0 if not positive else 1.0 if not negative else 0.5 + np.log2(positive / negative) / 5
    shades = plt.matplotlib.colors.LinearSegmentedColormap.from_list("ratio", [WRONG, "#E6B88F", "#8a8a8a", "#8FCDB8", RIGHT])
    return plt.matplotlib.colors.to_hex(shades(float(np.clip(share, 0, 1))))


ONLY = 3.2  # where the two arms with one weight of zero stand on an axis of log2(w+ / w-)
SIZES = {0.5: ("v", -0.16), 1.0: ("o", 0.0), 2.0: ("^", 0.16)}  # smaller weight: marker and shift


def _place(arm: str) -> tuple[float, str]:
    """Where an arm stands on the axis of ratios, and its marker."""
    positive, negative = weights_of(arm)
    if not positive or not negative:
        return (ONLY if positive else -ONLY), "s"
    marker, shift = SIZES.get(min(positive, negative), ("o", 0.0))
    return np.log2(positive / negative) + shift, marker


def grid_tables(runs: Runs) -> dict[str, pd.DataFrame]:
    """What A3PO-C8 is judged by, and pass@1: title -> seeds x arms."""
    found = {}
    for title, make in (("Reward at 25 % of training, %", lambda: 100 * at_step(runs, "train/reward", 0.25)),
                        ("Mean entropy, nats per token", lambda: area(runs, ENTROPY)),
                        ("pass@1 on the test set, %", lambda: 100 * runs.metric("test/pass@1"))):
        found[title] = make()
    return found


def plot_weight_grid(runs: Runs, arms):
    """Early reward, mean entropy and final pass@1 against the ratio of the weights, one point per arm."""
    fig, axes = plt.subplots(1, 3, figsize=(11.5, 4.0))
    for ax, (title, table) in zip(axes, grid_tables(runs).items()):
        _seed_lines(ax, table, [arm for arm in arms if arm in table and 0 not in weights_of(arm)])
        for arm in arms:
            place, marker = _place(arm)
            _point(ax, place, _column(table, arm), ratio_colour(arm), marker)
        ticks = [-ONLY, -2, -1, 0, 1, 2, ONLY]
        ax.set_xticks(ticks, ["only\nwrong", "1:4", "1:2", "1:1", "2:1", "4:1", "only\nright"])
        for edge in (-2.6, 2.6):
            ax.axvline(edge, color="#bbbbbb", lw=1, ls=(0, (2, 2)))
        ax.set_xlim(-ONLY - 0.5, ONLY + 0.5)
        ax.set_xlabel("w⁺ : w⁻, log scale")
        ax.set_title(title)
    handles = [plt.Line2D([], [], marker=m, ls="", color="#666666", label=f"smaller weight {s:g}") for s, (m, _) in SIZES.items()]
    handles.append(plt.Line2D([], [], marker="s", ls="", color="#666666", label="one weight 0"))
    fig.legend(handles=handles, loc="outside lower center", ncols=4)
    return fig


def _seed_lines(ax, table: pd.DataFrame, arms: list[str]) -> None:
    """A thin line per seed over the ratios, arms of one ratio averaged: seeds start from policies of different strength."""
    if len(table) < 2 or not arms:
        return
    ratios = [np.log2(np.divide(*weights_of(arm))) for arm in arms]
    for values in table[arms].to_numpy():
        line = pd.Series(values).groupby(ratios).mean().dropna()
        ax.plot(line.index, line, color="#999999", lw=0.8, alpha=0.6, zorder=1)


def plot_weight_curves(runs: Runs, arms, panels: dict[str, str]):
    """Training curves of some PxNy, coloured by ratio; one-sided arms are dashed. panels: metric -> title."""
    fig, axes = plt.subplots(1, len(panels), figsize=(3.8 * len(panels), 3.9))
    for ax, (metric, title) in zip(axes, panels.items()):
        rows = _rows_of(runs, metric, arms)
        for arm in arms:
            _curve(ax, rows, arm, ratio_colour(arm), arm, "--" if 0 in weights_of(arm) else "-")
        ax.set_xlabel("training step")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title(title)
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig


def _rows_of(runs: Runs, metric: str, arms) -> pd.DataFrame:
    """A metric of some arms, each seed's own level taken out, since starts differ more than arms do."""
    return without_seed_effects(runs.metrics[(runs.metrics.metric == metric) & runs.metrics.arm.isin(arms)])


def _curve(ax, rows: pd.DataFrame, arm: str, colour, label: str, dashes="-", width: float = 2.0) -> None:
    """Mean over seeds with its 95 % interval; nothing for an arm without rows."""
    rows = rows[rows.arm == arm]
    if rows.empty:
        return
    table = rows.pivot_table(index="step", columns="seed", values="value")
    draw_line(ax, table.index, table.to_numpy(), colour, label, marker="", ls=dashes, lw=width)


FAMILIES = {"AdamW, clipped": ("", EQUAL), "SGD": ("sgd/", EQUAL), "SGD + KL": ("sgd+kl/", EQUAL[:1])}


def plot_equal_ratios(runs: Runs):
    """Pairs of one ratio and two sizes: differences of entropy and of reward, and the margins of equality.

    The thick bar is the 90 % interval, which has to lie inside the margin; the thin one is the 95 % interval.
    """
    rows = [(title, prefix + a, prefix + b) for title, (prefix, pairs) in FAMILIES.items() for a, b in pairs]
    fig, axes = plt.subplots(1, 2, figsize=(10.0, 0.42 * len(rows) + 1.7), sharey=True)
    differences = {
        "Mean entropy, per cent": (RELATIVE_MARGIN, [_values(relative_area, runs, a, b, ENTROPY) for _, a, b in rows]),
        "Mean reward, points": (MARGIN, [_values(_reward_gap, runs, a, b) for _, a, b in rows])}
    colours = dict(zip(FAMILIES, (COLOURS["grpo"], COLOURS["reinforce"], COLOURS["w_reinforce"])))
    for ax, (title, (margin, groups)) in zip(axes, differences.items()):
        ax.axvspan(-margin, margin, color="#ececec", lw=0)
        ax.axvline(0, color="#777777", lw=1)
        for y, ((family, _, _), values) in enumerate(zip(rows, groups)):
            _point(ax, y, values, colours[family], upright=False)
            if len(values) > 1:
                inner = paired_t(values, 0.9)
                ax.plot([inner.low, inner.high], [y, y], color=colours[family], lw=4.5, alpha=0.55, solid_capstyle="butt")
            elif not len(values):
                ax.text(0, y, "no runs", ha="center", va="center", fontsize=8.5, color="#777777")
        reach = _reach(groups, 1.4 * margin)
        ax.set_xlim(-reach, reach)
        ax.set_xlabel("difference")
        ax.set_title(title)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(rows)), [f"{f}:  {a.split('/')[-1]} − {b.split('/')[-1]}" for f, a, b in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    fig.supxlabel("grey: margin of equality", fontsize=9.5, color="#555555")
    return fig


def _reward_gap(runs: Runs, left: str, right: str):
    mean = 100 * area(runs, "train/reward")
    return (mean[left] - mean[right]).dropna()


def plot_toy_paths(panels: dict[str, dict[str, np.ndarray]]):
    """Paths of two parameters, one panel per optimizer. panels: title -> {label: [S + 1, 2]}, labels in one order."""
    fig, axes = plt.subplots(1, len(panels), figsize=(3.7 * len(panels), 3.6))
    widths, colours = (7.0, 3.6, 1.4), ("#A9CDE8", COLOURS["grpo"], "#102A43")  # wide ones first, so that none is hidden
    for ax, (title, paths) in zip(np.atleast_1d(axes), panels.items()):
        for (label, path), width, colour in zip(paths.items(), widths, colours):
            path = np.asarray(path)
            ax.plot(path[:, 0], path[:, 1], color=colour, lw=width, solid_capstyle="round", label=label)
            ax.plot(*path[-1], "o", color=colour, ms=width + 4, mec="white", mew=1)
        ax.plot(0, 0, "x", color="black", ms=7)
        ax.set_xlabel("logit of the right answer")
        ax.set_title(title)
    np.atleast_1d(axes)[0].set_ylabel("logit of the wrong answer")
    np.atleast_1d(axes)[0].legend(loc="upper right")
    return fig


# ---------------------------------------------------------------- notebook 31: weights of tokens

WORDS = {
    "probability": {"right_low": "unlikely tokens, right answers", "right_high": "likely tokens, right answers",
                    "wrong_low": "unlikely tokens, wrong answers", "wrong_high": "likely tokens, wrong answers"},
    "entropy": {"right_low": "certain positions, right answers", "right_high": "uncertain positions, right answers",
                "wrong_low": "certain positions, wrong answers", "wrong_high": "uncertain positions, wrong answers"},
}


def cell_colour(cell: str) -> str:
    """The colour of the cell's polarity."""
    return RIGHT if cell.startswith("right") else WRONG


def arm_of(cell: str, scale: float, metric: str = "probability") -> str:
    """Name of an arm of `token_shaping`."""
    return f"{'entropy/' if metric == 'entropy' else ''}{cell}x{scale:g}"


def plot_identity(table: pd.DataFrame):
    """The entropy change of one update over the sampled token's probability, for A = +1 and A = -1.

    Args:
        table: rows of `shaping_theory.identity_table`.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10.0, 4.0), sharey=True)
    reach = 1.25 * float(table.change.abs().max())
    words = {+1: ("right_low", "right_high"), -1: ("wrong_low", "wrong_high")}
    for ax, (sign, title) in zip(axes, ((+1, "Right answer, A = +1"), (-1, "Wrong answer, A = −1"))):
        change = sign * table.change
        for up, colour, marker in ((True, UP, "^"), (False, DOWN, "v")):
            rows = (change > 0) == up
            ax.scatter(table.probability[rows], change[rows], s=17, marker=marker, color=colour, alpha=0.55, lw=0,
                       label="entropy rises" if up else "entropy falls")
        ax.axhline(0, color="#333333", lw=1)
        for cell, x, side in zip(words[sign], (0.2, 0.98), ("left", "right")):
            raises = cell in RAISING["probability"]
            text = WORDS["probability"][cell].split(",")[0] + (":\nA3PO raises these" if raises else "")
            ax.text(x, 0.97 if raises else 0.03, text, transform=ax.transAxes, ha=side, va="top" if raises else "bottom",
                    color="#222222", fontsize=9.5, weight="bold" if raises else "normal")
        ax.set_xlim(-0.02, 1.02)
        ax.set_ylim(-reach, reach)
        ax.set_xlabel("probability of the sampled token")
        ax.set_title(title)
    axes[0].set_ylabel("dH / η, nats per unit of step")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=2)
    return fig


def plot_cells(runs: Runs, metric: str = "probability", scales=CELL_SCALES):
    """Mean entropy over training against "none", in per cent: one panel per cell, one point per scale.

    The side that the identity predicts is shaded.

    Args:
        metric: what tokens are ranked by, "probability" or "entropy".
    """
    changes = {cell: [_values(relative_area, runs, arm_of(cell, s, metric), "none", ENTROPY) for s in scales] for cell in CELLS}
    reach = _reach([values for groups in changes.values() for values in groups], 5.0)
    order = sorted(CELLS, key=lambda cell: cell not in RAISING[metric])  # those that should raise entropy come first
    fig, axes = plt.subplots(1, len(order), figsize=(11.5, 3.7), sharey=True)
    for ax, cell in zip(axes, order):
        for x, (scale, values) in enumerate(zip(scales, changes[cell])):
            up = (cell in RAISING[metric]) == (scale > 1)
            ax.fill_between([x - 0.5, x + 0.5], 0, reach if up else -reach, color="#DCE9F3" if up else "#F7E8CC", lw=0)
            _point(ax, x, values, cell_colour(cell))
            if not len(values):
                ax.text(x, 0, "no run", rotation=90, ha="center", va="center", fontsize=8, color="#777777")
        ax.axhline(0, color="#555555", lw=1)
        ax.set_xticks(range(len(scales)), [f"×{s:g}" for s in scales])
        ax.set_xlim(-0.5, len(scales) - 0.5)
        ax.set_ylim(-reach, reach)
        ax.set_title(WORDS[metric][cell].replace(", ", ",\n"), fontsize=10.5)
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("mean entropy against no shaping, %")
    fig.supxlabel("weight of the cell's tokens (shaded: predicted side)", fontsize=10.5)
    return fig


def plot_cell_curves(runs: Runs, scales=(5.0, 0.2), metric: str = ENTROPY):
    """A metric's curves of the four cells, one panel per scale; solid: the two cells that A3PO raises."""
    fig, axes = plt.subplots(1, len(scales), figsize=(5.0 * len(scales), 4.1), sharey=True, squeeze=False)
    rows = _rows_of(runs, metric, ["none", *(arm_of(cell, scale) for cell in CELLS for scale in scales)])
    for ax, scale in zip(axes[0], scales):
        _curve(ax, rows, "none", "black", "no shaping", (0, (1, 1)), 2.4)
        for cell in ("right_low", "wrong_high", "right_high", "wrong_low"):
            dashes = "-" if cell in RAISING["probability"] else (0, (5, 2))
            _curve(ax, rows, arm_of(cell, scale), cell_colour(cell), WORDS["probability"][cell], dashes)
        ax.set_xlabel("training step")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title(f"One cell's tokens weigh ×{scale:g}")
    axes[0, 0].set_ylabel("entropy, held-out, nats per token")
    handles, labels = max((ax.get_legend_handles_labels() for ax in axes[0]), key=lambda found: len(found[1]))
    if handles:
        fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


CONTROLS = {"right_lowx5": "unlikely tokens, right", "wrong_highx5": "likely tokens, wrong", "a3pox5": "both (A3PO's choice)",
            "swappedx5": "swapped cells", "randomx5": "random tokens", "positionx5": "random, same positions"}


def plot_controls(runs: Runs):
    """Weight 5 on A3PO's tokens and on as many others: mean entropy and final pass@1 against no shaping."""
    fig, axes = plt.subplots(1, 2, figsize=(10.0, 3.6), sharey=True)

    def gap(arm):
        table = 100 * runs.metric("test/pass@1")
        return (table[arm] - table["none"]).dropna()

    entropy = [_values(relative_area, runs, arm, "none", ENTROPY) for arm in CONTROLS]
    accuracy = [_values(gap, arm) for arm in CONTROLS]
    for ax, groups, floor in zip(axes, (entropy, accuracy), (5.0, 1.4 * MARGIN)):
        for y, (arm, values) in enumerate(zip(CONTROLS, groups)):
            colour = COLOURS["grpo"] if y < 3 else NEUTRAL
            _point(ax, y, values, colour, upright=False)
            if not len(values):
                ax.text(0, y, "no runs", ha="center", va="center", fontsize=8.5, color="#777777")
        reach = _reach(groups, floor)
        ax.set_xlim(-reach, reach)
        ax.axvline(0, color="#777777", lw=1)
        ax.grid(axis="y", visible=False)
    axes[1].axvspan(-MARGIN, axes[1].get_xlim()[1], color="#ececec", lw=0, zorder=0)
    axes[0].set_yticks(range(len(CONTROLS)), CONTROLS.values())
    axes[0].set_ylim(len(CONTROLS) - 0.5, -0.5)
    axes[0].set_title("Mean entropy over training")
    axes[0].set_xlabel("change, %")
    axes[1].set_title("pass@1 on the test set (grey: loss within the margin)")
    axes[1].set_xlabel("change, points")
    return fig
