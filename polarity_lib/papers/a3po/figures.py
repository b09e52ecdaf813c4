"""Figures of notebooks 32 and 33: A3PO beside its baselines, and training on one polarity.

Tables to figures, as in `figures.py`. Arms, seeds or worlds without runs are left out and
not refused, since sweeps fill up one run at a time. Intervals are 95 % t intervals over seeds.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from polarity_lib.papers.a3po.claims import ADMITTED
from polarity_lib.plots import (
    COLOURS, LABELS, RIGHT, WRONG, arm_colour, arm_label, draw_arms, draw_line, draw_seeds,
    without_seed_effects,
)
from polarity_lib.claims import MARGIN

DASHES = {"grpo": (0, (6, 2)), "dapo": (0, (3, 1.5)), "dapo_fork": (0, (1, 1)), "w_reinforce": (0, (5, 1, 1, 1)),
          "lp_reg": (0, (3, 1, 1, 1, 1, 1))}
ALONE = {"psr_grpo_seq": LABELS["psr"], "nsr_grpo_seq": LABELS["nsr"]}  # here no other definition stands beside them

ABLATION_GROUPS = {
    "weight over training": ("constant 2", "constant 5", "literal slope", "literal slope per update"),
    "size of the step": ("mean one", "a3po matched"),
    "which tokens": ("random tokens", "same positions", "swapped", "by entropy"),
    "whose tokens": ("only right", "only wrong"),
    "base loss": ("on dapo",),
    "other methods": ("grpo", "dr_grpo", "cispo", "gspo"),
}
LYING = {"lying verifier": ("a3po tossed", "a3po flipped")}


def method_of(arm: str) -> str:
    """`countdown3/psr_grpo_seq leaky` -> `psr_grpo_seq`."""
    return arm.split("/")[-1].removesuffix(" leaky")


def label_of(arm: str) -> str:
    """What a legend calls an arm, whichever its world or verifier."""
    return ALONE.get(method_of(arm)) or arm_label(method_of(arm))


# ---------------------------------------------------------------- A3PO by hand


def plot_token_advantages(probability_NT, advantages: dict, verdicts: list[str]):
    """Four rollouts, one panel per moment of the training: each token's probability and its advantage.

    Args:
        probability_NT: [N, T] of each sampled token, written small in its cell.
        advantages: title -> [N, T].
        verdicts: label of each row.
    """
    probability_NT = np.asarray(probability_NT)
    largest = max(float(np.abs(np.asarray(a)).max()) for a in advantages.values()) or 1.0
    shades = plt.matplotlib.colors.LinearSegmentedColormap.from_list("polarity", [WRONG, "white", RIGHT])
    fig, axes = plt.subplots(1, len(advantages), figsize=(4.1 * len(advantages), 0.62 * len(verdicts) + 1.2), sharey=True)
    for ax, (title, values_NT) in zip(np.atleast_1d(axes), advantages.items()):
        values_NT = np.asarray(values_NT)
        ax.imshow(values_NT, cmap=shades, vmin=-1.3 * largest, vmax=1.3 * largest, aspect="auto")
        for (row, column), value in np.ndenumerate(values_NT):
            ax.text(column, row - 0.12, f"{value:+.2f}", ha="center", va="center", fontsize=9.5)
            ax.text(column, row + 0.27, f"p = {probability_NT[row, column]:.2f}", ha="center", va="center", fontsize=7.5)
        ax.set_xticks(range(values_NT.shape[1]), [f"{t + 1}" for t in range(values_NT.shape[1])])
        ax.set_yticks(range(len(verdicts)), verdicts)
        ax.set_title(title)
        ax.set_xlabel("token")
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    return fig


# ---------------------------------------------------------------- the head to head


def plot_head_to_head(worlds: dict, methods, metric: str = "test/pass@1"):
    """What every method adds to its seed's base policy, one panel per world: seeds as dots, mean and interval as a bar.

    Bases differ between seeds more than methods do, so nothing is compared across seeds.

    Args:
        worlds: title -> (runs, prefix of the arm names, e.g. "countdown3/").
        methods: from top to bottom.
    """
    rows = [m for m in methods if m != "base"]
    fig, axes = plt.subplots(1, len(worlds), figsize=(1.6 + 3.3 * len(worlds), 0.42 * len(rows) + 1.7), sharey=True)
    for ax, (title, (runs, prefix)) in zip(np.atleast_1d(axes), worlds.items()):
        table = 100 * runs.metric(metric)
        base = table[f"{prefix}base"] if f"{prefix}base" in table else pd.Series(np.nan, table.index)
        draw_arms(ax, table.sub(base, axis=0), [f"{prefix}{m}" for m in rows], label_of)
        ax.axvline(0, color=COLOURS["base"], ls="--", lw=1.3)
        ax.set_title(f"{title}, {len(table)} seed{'s' if len(table) != 1 else ''}")
        ax.set_xlabel(f"{metric.split('/')[1]} on the test set,\npoints above the base (its mean: {base.mean():.1f} %)")
    return fig


def plot_dynamics(worlds: dict, methods, panels: dict):
    """Curves over training, one legend above them all; dotted: where training began. A band may leave its panel.

    Seeds start from policies of different strength; bands are of `without_seed_effects`, so that they compare arms.
    One world gives two panels per row, several give a row each.

    Args:
        worlds: title -> (runs, prefix of the arm names).
        panels: metric -> (title, unit, factor).
    """
    columns = 2 if len(worlds) == 1 else len(panels)
    places = [(world, metric) for world in worlds for metric in panels]
    rows = -(-len(places) // columns)
    width = 4.6 if columns == 2 else 3.3
    fig, axes = plt.subplots(rows, columns, figsize=(width * columns, 2.7 * rows + 0.3), sharex=True, squeeze=False)
    for ax, (world, metric) in zip(axes.flat, places):
        (runs, prefix), (title, unit, factor) = worlds[world], panels[metric]
        arms = [f"{prefix}{m}" for m in methods]
        long = without_seed_effects(runs.metrics[(runs.metrics.metric == metric) & runs.metrics.arm.isin(arms)])
        for arm in arms:
            _curve(ax, long[long.arm == arm].assign(value=factor * long.value), arm)
        start = long[long.step == 0].drop_duplicates("seed").value
        if len(start):
            ax.axhline(factor * start.mean(), color=COLOURS["base"], ls=":", lw=1.2)
        _keep_in_view(ax, factor * long.value)
        ax.set_title(title if len(worlds) == 1 else f"{title}\n{world}", fontsize=10.5)
        ax.set_ylabel(unit)
    for ax in axes[-1]:
        ax.set_xlabel("training step (batches)")
    _legend_above(fig, axes.flat, columns=6)
    return fig


def _curve(ax, rows: pd.DataFrame, arm: str, x=None) -> None:
    """Mean and interval of one arm. `rows`: seed, step, value; `x`: step -> place, the step itself by default."""
    table = rows.pivot_table(index="step", columns="seed", values="value", dropna=False).dropna(how="all")
    if table.empty:
        return
    places = list(table.index) if x is None else [x[step] for step in table.index]
    method = method_of(arm)
    draw_line(ax, places, table.to_numpy(), arm_colour(arm), label_of(arm), marker="", ls=DASHES.get(method, "-"),
              lw=2.6 if method == "a3po" else 1.9)


def _keep_in_view(ax, values, side: str = "y") -> None:
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


def _legend_above(fig, axes, columns: int) -> None:
    """One entry per method, whichever panel has it."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels())}
    if found:
        fig.legend(found.values(), found, loc="outside upper center", ncols=min(columns, len(found)), handlelength=3.0)


