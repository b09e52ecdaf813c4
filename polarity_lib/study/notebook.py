"""What only a notebook needs: versions, checked parameters, shaded tokens, the record.

Nothing here decides a number. Every function works the same in JupyterLab,
under papermill and in a test, from whatever folder the kernel was started in.
"""

import ast
import html
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from IPython.display import HTML

from polarity_lib.config import choose, in_file_names
from polarity_lib.outside import strict_json
from polarity_lib.plots import RIGHT, WRONG
from polarity_lib.results import ROOT, current_commit, make_folder, runs_root, write_atomic
from polarity_lib.rollouts import Rollouts
from polarity_lib.study.execution import check_type, check_values, declared_parameters, find_notebook

transformers.utils.logging.disable_progress_bar()  # saving a tiny policy is not worth a bar
PACKAGES = ("torch", "transformers", "numpy", "pandas", "matplotlib")


def versions() -> None:
    """Print what this kernel runs on: Python, libraries, device, commit."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} is not installed")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(" | ".join(found))
    print(f"device: {device} | commit: {current_commit()} | runs: {runs_root()}")


def check_parameters(notebook: str, values: dict) -> None:
    """Refuse parameters that cannot be right, before anything is computed.

    Args:
        notebook: its name; its parameters cell says which parameters there are and of which type.
        values: the notebook's `globals()`.

    Raises:
        ConfigError: a value of another type than the default's, an unknown scale (with the near misses), or
            a parameter that papermill passed and the notebook does not have (papermill only warns).
    """
    declared = declared_parameters(find_notebook(notebook))
    for name in injected_names(values.get("In", [])):
        choose(f"parameter of {notebook}", name, declared)
    for name, default in declared.items():
        check_type(name, default, values[name])
    check_values({name: values[name] for name in declared})


def listed(text: str, valid, kind: str) -> list[str]:
    """Names separated by commas, each of which must be known; "all" is every one.

    Raises:
        ConfigError: an unknown name, with its near misses.
    """
    return list(valid) if text == "all" else [choose(kind, name.strip(), valid) for name in text.split(",")]


def injected_names(cells: list[str]) -> list[str]:
    """Names that papermill's own cell assigned, from the sources a kernel has executed."""
    found = [cell for cell in cells if cell.startswith("# Parameters\n")]
    nodes = ast.parse(found[-1]).body if found else []
    return [target.id for node in nodes if isinstance(node, ast.Assign) for target in node.targets]


# ---------------------------------------------------------------- token shading


def shade_tokens(tokens: list[str], weights, largest: float | None = None, caption: str = "") -> HTML:
    """A rollout with every token shaded by the weight its gradient carries.

    Green tokens become likelier, orange ones (underlined with dots) less likely, white ones stay;
    the depth of the colour is |weight| / largest. Pointing at a token shows its weight.

    Args:
        tokens: text of each token, in order.
        weights: [T] one number per token, as from `mechanism.token_weights`.
        largest: the weight of the deepest colour; the largest here by default. Give the same
            number to rollouts that should be compared.
        caption: a line above the tokens.

    Raises:
        ValueError: as many weights as tokens are needed, all finite.
    """
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (len(tokens),) or not np.isfinite(weights).all():
        raise ValueError(f"{len(tokens)} tokens need {len(tokens)} finite weights; got {weights.tolist()}.")
    largest = largest or float(np.abs(weights).max(initial=0.0))
    spans = [_shaded(token, weight, largest) for token, weight in zip(tokens, weights)]
    head = f"<div style='font-size:90%;opacity:.8'>{html.escape(caption)}</div>" if caption else ""
    body = f"<div style='font:14px monospace;line-height:1.9'>{''.join(spans)}</div>"
    return HTML(f"<div style='margin:4px 0 8px'>{head}{body}</div>")


def _shaded(token: str, weight: float, largest: float) -> str:
    depth = min(1.0, abs(weight) / largest) if largest else 0.0
    colour = RIGHT if weight > 0 else WRONG
    alpha = f"{round(255 * 0.75 * depth):02x}"
    dots = f"border-bottom:2px dotted {WRONG};" if weight < 0 else ""
    text = html.escape(token).replace(" ", "&nbsp;")
    return (f"<span title='{weight:+.5f}' style='background:{colour}{alpha};{dots}padding:1px 3px;"
            f"margin:1px;border-radius:3px'>{text}</span>")


def shade_rollouts(rollouts: Rollouts, weights_NT, tokenizer, rows, title: str = "") -> HTML:
    """Several rollouts under one colour scale, each with its prompt, verdict and length.

    Args:
        weights_NT: [N, T] weight of every token.
        rows: which rollouts, in order.
    """
    largest = float(torch.as_tensor(weights_NT).abs().max())
    parts = [f"<b>{html.escape(title)}</b>"] if title else []
    for row in rows:
        length = int(rollouts.mask_NT[row].sum())
        tokens = [tokenizer.decode([t]) for t in rollouts.tokens_NT[row, :length].tolist()]
        verdict = rollouts.verdicts[row]
        caption = f"{rollouts.problems[row].prompt}  {verdict.label}: {verdict.reason}"
        parts.append(shade_tokens(tokens, weights_NT[row, :length], largest or None, caption).data)
    return HTML("".join(parts))


# ---------------------------------------------------------------- tables


def before_after(metrics: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Metrics at the start (one row, shared by all arms) and at each arm's end; means over seeds.

    Args:
        metrics: long table with columns arm, seed, step, metric, value.
    """
    rows = metrics[metrics.metric.isin(names)].sort_values("step")
    start = rows[rows.step == 0].drop_duplicates(["seed", "metric"]).assign(arm="start")
    ends = rows.groupby(["arm", "seed", "metric"], sort=False).tail(1)
    found = pd.concat([start, ends]).groupby(["arm", "metric"], sort=False).value.mean().unstack()
    return found.loc[["start", *dict.fromkeys(metrics.arm)], names]


# ---------------------------------------------------------------- the record


def save_record(record: dict, notebook: str, scale: str) -> Path:
    """Keep a notebook's named results as JSON, where tests and the README's tables find them.

    Args:
        record: names to numbers, texts, truth values, or lists and dicts of those.

    Returns:
        <runs>/notebooks/<notebook>-<scale>.json, beside the copy that `make study` executed.
    """
    path = runs_root() / "notebooks" / f"{notebook}-{in_file_names(scale)}.json"
    text = strict_json({"notebook": notebook, "scale": scale, "commit": current_commit(), "record": record}, indent=1)
    write_atomic(path, (text + "\n").encode())
    return path


def results_folder(results_dir: str) -> Path:
    """The folder a notebook's tables go to, made if missing; a relative one is relative to notebooks/."""
    return make_folder((ROOT / "notebooks" / results_dir).resolve())
