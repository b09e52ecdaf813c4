"""One small vocabulary of plots: tables to figures. Nothing here samples, trains or judges.

    curves      a metric over training, one line per arm
    over        means against a number: k, a weight, a level
    arms        an arm per row: every seed, the mean, its interval
    differences the same for anything that is compared with zero, and the margin that counts as a tie
    verdicts    sub-tests with their intervals, coloured by verdict
    heat        a table as colours and words

seaborn draws; every interval is the 95 % t interval over seeds (`t_interval`), and a single seed has none.
An arm has the same label and colour in every figure: papers say them in `STYLES` of their `figures.py`.
Arms without runs are left out and not refused, since sweeps fill up one run at a time.
"""

import io
import re
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap

from polarity_lib.outside import strict_json
from polarity_lib.registry import STYLES
from polarity_lib.results import ROOT, current_commit, write_atomic
from polarity_lib.statistics import paired_t

# Okabe and Ito's palette: told apart by colour-blind readers and in grey print.
RIGHT, WRONG, NEUTRAL, BASE = "#009E73", "#D55E00", "#999999", "#555555"  # polarities, neither, the base policy
POLARITY = LinearSegmentedColormap.from_list("polarity", [WRONG, "white", RIGHT])
VERDICT_COLOURS = {"replicated": "#009E73", "differs here": "#D55E00", "contradicted": "#8B2F00", "no effect": "#56B4E9",
                   "depends on the rate": "#CC79A7", "depends on the definition": "#E69F00", "inconclusive": "#999999",
                   "not run at this scale": "#dddddd"}
MAX_BYTES = 300_000


def theme() -> None:
    """Quiet axes and readable sizes, for a page and for a projector."""
    sns.set_theme(style="whitegrid", rc={
        "figure.figsize": (7.0, 3.8), "figure.dpi": 100, "figure.constrained_layout.use": True,
        "font.size": 10.5, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.labelsize": 10.5, "xtick.labelsize": 10, "ytick.labelsize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#333333", "axes.axisbelow": True,
        "grid.color": "#e6e6e6", "lines.linewidth": 2.0, "legend.frameon": False, "legend.fontsize": 9.5,
    })


# ---------------------------------------------------------------- arms


def style_of(name: str) -> tuple[str, str, object]:
    """(label, colour, dashes) of an arm.

    `countdown3/psr_grpo_seq leaky` is drawn as its method `psr_grpo_seq` or, where that has no style of its own, as `psr`.
    Anything unknown is grey and keeps its name.
    """
    parts = [name, *re.split("[/ ]", name)]
    known = [p for p in parts if p in STYLES] or sorted((s for s in STYLES for p in parts if p.startswith(f"{s}_")), key=len)[-1:]
    label, colour, *dashes = STYLES[known[0]] if known else (name, NEUTRAL)
    return (label if name in STYLES else name), colour, (dashes[0] if dashes else "-")


def arm_label(name: str) -> str:
    """What a legend calls an arm."""
    return style_of(name)[0]


def arm_colour(name: str) -> str:
    """The colour of an arm."""
    return style_of(name)[1]


def method_of(arm: str) -> str:
    """`countdown3/psr_grpo_seq leaky` -> `psr_grpo_seq`."""
    return arm.split("/")[-1].split(" leaky")[0]


def present(runs, names) -> list[str]:
    """Those of the arms that have runs, in the given order."""
    have = {arm.name for arm in runs.arms}
    return [name for name in names if name in have]


# ---------------------------------------------------------------- intervals and panels


def t_interval(values) -> tuple[float, float]:
    """Bounds of the 95 % t interval of a mean over seeds, as seaborn's `errorbar` takes it."""
    found = paired_t(np.asarray(values, dtype=float))
    return found.low, found.high


