"""Figures of Dissecting, notebooks 20 to 23: tables to figures.

An arm without runs is left out, a single seed has no interval.
"""

import numpy as np
import pandas as pd

from polarity_lib import plots
from polarity_lib.claims import difference, final, tail
from polarity_lib.papers.dissecting import dead_groups, stability
from polarity_lib.papers.dissecting.claims import hard_gain, spreads
from polarity_lib.papers.dissecting.experiments import FACTORS, MAIN, SIZES
from polarity_lib.papers.dissecting.injection import shaped_weight
from polarity_lib.papers.dissecting.probes import SHIFTED
from polarity_lib.papers.dissecting.theory import start
from polarity_lib.plots import BASE, NEUTRAL, RIGHT, WRONG, arm_colour, arm_label, over, panels, present
from polarity_lib.problems.chain import ATTACKS
from polarity_lib.registry import EXPERIMENTS, paper_of

BOTH = "#0072B2"
START_LABELS = {"cold": "cold start", "zero": "zero-RL", "cold_short": "cold start, short answers",
                "thorough": "cold start that re-checks"}
START_COLOURS = ("#332288", "#88CCEE")  # cold start, zero-RL: no colour of a polarity
ARMS = ("both", "right", "wrong")
_ARM_STYLES = {
    "base": ("base", BASE, (0, (4, 2))),
    "both": ("both", BOTH),
    "right": ("right only", RIGHT),
    "wrong": ("wrong only", WRONG),
}
STYLES = {f"{where}/{arm}": style for where in (*START_LABELS, "search") for arm, style in _ARM_STYLES.items()}
STYLES |= {
    "both_polarities": ("both", BOTH), "positives_renormalised": ("right only", RIGHT),
    "negatives_renormalised": ("wrong only", WRONG), "neg_to_pos": ("wrong, then right", "#882255"),
    "pos_to_neg": ("right, then wrong", "#117733"),
    "verdicts": ("verdicts go on", BOTH), "rlr": ("relative length reward", "#E69F00"),
    "cold/wrong then both": ("wrong, then both", "#CC79A7"), "cold/right then both": ("right, then both", "#44AA99"),
    "cold/wrong then right": ("wrong, then right", "#882255"), "cold/right then wrong": ("right, then wrong", "#117733"),
}
_INJECTED_STYLES = {
    "none": ("no injection", NEUTRAL), "shaped": ("injected, shaped", "#882255"), "ratio": ("injected, ratio", "#44AA99"),
    "likelihood": ("injected, likelihood", "#999933"), "imitation": ("imitation alone", "#CC6677"),
}
STYLES |= {f"{size}/{arm}": style for size in SIZES["tiny"] for arm, style in _INJECTED_STYLES.items()}
SIZE_LABELS = {"smoke": "0.1 M", "tiny": "0.6 M", "middle": "1.8 M"}


def _gap(runs, left: str, right: str, metric: str) -> np.ndarray:
    try:
        return difference(runs, left, right, metric)
    except KeyError:
        return np.array([])


# ---------------------------------------------------------------- notebook 20


def plot_curves(runs, starts=MAIN, metric="validation/pass@1", factor=100.0):
    """A metric over training, a panel per start."""
    fig, axes = panels(len(starts), width=4.6)
    for ax, where in zip(axes, starts):
        names = present(runs, [f"{where}/{arm}" for arm in ARMS])
        if names:
            plots.curves(ax, runs.metrics, metric, names, factor, within_seeds=True, in_view=True)
        ax.set_title(START_LABELS[where])
    axes[0].set_ylabel("held-out pass@1, %" if metric == "validation/pass@1" else metric)
    plots.legend_below(fig, axes)
    return fig


def interaction_table(runs, metric=tail(1), starts=MAIN) -> pd.DataFrame:
    """Per seed: wrong only minus both from each start, and the difference of these differences."""
    table = final(runs, metric)
    found = pd.DataFrame({where: table[f"{where}/wrong"] - table[f"{where}/both"] for where in starts})
    return found.assign(interaction=found[starts[0]] - found[starts[1]])


def plot_interaction(tables: dict[str, pd.DataFrame], starts=MAIN, margin: float = 3.0):
    """The headline: what wrong answers alone lose against both, by start, and the interaction, a panel per reading."""
    fig, axes = panels(len(tables), width=4.0, height=2.3, sharey=True)
    for ax, (title, table) in zip(axes, tables.items()):
        groups = {START_LABELS[where]: table[where] for where in starts} | {"interaction": table["interaction"]}
        plots.differences(ax, groups, [*START_COLOURS, "#333333"], margin=margin, reach=5.0, aside=0.2)
        ax.set_title(title)
        ax.set_xlabel("wrong only minus both, points")
    return fig


