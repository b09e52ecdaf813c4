"""Figures of A3PO, notebooks 30 to 33: tables to figures.

    30   plot_toy_paths, plot_weight_grid, plot_equal_ratios
    31   plot_identity, plot_cells, plot_cell_curves, plot_controls
    32   plot_token_advantages, plot_head_to_head, plot_over_rate, plot_dynamics, plot_per_answer, plot_ablations
    33   plot_dynamics again, plot_hacking, plot_shifted

Seeds start from policies of different strength. So arms are compared seed by seed, and bands over training are of
`without_seed_effects`. Arms, seeds and experiments without runs are left out or said to be missing, never refused.
"""

import itertools

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from polarity_lib import plots
from polarity_lib.claims import MARGIN, RELATIVE_MARGIN, area, at_step, final
from polarity_lib.experiments import Runs
from polarity_lib.papers.a3po.claims import ADMITTED, ENTROPY, EQUAL, RAISING, answers_drawn, over_answers, settled
from polarity_lib.papers.a3po.experiments import CELL_SCALES, CELLS, LOSSES, NEIGHBOURS, WEIGHTS
from polarity_lib.plots import (
    BASE, NEUTRAL, RIGHT, WRONG, arm_colour, curves, differences, heat, keep_in_view, legend_below, method_of, over, panels,
    seeds, style_of, symmetric,
)
from polarity_lib.statistics import paired_t

ENDS = {"probability": {"low": "unlikely tokens", "high": "likely tokens"},
        "entropy": {"low": "certain positions", "high": "uncertain positions"}}


def on_a_log_axis(ax, runs: Runs, arms, factor: float = 1.0) -> None:
    """For entropy: most of the start's is gone at the first curve points, and what is left is what arms differ in."""
    seen = runs.metrics.query("metric == @ENTROPY and arm in @arms and value > 0").value
    ax.set(yscale="log", ylim=(0.8 * factor * seen.min(), 1.2 * factor * seen.max()))


def words_of(cell: str, metric: str = "probability") -> str:
    """`right_low` -> unlikely tokens, right answers."""
    side, end = cell.split("_")
    return f"{ENDS[metric][end]}, {side} answers"


def weights_of(arm: str) -> tuple[float, float]:
    """`sgd/P2N0.5` -> (2.0, 0.5)."""
    positive, negative = arm.split("/")[-1].removeprefix("P").split("N")
    return float(positive), float(negative)


def log_ratio(arm: str) -> float:
    """log2(w+ / w-); infinite where one weight is zero."""
    positive, negative = weights_of(arm)
    return np.log2(positive / negative) if positive and negative else np.inf if positive else -np.inf


def ratio_colour(arm: str) -> str:
    """From the colour of wrong answers over grey to that of right answers."""
    shades = sns.blend_palette([WRONG, "#E6B88F", "#8a8a8a", "#8FCDB8", RIGHT], as_cmap=True)
    return to_hex(shades(float(np.clip(0.5 + log_ratio(arm) / 5, 0, 1))))


STYLES = {"a3po": ("A3PO", "#000000"), "none": ("no shaping", "#000000", (0, (1, 1))),
          "a3pox5": ("both (A3PO's choice)", "#000000"), "swappedx5": ("swapped cells", NEUTRAL),
          "randomx5": ("random tokens", NEUTRAL), "positionx5": ("random, same positions", NEUTRAL)}
STYLES |= {arm: (arm, ratio_colour(arm), "--" if np.isinf(log_ratio(arm)) else "-")
           for arm in (f"P{p:g}N{n:g}" for p, n in WEIGHTS)}
STYLES |= {f"{cell}x{scale:g}": (words_of(cell), RIGHT if cell.startswith("right") else WRONG,
                                 "-" if cell in RAISING["probability"] else (0, (5, 2)))
           for cell in CELLS for scale in CELL_SCALES}


