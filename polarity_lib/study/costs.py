"""What a run costs on one core, told by runs that were measured.

Snakemake writes the seconds of every job that `make study` starts (its `benchmark:`), `make publish` adds
them to data/costs.csv, and the plan reads that table:

    seconds = (a trained + b sampled + c) f

a, b and c (per trained answer, per sampled answer, per process) are fitted to all measured runs of the family
of worlds, never below zero; f is the median of measured over fitted for the method, where it was measured.
"""

import functools
from collections.abc import Iterable

import numpy as np
import pandas as pd

from polarity_lib.config import RunConfig, StartConfig
from polarity_lib.models import memory_needed
from polarity_lib.problems import any_world
from polarity_lib.results import ROOT, runs_root, write_atomic

TABLE = ROOT / "data" / "costs.csv"
COLUMNS = ["what", "name", "family", "method", "updates", "trained", "sampled", "seconds"]


def work_of(config: RunConfig) -> dict:
    """A run's family, method, updates per batch, and its answers: trained on, sampled for evaluation."""
    curves = (config.steps // config.curve_every + 1) * config.curve_problems * config.curve_samples
    final = config.final_problems * config.final_samples + min(256, config.pool_size) * min(16, config.final_samples)
    return {"family": any_world(config.world).family, "method": config.method, "updates": config.minibatches,
            "trained": config.steps * config.prompts_per_step * config.rollouts_per_prompt, "sampled": curves + final}


@functools.cache
def measured() -> pd.DataFrame:
    """The committed measurements."""
    return pd.read_csv(TABLE)


@functools.cache
def _fit(family: str) -> tuple[np.ndarray, pd.Series]:
    """(a, b, c) of a family of worlds, and f by (method, updates); of all families where this one was never measured."""
    from scipy.optimize import nnls

    rows = measured().query("what == 'run'")
    rows = rows[rows.family == family] if family in set(rows.family) else rows
    work = np.column_stack([rows.trained, rows.sampled, np.ones(len(rows))])
    found = nnls(work / rows.seconds.to_numpy()[:, None], np.ones(len(rows)))[0]  # relative errors count alike
    return found, (rows.seconds / (work @ found)).groupby([rows.method, rows.updates]).median()


def run_seconds(config: RunConfig) -> float:
    """About how long a run takes: training, curve points, final evaluation, and its process."""
    if config.start.model:
        return model_seconds(config)
    work = work_of(config)
    found, factors = _fit(work["family"])
    seconds = float(np.dot(found, [work["trained"], work["sampled"], 1.0]))
    return seconds * float(factors.get((config.method, config.minibatches), 1.0))


ENOUGH = 3  # finished runs of a family in the runs folder, before they say how fast this machine is


def pace(configs: Iterable[RunConfig]) -> dict[str, float]:
    """How many times as long as the table says this machine takes, by family of worlds; told by its own finished runs.

    Args:
        configs: runs of a plan; those that ended in the runs folder count. A family of which fewer than `ENOUGH`
            have ended is not in the answer.
    """
    ratios: dict[str, list[float]] = {}
    for config in configs:
        if config.steps and (taken := _seconds_taken(config)) is not None:
            ratios.setdefault(any_world(config.world).family, []).append(taken / run_seconds(config))
    return {family: float(np.median(found)) for family, found in ratios.items() if len(found) >= ENOUGH}


def _seconds_taken(config: RunConfig) -> float | None:
    """A finished run's own clock; what is amiss with a run's files is told where they are loaded."""
    path = runs_root() / config.name / "metrics.parquet"
    try:
        rows = pd.read_parquet(path, columns=["metric", "value"], filters=[("metric", "==", "timing.run")])
    except (OSError, ValueError):
        return None
    return float(rows.value.iloc[-1]) if len(rows) else None


# One run of a language model on a GPU of 24 GB. Assumed, not measured.
TOKENS_PER_SECOND = {"torch": 3000, "vllm": 10000}  # sampled, for about a billion parameters
FLOPS = 55e12  # a third of such a GPU's peak in bf16
LENGTH = 0.4  # of the longest answer allowed
MODEL_ASSUMED = (
    "The hours are OUR ESTIMATE for one GPU of 24 GB, not a measurement: answers are 0.4 of the longest allowed, torch samples "
    "3,000 and vLLM 10,000 tokens a second, and a trained token takes 10 operations per parameter at 5.5e13 a second.")


def model_seconds(config: RunConfig) -> float:
    """The same for a language model: tokens sampled, over a rate; tokens trained on, over another."""
    work, how = work_of(config), config.start.model
    length = LENGTH * how.longest_in(any_world(config.world))
    sampled = (work["trained"] + work["sampled"]) * length / TOKENS_PER_SECOND[how.engine]
    return sampled + work["trained"] * length * 10 * memory_needed(how).parameters / FLOPS


def start_seconds(start: StartConfig) -> float:
    """About how long a base policy's warm start takes."""
    rows = measured().query("what == 'start'")
    mine = rows[rows.name == start.corpus]
    mine = mine if len(mine) else rows
    return start.steps * float((mine.seconds / mine.trained).median())


def notebook_seconds() -> float:
    """About how long a notebook takes whose runs are there."""
    return float(measured().query("what == 'notebook'").seconds.median())


def collect(jobs: Iterable, starts: Iterable[StartConfig]) -> pd.DataFrame:
    """The measurements of this machine's runs folder.

    Args:
        jobs: of `plan.study_jobs`; their files are looked for by name.
        starts: base policies that may have been made.
    """
    rows = []
    for job in jobs:
        if (seconds := _seconds(job.name)) is not None:
            each = [work_of(arm.config) for arm in job.runs]
            rows.append({"what": "run", "name": f"{job.experiment}/{job.arm}"} | each[0] | {"seconds": seconds / len(each)})
    for start in starts:
        if (seconds := _seconds(f"start.{start.name}")) is not None:
            rows.append({"what": "start", "name": start.corpus, "trained": start.steps, "seconds": seconds})
    for path in sorted(benchmarks().glob("notebook.*.tsv")):
        rows.append({"what": "notebook", "name": path.name.split(".")[1], "seconds": _seconds(path.stem)})
    return pd.DataFrame(rows, columns=COLUMNS).round({"seconds": 1})


def benchmarks():
    """Where Snakemake leaves the seconds of jobs."""
    return runs_root() / "study" / "benchmarks"


def _seconds(job: str) -> float | None:
    path = benchmarks() / f"{job}.tsv"
    return float(pd.read_csv(path, sep="\t").s.iloc[0]) if path.exists() else None


def publish_costs(jobs: Iterable, starts: Iterable[StartConfig]) -> int:
    """Merge this machine's measurements into data/costs.csv, newer ones in place of older; returns how many were added."""
    new = collect(jobs, starts)
    old = measured() if TABLE.exists() else new.iloc[:0]
    kept = old[~(old.what + old.name).isin(new.what + new.name)]
    write_atomic(TABLE, pd.concat([kept, new]).sort_values(["what", "name"]).to_csv(index=False).encode())
    return len(new)
