"""Figures of PSR/NSR, notebooks 10 and 11: tables to figures."""

import numpy as np

from polarity_lib import plots
from polarity_lib.claims import final, tail
from polarity_lib.plots import BASE, RIGHT, WRONG, arm_colour, arm_label, heat, over, panels
from polarity_lib.statistics import fitted_slope

STYLES = {"psr": ("PSR (right only)", RIGHT), "nsr": ("NSR (wrong only)", WRONG)}

TRAINING = {
    "validation/entropy": "Entropy, held-out (nats per token)", "train/reward": "Reward on the training pool",
    "groups/all_right": "Groups with every answer right", "validation/pass@1": "pass@1, held-out",
    "validation/length": "Length, held-out (tokens)", "update/gradient_norm": "Gradient norm before clipping",
}
SELF_LIMITING = {"signal/rows": "Rows with a gradient", "update/gradient_norm": "Gradient norm",
                 "update/norm": "Length of the update"}


def plot_pass_at_k(runs, arms):
    """Left: pass@k of every arm. Right: the same minus base, paired by seed."""
    ks = sorted(int(m.split("@")[1]) for m in set(runs.metrics.metric) if m.startswith("test/pass@"))
    tables = {k: final(runs, tail(k)) for k in ks}
    fig, (left, right) = panels(2, width=5.3, height=4.2)
    for arm in arms:
        over(left, ks, [tables[k][arm] for k in ks], arm_colour(arm), arm_label(arm), log=True)
        if arm != "base":
            over(right, ks, [tables[k][arm] - tables[k]["base"] for k in ks], arm_colour(arm), arm_label(arm), log=True)
    right.axhline(0, color=BASE, lw=1.5)
    left.set(title="Right in at least one of k answers", xlabel="k, answers per problem", ylabel="pass@k on the test set, %")
    right.set(title="Difference from the base policy", xlabel="k, answers per problem", ylabel="points")
    left.legend()
    return fig


def plot_boundary_map(runs, methods, rates, worlds, metric="test/pass@1"):
    """Final accuracy over rate x method, one panel per start; a cell in brackets lost half of its start's accuracy."""
    table = final(runs, metric)
    end = (table.dropna() if len(table.dropna()) else table).mean()  # cells compare over the same seeds
    start = 100 * runs.metrics.query("metric == 'validation/pass@1' and step == 0").groupby("arm").value.mean()
    fig, axes = panels(len(worlds), width=5.0, height=3.4)
    for ax, world in zip(axes, worlds):
        cells = [[f"{world}/{m}/{r:g}" for r in rates] for m in methods]
        values = np.array([[end.get(a, np.nan) for a in row] for row in cells])  # a missing run stays blank
        lost = {a for a in end.index if a in start and end[a] < 0.5 * start[a]}
        words = [["" if a not in end else f"({end[a]:.0f})" if a in lost else f"{end[a]:.0f}" for a in row] for row in cells]
        heat(ax, values, words, [arm_label(m) for m in methods], [f"{r:g}" for r in rates], "viridis", vmin=0, cbar=True,
             cbar_kws={"label": f"{metric}, %"})
        mine = start[[a for row in cells for a in row if a in start]]
        ax.set(title=f"{world}: start {mine.mean():.0f} %", xlabel="learning rate")
    return fig


def plot_lambda(runs, lambdas, metrics):
    """pass@k against the weight of positives; the axis is linear near zero."""
    fig, axes = panels(len(metrics))
    for ax, metric in zip(axes, metrics):
        table = final(runs, metric)
        over(ax, lambdas, [table[f"lambda={x:g}"] for x in lambdas], arm_colour("w_reinforce"), "W-REINFORCE")
        ax.axhline(table["base"].mean(), color=BASE, ls="--", label="base")
        ax.set_xscale("symlog", linthresh=0.02, linscale=0.4)
        ax.set_xticks(lambdas, [f"{x:g}" for x in lambdas], rotation=45)
        ax.minorticks_off()
        ax.set(xlabel="λ, weight of right answers", title=f"{metric.split('/')[1]}, %")
    plots.legend_below(fig, axes)
    return fig


def plot_strength(runs, starts, methods, k=64):
    """Change of pass@k against the base's own pass@k, one point per start and seed, with a straight line."""
    table = final(runs, tail(k))
    fig, (ax,) = panels(1, width=6.5, height=4.0)
    x = np.concatenate([table[f"{s}/base"] for s in starts])
    for method in methods:
        y = np.concatenate([table[f"{s}/{method}"] - table[f"{s}/base"] for s in starts])
        ax.plot(x, y, "o", color=arm_colour(method), alpha=0.7, label=arm_label(method))
        if np.ptp(x) > 0:
            ax.axline((x.mean(), y.mean()), slope=fitted_slope(x, y), color=arm_colour(method), lw=1.2)
    ax.axhline(0, color=BASE)
    ax.set(xlabel=f"pass@{k} of the base policy, %", ylabel="change after training, points",
           title=f"What each start gains or loses at k = {k}")
    ax.legend()
    return fig