def short_style(arm: str) -> tuple[str, str, object]:
    """The style of an arm's method, whichever its verifier; here no other PSR or NSR stands beside."""
    return style_of(method_of(arm).removesuffix("_grpo_seq"))


def label_of(arm: str) -> str:
    """`psr_grpo_seq leaky` -> PSR."""
    return short_style(arm)[0]


# ---------------------------------------------------------------- notebook 30: weights of polarities


def plot_toy_paths(paths: dict[str, dict[str, np.ndarray]]):
    """Paths of two parameters, one panel per optimizer. paths: title -> {label: [S + 1, 2]}, labels in one order."""
    fig, axes = panels(len(paths), height=3.6)
    widths, colours = (7.0, 3.6, 1.4), ("#A9CDE8", "#0072B2", "#102A43")  # wide ones first, so that none is hidden
    for ax, (title, of_panel) in zip(axes, paths.items()):
        for (label, path), width, colour in zip(of_panel.items(), widths, colours):
            x, y = np.asarray(path).T
            ax.plot(x, y, "o-", color=colour, lw=width, ms=width + 4, mec="white", markevery=[-1], label=label)
        ax.plot(0, 0, "x", color="black", ms=7)
        ax.set(title=title, xlabel="logit of the right answer")
    axes[0].set_ylabel("logit of the wrong answer")
    axes[0].legend(loc="upper right")
    return fig


def grid_tables(runs: Runs) -> dict[str, pd.DataFrame]:
    """What A3PO-C8 is judged by, and pass@1: title -> seeds x arms."""
    return {"Reward at 25 % of training, %": 100 * at_step(runs, "train/reward", 0.25),
            "Entropy, second half, nats per token": settled(runs), "pass@1 on the test set, %": final(runs, "test/pass@1")}


ONLY = 3.2  # where the two arms with one weight of zero stand on an axis of log2(w+ / w-)
SIZES = {0.0: ("s", 0.0), 0.5: ("v", -0.22), 1.0: ("o", 0.0), 2.0: ("^", 0.22)}  # smaller weight: marker and shift


def plot_weight_grid(runs: Runs, arms):
    """Early reward, settled entropy and final pass@1 against the ratio of the weights: arms as points, seeds as thin lines."""
    fig, axes = panels(3, width=3.8, height=4.0)
    for ax, (title, table) in zip(axes, grid_tables(runs).items()):
        table = table.reindex(columns=list(arms))
        lines = table.T.groupby(log_ratio).mean()  # arms of one ratio averaged
        ax.plot(lines[np.isfinite(lines.index)], color=NEUTRAL, lw=0.8, alpha=0.6, zorder=1)
        for arm in arms:
            marker, shift = SIZES[min(weights_of(arm))]
            place = float(np.clip(log_ratio(arm), -ONLY, ONLY)) + shift
            seeds(ax, {place: table[arm]}, [arm_colour(arm)], upright=True, marker=marker, aside=0.12)
        for edge in (-2.6, 2.6):
            ax.axvline(edge, color="#bbbbbb", lw=1, ls=(0, (2, 2)))
        ax.set_xticks([-ONLY, -2, -1, 0, 1, 2, ONLY], ["only\nwrong", "1:4", "1:2", "1:1", "2:1", "4:1", "only\nright"])
        ax.set(title=title, xlabel="w⁺ : w⁻, log scale", xlim=(-ONLY - 0.5, ONLY + 0.5))
    handles = [Line2D([], [], marker=m, ls="", color="#666666", label=f"smaller weight {s:g}") for s, (m, _) in SIZES.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=4)
    return fig


FAMILIES = {"AdamW, clipped": ("", EQUAL, "#0072B2"), "SGD": ("sgd/", EQUAL, "#E69F00"),
            "SGD + KL": ("sgd+kl/", EQUAL[:1], "#CC79A7")}


