"""Tables to figures. Nothing here samples, trains or judges.

    theme()                                 once per notebook
    plot_curves(metrics, "validation/pass@1", ax)
    save_figure(fig, "entropy", "10_psr_nsr", runs, figures_dir)

A method has the same colour in every figure. Lines over several seeds carry a
Student interval; a single seed has no interval and is drawn as a bare line.
"""

import io
import json
import re
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from polarity_lib.results import ROOT, write_atomic
from polarity_lib.uncertainty import mean_t

# Okabe and Ito's palette: told apart by colour-blind readers and in grey print.
COLOURS = {
    "base": "#555555",
    "grpo": "#0072B2",
    "psr": "#009E73",
    "nsr": "#D55E00",
    "w_reinforce": "#CC79A7",
    "reinforce": "#E69F00",
    "ppo": "#56B4E9",
    "rloo": "#7A5195",
    "dr_grpo": "#003F5C",
    # LENS and its arms: Paul Tol's muted colours stand apart from those above.
    "lens": "#882255", "mixed only": "#CC6677", "negative only": "#44AA99", "uniform penalty": "#999933",
    "shuffled": "#117733", "flipped": "#661100", "ngrpo": "#332288", "alpha=0.25": "#882255", "alpha=0": "#CC6677",
    # A3PO and its baselines: dark enough for lines; their dashes tell them apart in grey.
    "a3po": "#000000", "dapo": "#44AA99", "dapo_fork": "#882255", "lp_reg": "#999933", "cispo": "#6699CC", "gspo": "#AA7744",
}
RIGHT, WRONG, NEUTRAL = COLOURS["psr"], COLOURS["nsr"], "#999999"  # polarities and what is neither
LABELS = {
    "base": "base", "grpo": "GRPO", "psr": "PSR (right only)", "nsr": "NSR (wrong only)",
    "w_reinforce": "W-REINFORCE", "reinforce": "REINFORCE", "ppo": "PPO", "rloo": "RLOO", "dr_grpo": "Dr. GRPO",
    "a3po": "A3PO", "dapo": "DAPO", "dapo_fork": "DAPO, fork tokens", "lp_reg": "Lp-Reg", "cispo": "CISPO", "gspo": "GSPO",
    "lens": "LENS", "mixed only": "mixed groups only", "negative only": "negative groups only", "ngrpo": "NGRPO",
    "shuffled": "rewards shuffled", "flipped": "sign flipped", "alpha=0.25": "LENS", "alpha=0": "mixed groups only",
}
MAX_BYTES = 300_000


def theme() -> None:
    """Quiet axes and readable sizes, for a page and for a projector."""
    plt.rcParams.update({
        "figure.figsize": (7.0, 3.8), "figure.dpi": 100, "figure.constrained_layout.use": True,
        "font.size": 10.5, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": "#e6e6e6", "lines.linewidth": 2.0, "legend.frameon": False, "legend.fontsize": 9.5,
    })


def arm_colours(names) -> dict[str, str]:
    """One colour per arm, the same in every figure.

    An arm of a method's family takes the family's colour (`psr_matched` is PSR green);
    `lambda=...` arms run from NSR's colour to yellow; anything unknown is grey.
    """
    return {name: arm_colour(name) for name in names}


def arm_colour(name: str) -> str:
    """The colour of one arm: `countdown3/psr_grpo_seq leaky` is PSR green."""
    if name in COLOURS:
        return COLOURS[name]
    weight = re.fullmatch(r"lambda=([0-9.]+)", name)
    if weight:
        share = min(1.0, float(weight[1])) ** 0.4  # small weights are many and close together
        return plt.matplotlib.colors.to_hex(plt.get_cmap("plasma")(0.15 + 0.7 * share))
    parts = re.split("[/ ]", name)
    known = [part for part in parts if part in COLOURS]
    prefix = [c for c in COLOURS if any(p.startswith(f"{c}_") for p in parts)]
    found = known or sorted(prefix, key=len)[-1:]
    return COLOURS[found[0]] if found else NEUTRAL


