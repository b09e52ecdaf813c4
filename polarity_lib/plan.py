"""The study as a plan: which runs and notebooks, in which order, and what they cost.

    settings = Settings(scale="tiny")           the preview: headline arms, one seed
    settings = Settings(full=True)              the committed study
    jobs = study_jobs(settings)                 one job per arm, its seeds inside

Nothing here computes a run. Hours at scale tiny come from timings measured
once (`run_seconds`); GPU hours at scale paper are an estimate of ours.
"""

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from polarity_lib.arms import EXPERIMENTS, psr_nsr
from polarity_lib.config import SCALES, ConfigError, RunConfig, StartConfig, choose, content_hash, scale_named
from polarity_lib.experiments import Arm, experiment
from polarity_lib.results import ROOT, published_root, runs_root

NOTEBOOKS = ROOT / "notebooks"
FIRST_SUMMARY = 60  # notebooks from this number on read what the earlier ones found


@dataclass(frozen=True)
class Settings:
    """What the person asked for on the command line."""

    scale: str = "tiny"
    seeds: int | None = None  # None: one in the preview, each experiment's own number in the full study
    only: str = ""  # notebooks by number or name, separated by commas
    full: bool = False
    reuse: bool | None = None  # take committed results; None: in the full study only

    def __post_init__(self):
        scale_named(self.scale)
        if self.seeds is not None and self.seeds < 1:
            raise ConfigError(f"SEEDS is how many replicates to run, a whole number above zero, not {self.seeds}.")

    @property
    def reuses(self) -> bool:
        return self.full if self.reuse is None else self.reuse

    @property
    def label(self) -> str:
        """Names the executed notebooks, figures and tables of this request."""
        return f"{self.scale}-{self.seeds or ('full' if self.full else 1)}"

    def seeds_of(self, name: str) -> int:
        return self.seeds or (EXPERIMENTS[name].seeds if self.full else 1)

    @property
    def figures(self) -> Path:
        """The folder of this request's figures."""
        return runs_root() / "figures" / self.label

    @property
    def tables(self) -> Path:
        """The folder of this request's tables."""
        return runs_root() / "tables" / self.label

    @property
    def claims(self) -> Path:
        """The claims table of this request, which notebook 90 makes."""
        return self.tables / "claims.csv"

    def executed(self, notebook: Path) -> Path:
        """Where the executed copy of a notebook goes."""
        return runs_root() / "notebooks" / f"{notebook.stem}-{self.label}.ipynb"


def notebooks(only: str = "") -> list[Path]:
    """The numbered notebooks, in order; `only` picks some by number or name.

    Raises:
        ConfigError: no notebook of that number or name.
    """
    known = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not only:
        return known
    names = {path.stem: path for path in known} | {path.stem[:2]: path for path in known}
    return sorted({names[choose("notebook", part.strip(), names)] for part in only.split(",")})


def experiments_of(notebook: Path, settings: Settings) -> list[str]:
    """The experiments a notebook reads that belong to what was asked for."""
    return [name for name, spec in EXPERIMENTS.items()
            if spec.notebook == notebook.stem[:2] and (settings.full or spec.preview)]


# --- jobs -------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One arm with its seeds: what one process computes."""

    experiment: str
    arm: str
    seeds: int
    runs: tuple[Arm, ...]  # those that no earlier job computes
    needs: tuple[str, ...]  # jobs that compute a run this one uses
    notebook: str

    @property
    def name(self) -> str:
        """Carries a hash of its runs, so another rate or size is another job."""
        digest = content_hash({"runs": [arm.config.hash for arm in self.runs]})
        return f"{self.experiment}.{re.sub('[^a-zA-Z0-9=.+-]+', '_', self.arm)}.{digest}"

    def finished(self, reuse: bool) -> bool:
        """Whether none of its runs needs computing."""
        return all(is_finished(arm.config, reuse) for arm in self.runs)

    def starts(self, reuse: bool) -> dict[str, StartConfig]:
        """Base policies that its unfinished runs begin from, by name."""
        return {arm.config.start.name: arm.config.start for arm in self.runs if not is_finished(arm.config, reuse)}