def plot_equal_ratios(runs: Runs):
    """Pairs of one ratio and two sizes: differences of entropy and of reward, and the margins of equality.

    The thick bar is the 90 % interval, which has to lie inside the margin; the thin one is the 95 % interval.
    """
    rows = {f"{family}:  {a} − {b}": (prefix + a, prefix + b, colour)
            for family, (prefix, pairs, colour) in FAMILIES.items() for a, b in pairs}
    wanted = sorted({arm for left, right, _ in rows.values() for arm in (left, right)})
    entropy, reward = settled(runs).reindex(columns=wanted), area(runs, "train/reward").reindex(columns=wanted)
    shown = {"Entropy, second half, per cent": (RELATIVE_MARGIN, lambda a, b: 100 * (entropy[a] / entropy[b] - 1)),
             "Mean reward, points": (MARGIN, lambda a, b: 100 * (reward[a] - reward[b]))}
    fig, axes = panels(2, width=5.0, height=0.42 * len(rows) + 1.7, sharey=True)
    for ax, (title, (margin, difference)) in zip(axes, shown.items()):
        groups = {label: difference(a, b).dropna() for label, (a, b, _) in rows.items()}
        differences(ax, groups, [colour for *_, colour in rows.values()], margin, 1.4 * margin, aside=0.16)
        for y, (values, (*_, colour)) in enumerate(zip(groups.values(), rows.values())):
            inner = paired_t(values, 0.9)
            ax.plot([inner.low, inner.high], [y, y], color=colour, lw=5, alpha=0.55, solid_capstyle="butt")
        ax.set(title=title, xlabel="difference (grey: margin of equality)")
    return fig


# ---------------------------------------------------------------- notebook 31: weights of tokens


def arm_of(cell: str, scale: float, metric: str = "probability") -> str:
    """Name of an arm of `token_shaping`."""
    return f"{'entropy/' if metric == 'entropy' else ''}{cell}x{scale:g}"


def plot_identity(table: pd.DataFrame):
    """The entropy change of one update over the sampled token's probability, for A = +1 and A = -1.

    Args:
        table: rows of `theory.identity_table`.
    """
    fig, axes = panels(2, width=5.0, height=4.0, sharey=True)
    kinds = {"entropy rises": ("#0072B2", "^"), "entropy falls": ("#E69F00", "v")}
    halves = ((1, "Right answer, A = +1", "right_low", "right_high"), (-1, "Wrong answer, A = −1", "wrong_low", "wrong_high"))
    for ax, (sign, title, *cells) in zip(axes, halves):
        for (label, (colour, marker)), side in zip(kinds.items(), (1, -1)):
            rows = table.assign(change=sign * table.change)[sign * side * table.change > 0]
            sns.scatterplot(rows, x="probability", y="change", color=colour, marker=marker, s=22, alpha=0.55, linewidth=0,
                            label=label, legend=False, ax=ax)
        ax.axhline(0, color="#333333", lw=1)
        for cell, x, side in zip(cells, (0.2, 0.98), ("left", "right")):
            raised, words = cell in RAISING["probability"], words_of(cell).split(",")[0]
            ax.text(x, 0.97 if raised else 0.03, f"{words}:\nA3PO raises these" if raised else words, transform=ax.transAxes,
                    ha=side, va="top" if raised else "bottom", fontsize=9.5, weight="bold" if raised else "normal")
        reach = 1.25 * table.change.abs().max()
        ax.set(title=title, xlabel="probability of the sampled token", ylabel="dH / η, nats per unit of step",
               xlim=(-0.02, 1.02), ylim=(-reach, reach))
    legend_below(fig, axes)
    return fig


def entropy_gains(runs: Runs, arms) -> pd.DataFrame:
    """Seeds x arms: settled entropy against no shaping, per cent; blank where either has no runs."""
    mean = settled(runs).reindex(columns=["none", *arms])
    return 100 * (mean[list(arms)].div(mean["none"], axis=0) - 1)