def plot_fit(runs, starts=MAIN):
    """Greedy accuracy on training problems and on held-out ones, and the likelihood of right traces."""
    shown = {
        "fit/greedy": ("training problems, greedy", "%", 100.0),
        "fit/greedy_held_out": ("held-out, greedy", "%", 100.0),
        "fit/likelihood": ("right traces of training problems", "nats per token", 1.0),
    }
    names = present(runs, [f"{where}/{arm}" for where in starts for arm in ("base", *ARMS)])
    return plots.plot_arms(runs, names, shown, label=_with_start)


def _with_start(arm: str) -> str:
    where, _, name = arm.partition("/")
    return f"{START_LABELS.get(where, where)}: {_ARM_STYLES.get(name, (name,))[0]}"


def plot_shifted(runs, starts=MAIN):
    """Accuracy out of distribution, a panel per set."""
    shown = {f"shifted/{name}/pass@1": (name.removeprefix("latent_").replace("_", " "), "pass@1, %", 100.0) for name in SHIFTED}
    names = present(runs, [f"{where}/{arm}" for where in starts for arm in ("base", *ARMS)])
    return plots.plot_arms(runs, names, shown, label=_with_start)


def plot_readings(runs, starts=MAIN, metric=tail(1)):
    """Wrong only minus both against the rate, as a multiple of the one rate."""
    factors = sorted((*FACTORS, 1.0))
    fig, (ax,) = panels(1, width=6.0, height=3.6)
    for where, colour in zip(starts, START_COLOURS):
        columns = {x: _gap(runs, f"{where}/wrong x{x:g}", f"{where}/both x{x:g}", metric) for x in factors}
        have = [x for x in factors if len(columns[x])]
        if have:
            over(ax, have, [columns[x] for x in have], colour, START_LABELS[where], log=True)
    ax.axhline(0, color=BASE, lw=1)
    ax.set(xlabel="rate, times the one rate", ylabel="wrong only minus both, points", title="The headline contrast over the rate")
    ax.legend()
    return fig


def plot_schedules(runs):
    """Held-out accuracy over training; at the end, what each schedule has more or less than both from the start."""
    later = present(runs, [name for name in STYLES if " then " in name])
    names = present(runs, ["cold/both", *later])
    fig, (left, right) = panels(2, width=5.2, height=3.6)
    plots.curves(left, runs.metrics, "validation/pass@1", names, 100.0, within_seeds=True, in_view=True)
    left.set(title="Held-out pass@1, %")
    groups = {arm_label(name): difference(runs, name, "cold/both", tail(1)) for name in later if "cold/both" in names}
    plots.differences(right, groups, [arm_colour(name) for name in later], margin=3.0, reach=5.0, aside=0.2)
    right.set(title="After training: minus both", xlabel="test pass@1, points")
    plots.legend_below(fig, [left])
    return fig


def plot_geometry(table: pd.DataFrame, oracle_V, right_V, policies: dict[str, np.ndarray]):
    """The paper's drawing from numbers: where the mass lies after training, and what happens on the way.

    Args:
        table: `theory.geometry`.
        oracle_V, right_V: the even spread over right answers, and which answers are right.
        policies: "right", "wrong", "both" -> [V] probabilities at the end.
    """
    fig, (first, second, third) = panels(3, width=4.4, height=3.6)
    place = np.arange(len(oracle_V))
    first.bar(place, start()[0], 0.9, fill=False, ec="#777777", ls=(0, (3, 2)), label="data")
    first.plot(place, oracle_V, "_", color="#333333", ms=14, label="oracle")
    for (name, probs_V), shift in zip(policies.items(), (-0.25, 0.0, 0.25)):
        first.bar(place + shift, probs_V, 0.25, color=_ARM_STYLES[name][1], label=_ARM_STYLES[name][0])
    first.axvspan(right_V.sum() - 0.5, len(place) - 0.5, color="#f2f2f2", zorder=0)
    first.set(xlabel="answers; grey: wrong", ylabel="probability", title="After training")
    first.set_xticks([])
    for name, width in zip(policies, (6.0, 3.5, 1.5)):  # where the lines coincide, all can be seen
        rows = table[table.polarity == name].groupby("step")[["wrong", "modal", "entropy"]].mean()
        second.plot(rows.modal, rows.wrong, color=_ARM_STYLES[name][1], lw=width)
        third.plot(rows.index, rows.entropy, color=_ARM_STYLES[name][1])
    second.set(xlabel="mass of the likeliest right answer", ylabel="mass on wrong answers", title="At equal modal probability")
    third.axhline(np.log(right_V.sum()), color="#333333", ls=":", lw=1)
    third.set(xlabel="step", ylabel="nats", title="Entropy over right answers")
    plots.legend_below(fig, [first])
    return fig


