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
}
RIGHT, WRONG, NEUTRAL = COLOURS["psr"], COLOURS["nsr"], "#999999"  # polarities and what is neither
LABELS = {
    "base": "base", "grpo": "GRPO", "psr": "PSR (right only)", "nsr": "NSR (wrong only)",
    "w_reinforce": "W-REINFORCE", "reinforce": "REINFORCE", "ppo": "PPO", "rloo": "RLOO", "dr_grpo": "Dr. GRPO",
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
    return {name: _colour(name) for name in names}


def _colour(name: str) -> str:
    weight = re.fullmatch(r"lambda=([0-9.]+)", name)
    if weight:
        share = min(1.0, float(weight[1])) ** 0.4  # small weights are many and close together
        return plt.matplotlib.colors.to_hex(plt.get_cmap("plasma")(0.15 + 0.7 * share))
    known = [part for part in re.split("/", name) if part in COLOURS]
    prefix = [c for c in COLOURS if any(p.startswith(f"{c}_") for p in name.split("/"))]
    found = known or sorted(prefix, key=len)[-1:]
    return COLOURS[found[0]] if found else NEUTRAL


def arm_label(name: str) -> str:
    """What a legend calls an arm."""
    return LABELS.get(name, name)


def plot_curves(metrics: pd.DataFrame, metric: str, ax=None, arms=None):
    """A metric against training steps, one line per arm, with its 95 % interval over seeds.

    Args:
        metrics: long table with columns arm, seed, step, metric, value.
        metric: which metric; a KeyError names the near misses' group if it is absent.
        arms: which arms and in which order; all by default.

    Returns:
        The axes.
    """
    ax = ax or plt.subplots()[1]
    rows = metrics[metrics.metric == metric]
    if rows.empty:
        group = metric.split("/")[0]
        raise KeyError(f"no rows for {metric!r}; there are {sorted(m for m in set(metrics.metric) if m.startswith(group))}")
    names = list(arms or dict.fromkeys(rows.arm))
    for name, colour in arm_colours(names).items():
        table = rows[rows.arm == name].pivot_table(index="step", columns="seed", values="value")
        found = [mean_t(values[~np.isnan(values)]) for values in table.to_numpy()]
        ax.plot(table.index, [i.estimate for i in found], color=colour, label=arm_label(name))
        if table.shape[1] > 1:
            ax.fill_between(table.index, [i.low for i in found], [i.high for i in found], color=colour, alpha=0.15, lw=0)
    ax.set_xlabel("training step")
    ax.set_ylabel(metric)
    return ax


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