def plot_cells(runs: Runs, metric: str = "probability", scales=CELL_SCALES):
    """Entropy gains: one panel per cell, one point per scale; the side that the identity predicts is shaded.

    Args:
        metric: what tokens are ranked by, "probability" or "entropy".
    """
    gains = entropy_gains(runs, [arm_of(cell, scale, metric) for cell in CELLS for scale in scales])
    reach = symmetric(gains.T.to_numpy(), 5.0)
    fig, axes = panels(len(CELLS), width=2.9, height=3.7, sharey=True)
    for ax, cell in zip(axes, sorted(CELLS, key=lambda c: c not in RAISING[metric])):  # those that should raise entropy first
        values = [gains[arm_of(cell, scale, metric)].dropna() for scale in scales]
        seeds(ax, dict(enumerate(values)), [arm_colour(arm_of(cell, 5.0))] * len(scales), upright=True, marker="o", aside=0.15)
        for x, scale in enumerate(scales):
            up = (cell in RAISING[metric]) == (scale > 1)
            ax.fill_between([x - 0.5, x + 0.5], 0, reach if up else -reach, color="#DCE9F3" if up else "#F7E8CC", lw=0, zorder=0)
            if not len(values[x]):
                ax.text(x, 0, "no run", rotation=90, ha="center", va="center", fontsize=8, color="#777777")
        ax.axhline(0, color="#555555", lw=1)
        ax.set_xticks(range(len(scales)), [f"×{s:g}" for s in scales])
        ax.set(xlim=(-0.5, len(scales) - 0.5), ylim=(-reach, reach), title=words_of(cell, metric).replace(", ", ",\n"))
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("entropy against no shaping, %")
    fig.supxlabel("weight of the cell's tokens (shaded: predicted side)", fontsize=10.5)
    return fig


def plot_cell_curves(runs: Runs, scales=(5.0, 0.2)):
    """Entropy over training of the four cells, one panel per scale; solid: the two cells that A3PO raises."""
    fig, axes = panels(len(scales), width=5.0, height=4.1, sharey=True)
    order = ("right_low", "wrong_high", "right_high", "wrong_low")
    for ax, scale in zip(axes, scales):
        arms = ["none", *(arm_of(cell, scale) for cell in order)]
        curves(ax, runs.metrics, ENTROPY, arms, within_seeds=True)
        on_a_log_axis(ax, runs, arms)
        ax.set(title=f"One cell's tokens weigh ×{scale:g}", ylabel="entropy, held-out, nats per token")
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend_below(fig, axes, columns=3)
    return fig


CONTROLS = ("right_lowx5", "wrong_highx5", "a3pox5", "swappedx5", "randomx5", "positionx5")


def plot_controls(runs: Runs):
    """Weight 5 on A3PO's tokens and on as many others: settled entropy and final pass@1 against no shaping."""
    accuracy = final(runs, "test/pass@1").reindex(columns=["none", *CONTROLS])
    shown = ((entropy_gains(runs, CONTROLS), 0.0, 5.0, "Entropy, second half of the run", "change, %"),
             (accuracy.sub(accuracy["none"], axis=0), MARGIN, 1.4 * MARGIN, "pass@1 on the test set", "points (grey: a tie)"))
    fig, axes = panels(2, width=5.0, height=3.6, sharey=True)
    for ax, (table, margin, reach, title, unit) in zip(axes, shown):
        colours = [arm_colour(a) for a in CONTROLS]
        differences(ax, {style_of(a)[0]: table[a] for a in CONTROLS}, colours, margin, reach, aside=0.16)
        ax.set(title=title, xlabel=unit)
    return fig


# ---------------------------------------------------------------- notebook 32: the head to head