def panels(count: int, columns: int = 0, width: float = 3.7, height: float = 3.4, **options):
    """A figure and its axes in a list; those beyond `count` stay hidden."""
    columns = columns or count
    rows = -(-count // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **options)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return fig, list(axes.flat[:count])


def legend_below(fig, axes, columns: int = 6) -> None:
    """One entry per label, whichever panel has it."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels())}
    if found:
        rows = -(-len(found) // columns)
        fig.legend(found.values(), found, loc="outside lower center", ncols=-(-len(found) // rows), handlelength=3.0)


def keep_in_view(ax, values, side: str = "y") -> None:
    """Seeds decide how far an axis goes, not intervals: with two or three seeds a t interval is many times their spread."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = values.min(), values.max()
    room = 0.3 * (high - low) or 0.1 * abs(high) or 1.0
    bottom, top = getattr(ax, f"get_{side}lim")()
    floor = -0.02 * high if low >= 0 else -np.inf  # no room below zero for what cannot be negative
    getattr(ax, f"set_{side}lim")(max(bottom, low - room, floor), min(top, high + room))


# ---------------------------------------------------------------- curves and lines


def without_seed_effects(rows: pd.DataFrame) -> pd.DataFrame:
    """Values less their seed's own level, plus the level of all: what is left differs by arm and step.

    The level of a seed is its mean over all rows; seeds that lack an arm, having another mean, stay as they are, and so does
    what is the same in every seed, such as a share that is zero in all.
    Source: Cousineau, Tutorials in Quantitative Methods for Psychology 1(1), 2005 (within-subject intervals).

    Args:
        rows: columns arm, seed, step, value, of one metric.
    """
    whole = rows.groupby("seed").value.transform("size") == rows.groupby("seed").value.size().max()
    level = rows[whole].groupby("seed").value.mean()
    varied = rows.groupby(["arm", "step"]).value.transform("nunique") > 1
    return rows.assign(value=rows.value - (rows.seed.map(level) - level.mean()).fillna(0.0).where(varied, 0.0))


def levelled(table: pd.DataFrame) -> pd.DataFrame:
    """Seeds x arms less each seed's own mean, plus the mean of all; of seeds that have every arm (`without_seed_effects`)."""
    whole = table.dropna()
    return whole.sub(whole.mean(axis=1), axis=0) + whole.to_numpy().mean() if len(whole) > 1 else table


def curves(ax, metrics: pd.DataFrame, metric: str, arms=None, factor: float = 1.0, within_seeds: bool = False,
           x: str = "step", style=style_of, in_view: bool = False) -> None:
    """A metric over training, one line per arm, with its 95 % interval over seeds.

    Args:
        metrics: long table with columns arm, seed, step, metric, value.
        metric: which metric; a KeyError names its group's metrics if it is absent.
        arms: which arms and in which order; all by default. Those without rows are left out.
        within_seeds: bands are of `without_seed_effects` of these arms, where seeds start from different levels.
        x: column of the horizontal axis.
        style: arm -> (label, colour, dashes).
        in_view: bands may leave their panel (few seeds).
    """
    rows = metrics[metrics.metric == metric]
    if rows.empty:
        group = metric.split("/")[0]
        raise KeyError(f"no rows for {metric!r}; there are {sorted(m for m in set(metrics.metric) if m.startswith(group))}")
    have = set(rows.arm)
    names = [name for name in arms or dict.fromkeys(rows.arm) if name in have]
    rows = rows[rows.arm.isin(names)]
    rows = without_seed_effects(rows) if within_seeds else rows
    for name in names:
        label, colour, dashes = style(name)
        sns.lineplot(rows[rows.arm == name].assign(value=lambda r: factor * r.value), x=x, y="value", color=colour, ls=dashes,
                     label=label, legend=False, errorbar=t_interval, err_kws={"lw": 0, "alpha": 0.15}, ax=ax)
    if in_view:
        keep_in_view(ax, factor * rows.value)
    ax.set_xlabel("training step")
    ax.set_ylabel("")


def over(ax, levels, columns, colour, label: str, log: bool = False, **style) -> None:
    """Mean and interval of each column (one array over seeds per level) against a number.

    Args:
        log: the axis is log2, with a tick per level.
    """
    long = pd.DataFrame([(x, v) for x, column in zip(levels, columns) for v in np.asarray(column, float)], columns=["x", "value"])
    sns.lineplot(long, x="x", y="value", color=colour, label=label, legend=False, errorbar=t_interval, ax=ax,
                 err_kws={"lw": 0, "alpha": 0.15}, **({"marker": "o", "ms": 4.5, "mew": 0} | style))
    if log:
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(levels), [f"{x:g}" for x in levels])
        ax.minorticks_off()
    ax.set_xlabel("")
    ax.set_ylabel("")


def plot_spectrum(metrics: pd.DataFrame, split: str, ax, arms=None) -> None:
    """pass@k against k at the last step, one line per arm.

    Without an arm called `base`, the base is read off step 0, if that was evaluated.

    Args:
        metrics: long table with columns arm, seed, step, metric, value.
        split: whose pass@k: test, validation or pool.
    """
    rows = metrics[metrics.metric.str.startswith(f"{split}/pass@")]
    if "base" not in set(rows.arm):
        start = rows[rows.step == 0].drop_duplicates(["seed", "metric"])
        rows = pd.concat([start.assign(arm="base"), rows[rows.step > 0]])
    rows = rows.assign(k=rows.metric.str.split("@").str[1].astype(int)).sort_values("step")
    rows = rows.groupby(["arm", "seed", "k"], sort=False).tail(1)
    for name in [n for n in arms or dict.fromkeys(["base", *metrics.arm]) if n in set(rows.arm)]:
        label, colour, dashes = style_of(name)
        table = rows[rows.arm == name].pivot(index="k", columns="seed", values="value").sort_index()
        over(ax, table.index, table.to_numpy(), colour, label, log=True, ls=dashes)
    ax.set_xlabel("k, answers allowed per problem")
    ax.set_ylabel(f"pass@k, {split} problems")