# ---------------------------------------------------------------- notebook 21


def attack_label(world: str) -> str:
    """What an attack's clauses would have the answer be, and how many there are: "one more, 16 clauses"."""
    kind, _, how = world.removeprefix("latent_").partition("_")
    would = {"plus1": "one more", "times7": "seven times it"}.get(kind, kind)
    return f"{would}, {how} clause{'s' * (how != '1')}" if how.isdigit() else f"{would}, {how}"


def plot_attacks(runs, where: str = "cold"):
    """Loss under each attack and the share that obeys, one line of dots per arm."""
    names = present(runs, [f"{where}/{arm}" for arm in ("base", *ARMS)])
    fig, axes = panels(2, width=5.4, height=0.5 * len(ATTACKS) + 1.4, sharey=True)
    offsets = np.linspace(-0.25, 0.25, max(1, len(names)))
    for ax, what, title in zip(axes, ("drop", "obeyed"), ("clean minus attacked, points", "answers that obey, %")):
        for name, shift in zip(names, offsets):
            for y, attack in enumerate(ATTACKS):
                try:
                    values = final(runs, f"attack/{attack}/{what}")[name].dropna().to_numpy()
                except KeyError:
                    continue
                low, high = plots.t_interval(values) if len(values) > 1 else (values.mean(), values.mean())
                ax.plot([low, high], [y + shift] * 2, color=arm_colour(name), lw=2)
                ax.plot(values.mean(), y + shift, "o", color=arm_colour(name), ms=5, label=arm_label(name) if y == 0 else None)
        ax.axvline(0, color=BASE, lw=1)
        ax.set_title(title)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(ATTACKS)), [attack_label(name) for name in ATTACKS])
    axes[0].set_ylim(len(ATTACKS) - 0.4, -0.6)
    plots.legend_below(fig, axes)
    return fig


# ---------------------------------------------------------------- notebook 22


def plot_dead_probability(sizes=(2, 4, 8, 16, 32)):
    """p^G + (1 - p)^G: why a mixture of easy and hard problems teaches little."""
    fig, (ax,) = panels(1, width=6.4, height=3.4)
    p = np.linspace(0, 1, 401)
    for size, colour in zip(sizes, plots.sns.color_palette("viridis", len(sizes))):
        ax.plot(p, dead_groups.dead_probability(p, size), color=colour, label=f"G = {size}")
    ax.set(xlabel="how often the problem is solved", ylabel="probability that a group is dead", title="A group without a signal")
    ax.legend()
    return fig


def plot_dead_groups(runs, starts=MAIN):
    """Over training; measured against predicted; and over group sizes, by level."""
    fig, (first, second, third) = panels(3, width=4.4, height=3.6)
    for where, dashes in zip(starts, ("-", "--")):
        for arm in present(runs, [f"{where}/both"]):
            for metric, colour in (("groups/all_right", RIGHT), ("groups/all_wrong", WRONG)):
                plots.curves(
                    first,
                    runs.metrics,
                    metric,
                    [arm],
                    100.0,
                    style=lambda _, c=colour, m=metric, w=where, d=dashes: (f"{START_LABELS[w]}, {m.split('_')[1]}", c, d),
                )
    first.set(title="Dead groups in training, both, %")
    first.legend(fontsize=8)
    for size, marker in ((4, "s"), (8, "o"), (16, "^")):
        try:
            measured, predicted = (100 * runs.metric(f"dead/{size}/{what}") for what in ("measured", "predicted"))
        except KeyError:
            continue
        second.plot(
            predicted.to_numpy().ravel(), measured.to_numpy().ravel(), marker, ms=4, alpha=0.6, color=BOTH, label=f"G = {size}"
        )
    second.axline((0, 0), slope=1, color=BASE, lw=1)
    second.set(xlabel="predicted from accuracies, %", ylabel="measured, %", title="Measured and predicted")
    second.legend()
    table = dead_groups.by_size(runs.problems[runs.problems.arm == f"{starts[0]}/both"])
    for level, part in table.groupby("level", sort=False):
        wide = part.pivot(index="size", columns="seed", values="dead")
        over(
            third,
            wide.index,
            100 * wide.to_numpy(),
            BASE if level == "all" else plots.sns.color_palette("viridis", 5)[int(level) % 5],
            "all levels" if level == "all" else f"{level} operations",
            log=True,
        )
    third.set(xlabel="group size G", title=f"After training, both, {START_LABELS[starts[0]]}, %")
    third.legend(fontsize=8)
    return fig