def plot_token_advantages(probability_NT, advantages: dict, verdicts: list[str]):
    """Four rollouts, one panel per moment of the training: each token's advantage, and its probability below.

    Args:
        probability_NT: [N, T] of each sampled token.
        advantages: title -> [N, T].
        verdicts: label of each row.
    """
    tables = {title: np.asarray(values_NT) for title, values_NT in advantages.items()}
    reach = 1.3 * max(np.abs(values_NT).max() for values_NT in tables.values()) or 1.0
    fig, axes = panels(len(tables), width=4.1, height=0.62 * len(verdicts) + 1.2, sharey=True)
    for ax, (title, values_NT) in zip(axes, tables.items()):
        words = [[f"{a:+.2f}\np = {p:.2f}" for a, p in zip(*rows)] for rows in zip(values_NT, np.asarray(probability_NT))]
        heat(ax, values_NT, words, verdicts, range(1, values_NT.shape[1] + 1), vmin=-reach, vmax=reach)
        ax.set(title=title, xlabel="token")
    return fig


def plot_head_to_head(found: dict, methods):
    """What every method adds to its seed's base policy, one panel per reading.

    Args:
        found: title -> (runs, metric).
        methods: from top to bottom.
    """
    fig, axes = panels(len(found), width=3.8, height=0.42 * len(methods) + 1.7, sharey=True)
    for ax, (title, (runs, metric)) in zip(axes, found.items()):
        table = final(runs, metric).reindex(columns=["base", *methods])
        base = table.pop("base")
        plots.arms(ax, table.sub(base, axis=0), methods, label_of)
        ax.axvline(0, color=BASE, ls="--", lw=1.3)
        ax.set(title=f"{title}, {len(table)} seed{'s' if len(table) != 1 else ''}",
               xlabel=f"{metric.split('/')[1]} on the test set,\npoints above the base (its mean: {base.mean():.1f} %)")
    return fig


def plot_over_rate(runs: Runs, methods, metrics):
    """Finished runs over the learning rate, a panel per metric in per cent; arms are `method/rate`."""
    rates = sorted({float(arm.name.split("/")[1]) for arm in runs.arms})
    fig, axes = panels(len(metrics), width=4.6, height=3.3)
    for ax, metric in zip(axes, metrics):
        table = final(runs, metric)
        for method in methods:
            cells = [(rate, table[f"{method}/{rate:g}"]) for rate in rates if f"{method}/{rate:g}" in table]
            if cells:
                over(ax, *zip(*cells), arm_colour(method), label_of(method))
        ax.set_xscale("log")
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.minorticks_off()
        ax.set(title=f"{metric.split('/')[1]} on the test set, %", xlabel="learning rate")
    legend_below(fig, axes)
    return fig


def plot_dynamics(found: dict, methods, shown: dict):
    """Curves over training; dotted: where training began. A band may leave its panel.

    Args:
        found: title -> runs; several give a row each, one gives two panels per row.
        shown: metric -> (title, unit, factor).
    """
    one = len(found) == 1
    columns, width = (2, 4.6) if one else (len(shown), 3.3)
    fig, axes = panels(len(found) * len(shown), columns, width, 2.8, sharex=True)
    for ax, ((reading, runs), metric) in zip(axes, itertools.product(found.items(), shown)):
        title, unit, factor = shown[metric]
        curves(ax, runs.metrics, metric, methods, factor, within_seeds=True, style=short_style, in_view=True)
        start = runs.metrics.query("metric == @metric and arm in @methods and step == 0").drop_duplicates("seed").value
        ax.axhline(factor * start.mean(), color=BASE, ls=":", lw=1.2)
        ax.set(title=title if one else f"{title}\n{reading}", ylabel=unit)
        if metric == ENTROPY:
            on_a_log_axis(ax, runs, methods, factor)
    for ax in axes[:-columns]:
        ax.set_xlabel("")
    legend_below(fig, axes)
    return fig