def plot_curves(runs, arms, shown: dict, columns: int = 0, within_seeds: bool = False, style=style_of, in_view: bool = False):
    """A panel of curves per metric, one legend below.

    Args:
        shown: metric -> title, or (title, factor).
        within_seeds, style, in_view: as in `curves`.
    """
    fig, axes = panels(len(shown), columns)
    for ax, (metric, title) in zip(axes, shown.items()):
        title, factor = (title, 1.0) if isinstance(title, str) else title
        curves(ax, runs.metrics, metric, [a for a in arms if a != "base"], factor, within_seeds, style=style, in_view=in_view)
        ax.set_title(title)
    legend_below(fig, axes)
    return fig


# ---------------------------------------------------------------- arms and differences


def seeds(ax, groups: dict, colours, upright: bool = False, marker: str = "D", aside: float = 0.0) -> None:
    """A row per entry: every seed as a faint dot, the mean as a marker, its interval where there are several seeds.

    Args:
        groups: place on the other axis (a number) -> values over seeds.
        colours: one per entry.
        upright: values run up instead of along.
        aside: how far the dots stand from the mean, where narrow intervals would hide them.
    """
    for (place, values), colour in zip(groups.items(), colours):
        values = np.asarray(values, dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        where = np.full(len(values), float(place))
        beside, at = ({"x": x, "y": values} if upright else {"x": values, "y": x} for x in (where + aside, where))
        shared = {"color": colour, "orient": "x" if upright else "y", "native_scale": True, "ax": ax}
        sns.stripplot(**beside, **shared, alpha=0.4, size=4.5, linewidth=0, jitter=False, zorder=3)
        sns.pointplot(**at, **shared, errorbar=t_interval, markers=marker, markersize=6, linestyle="none",
                      err_kws={"lw": 2}, zorder=2)
    ax.set_xlabel("")
    ax.set_ylabel("")


def arms(ax, table: pd.DataFrame, names, label=arm_label, colour=arm_colour) -> None:
    """An arm per row, the first on top; an arm without values leaves its row empty.

    Args:
        table: seeds x arms.
        label, colour: of an arm's name.
    """
    names = list(names)
    seeds(ax, {y: table[name] if name in table else [] for y, name in enumerate(names)}, [colour(n) for n in names])
    ax.set_yticks(range(len(names)), [label(n) for n in names])
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)


