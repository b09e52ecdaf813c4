"""What a run has trained, to be taken elsewhere: in the hub's format, with a card and the method's name.

    data/runs/<run>/trained/              written when a run that began from a language model ends: its adapter, or all weights
    python -m polarity_lib export RUN FOLDER    one checkpoint, the adapter added into the weights

`polarity.json` says by what method, on which model and problems; README.md says it to people and to the hub.
"""

import json
import os
import shutil
from pathlib import Path

import torch

from polarity_lib.config import ConfigError, RunConfig
from polarity_lib.loading import load_policy, save_merged
from polarity_lib.methods import method_named
from polarity_lib.models import with_kept_adapter
from polarity_lib.outside import strict_json
from polarity_lib.policy import Policy
from polarity_lib.results import clear_storage_errors, current_commit, runs_root

FOLDER, ORIGIN, CARD = "trained", "polarity.json", "README.md"


def keep_trained(policy: Policy, config: RunConfig, run_folder: Path, metrics: dict[str, float]) -> Path | None:
    """Write what a run trained into its folder, whole or not at all; nothing for policies made here, and where no step was taken.

    Args:
        metrics: what the card tells of how good it is.
    """
    if not config.start.model or not config.steps:
        return None
    folder, part = run_folder / FOLDER, run_folder / f".{FOLDER}.part"
    with clear_storage_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        policy.model.save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        origin = origin_of(config, metrics)
        (part / ORIGIN).write_text(strict_json(origin, indent=1), encoding="utf-8")
        (part / CARD).write_text(card_of(origin), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    return folder


def origin_of(config: RunConfig, metrics: dict[str, float]) -> dict:
    """Where a checkpoint comes from, as data."""
    how, options = config.start.model, dict(config.options)
    return {
        "method": config.method, "options": options, "source": method_named(config.method, options).source,
        "base_model": how.name, "dtype": how.dtype, "adapter": bool(how.lora_rank or how.adapter), "chat": how.chat,
        "instruction": how.instruction,
        "problems": config.world, "steps": config.steps, "learning_rate": config.learning_rate, "seed": config.seed,
        "run": config.name, "commit": current_commit(),
        "metrics": {name: value for name, value in metrics.items() if name.startswith("test/pass@")},
    }


def card_of(origin: dict) -> str:
    """The model card: what the hub reads between the lines of dashes, then what people read."""
    head = ["---", f"base_model: {json.dumps(origin['base_model'])}", "tags: [reinforcement-learning, sample-polarity]",
            *(["library_name: peft"] if origin["adapter"] else ["library_name: transformers"]), "---"]
    options = "".join(f", {name} = {value}" for name, value in origin["options"].items())
    found = "".join(f"| {name} | {value:.3f} |\n" for name, value in origin["metrics"].items())
    table = f"| on the test set of `{origin['problems']}` | share |\n|---|---|\n{found}\n" if found else ""
    asked = f"Questions are followed by: `{origin['instruction']}`\n" if origin["instruction"] else ""
    return "\n".join(head) + (
        f"\n\n# `{origin['base_model']}` trained with the method `{origin['method']}`\n\n"
        f"Reinforcement learning with verifiable rewards, {origin['steps']} batches of `{origin['problems']}`; method "
        f"`{origin['method']}`{options} ({origin['source']}), learning rate {origin['learning_rate']:g}, seed {origin['seed']}. "
        f"Trained by polarity_lib, commit {origin['commit']}, run `{origin['run']}`.\n\n{table}{asked}"
        "A research checkpoint: one seed, one set of problems. The licence of the base model and of the problems applies.\n")


def export(run: str, folder: str | Path) -> Path:
    """One checkpoint of a finished run that transformers, vLLM and others read by themselves.

    Args:
        run: the name of its folder, or a path to it.

    Raises:
        ConfigError: nothing trained there, or something is in the way.
    """
    trained, folder = (Path(run) if Path(run).is_dir() else runs_root() / run) / FOLDER, Path(folder)
    try:
        origin = json.loads((trained / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"{trained} holds no trained model: runs that begin from a language model leave one.") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already; name a folder that is not.")
    if origin["adapter"]:
        policy = load_policy(origin["base_model"], dtype=getattr(torch, origin["dtype"]))
        policy.model = with_kept_adapter(policy.model, str(trained), origin["base_model"])
        save_merged(policy, folder, origin["method"])
    else:
        shutil.copytree(trained, folder)
    origin |= {"adapter": False}
    (folder / ORIGIN).write_text(strict_json(origin, indent=1), encoding="utf-8")
    (folder / CARD).write_text(card_of(origin), encoding="utf-8")
    return folder