def plot_short_answers(runs, switch: float = 0.5):
    """Length and accuracy over training; the reward changes at the line."""
    shown = {
        "validation/length": "Length, held-out (tokens)",
        "validation/pass@1": ("pass@1, held-out, %", 100.0),
        "signal/sign_disagreement": ("Signs against verdicts, % of rows", 100.0),
    }
    names = present(runs, list(dict.fromkeys(arm.name for arm in runs.arms)))
    fig = plots.plot_curves(runs, names, shown, within_seeds=True, in_view=True)
    for ax in fig.axes:
        ax.axvline(switch * max(arm.config.steps for arm in runs.arms), color=BASE, lw=1, ls=":")
    return fig


def plot_shaping(gamma: float = 0.1):
    """The weight of an injected token against its probability."""
    fig, (ax,) = panels(1, width=6.0, height=3.4)
    p = np.geomspace(1e-3, 1, 400)
    ax.plot(p, shaped_weight(p, gamma), color="#882255", label=f"shaped, γ = {gamma:g}")
    ax.plot(p, p, color="#44AA99", label="ratio to 1: π itself")
    ax.plot(p, np.ones_like(p), color="#999933", label="likelihood: 1")
    ax.set(
        xscale="log",
        xlabel="probability of the injected token",
        ylabel="weight of its gradient",
        title="Which injected tokens teach",
    )
    ax.legend()
    return fig


def plot_injection(runs):
    """Gain on hard problems against the size of the policy; every variant at the middle size."""
    fig, (left, right) = panels(2, width=5.2, height=3.8)
    needed = {size: [f"{size}/{arm}" for arm in ("base", "none", "shaped")] for size in SIZES["tiny"]}
    sizes = [size for size, arms in needed.items() if len(present(runs, arms)) == 3]
    for split, colour, label in (("test", "#882255", "fresh"), ("pool", NEUTRAL, "in the pool")):
        if sizes:
            over(left, range(len(sizes)), [hard_gain(runs, size, split=split) for size in sizes], colour, label)
    left.axhline(0, color=BASE, lw=1)
    left.set_xticks(range(len(sizes)), [SIZE_LABELS[size] for size in sizes])
    left.set(xlabel="parameters", title="Injection minus none, hard problems, points")
    left.legend()
    middle = "tiny" if "tiny" in sizes else sizes[0] if sizes else ""
    names = [arm.name.partition("/")[2] for arm in runs.arms if arm.name.startswith(f"{middle}/")]
    names = [name for name in dict.fromkeys(names) if name not in ("base", "none")]
    groups = {arm_label(f"{middle}/{name}").removeprefix(f"{middle}/"): hard_gain(runs, middle, name) for name in names}
    plots.differences(right, groups, [arm_colour(f"{middle}/{name}") for name in names], margin=2.0, reach=4.0)
    right.set(title="Every variant minus none, fresh hard problems", xlabel="points")
    return fig


# ---------------------------------------------------------------- notebook 23


def plot_recorded(tables: dict[str, stability.Recorded]):
    """Accuracies of problems, and scores of runs, of one or two tables of verdicts."""
    fig, (left, right) = panels(2, width=5.2, height=3.6)
    bins = np.linspace(0, 1, 21)
    left.axvspan(*stability.BAND, color="#f2f2f2", zorder=0)
    for (name, recorded), colour in zip(tables.items(), (BOTH, "#E69F00")):
        p_Q = stability.accuracies(recorded.right_QR)
        left.hist(p_Q, bins, histtype="step", lw=2, color=colour, label=name)
        scores_R = 100 * recorded.right_QR.mean(axis=0)
        right.plot(np.arange(1, len(scores_R) + 1), scores_R, "o", ms=4, color=colour, label=name)
        sd = 100 * stability.predicted_spread(p_Q, recorded.right_QR.shape[1])
        right.axhspan(scores_R.mean() - 2 * sd, scores_R.mean() + 2 * sd, color=colour, alpha=0.12, lw=0)
    left.set(xlabel="share of runs in which a problem is right", ylabel="problems", title="Grey: uncertain problems")
    right.set(xlabel="run", ylabel="score, %", title="Scores; bands: ± 2 s by the formula")
    left.legend()
    return fig