def arm_label(name: str) -> str:
    """What a legend calls an arm."""
    return LABELS.get(name, name)


def draw_seeds(ax, place: float, values, colour, upright: bool = False, marker: str = "D", aside: float = 0.0) -> None:
    """Every seed as a faint dot, the mean as a marker, its 95 % interval where there are several; nothing without values.

    Args:
        place: where on the other axis.
        upright: values run up instead of along.
        aside: how far the dots stand from the marker.
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return
    found = mean_t(values)
    turn = (lambda x, y: (y, x)) if upright else (lambda x, y: (x, y))
    ax.plot(*turn(values, np.full(len(values), place + aside)), "o", color=colour, alpha=0.35, ms=4)
    if found.n > 1:
        ax.plot(*turn([found.low, found.high], [place, place]), color=colour, lw=2)
    ax.plot(*turn(found.estimate, place), marker, color=colour, ms=6)


def draw_arms(ax, table: pd.DataFrame, arms, label=arm_label, colour=arm_colour) -> None:
    """`draw_seeds` of every arm, the first on top; an arm without values leaves its row empty.

    Args:
        table: seeds x arms.
        label, colour: of an arm's name.
    """
    for y, arm in enumerate(reversed(list(arms))):
        draw_seeds(ax, y, table[arm].dropna() if arm in table else [], colour(arm))
    ax.set_yticks(range(len(arms)), [label(a) for a in reversed(list(arms))])
    ax.set_ylim(-0.6, max(len(arms), 1) - 0.4)


def draw_line(ax, x, columns, colour, label: str, **style) -> None:
    """Mean and 95 % t interval of each column (one array over seeds per x), joined by a line of this style."""
    found = [mean_t(np.asarray(c)[~np.isnan(c)]) for c in columns]
    ax.plot(x, [i.estimate for i in found], color=colour, label=label, **({"marker": "o", "ms": 3.5} | style))
    if any(i.n > 1 for i in found):
        ax.fill_between(x, [i.low for i in found], [i.high for i in found], color=colour, alpha=0.15, lw=0)


def without_seed_effects(rows: pd.DataFrame) -> pd.DataFrame:
    """Values less their seed's own level, plus the level of all: what is left differs by arm and step.

    The level of a seed is its mean over all rows; seeds that lack an arm, having another mean, stay as they are.
    Source: Cousineau, Tutorials in Quantitative Methods for Psychology 1(1), 2005 (within-subject intervals).

    Args:
        rows: columns arm, seed, step, value, of one metric.
    """
    whole = rows.groupby("seed").value.transform("size") == rows.groupby("seed").value.size().max()
    level = rows[whole].groupby("seed").value.mean()
    return rows.assign(value=rows.value - (rows.seed.map(level) - level.mean()).fillna(0.0))


def plot_curves(metrics: pd.DataFrame, metric: str, ax=None, arms=None, within_seeds: bool = False):
    """A metric against training steps, one line per arm, with its 95 % interval over seeds.

    Args:
        metrics: long table with columns arm, seed, step, metric, value.
        metric: which metric; a KeyError names the near misses' group if it is absent.
        arms: which arms and in which order; all by default.
        within_seeds: bands are of `without_seed_effects` of these arms, where seeds start from different levels.

    Returns:
        The axes.
    """
    ax = ax or plt.subplots()[1]
    rows = metrics[metrics.metric == metric]
    if rows.empty:
        group = metric.split("/")[0]
        raise KeyError(f"no rows for {metric!r}; there are {sorted(m for m in set(metrics.metric) if m.startswith(group))}")
    names = list(arms or dict.fromkeys(rows.arm))
    if within_seeds:
        rows = without_seed_effects(rows[rows.arm.isin(names)])
    for name, colour in arm_colours(names).items():
        table = rows[rows.arm == name].pivot_table(index="step", columns="seed", values="value")
        draw_line(ax, table.index, table.to_numpy(), colour, arm_label(name), marker="")
    ax.set_xlabel("training step")
    ax.set_ylabel(metric)
    return ax


def plot_spectrum(metrics: pd.DataFrame, split: str = "test", ax=None, arms=None):
    """pass@k against k at the last step, one line per arm, with its 95 % interval over seeds.

    Without an arm called `base`, the base is read off step 0, if that was evaluated.

    Args:
        metrics: long table with columns arm, seed, step, metric, value.
        split: whose pass@k: test, validation or pool.
    """
    ax = ax or plt.subplots()[1]
    rows = metrics[metrics.metric.str.startswith(f"{split}/pass@")]
    if "base" not in set(rows.arm):
        start = rows[rows.step == 0].drop_duplicates(["seed", "metric"])
        rows = pd.concat([start.assign(arm="base"), rows[rows.step > 0]])
    rows = rows.assign(k=rows.metric.str.split("@").str[1].astype(int))
    rows = rows.sort_values("step").groupby(["arm", "seed", "k"], sort=False).tail(1)
    names = list(arms or dict.fromkeys(["base", *metrics.arm]))
    for name, colour in arm_colours([n for n in names if n in set(rows.arm)]).items():
        table = rows[rows.arm == name].pivot(index="k", columns="seed", values="value").sort_index()
        dashes = (0, (4, 2)) if name == "base" else "-"
        draw_line(ax, table.index, table.to_numpy(), colour, arm_label(name), ls=dashes, ms=4)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(rows.k)), [str(k) for k in sorted(set(rows.k))])
    ax.set_xlabel("k, answers allowed per problem")
    ax.set_ylabel(f"pass@k, {split} problems")
    return ax


# ---------------------------------------------------------------- notebooks 00 to 02


def plot_redistribution(before_V, after: dict, answers: list[str], right_V):
    """One distribution before (outline) and after (filled) each of several updates, one panel per update.

    Args:
        after: title -> [V] probabilities.
        right_V: [V] which answers are right; they are drawn green, wrong ones orange.
    """
    fig, axes = plt.subplots(1, len(after), figsize=(3.5 * len(after), 3.3), sharey=True, squeeze=False)
    place = np.arange(len(answers))
    colours = [RIGHT if r else WRONG for r in right_V]
    for ax, (title, after_V) in zip(axes[0], after.items()):
        ax.bar(place, before_V, width=0.84, fill=False, ec="#777777", ls=(0, (3, 2)))
        ax.bar(place, after_V, width=0.62, color=colours)
        for x, b, a in zip(place, before_V, after_V):
            ax.text(x, max(float(a), float(b)) + 0.012, f"{float(a) - float(b):+.2f}", ha="center", fontsize=8.5)
        ax.set_xticks(place, answers)
        ax.set_title(title)
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("probability of the answer")
    axes[0, 0].set_ylim(top=1.12 * max(float(max(a)) for a in [before_V, *after.values()]))
    handles = [plt.Rectangle((0, 0), 1, 1, color=RIGHT), plt.Rectangle((0, 0), 1, 1, color=WRONG),
               plt.Rectangle((0, 0), 1, 1, fill=False, ec="#777777", ls=(0, (3, 2)))]
    axes[0, -1].legend(handles, ["right", "wrong", "before"], loc="upper right")
    return fig


def plot_definitions(weights: pd.DataFrame):
    """Heat map of `mechanism.compare_definitions`: rollouts x definitions, green up, orange down.

    Each column is divided by its largest weight, so a column shows the shape of a definition,
    not its step size; the largest weight itself stands above the column.
    """
    fig, ax = plt.subplots(figsize=(1.4 + 0.72 * weights.shape[1], 1.5 + 0.34 * len(weights)))
    largest = weights.abs().max().replace(0.0, 1.0)
    shape = (weights / largest).to_numpy()
    colours = plt.matplotlib.colors.LinearSegmentedColormap.from_list("polarity", [WRONG, "white", RIGHT])
    ax.imshow(shape, cmap=colours, vmin=-1.25, vmax=1.25, aspect="auto")
    for (row, column), value in np.ndenumerate(shape):
        ax.text(column, row, f"{value:+.2f}" if abs(value) > 5e-5 else "·", ha="center", va="center", fontsize=8.5)
    groups = weights.index.get_level_values(0).to_numpy()
    for row in np.flatnonzero(groups[1:] != groups[:-1]):
        ax.axhline(row + 0.5, color="#333333", lw=1.2)
    rows = [f"{'ABCDEFGH'[g % 8]}  {verdict}, {tokens} tokens" for g, verdict, tokens in weights.index]
    ax.set_yticks(range(len(rows)), rows)
    names = [f"{name}   {weights[name].abs().max():.4f}" for name in weights]
    ax.set_xticks(range(len(names)), names, rotation=50, ha="left", rotation_mode="anchor")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return fig


def plot_verdict_shares(shares: pd.DataFrame, ax=None):
    """Stacked bars of verdict shares, one bar per row of the table.

    Args:
        shares: rows are worlds or policies; columns verdict labels; values add up to 1.
    """
    ax = ax or plt.subplots(figsize=(7.0, 0.9 + 0.42 * len(shares)))[1]
    palette = {"correct": RIGHT, "wrong": WRONG, "no_answer": "#E6B800", "truncated": "#8C8C8C", "timed_out": "#333333"}
    left = np.zeros(len(shares))
    for label in shares.columns:
        ax.barh(shares.index, shares[label], left=left, color=palette[label], label=label.replace("_", " "), height=0.66)
        left += shares[label].to_numpy()
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of sampled answers")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(shares.columns), handlelength=1.0)
    return ax


def plot_estimators(true_K, found: dict, ks, ax=None):
    """What estimators of pass@k give on average, against the truth.

    Args:
        true_K: [K] the true pass@k.
        found: name of an estimator -> [K] its expected value; NaN where it refuses.
    """
    ax = ax or plt.subplots()[1]
    ax.plot(ks, true_K, color="#bbbbbb", lw=7, solid_capstyle="round", label="truth")
    for (name, values), colour in zip(found.items(), (COLOURS["grpo"], WRONG, COLOURS["reinforce"])):
        ax.plot(ks, values, "o-", ms=4, color=colour, label=name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(ks), [str(k) for k in ks])
    ax.set_xlabel("k")
    ax.set_ylabel("expected pass@k")
    ax.legend()
    return ax


def plot_directions(probs_V, moves: dict, sampled: int, own_probs: dict | None = None, columns: int = 3):
    """How each objective moves every logit, one panel each on one scale; the sampled token stands apart.

    Args:
        probs_V: [V] probability of each token, written below it.
        moves: title -> [V] change of the logits.
        sampled: which token was sampled.
        own_probs: title -> [V] for panels on another distribution.
    """
    rows = -(-len(moves) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.5 * rows), sharey=True, squeeze=False)
    place = np.arange(len(probs_V))
    for ax, (title, moved_V) in zip(axes.flat, moves.items()):
        moved_V = np.asarray(moved_V, dtype=float)
        bars = ax.bar(place, moved_V, color=[RIGHT if m > 0 else WRONG for m in moved_V], width=0.7)
        bars[sampled].set(ec="black", lw=1.6)
        ax.axhline(0, color="#333333", lw=0.8)
        ax.set_xticks(place, [f"{float(p):.2g}" for p in (own_probs or {}).get(title, probs_V)])
        ax.get_xticklabels()[sampled].set_weight("bold")
        ax.set_title(title, fontsize=10)
        ax.grid(axis="x", visible=False)
    for ax in axes.flat[len(moves):]:
        ax.set_visible(False)
    fig.supxlabel("probability of the token (sampled one framed, bold)", fontsize=10)
    fig.supylabel("change of its logit", fontsize=10)
    return fig


def plot_noise(table: pd.DataFrame, ax=None):
    """How far one batch's update strays from the average update, against accuracy.

    Args:
        table: index is the share of right answers, one column per arm.
    """
    ax = ax or plt.subplots()[1]
    for name, colour in arm_colours(table.columns).items():
        ax.plot(table.index, table[name], "o-", ms=4, color=colour, label=arm_label(name))
    ax.set_xlabel("share of right answers")
    ax.set_ylabel("length of the random part of an update")
    ax.set_ylim(bottom=0)
    ax.legend()
    return ax


# ---------------------------------------------------------------- writing


def save_figure(fig, name: str, notebook: str, runs=(), figures_dir="../data/runs/figures") -> Path:
    """Write `<name>.png` and, beside it, a JSON that says where it comes from.

    Args:
        notebook: name of the notebook without its ending.
        runs: a `Runs`, or hashes of runs, or nothing for a figure made by hand.
        figures_dir: a relative folder is relative to notebooks/, wherever the kernel was started.

    Returns:
        Path of the picture, below 300 kB.
    """
    folder = ROOT / "notebooks" / figures_dir
    arms = getattr(runs, "arms", None)
    hashes = sorted({arm.config.hash for arm in arms} if arms is not None else set(runs))
    for dpi in (150, 110, 80):
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white", metadata={"Software": None})
        if buffer.tell() < MAX_BYTES:
            break
    origin = {"figure": f"{name}.png", "notebook": notebook, "runs": hashes, "commit": current_commit(),
              "time": time.strftime("%FT%TZ", time.gmtime())}
    path = (folder / f"{name}.png").resolve()
    write_atomic(path, buffer.getvalue())
    write_atomic(path.with_suffix(".json"), (json.dumps(origin, indent=1) + "\n").encode())
    return path


def current_commit() -> str:
    """The commit of this checkout, "+" behind it if files differ from it; "unknown" outside git."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