def plot_per_answer(found: dict, methods, metric: str = "validation/pass@1"):
    """Held-out accuracy over training steps (left) and over answers drawn (right, mean over seeds), a row per reading.

    Dotted: what GRPO draws in all.

    Args:
        found: title -> runs.
    """
    fig, axes = panels(2 * len(found), 2, 4.8, 2.9, sharey="row")
    for left, right, (title, runs) in zip(axes[::2], axes[1::2], found.items()):
        drawn = answers_drawn(runs).groupby(["arm", "step"]).drawn.mean()
        rows = runs.metrics.join(drawn, on=["arm", "step"])
        for ax, x, words in ((left, "step", "training step (batches)"), (right, "drawn", "answers drawn for training")):
            curves(ax, rows, metric, methods, 100.0, within_seeds=True, x=x, style=short_style, in_view=True)
            ax.set(title=title, xlabel=words)
        right.axvline(drawn.reindex(["grpo"], level="arm").max(), color=arm_colour("grpo"), ls=":", lw=1.2)
        right.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}".replace(",", "\u2009"))
        right.locator_params(axis="x", nbins=5)
        left.set_ylabel(f"{metric.split('/')[1]}, held-out, %")
    legend_below(fig, axes)
    return fig


def at_equal_cost(runs: Runs, methods, metric: str = "validation/pass@1") -> pd.DataFrame:
    """Per method: answers drawn against GRPO's, held-out accuracy at the end, and after as many answers as GRPO drew.

    Between curve points accuracy is read off a straight line. Means over seeds that have a GRPO run.
    """
    rows = over_answers(runs, metric)
    budget = rows[rows.arm == "grpo"].groupby("seed").drawn.max()
    found = []
    for (arm, seed), curve in rows.groupby(["arm", "seed"]):
        if arm in methods and seed in budget.index:
            found.append({
                "method": arm, "answers drawn, GRPO = 1": curve.drawn.max() / budget[seed],
                "held-out at the end, %": 100 * curve.value.iloc[-1],
                "held-out at GRPO's answers, %": 100 * np.interp(budget[seed], curve.drawn, curve.value)})
    table = pd.DataFrame(found) if found else pd.DataFrame(columns=["method"])
    return table.groupby("method").mean().reindex([m for m in methods if m in set(table.method)])


ABLATION_GROUPS = {
    "weight over training": ("constant 2", "constant 5", "literal slope", "literal slope per update"),
    "size of the step": ("mean one", "a3po matched"),
    "which tokens": ("random tokens", "same positions", "swapped", "by entropy"),
    "whose tokens": ("only right", "only wrong"),
    "base loss": ("on dapo",),
    "other losses": ("grpo", *LOSSES),
    "neighbours": NEIGHBOURS,
}
LYING = {"lying verifier": ("a3po tossed", "a3po flipped")}


def plot_ablations(runs: Runs, metric: str = "test/pass@1", reference: str = "a3po"):
    """Every ablation minus A3PO, paired by seed; a lying verifier, which costs more, on an axis of its own."""
    sizes = [sum(map(len, groups.values())) for groups in (ABLATION_GROUPS, LYING)]
    fig, axes = panels(2, 1, 8.2, 0.17 * sum(sizes) + 1.15, height_ratios=[size + 1 for size in sizes])
    for ax, groups in zip(axes, (ABLATION_GROUPS, LYING)):
        names = sum(groups.values(), ())
        table = final(runs, metric).reindex(columns=[reference, *names])
        table = table.sub(table[reference], axis=0)
        differences(ax, {style_of(a)[0]: table[a] for a in names}, [arm_colour(a) for a in names], MARGIN)
        ends = np.cumsum([len(members) for members in groups.values()])
        for group, members, end in zip(groups, groups.values(), ends):
            middle = end - (len(members) + 1) / 2
            ax.text(1.01, middle, group, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=BASE)
        for end in ends[:-1]:
            ax.axhline(end - 0.5, color="#cccccc", lw=0.8)
    axes[0].set_title(f"{metric.split('/')[1]} on the test set: each variant minus A3PO")
    axes[1].set_xlabel("points; dots are seeds, lines 95 % intervals, the band is the margin")
    return fig


# ---------------------------------------------------------------- notebook 33: one polarity alone