def plot_ranking(found: dict[str, pd.DataFrame]):
    """How often n runs rank two methods wrongly: the formula, and runs drawn from the tables."""
    fig, (ax,) = panels(1, width=6.2, height=3.6)
    for (name, table), colour in zip(found.items(), (BOTH, "#E69F00", "#882255", "#44AA99")):
        ax.plot(table.runs, 100 * table.formula, color=colour, label=f"{name}, formula")
        ax.plot(table.runs, 100 * table.resampled, "o", color=colour, ms=5)
    ax.axhline(5, color=BASE, ls=":", lw=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(table.runs), [str(n) for n in table.runs])
    ax.set(xlabel="runs of each method", ylabel="wrong rankings, %", title="Dots: recorded runs, drawn anew")
    ax.legend()
    return fig


def by_paper(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, tuple]]:
    """The policies of each paper's experiments: its title, its rows, a colour."""
    titles = {name: paper_of(EXPERIMENTS, name).title if name in EXPERIMENTS else "others" for name in table.experiment.unique()}
    groups = list(table.groupby(table.experiment.map(titles)))
    return [(title, rows, colour) for (title, rows), colour in zip(groups, plots.sns.color_palette("colorblind", len(groups)))]


def plot_counts(table: pd.DataFrame):
    """Every published policy: the spread of one run against the share of uncertain problems, and where its variance lies."""
    fig, (left, right) = panels(2, width=5.2, height=3.6)
    for name, part, colour in by_paper(table):
        left.plot(
            100 * part.uncertain,
            100 * part.predicted_sd * np.sqrt(part.problems),
            "o",
            ms=3.5,
            alpha=0.6,
            color=colour,
            label=name,
        )
        right.plot(100 * part.uncertain, 100 * part.share_of_uncertain, "o", ms=3.5, alpha=0.6, color=colour)
    left.set(xlabel="uncertain problems, %", ylabel="spread of a run × √Q, %", title="More uncertain, more spread")
    right.axline((0, 0), slope=1, color=BASE, lw=1, ls=":")
    right.axhline(60, color=BASE, lw=1, ls=":")
    right.set(xlabel="uncertain problems, %", ylabel="their share of the variance, %", title="Few problems, most of the variance")
    plots.legend_below(fig, [left], columns=4)
    return fig


def plot_greedy(table: pd.DataFrame):
    """Greedy against sampled for every published policy: problems that flip, and what the score gains or loses."""
    fig, (left, right) = panels(2, width=5.2, height=3.6)
    for name, part, colour in by_paper(table):
        left.plot(100 * part.down, 100 * part.up, "o", ms=3.5, alpha=0.6, color=colour, label=name)
        right.plot(100 * part.score, 100 * part.bias, "o", ms=3.5, alpha=0.6, color=colour)
    left.set(xlabel="p > ½, greedy wrong: % of problems", ylabel="p < ½, greedy right: % of problems", title="Flips")
    right.axhline(0, color=BASE, lw=1)
    right.set(xlabel="mean sampled score, %", ylabel="greedy minus sampled, points", title="What greedy adds")
    plots.legend_below(fig, [left], columns=4)
    return fig


def plot_spread(runs):
    """Measured against predicted spread of a run, of every checkpoint and set of the runs."""
    table = spreads(runs)
    fig, (left, right) = panels(2, width=5.2, height=3.6)
    for name, part in table.groupby("set", sort=False):
        left.plot(100 * part.predicted_sd, 100 * part.run_sd, "o", ms=4, alpha=0.7, label=name)
        right.plot(100 * part.uncertain, 100 * part.run_sd * np.sqrt(part.problems), "o", ms=4, alpha=0.7)
    left.axline((0, 0), slope=1, color=BASE, lw=1)
    left.set(xlabel="predicted, points", ylabel="measured over 64 runs, points", title="Spread of one run's score")
    right.set(xlabel="uncertain problems, %", ylabel="spread × √Q, points", title="It goes with uncertain problems")
    plots.legend_below(fig, [left], columns=4)
    return fig
