"""Figures of PSR/NSR, notebooks 10 and 11: tables to figures."""

import numpy as np

from polarity_lib import plots
from polarity_lib.claims import final, tail
from polarity_lib.plots import BASE, RIGHT, WRONG, arm_colour, arm_label, heat, over, panels
from polarity_lib.statistics import fitted_slope

STYLES = {"psr": ("PSR (right only)", RIGHT), "nsr": ("NSR (wrong only)", WRONG)}
for _end, _words in {"all_tokens": "all tokens", "grpo_seq": "sequence mean", "grpo_tok": "token mean"}.items():
    STYLES |= {f"{_arm}_{_end}": (f"{_arm.upper()}, {_words}", STYLES[_arm][1]) for _arm in ("psr", "nsr")}

TRAINING = {
    "validation/entropy": "Entropy, held-out (nats per token)", "train/reward": "Reward on the training pool",
    "groups/all_right": "Groups with every answer right", "validation/pass@1": "pass@1, held-out",
    "validation/length": "Length, held-out (tokens)", "update/gradient_norm": "Gradient norm before clipping",
}
SELF_LIMITING = {"signal/rows": "Rows with a gradient", "update/gradient_norm": "Gradient norm",
                 "update/norm": "Length of the update"}


def plot_pass_at_k(found, arms):
    """A row per world. Left: pass@k of every arm. Right: the same minus base, paired by seed.

    Args:
        found: world -> runs.
    """
    fig, axes = panels(2 * len(found), columns=2, width=5.3, height=3.9)
    for (left, right), (world, runs) in zip(zip(axes[::2], axes[1::2]), found.items()):
        ks = sorted(int(m.split("@")[1]) for m in set(runs.metrics.metric) if m.startswith("test/pass@"))
        tables = {k: final(runs, tail(k)) for k in ks}
        for arm in plots.present(runs, arms):
            over(left, ks, [tables[k][arm] for k in ks], arm_colour(arm), arm_label(arm), log=True)
            if arm != "base":
                gaps = [tables[k][arm] - tables[k]["base"] for k in ks]
                over(right, ks, gaps, arm_colour(arm), arm_label(arm), log=True)
        right.axhline(0, color=BASE, lw=1.5)
        left.set(title=f"{world}: right in at least one of k answers", ylabel="pass@k on the test set, %")
        right.set(title=f"{world}: minus the base policy", ylabel="points")
        for ax in (left, right):
            ax.set_xlabel("k, answers per problem")
    plots.legend_below(fig, axes, columns=7)
    return fig


def plot_over_rate(found, methods, base, far):
    """pass@1 and the tail over the learning rate, a column of two panels per world.

    Args:
        found: world -> runs with arms `method/rate`.
        base: world -> runs that hold the base.
        far: world -> the metric that is its tail.
    """
    fig, axes = panels(2 * len(found), columns=len(found), width=5.0, height=3.3)
    for i, (world, runs) in enumerate(found.items()):
        rates = sorted({float(arm.name.split("/")[1]) for arm in runs.arms})
        for ax, metric in ((axes[i], tail(1)), (axes[len(found) + i], far[world])):
            table = final(runs, metric)
            for method in methods:
                cells = [(r, table[f"{method}/{r:g}"]) for r in rates if f"{method}/{r:g}" in table]
                if cells:
                    over(ax, *zip(*cells), arm_colour(method), arm_label(method))
            if world in base and metric in set(base[world].metrics.metric):
                ax.axhline(final(base[world], metric)["base"].mean(), color=BASE, ls="--", label="base")
            ax.set_xscale("log")
            ax.set_xticks(rates, [f"{r:g}" for r in rates])
            ax.minorticks_off()
            ax.set(title=f"{world}: {metric.split('/')[1]}, %", xlabel="learning rate")
    plots.legend_below(fig, axes)
    return fig


def plot_exchange(found, arms, x="validation/pass@1", y="validation/pass@16"):
    """The way of every arm through (pass@1, tail) while it trains, mean over seeds, with 95 % intervals at its end."""
    fig, axes = panels(len(found), width=5.0, height=3.8, sharex=True, sharey=True)
    for ax, (title, runs) in zip(axes, found.items()):
        for arm in [a for a in plots.present(runs, arms) if a != "base"]:
            rows = runs.metrics[(runs.metrics.arm == arm) & runs.metrics.metric.isin([x, y])]
            path = 100 * rows.pivot_table(index="step", columns="metric", values="value")
            ax.plot(path[x], path[y], "o-", ms=3.5, color=arm_colour(arm), label=arm_label(arm))
            ax.plot(path[x].iloc[:1], path[y].iloc[:1], "o", ms=8, color=BASE)
            ends = 100 * rows[rows.step == rows.step.max()].pivot(index="seed", columns="metric", values="value")
            for line, along, across in ((ax.hlines, x, y), (ax.vlines, y, x)):
                line(path[across].iloc[-1], *plots.t_interval(ends[along]), color=arm_colour(arm), lw=1.5)
        ax.set(title=title, xlabel=f"{x.split('/')[1]}, held-out, %", ylabel=f"{y.split('/')[1]}, held-out, %")
    plots.legend_below(fig, axes)
    return fig


def plot_boundary_map(found, methods, metric="test/pass@1"):
    """Final accuracy over rate x weight of right answers, a panel per world; in brackets: lost half of its start's accuracy."""
    fig, axes = panels(len(found), width=5.0, height=3.0)
    for ax, (world, runs) in zip(axes, found.items()):
        rates = sorted({float(arm.name.split("/")[1]) for arm in runs.arms})
        end = final(runs, metric).mean()
        start = 100 * runs.metrics.query("metric == 'validation/pass@1' and step == 0").groupby("arm").value.mean()
        cells = [[f"{m}/{r:g}" for r in rates] for m in methods]
        values = np.array([[end.get(a, np.nan) for a in row] for row in cells])  # a missing run stays blank
        lost = {a for a in end.index if end[a] < 0.5 * start[a]}
        words = [["" if a not in end else f"({end[a]:.0f})" if a in lost else f"{end[a]:.0f}" for a in row] for row in cells]
        heat(ax, values, words, [arm_label(m) for m in methods], [f"{r:g}" for r in rates], "viridis", vmin=0, cbar=True,
             cbar_kws={"label": f"{metric}, %"})
        ax.set(title=f"{world}: start {start.mean():.0f} %", xlabel="learning rate")
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