# --- notebook 10: the pass@k spectrum ----------------------------------------------


def _final_points(runs, metric: str) -> pd.DataFrame:
    """Seeds x arms of a metric's last value, in per cent."""
    return 100 * runs.metric(metric)


def _ks(runs) -> list[int]:
    found = {m for m in set(runs.metrics.metric) if m.startswith("test/pass@")}
    return sorted(int(m.split("@")[1]) for m in found)


def plot_pass_at_k(runs, arms):
    """Left: pass@k of every arm. Right: the same minus base, paired by seed."""
    ks = _ks(runs)
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2))
    tables = {k: _final_points(runs, f"test/pass@{k}") for k in ks}
    for arm in arms:
        colour = arm_colour(arm)
        draw_line(left, ks, [tables[k][arm].to_numpy() for k in ks], colour, arm_label(arm))
        if arm != "base":
            gaps = [(tables[k][arm] - tables[k]["base"]).to_numpy() for k in ks]
            draw_line(right, ks, gaps, colour, arm_label(arm))
    right.axhline(0, color=COLOURS["base"], lw=1.5)
    for ax, title in ((left, "Right in at least one of k answers"), (right, "Difference from the base policy")):
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, [str(k) for k in ks])
        ax.set_xlabel("k, answers per problem")
        ax.set_title(title)
    left.set_ylabel("pass@k on the test set, %")
    right.set_ylabel("points")
    left.legend()
    return fig


