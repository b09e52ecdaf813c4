"""Figures of the notebooks that belong to no paper: 00 to 03. Tables to figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from polarity_lib.plots import POLARITY, RIGHT, WRONG, arm_colour, arm_label, heat, panels

BEFORE = {"fill": False, "ec": "#777777", "ls": (0, (3, 2))}  # dashed outlines: how it was before
VERDICTS = {"correct": RIGHT, "wrong": WRONG, "no_answer": "#E6B800", "truncated": "#8C8C8C", "timed_out": "#333333"}


def plot_redistribution(before_V, after: dict, answers: list[str], right_V):
    """One distribution before (outline) and after (filled) each of several updates, one panel per update.

    Args:
        after: title -> [V] probabilities.
        right_V: [V] which answers are right; they are drawn green, wrong ones orange.
    """
    fig, axes = panels(len(after), width=3.5, height=3.3, sharey=True)
    place = np.arange(len(answers))
    for ax, (title, after_V) in zip(axes, after.items()):
        ax.bar(place, before_V, width=0.84, **BEFORE)
        ax.bar(place, after_V, width=0.62, color=[RIGHT if r else WRONG for r in right_V])
        for x, b, a in zip(place, before_V, after_V):
            ax.text(x, max(float(a), float(b)) + 0.012, f"{float(a) - float(b):+.2f}", ha="center", fontsize=8.5)
        ax.set_xticks(place, answers)
        ax.set_title(title)
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("probability of the answer")
    axes[0].set_ylim(top=1.12 * max(float(max(a)) for a in [before_V, *after.values()]))
    handles = [plt.Rectangle((0, 0), 1, 1, **style) for style in ({"color": RIGHT}, {"color": WRONG}, BEFORE)]
    axes[-1].legend(handles, ["right", "wrong", "before"], loc="upper right")
    return fig


def plot_definitions(weights: pd.DataFrame):
    """Heat map of `mechanism.compare_definitions`: rollouts x definitions, green up, orange down.

    Each column is divided by its largest weight, so a column shows the shape of a definition,
    not its step size; the largest weight itself stands above the column.
    """
    shape = weights / weights.abs().max().replace(0.0, 1.0)
    fig, ax = plt.subplots(figsize=(1.4 + 0.72 * weights.shape[1], 1.5 + 0.34 * len(weights)))
    words = [[f"{v:+.2f}" if abs(v) > 5e-5 else "·" for v in row] for row in shape.to_numpy()]
    rows = [f"{'ABCDEFGH'[g % 8]}  {verdict}, {tokens} tokens" for g, verdict, tokens in weights.index]
    heat(ax, shape, words, rows, weights.columns, POLARITY, vmin=-1.25, vmax=1.25)
    groups = weights.index.get_level_values(0).to_numpy()
    ax.hlines(np.flatnonzero(groups[1:] != groups[:-1]) + 1, *ax.get_xlim(), color="#333333", lw=1.2)
    ax.xaxis.tick_top()
    names = [f"{name}   {weights[name].abs().max():.4f}" for name in weights]
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=50, ha="left", rotation_mode="anchor")
    ax.set_ylabel("")
    return fig


def plot_verdict_shares(shares: pd.DataFrame):
    """Stacked bars of verdict shares, one bar per row of the table.

    Args:
        shares: rows are worlds or policies; columns verdict labels; values add up to 1.
    """
    ax = shares.iloc[::-1].plot.barh(stacked=True, color=VERDICTS, width=0.66, figsize=(7.0, 0.9 + 0.42 * len(shares)))
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of sampled answers")
    ax.grid(axis="y", visible=False)
    labels = [label.replace("_", " ") for label in shares.columns]
    ax.legend(labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(labels), handlelength=1.0)
    return ax.figure


def plot_estimators(true_K, found: dict, ks):
    """What estimators of pass@k give on average, against the truth.

    Args:
        true_K: [K] the true pass@k.
        found: name of an estimator -> [K] its expected value; NaN where it refuses.
    """
    fig, (ax,) = panels(1, width=7.0, height=3.8)
    ax.plot(ks, true_K, color="#bbbbbb", lw=7, solid_capstyle="round", label="truth")
    for (name, values), colour in zip(found.items(), (arm_colour("grpo"), WRONG, arm_colour("reinforce"))):
        ax.plot(ks, values, "o-", ms=4, color=colour, label=name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(ks), [str(k) for k in ks])
    ax.set_xlabel("k")
    ax.set_ylabel("expected pass@k")
    ax.legend()
    return fig


def plot_directions(probs_V, moves: dict, sampled: int, own_probs: dict | None = None):
    """How each objective moves every logit, one panel each on one scale; the sampled token stands apart.

    Args:
        probs_V: [V] probability of each token, written below it.
        moves: title -> [V] change of the logits.
        sampled: which token was sampled.
        own_probs: title -> [V] for panels on another distribution.
    """
    fig, axes = panels(len(moves), columns=3, width=3.3, height=2.5, sharey=True)
    place = np.arange(len(probs_V))
    for ax, (title, moved_V) in zip(axes, moves.items()):
        bars = ax.bar(place, moved_V, color=[RIGHT if m > 0 else WRONG for m in moved_V], width=0.7)
        bars[sampled].set(ec="black", lw=1.6)
        ax.axhline(0, color="#333333", lw=0.8)
        ax.set_xticks(place, [f"{float(p):.2g}" for p in (own_probs or {}).get(title, probs_V)])
        ax.get_xticklabels()[sampled].set_weight("bold")
        ax.set_title(title, fontsize=10)
        ax.grid(axis="x", visible=False)
    fig.supxlabel("probability of the token (sampled one framed, bold)", fontsize=10)
    fig.supylabel("change of its logit", fontsize=10)
    return fig


def plot_noise(table: pd.DataFrame):
    """How far one batch's update strays from the average update, against accuracy.

    Args:
        table: index is the share of right answers, one column per arm.
    """
    fig, (ax,) = panels(1, width=7.0, height=3.8)
    for name in table:
        ax.plot(table.index, table[name], "o-", ms=4, color=arm_colour(name), label=arm_label(name))
    ax.set_xlabel("share of right answers")
    ax.set_ylabel("length of the random part of an update")
    ax.set_ylim(bottom=0)
    ax.legend()
    return fig