HACKING = (("rewarded by the training's verifier", "o", False), ("truly right", "|", True),
           ("right with every step shown and right", "o", True))  # words, marker, filled


def plot_hacking(runs: Runs, arms):
    """What the verifier rewards, what is right, what is worked out, for both verifiers.

    From the ring down to the stroke: what a leak pays. From the stroke to the dot: right answers without the work.
    Large: means; small: seeds, which differ at the start, so that an interval of a level says little.
    """
    paid, unearned, worked = (final(runs, f"probe/{name}") for name in ("rewarded", "unearned", "faithful"))
    fig, axes = panels(2, width=4.8, height=0.55 * len(arms) + 1.9, sharex=True, sharey=True)
    for ax, suffix, title in zip(axes, ("", " leaky"), ("True verifier", "Leaky verifier: the answer anywhere counts")):
        for y, (arm, colour) in enumerate((f"{a}{suffix}", arm_colour(a)) for a in arms):
            ends = [table.get(arm, pd.Series(dtype=float)) for table in (paid, paid - unearned, worked)]
            means = [values.mean() for values in ends]
            ax.plot([means[0], means[-1]], [y, y], color=colour, lw=6, alpha=0.2, solid_capstyle="butt")
            for values, shift, (_, marker, filled) in zip(ends, (-0.13, 0.0, 0.13), HACKING):
                style = {"marker": marker, "ls": "", "mfc": colour if filled else "white", "mec": colour}
                ax.plot(values, np.full(len(values), y + 2 * shift), ms=4, alpha=0.5, **style)
                ax.plot(values.mean(), y + shift, ms=8, mew=1.8, **style)
        ax.set_yticks(range(len(arms)), [label_of(a) for a in arms])
        ax.set(title=title, xlabel="% of test answers", ylim=(len(arms) - 0.4, -0.6))
    handles = [Line2D([], [], marker=marker, ls="", ms=8, mfc="#444444" if filled else "white", mec="#444444", mew=1.8)
               for _, marker, filled in HACKING]
    fig.legend(handles, [words for words, *_ in HACKING], loc="outside lower center", ncols=3)
    return fig


def kept_share(runs: Runs, world: str) -> pd.DataFrame:
    """Seeds x arms: pass@1 on a shifted world over pass@1 on the test set, in per cent; blank where the latter is 0."""
    ratio = runs.metric(f"shifted/{world}/pass@1") / runs.metric("test/pass@1")
    return 100 * ratio.replace([np.inf, -np.inf], np.nan)


def base_shifted(runs: Runs, worlds) -> pd.DataFrame:
    """Per shifted world: the base policy's pass@1 and pass@16, and whether the rule admits the world (ADMITTED, at 16)."""
    def of_base(k):
        tables = {w: runs.metric(f"shifted/{w}/pass@{k}") for w in worlds}
        return pd.Series({w: t["base"].mean() if "base" in t else np.nan for w, t in tables.items()})

    return pd.DataFrame({"base pass@1, %": 100 * of_base(1), "base pass@16, %": 100 * of_base(16),
                         "admitted": of_base(16).between(*ADMITTED)})


def plot_shifted(runs: Runs, arms, worlds):
    """Kept share per shifted world; a world that the rule does not admit is drawn in grey."""
    fig, axes = panels(len(worlds), height=0.45 * len(arms) + 1.8, sharey=True)
    for ax, (world, _, score, admitted) in zip(axes, base_shifted(runs, worlds).itertuples(name=None)):
        table = kept_share(runs, world).reindex(columns=list(arms))
        plots.arms(ax, table, arms, label_of, arm_colour if admitted else lambda _: "#bbbbbb")
        keep_in_view(ax, table, "x")
        name = world.removeprefix("latent_").replace("_", " ")
        ax.set(title=f"{name}\n{'' if admitted else 'not '}admitted: base {score:.0f} % at 16",
               xlabel="pass@1 there,\n% of that on the test set")
    return fig