def plot_training_curves(runs, arms):
    """Entropy, reward on the pool, solved groups, held-out accuracy, length, and what does not carry over."""
    panels = {
        "validation/entropy": "Entropy, held-out (nats per token)", "train/reward": "Reward on the training pool",
        "groups/all_right": "Groups with every answer right", "validation/pass@1": "pass@1, held-out",
        "validation/length": "Length, held-out (tokens)", "update/gradient_norm": "Gradient norm before clipping",
    }
    trained = [a for a in arms if a != "base"]
    fig, axes = plt.subplots(2, 3, figsize=(11.5, 6.2))
    for ax, (metric, title) in zip(axes.flat, panels.items()):
        plot_curves(runs.metrics, metric, ax, trained)
        ax.set_title(title)
        ax.set_ylabel("")
    axes.flat[0].legend()
    return fig


def plot_self_limiting(runs, arms=("nsr", "psr")):
    """Rows that carry a gradient, gradient norm, and length of the parameter change."""
    panels = {"signal/rows": "Rows with a gradient", "update/gradient_norm": "Gradient norm",
              "update/norm": "Length of the update"}
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    for ax, (metric, title) in zip(axes, panels.items()):
        plot_curves(runs.metrics, metric, ax, list(arms))
        ax.set_title(title)
        ax.set_ylabel("")
        ax.set_ylim(bottom=0)
    axes[0].legend()
    return fig