def study_jobs(settings: Settings) -> list[Job]:
    """Jobs in the order of their notebooks. Arms that two experiments share are computed by the first."""
    jobs, owner = [], {}
    for notebook in notebooks(settings.only):
        for name in experiments_of(notebook, settings):
            seeds = settings.seeds_of(name)
            arms: dict[str, list[Arm]] = {}
            for arm in experiment(name, scale=settings.scale, seeds=seeds):
                arms.setdefault(arm.name, []).append(arm)
            for arm_name, replicas in arms.items():
                used = [a.config.hash for a in replicas] + [a.matched.hash for a in replicas if a.matched]
                needs = tuple(dict.fromkeys(owner[run] for run in used if run in owner))
                new = tuple(a for a in replicas if a.config.hash not in owner)
                if not new:
                    continue
                job = Job(name, arm_name, seeds, new, needs, notebook.stem)
                jobs.append(job)
                owner |= {a.config.hash: job.name for a in new}
    return jobs


def runs_needed_by(notebook: Path, settings: Settings) -> set[str]:
    """Hashes of the runs a notebook loads."""
    return {arm.config.hash for name in experiments_of(notebook, settings)
            for arm in experiment(name, scale=settings.scale, seeds=settings.seeds_of(name))}


def jobs_needed_by(notebook: Path, settings: Settings, jobs: list[Job]) -> list[str]:
    """Names of the jobs that compute those runs."""
    wanted = runs_needed_by(notebook, settings)
    return [job.name for job in jobs if wanted & {arm.config.hash for arm in job.runs}]


def is_finished(config: RunConfig, reuse: bool) -> bool:
    """Whether a run needs no computing. (What its files hold is checked when they are loaded.)"""
    if (runs_root() / config.name / "done.json").exists():
        return True
    return reuse and config.hash in published_hashes()


@functools.cache
def published_hashes() -> frozenset[str]:
    """Runs that are committed in data/results."""
    return frozenset(run for path in published_root().glob("*/runs.csv") for run in pd.read_csv(path).run)


def progress_of(config: RunConfig) -> float:
    """The share of a run's steps that are behind it, as its folder tells while it is computed."""
    folder = runs_root() / config.name
    if (folder / "done.json").exists():
        return 1.0
    return 0.95 * _steps_behind(folder, config.steps)  # the rest is evaluation


def progress_of_start(start: StartConfig) -> float:
    """The same for a base policy's warm start."""
    return 1.0 if start_is_made(start) else _steps_behind(start_folder(start), start.steps)


def _steps_behind(folder: Path, steps: int) -> float:
    """The share of the steps that the last line of a folder's live metrics has seen."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 20000))
            last = file.read().decode().splitlines()[-1]
        return min(1.0, (json.loads(last)["step"] + 1) / max(1, steps))
    except (OSError, ValueError, IndexError, KeyError):
        return 0.0


def source_hash(*paths: Path) -> str:
    """Ten digits that name the content of some files; file times play no part."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:10]


def reasons_to_execute(notebook: Path, settings: Settings) -> str:
    """Changes with what a notebook shows: its runs, its source, the library's.

    The runs themselves load, so executing again after an edit is quick. A
    summary notebook also follows the notebooks before it.
    """
    sources = sorted((ROOT / "polarity_lib").rglob("*.py")) + [notebook]
    if is_summary(notebook):
        sources += [path for path in notebooks() if path < notebook]
    return content_hash({"source": source_hash(*sources), "runs": sorted(runs_needed_by(notebook, settings))})


def is_summary(notebook: Path) -> bool:
    """Whether a notebook reads what all earlier ones found."""
    return int(notebook.stem[:2]) >= FIRST_SUMMARY


# --- costs on a laptop ------------------------------------------------------------