def differences(ax, groups: dict, colours, margin: float = 0.0, reach: float = 0.0, aside: float = 0.0) -> None:
    """A row per label, beside a line at zero; grey: the margin that counts as a tie.

    Args:
        groups: label -> one difference per seed.
        reach: the axis runs this far at least on both sides of zero; 0 leaves it to the data.
        aside: as in `seeds`.
    """
    if margin:
        ax.axvspan(-margin, margin, color="#ececec", lw=0, zorder=0)
        if 0 < (half := symmetric(groups.values(), reach)) < margin:  # all grey: what is inside the margin can still be seen
            ax.set_xlim(-half, half)
    ax.axvline(0, color="#777777", lw=1, zorder=0.9)  # above the grid, below the dots
    seeds(ax, dict(enumerate(groups.values())), colours, aside=aside)
    for y, values in enumerate(groups.values()):
        if not np.isfinite(np.asarray(values, dtype=float)).any():
            ax.text(0, y, "no runs", ha="center", va="center", fontsize=8.5, color="#777777")
    ax.set_yticks(range(len(groups)), list(groups))
    ax.set_ylim(max(len(groups), 1) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    if reach:
        ax.set_xlim(-symmetric(groups.values(), reach), symmetric(groups.values(), reach))


def symmetric(groups, floor: float) -> float:
    """Half the length of an axis around zero: every seed and, up to three times as far, the intervals."""
    arrays = [np.asarray(g, dtype=float)[np.isfinite(np.asarray(g, dtype=float))] for g in groups]
    largest = max((np.abs(a).max() for a in arrays if len(a)), default=0.0)
    ends = max((np.abs(t_interval(a)).max() for a in arrays if len(a) > 1), default=0.0)
    return 1.12 * max(floor, largest, min(ends, 3 * largest))


def plot_arms(runs, names, shown: dict, factor: float = 100.0, label=arm_label, in_view: bool = False):
    """A panel of arms per metric of finished runs.

    Args:
        shown: metric -> title, or (title, unit, factor).
        in_view: intervals may leave their panel (few seeds).
    """
    fig, axes = panels(len(shown), height=0.42 * len(names) + 1.5, sharey=True)
    for ax, (metric, title) in zip(axes, shown.items()):
        title, unit, scale = (title, "%", factor) if isinstance(title, str) else title
        table = (scale * runs.metric(metric)).reindex(columns=list(names))
        arms(ax, table, names, label)
        if in_view:
            keep_in_view(ax, table, "x")
        ax.set_title(title)
        ax.set_xlabel(unit)
    return fig


# ---------------------------------------------------------------- claims, tables


def plot_verdicts(table: pd.DataFrame, title: str = ""):
    """A forest of sub-tests: each as its interval, coloured by its verdict. `table`: rows of claims.judge."""
    rows = table[(table.subtest != "") & table.ours.notna()].reset_index(drop=True)
    fig, ax = plt.subplots(figsize=(8.5, 0.27 * len(rows) + 1.2))
    for verdict, colour in VERDICT_COLOURS.items():
        mine = rows[rows.verdict == verdict]
        if len(mine):
            ax.errorbar(mine.ours, mine.index, xerr=[mine.ours - mine.low, mine.high - mine.ours], fmt="o", color=colour,
                        lw=2.5, ms=5, label=verdict)
    names = [claim if claim.startswith("OURS") else claim.split("-", 1)[-1] for claim in rows.claim]
    ax.set_yticks(range(len(rows)), [f"{n}  {s}" for n, s in zip(names, rows.subtest)], fontsize=8)
    ax.set_ylim(len(rows), -1)
    ax.set_title(title)
    ax.axvline(0, color=BASE, lw=1)
    ax.set_xlabel("difference with its 95 % interval (points or per cent)" + log_beyond(ax, rows))
    legend_below(fig, [ax])
    return fig


def log_beyond(ax, rows: pd.DataFrame) -> str:
    """Where few wide or far intervals would press all others into a line: an axis that is logarithmic beyond some value.

    Returns:
        What the axis then says of itself, else "".
    """
    reach, width = rows[["low", "high"]].abs().max().max(), (rows.high - rows.low).median()
    linear = 10 if reach > 50 else 1 if reach > 20 * width else 0
    if not linear:
        return ""
    ax.set_xscale("symlog", linthresh=linear)
    ticks = [sign * linear * step for step in ((100, 10, 1) if reach > 10 * linear else (10, 3, 1)) for sign in (-1, 1)] + [0]
    ax.set_xticks(sorted(t for t in ticks if abs(t) <= 1.2 * reach))
    ax.xaxis.set_major_formatter("{x:g}")
    return f", logarithmic beyond ±{linear}"


def heat(ax, values, words, rows, columns, cmap=POLARITY, **options) -> None:
    """A table as colours and words.

    Args:
        values: [rows, columns] numbers that colour the cells.
        words: [rows, columns] what stands in them.
        options: of `seaborn.heatmap`, such as vmin and vmax.
    """
    sns.heatmap(np.asarray(values, dtype=float), annot=np.asarray(words), fmt="", cmap=cmap, ax=ax, linewidths=0.5,
                **({"cbar": False, "annot_kws": {"size": 9}, "xticklabels": list(columns), "yticklabels": list(rows)} | options))
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)


# ---------------------------------------------------------------- writing


def save_figure(fig, name: str, notebook: str, runs=(), figures_dir="../data/runs/figures") -> Path:
    """Write `<name>.png` and, beside it, a JSON that says where it comes from.

    Args:
        notebook: name of the notebook without its ending.
        runs: a `Runs`, several of them (a list, or a dict by name), hashes of runs, or nothing for a figure made by hand.
        figures_dir: a relative folder is relative to notebooks/, wherever the kernel was started.

    Returns:
        Path of the picture, below 300 kB.
    """
    folder = ROOT / "notebooks" / figures_dir
    parts = [runs] if hasattr(runs, "arms") else runs.values() if isinstance(runs, dict) else runs
    hashes = sorted({h for part in parts for h in ([arm.config.hash for arm in part.arms] if hasattr(part, "arms") else [part])})
    for dpi in (150, 110, 80):
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white", metadata={"Software": None})
        if buffer.tell() < MAX_BYTES:
            break
    origin = {"figure": f"{name}.png", "notebook": notebook, "runs": hashes, "commit": current_commit(),
              "time": time.strftime("%FT%TZ", time.gmtime())}
    path = (folder / f"{name}.png").resolve()
    write_atomic(path, buffer.getvalue())
    write_atomic(path.with_suffix(".json"), (strict_json(origin, indent=1) + "\n").encode())
    return path