def plot_arms(runs, arms, metrics, titles=None):
    """One panel per metric: every arm's seeds as dots, its mean and interval as a bar."""
    fig, axes = plt.subplots(1, len(metrics), figsize=(3.6 * len(metrics), 0.42 * len(arms) + 1.6), sharey=True)
    for ax, metric, title in zip(np.atleast_1d(axes), metrics, titles or metrics):
        draw_arms(ax, _final_points(runs, metric), arms)
        ax.set_title(title)
        ax.set_xlabel("%")
    return fig


# --- notebook 11: where negatives hold ------------------------------------------------


def plot_boundary_map(runs, methods, rates, worlds, metric="test/pass@1", reference="validation/pass@1"):
    """Final accuracy over rate x method, one panel per start; a cell in red lost half of its start's accuracy."""
    fig, axes = plt.subplots(1, len(worlds), figsize=(5.2 * len(worlds), 3.6))
    table = _final_points(runs, metric)
    final = (table.dropna() if len(table.dropna()) else table).mean()  # cells compare over the same seeds
    start = 100 * runs.metrics[(runs.metrics.metric == reference) & (runs.metrics.step == 0)].groupby("arm").value.mean()
    for ax, world in zip(np.atleast_1d(axes), worlds):
        arms = [[f"{world}/{m}/{r:g}" for r in rates] for m in methods]
        values = np.array([[final.get(a, np.nan) for a in row] for row in arms])  # a missing run stays blank
        image = ax.imshow(values, cmap="viridis", vmin=0, aspect="auto")
        for y, row in enumerate(arms):
            for x, arm in enumerate(row):
                if np.isnan(values[y, x]):
                    continue
                lost = final[arm] < 0.5 * start[arm]
                ax.text(x, y, f"{final[arm]:.0f}", ha="center", va="center", weight="bold" if lost else "normal",
                        color="#ff6b6b" if lost else "white" if values[y, x] < 0.6 * np.nanmax(values) else "black")
        ax.set_xticks(range(len(rates)), [f"{r:g}" for r in rates])
        ax.set_yticks(range(len(methods)), [arm_label(m) for m in methods])
        ax.set_xlabel("learning rate")
        ax.set_title(f"{world}: start {start[[a for row in arms for a in row if a in start]].mean():.0f} %")
        ax.grid(False)
        fig.colorbar(image, ax=ax, shrink=0.8, label=f"{metric}, %")
    return fig