# ---------------------------------------------------------------- what an answer costs


def answers_drawn(runs) -> pd.DataFrame:
    """arm, seed, step, drawn: answers sampled for training up to each curve point, thrown away ones included.

    `sampling/drawn` is a mean over the steps since the curve point before, so it counts once per such step.
    """
    rows = runs.metrics[runs.metrics.metric == "sampling/drawn"].sort_values("step")
    steps = rows.groupby(["arm", "seed"]).step.diff().fillna(rows.step)
    drawn = (rows.value * steps).groupby([rows.arm, rows.seed]).cumsum()
    start = rows.drop_duplicates(["arm", "seed"]).assign(step=0, drawn=0.0)
    return pd.concat([start, rows.assign(drawn=drawn)], ignore_index=True)[["arm", "seed", "step", "drawn"]]


def plot_per_sample(worlds: dict, methods, metric: str = "validation/pass@1"):
    """Held-out accuracy over training steps (left) and over answers drawn (right, mean over seeds), a row per world.

    Dotted: what GRPO draws in all. Bands are of `without_seed_effects`.

    Args:
        worlds: title -> (runs, prefix of the arm names).
    """
    fig, axes = plt.subplots(len(worlds), 2, figsize=(9.6, 2.9 * len(worlds) + 0.6), sharey="row", squeeze=False)
    for (left, right), (title, (runs, prefix)) in zip(axes, worlds.items()):
        drawn = answers_drawn(runs).groupby(["arm", "step"]).drawn.mean()
        rows = runs.metrics[(runs.metrics.metric == metric) & runs.metrics.arm.isin([f"{prefix}{m}" for m in methods])]
        rows = without_seed_effects(rows.assign(value=100 * rows.value))
        known = set(drawn.index.get_level_values(0))
        for arm in [f"{prefix}{m}" for m in methods if f"{prefix}{m}" in known]:
            _curve(left, rows[rows.arm == arm], arm)
            _curve(right, rows[rows.arm == arm], arm, drawn[arm])
        if f"{prefix}grpo" in known:
            right.axvline(drawn[f"{prefix}grpo"].max(), color=COLOURS["grpo"], ls=":", lw=1.2)
        _keep_in_view(left, rows.value)
        left.set_title(title)
        left.set_ylabel(f"{metric.split('/')[1]}, held-out, %")
        right.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}".replace(",", "\u2009"))
        right.xaxis.set_major_locator(plt.MaxNLocator(5))
    axes[-1, 0].set_xlabel("training step (batches)")
    axes[-1, 1].set_xlabel("answers drawn for training")
    _legend_above(fig, axes.flat, columns=6)
    return fig


def at_equal_cost(runs, prefix: str, methods, metric: str = "validation/pass@1") -> pd.DataFrame:
    """Per method: answers drawn against GRPO's, held-out accuracy at the end, and after as many answers as GRPO drew.

    Between curve points accuracy is read off a straight line. Means over seeds that have a GRPO run.
    """
    curves = runs.metrics[runs.metrics.metric == metric][["arm", "seed", "step", "value"]]
    rows = answers_drawn(runs).merge(curves, on=["arm", "seed", "step"]).sort_values("step")
    budget = rows[rows.arm == f"{prefix}grpo"].groupby("seed").drawn.max()
    found = []
    for (arm, seed), curve in rows.groupby(["arm", "seed"]):
        if arm in {f"{prefix}{m}" for m in methods} and seed in budget.index:
            found.append({
                "method": method_of(arm), "answers drawn, GRPO = 1": curve.drawn.max() / budget[seed],
                "held-out at the end, %": 100 * curve.value.iloc[-1],
                "held-out at GRPO's answers, %": 100 * np.interp(budget[seed], curve.drawn, curve.value)})
    table = pd.DataFrame(found) if found else pd.DataFrame(columns=["method"])
    return table.groupby("method").mean().reindex([m for m in methods if m in set(table.method)])


# ---------------------------------------------------------------- the ablations


def plot_ablations(runs, metric: str = "test/pass@1", reference: str = "a3po"):
    """Every ablation minus A3PO, paired by seed, with its interval; the band is the margin that counts as a tie."""
    table = 100 * runs.metric(metric)
    blocks = [{g: [a for a in arms if a in table] for g, arms in groups.items()} for groups in (ABLATION_GROUPS, LYING)]
    sizes = [max(1, sum(map(len, block.values()))) for block in blocks]
    fig, axes = plt.subplots(2, 1, figsize=(8.2, 0.34 * sum(sizes) + 2.3), height_ratios=[s + 1 for s in sizes])
    for ax, block in zip(axes, blocks):
        _differences(ax, table, block, reference)
    axes[0].set_title(f"{metric.split('/')[1]} on the test set: each variant minus A3PO")
    axes[1].set_xlabel("points; dots are seeds, lines 95 % intervals, the band is the margin")
    return fig


def _differences(ax, table: pd.DataFrame, groups: dict, reference: str) -> None:
    arms = [(group, arm) for group, members in groups.items() for arm in members]
    for y, (_, arm) in enumerate(reversed(arms)):
        values = (table[arm] - table[reference]).dropna().to_numpy() if reference in table else np.array([])
        draw_seeds(ax, y, values, arm_colour(arm))
    ax.axvspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0)
    ax.axvline(0, color=COLOURS["a3po"], lw=1)
    ax.set_yticks(range(len(arms)), [label_of(arm) for _, arm in reversed(arms)])
    ax.set_ylim(-0.7, max(len(arms), 1) - 0.3)
    ax.grid(axis="y", visible=False)
    for group, members in groups.items():
        if members:
            own = [y for y, (g, _) in enumerate(reversed(arms)) if g == group]
            ax.text(1.01, np.mean(own), group, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color="#555555")
            if max(own) + 1 < len(arms):
                ax.axhline(max(own) + 0.5, color="#cccccc", lw=0.8)