# Seconds on one of two busy cores with about 115 GFLOP/s in float32, scale tiny.
SECONDS_PER_TRAINED_ANSWER = {"countdown": 1e-3, "chain": 3e-3}
SECONDS_PER_SAMPLED_ANSWER = {"countdown": 8e-5, "chain": 8e-4}
SECONDS_PER_START_STEP = {"countdown": 0.27, "chain": 0.5}
REPEATED_FACTOR = 1.4  # four mini-batches per batch, and the old log-probabilities
METHOD_FACTORS = {"ppo": 2.0, "dapo": 2.0, "dapo_fork": 2.2}  # a critic; the answers thrown away
SECONDS_PER_NOTEBOOK = 25.0
SECONDS_PER_JOB = 5.0  # importing torch and transformers


def run_seconds(config: RunConfig) -> float:
    """About how long a run takes on one core at scale tiny: training, curve points, final evaluation."""
    kind = "chain" if config.world.startswith("chain") else "countdown"
    trained = config.steps * config.prompts_per_step * config.rollouts_per_prompt
    trained *= METHOD_FACTORS.get(config.method, 1.0) * (REPEATED_FACTOR if config.minibatches > 1 else 1.0)
    curves = (config.steps // config.curve_every + 1) * config.curve_problems * config.curve_samples
    final = config.final_problems * config.final_samples + min(256, config.pool_size) * min(16, config.final_samples)
    sampled = curves + final
    return trained * SECONDS_PER_TRAINED_ANSWER[kind] + sampled * SECONDS_PER_SAMPLED_ANSWER[kind]


def start_seconds(start: StartConfig) -> float:
    """About how long a base policy's warm start takes."""
    return start.steps * SECONDS_PER_START_STEP[start.corpus.split("_")[0]]


def start_is_made(start: StartConfig) -> bool:
    """Whether the base policy is cached. (What its files hold is checked when they are loaded.)"""
    return (start_folder(start) / "weights.pt").exists()


def start_folder(start: StartConfig) -> Path:
    """Where a base policy is made and kept."""
    return runs_root() / "starts" / start.name


def plan_text(settings: Settings, cores: int = 2) -> str:
    """Runs and hours, notebook by notebook; at scale paper the GPU hours, disk and licences."""
    if settings.scale == "paper":
        return paper_plan_text()
    jobs, lines, left = study_jobs(settings), [], 0.0
    lines.append(f"{'notebook':<38}{'experiment':<16}{'arms':>5}{'seeds':>6}{'runs':>6}{'to do':>7}{'hours':>8}")
    starts: dict[str, StartConfig] = {}
    for notebook in notebooks(settings.only):
        mine = experiments_of(notebook, settings)
        left += SECONDS_PER_NOTEBOOK
        if not mine:
            lines.append(f"{notebook.stem:<38}{'-':<16}")
        for name in mine:
            own = [job for job in jobs if job.experiment == name]
            todo = [a for job in own for a in job.runs if not is_finished(a.config, settings.reuses)]
            seconds = sum(run_seconds(a.config) for a in todo) + SECONDS_PER_JOB * len(own)
            starts |= {a.config.start.name: a.config.start for a in todo}
            left += seconds
            arms = len(EXPERIMENTS[name].arms(scale_named(settings.scale), 0))
            runs = sum(len(job.runs) for job in own)
            lines.append(f"{notebook.stem:<38}{name:<16}{arms:>5}{settings.seeds_of(name):>6}{runs:>6}{len(todo):>7}"
                         f"{seconds / 3600 / cores:>8.2f}")
    left += sum(start_seconds(s) for s in starts.values() if not start_is_made(s))
    runs = sum(len(job.runs) for job in jobs)
    todo = sum(not is_finished(a.config, settings.reuses) for job in jobs for a in job.runs)
    kind = "the committed study" if settings.full else "the preview (FULL=1: the committed study)"
    lines.append(f"\nScale {settings.scale}, {kind}: {runs} runs, {todo} of them still to compute, "
                 f"about {left / 3600 / cores:.1f} hours on {cores} cores.")
    lines.append("A run that two experiments share is counted and computed once. "
                 "Hours assume cores like the one the timings were taken on.")
    if settings.scale == "small":
        lines.append("The hours are those of a CPU core; scale small is meant for a GPU.")
    return "\n".join(lines)


# --- costs at the papers' scale: ours, not the papers' ----------------------------


@dataclass(frozen=True)
class PaperModel:
    """A model the paper trains, and what we assume about it to estimate GPU hours."""

    name: str
    licence: str
    parameters: float
    answer_tokens: int  # assumed mean length of an answer
    tokens_per_second: float  # assumed sampling rate of one H200 in full batches
    final_samples: int


PAPER_MODELS = (
    PaperModel("Qwen2.5-Math-7B", "Apache-2.0", 7.6e9, 700, 9000, 256),
    PaperModel("Qwen3-4B", "Apache-2.0", 4.0e9, 1200, 12000, 64),
    PaperModel("Llama-3.1-8B-Instruct", "Llama 3.1 Community License", 8.0e9, 600, 8500, 256),
)
TEST_PROBLEMS = 500 + 30 + 40  # MATH-500 in place of the MATH test set, AIME 2025, AMC23
FLOPS = 989e12 * 0.35  # bf16 peak of an H200 times an assumed utilisation


def paper_gpu_hours(model: PaperModel) -> float:
    """GPU hours of one run at the paper's batch and schedule, by the formula that `paper_plan_text` prints."""
    sizes = SCALES["paper"].run
    answers = sizes["steps"] * sizes["prompts_per_step"] * sizes["rollouts_per_prompt"]
    train = answers * model.answer_tokens * (1 / model.tokens_per_second + 8 * model.parameters / FLOPS)
    test = TEST_PROBLEMS * model.final_samples * model.answer_tokens / model.tokens_per_second
    return (train + test) / 3600


def paper_plan_text() -> str:
    """Runs, GPU hours, disk and licences of the paper's main comparison, one seed."""
    methods = [name for name in psr_nsr(SCALES["tiny"], 0) if name != "base"]
    lines = [f"{'model':<24}{'licence':<30}{'runs':>5}{'GPU hours':>11}{'disk, GB':>10}"]
    total_runs = total_hours = total_disk = 0.0
    for model in PAPER_MODELS:
        hours = len(methods) * paper_gpu_hours(model)
        disk = (len(methods) + 1) * 2 * model.parameters / 1e9
        total_runs, total_hours, total_disk = total_runs + len(methods), total_hours + hours, total_disk + disk
        lines.append(f"{model.name:<24}{model.licence:<30}{len(methods):>5}{hours:>11.0f}{disk:>10.0f}")
    lines.append(f"{'together':<54}{total_runs:>5.0f}{total_hours:>11.0f}{total_disk:>10.0f}")
    lines += [
        f"\nMethods: {', '.join(methods)}; one seed each. Data: MATH train, 7,500 problems (MIT).",
        "The GPU hours are OUR ESTIMATE, not the paper's. Per run:",
        "  hours = [steps * prompts * group * tokens * (1 / rate + 8 * parameters / flops)",
        "           + test problems * samples * tokens / rate] / 3600",
        f"  steps 140, prompts 1024, group 8, test problems {TEST_PROBLEMS};",
        f"  flops {FLOPS:.2g}/s: an H200 at 35 % of its peak, assumed;",
        "  8 = forward and backward (6) plus one more forward for the old log-probabilities (2).",
    ]
    lines += [f"  assumed for {m.name}: {m.answer_tokens} tokens per answer, rate {m.tokens_per_second:.0f} tokens/s; "
              f"{m.final_samples} samples per test problem" for m in PAPER_MODELS]
    lines += ["Disk: bf16 weights of the base and of every run's last checkpoint (2 bytes per parameter).",
              "This release trains the papers' models through plug-ins only; the plan says what it would take."]
    return "\n".join(lines)