def plot_lambda(runs, lambdas, metrics):
    """pass@k against the weight of positives; the axis is linear near zero."""
    fig, axes = plt.subplots(1, len(metrics), figsize=(3.8 * len(metrics), 3.5))
    for ax, metric in zip(np.atleast_1d(axes), metrics):
        table = _final_points(runs, metric)
        draw_line(ax, lambdas, [table[f"lambda={x:g}"].to_numpy() for x in lambdas], COLOURS["w_reinforce"], "")
        ax.axhline(table["base"].mean(), color=COLOURS["base"], ls="--", label="base")
        ax.set_xscale("symlog", linthresh=0.02, linscale=0.4)
        ax.set_xticks(lambdas, [f"{x:g}" for x in lambdas], rotation=45)
        ax.minorticks_off()
        ax.set_xlabel("λ, weight of right answers")
        ax.set_title(f"{metric.split('/')[1]}, %")
    np.atleast_1d(axes)[0].legend()
    return fig


def plot_strength(runs, starts, methods, k=64):
    """Change of pass@k against the base's own pass@k, one point per start and seed."""
    table = _final_points(runs, f"test/pass@{k}")
    fig, ax = plt.subplots(figsize=(6.5, 4))
    for method in methods:
        colour = arm_colour(method)
        x = np.concatenate([table[f"{s}/base"] for s in starts])
        y = np.concatenate([table[f"{s}/{method}"] - table[f"{s}/base"] for s in starts])
        ax.plot(x, y, "o", color=colour, alpha=0.7, label=arm_label(method))
        if np.ptp(x) > 0:
            ends = np.array([x.min(), x.max()])
            ax.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color=colour, lw=1.2)
    ax.axhline(0, color=COLOURS["base"])
    ax.set_xlabel(f"pass@{k} of the base policy, %")
    ax.set_ylabel("change after training, points")
    ax.set_title(f"What each start gains or loses at k = {k}")
    ax.legend()
    return fig