# ---------------------------------------------------------------- one polarity alone


def plot_hacking(runs, arms):
    """What the verifier rewards (ring) and what is truly worked out (filled), for both verifiers; between them, hacking.

    Large: means; small: seeds, which start from policies of different strength, so that an interval of a level says little.
    """
    rewarded, faithful = (100 * runs.metric(f"probe/{name}") for name in ("rewarded", "faithful"))
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 0.55 * len(arms) + 1.9), sharex=True, sharey=True)
    for ax, suffix, title in zip(axes, ("", " leaky"), ("True verifier", "Leaky verifier: the answer anywhere counts")):
        for y, arm in enumerate(f"{a}{suffix}" for a in reversed(arms)):
            if arm not in rewarded:
                continue
            ends = [table[arm].dropna() for table in (rewarded, faithful)]
            ax.plot([e.mean() for e in ends], [y, y], color=arm_colour(arm), lw=6, alpha=0.2, solid_capstyle="butt")
            for seeds, shift, face in zip(ends, (0.13, -0.13), ("white", arm_colour(arm))):
                ax.plot(seeds, [y + 2 * shift] * len(seeds), "o", ms=4, mfc=face, mec=arm_colour(arm), alpha=0.5)
                ax.plot(seeds.mean(), y + shift, "o", ms=8, mfc=face, mec=arm_colour(arm), mew=1.8)
        ax.set_title(title)
        ax.set_yticks(range(len(arms)), [label_of(a) for a in reversed(arms)])
        ax.set_ylim(-0.6, len(arms) - 0.4)
        ax.set_xlabel("% of test answers")
    handles = [plt.Line2D([], [], marker="o", ls="", ms=8, mfc=face, mec="#444444", mew=1.8) for face in ("white", "#444444")]
    fig.legend(handles, ["rewarded", "right with every step shown and right"], loc="outside upper center", ncols=2)
    return fig


def plot_probes(runs, arms, panels: dict):
    """One panel per metric of the finished policies: seeds as dots, mean and interval, which may leave its panel.

    Args:
        panels: metric -> (title, unit, factor).
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(1.6 + 3.7 * len(panels), 0.45 * len(arms) + 1.5), sharey=True)
    for ax, (metric, (title, unit, factor)) in zip(np.atleast_1d(axes), panels.items()):
        table = (factor * runs.metric(metric)).reindex(columns=list(arms))
        draw_arms(ax, table, arms, label_of)
        _keep_in_view(ax, table, "x")
        ax.set_title(title)
        ax.set_xlabel(unit)
    return fig


def kept_share(runs, world: str, k: int = 16) -> pd.DataFrame:
    """Seeds x arms: pass@k on a shifted world over pass@k on the test set, in per cent; blank where the latter is 0."""
    ratio = runs.metric(f"shifted/{world}/pass@{k}") / runs.metric(f"test/pass@{k}")
    return 100 * ratio.replace([np.inf, -np.inf], np.nan)


def base_shifted(runs, worlds, k: int = 16) -> pd.DataFrame:
    """Per shifted world: the base policy's pass@k, and whether the rule admits the world (ADMITTED)."""
    tables = {w: runs.metric(f"shifted/{w}/pass@{k}") for w in worlds}
    scores = pd.Series({w: t["base"].mean() if "base" in t else np.nan for w, t in tables.items()})
    return pd.DataFrame({f"base pass@{k}, %": 100 * scores, "admitted": scores.between(*ADMITTED)})


def plot_shifted(runs, arms, worlds, k: int = 16):
    """Kept share per shifted world; a world that the rule does not admit is drawn in grey."""
    base = base_shifted(runs, worlds, k)
    fig, axes = plt.subplots(1, len(worlds), figsize=(1.6 + 3.3 * len(worlds), 0.45 * len(arms) + 1.8), sharey=True)
    for ax, world in zip(np.atleast_1d(axes), worlds):
        admitted = bool(base.admitted[world])
        table = kept_share(runs, world, k).reindex(columns=list(arms))
        draw_arms(ax, table, arms, label_of, arm_colour if admitted else lambda _: "#bbbbbb")
        _keep_in_view(ax, table, "x")
        name = world.removeprefix("chain_").replace("_", " ")
        ax.set_title(f"{name}\n{'' if admitted else 'not '}admitted: base {base.iloc[:, 0][world]:.0f} %", fontsize=10)
        ax.set_xlabel(f"pass@{k} there,\n% of that on the test set")
    return fig