def plot_several(runs, arms, panels: dict[str, str]):
    """A row of curves: metric -> title."""
    fig, axes = plt.subplots(1, len(panels), figsize=(3.8 * len(panels), 3.5))
    for ax, (metric, title) in zip(np.atleast_1d(axes), panels.items()):
        plot_curves(runs.metrics, metric, ax, [a for a in arms if a != "base"])
        ax.set_title(title)
        ax.set_ylabel("")
    np.atleast_1d(axes)[0].legend()
    return fig


# --- claims ---------------------------------------------------------------------------

VERDICT_COLOURS = {"replicated": "#009E73", "contradicted": "#D55E00", "no effect": "#56B4E9",
                   "inconclusive": "#999999", "not run at this scale": "#dddddd"}


def plot_verdicts(table: pd.DataFrame, title: str = ""):
    """Every sub-test as its interval, coloured by its verdict. `table`: rows of claims.judge."""
    rows = table[(table.subtest != "") & table.ours.notna()].iloc[::-1].reset_index(drop=True)
    fig, ax = plt.subplots(figsize=(8.5, 0.27 * len(rows) + 1.2))
    for y, row in rows.iterrows():
        colour = VERDICT_COLOURS[row.verdict]
        ax.plot([row.low, row.high], [y, y], color=colour, lw=2.5)
        ax.plot(row.ours, y, "o", color=colour, ms=5)
    papers = {claim: claim if claim.startswith("OURS") else claim.split("-", 1)[-1] for claim in rows.claim}
    ax.set_yticks(range(len(rows)), [f"{papers[r.claim]}  {r.subtest}" for r in rows.itertuples()], fontsize=8)
    ax.set_title(title)
    ax.set_ylim(-1, len(rows))
    ax.axvline(0, color=COLOURS["base"], lw=1)
    if rows[["low", "high"]].abs().max().max() > 50:  # few wide intervals would press all others into a line
        ax.set_xscale("symlog", linthresh=10)
        ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("difference with its 95 % interval (points or per cent)")
    handles = [plt.Line2D([], [], color=c, lw=3, label=v) for v, c in VERDICT_COLOURS.items() if v in set(rows.verdict)]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig
