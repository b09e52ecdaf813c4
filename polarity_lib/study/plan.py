"""The study as a plan: which runs and notebooks, in which order, and what they cost.

    settings = Settings(scale="tiny")           the preview: headline arms, one seed
    settings = Settings(full=True)              the committed study
    settings = Settings("paper:MODEL")          one headline contrast with a language model
    jobs = study_jobs(settings)                 one job per arm, its seeds inside

Nothing here computes a run. Hours at scale tiny come from measured runs (`costs`); GPU hours at
scale paper are an estimate of ours.
"""

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from polarity_lib.config import (
    GIGABYTE, ConfigError, RunConfig, StartConfig, at_paper_scale, choose, content_hash, in_file_names, scale_named,
)
from polarity_lib.experiments import Arm, experiment, experiments_at, is_tuned
from polarity_lib.models import memory_needed
from polarity_lib.problems import any_world
from polarity_lib.published import EXPLAINED
from polarity_lib.registry import papers
from polarity_lib.results import ROOT, ended, published_root, read_lines, runs_root
from polarity_lib.stacking import SIDE_BY_SIDE, free_memory, memory_of_run, runs_at_once, stack_key
from polarity_lib.study import costs
from polarity_lib.study.costs import notebook_seconds, run_seconds, start_seconds

NOTEBOOKS = ROOT / "notebooks"
SUMMARY = "90"  # the notebook that reads what all others found


@dataclass(frozen=True)
class Settings:
    """What the person asked for on the command line."""

    scale: str = "tiny"
    seeds: int | None = None  # None: one in the preview, each experiment's own number in the full study
    only: str = ""  # notebooks by number or name, separated by commas
    full: bool = False
    reuse: bool | None = None  # take committed results; None: in the full study only
    device: str | None = None  # cuda: runs of one shape side by side; None takes a GPU if there is one, run after run

    def __post_init__(self):
        if scale_named(self.scale).model:
            self._keep_to_models()
        if self.seeds is not None and self.seeds < 1:
            raise ConfigError(f"SEEDS is how many replicates to run, a whole number above zero, not {self.seeds}.")

    def _keep_to_models(self) -> None:
        """Not every notebook has runs of language models: without `only`, those that have."""
        there = sorted({number for spec in experiments_at(self.scale).values() if spec.preview for number in spec.notebooks})
        if not self.only:
            object.__setattr__(self, "only", ",".join(there))
        for path in notebooks(self.only):
            if path.stem[:2] not in there:
                raise ConfigError(f"Notebook {path.stem[:2]} has no runs of language models; {', '.join(there)} has: "
                                  f"ONLY={there[0]}.")

    @property
    def reuses(self) -> bool:
        return self.full if self.reuse is None else self.reuse

    @property
    def label(self) -> str:
        """Names the executed notebooks, figures and tables of this request."""
        return f"{in_file_names(self.scale)}-{self.seeds or ('full' if self.full else 1)}"

    def seeds_of(self, name: str) -> int:
        return self.seeds or (experiments_at(self.scale)[name].seeds if self.full else 1)

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
    """The numbered notebooks, ours and those in papers' folders, in order; `only` picks some by number or name.

    Raises:
        ConfigError: no notebook of that number or name, or one number twice.
    """
    folders = [NOTEBOOKS, *(paper.folder for paper in papers())]
    known = sorted((path for folder in folders for path in folder.glob("[0-9][0-9]_*.ipynb")
                    if "-Copy" not in path.stem), key=lambda p: p.name)  # JupyterLab's duplicates are nobody's notebook
    for path, after in zip(known, known[1:]):
        if path.stem[:2] == after.stem[:2]:
            raise ConfigError(f"Two notebooks have the number {path.stem[:2]}: {path} and {after}.")
    if not only:
        return known
    names = {path.stem: path for path in known} | {path.stem[:2]: path for path in known}
    return sorted({names[choose("notebook", part.strip(), names)] for part in only.split(",")}, key=lambda p: p.name)


def notebook_numbered(number: str) -> Path | None:
    """The notebook of a number, if there is one."""
    return next((path for path in notebooks() if path.stem[:2] == number), None)


def experiments_of(notebook: Path, settings: Settings) -> list[str]:
    """The experiments a notebook reads that belong to what was asked for."""
    return [name for name, spec in experiments_at(settings.scale).items()
            if notebook.stem[:2] in spec.notebooks and (settings.full or spec.preview)]


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
        return ".".join([*(re.sub("[^a-zA-Z0-9=.+_-]+", "_", word) for word in (self.experiment, self.arm)), digest])

    def finished(self, reuse: bool) -> bool:
        """Whether none of its runs needs computing."""
        return all(is_finished(arm.config, reuse) for arm in self.runs)

    def starts(self, reuse: bool) -> dict[str, StartConfig]:
        """Base policies to be made for its unfinished runs, by name; a model that is read is there already."""
        starts = [arm.config.start for arm in self.runs if not is_finished(arm.config, reuse)]
        return {start.name: start for start in starts if not start.model}


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


@dataclass(frozen=True)
class StackJob:
    """Jobs whose runs go side by side on a GPU: what one process computes there."""

    jobs: tuple[Job, ...]
    needs: tuple[str, ...]  # jobs that compute a run whose updates one of these copies

    @property
    def name(self) -> str:
        return content_hash({"jobs": [job.name for job in self.jobs]})


def study_stacks(jobs: list[Job], device: str | None) -> list[StackJob]:
    """Jobs of one shape together, as many as the device's memory holds; those with matched updates after the others."""
    if device != "cuda":
        return []
    owner = {arm.config.hash: job.name for job in jobs for arm in job.runs}
    by_key: dict[tuple, list[Job]] = {}
    for job in jobs:
        keys = {stack_key(arm.config) for arm in job.runs}
        if len(keys) == 1 and None not in keys:
            by_key.setdefault((any(arm.matched for arm in job.runs), *keys), []).append(job)
    found = []
    for (matched, _), same in by_key.items():
        most, parts = runs_at_once(same[0].runs[0].config, free_memory(device)), [[]]
        for job in same:
            if parts[-1] and sum(len(j.runs) for j in (*parts[-1], job)) > most:
                parts.append([])
            parts[-1].append(job)
        for part in parts:
            copied = [owner[arm.matched.hash] for job in part for arm in job.runs if arm.matched and arm.matched.hash in owner]
            if sum(len(job.runs) for job in part) > 1:
                found.append(StackJob(tuple(part), tuple(dict.fromkeys(copied)) if matched else ()))
    return found


def runs_needed_by(notebook: Path, settings: Settings) -> set[str]:
    """Hashes of the runs a notebook loads."""
    return {arm.config.hash for name in experiments_of(notebook, settings)
            for arm in experiment(name, scale=settings.scale, seeds=settings.seeds_of(name))}


def jobs_needed_by(notebook: Path, settings: Settings, jobs: list[Job]) -> list[str]:
    """Names of the jobs that compute those runs."""
    wanted = runs_needed_by(notebook, settings)
    return [job.name for job in jobs if wanted & {arm.config.hash for arm in job.runs}]


def trains_nothing(notebook: Path, settings: Settings) -> bool:
    """Whether a notebook shows its figures at once: it needs no runs of its own and makes no base policy."""
    return not experiments_of(notebook, settings) and "base_policy(" not in notebook.read_text(encoding="utf-8")


def priority(notebook: str, at_once: bool = False) -> int:
    """What goes first: the runs of notebook 00, then notebooks that train nothing, then all others by number."""
    number = int(notebook[:2])
    return 1000 if number == 0 else (500 if at_once else 100) - number


def is_finished(config: RunConfig, reuse: bool) -> bool:
    """Whether a run needs no computing. (What its files hold is checked when they are loaded.)"""
    if ended(runs_root() / config.name):
        return True
    return reuse and config.hash in published_hashes()


@functools.cache
def published_hashes() -> frozenset[str]:
    """Runs that are committed in data/results."""
    return frozenset(run for path in published_root().glob("*/runs.csv") for run in read_lines(path).run)


def progress_of(config: RunConfig) -> float:
    """The share of a run's steps that are behind it, as its folder tells while it is computed."""
    folder = runs_root() / config.name
    if ended(folder):
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
            last = file.read().decode().strip().split("\n")[-1]
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
        sources += [path for path in notebooks() if path != notebook]
    return content_hash({"source": source_hash(*sources), "runs": sorted(runs_needed_by(notebook, settings))})


def is_summary(notebook: Path) -> bool:
    """Whether a notebook reads what all others found."""
    return notebook.stem[:2] == SUMMARY


# --- what it costs -----------------------------------------------------------------


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
    cores, where = (1, "one GPU") if at_paper_scale(settings.scale) else (cores, f"{cores} cores")
    lines.append(f"{'notebook':<38}{'experiment':<16}{'arms':>5}{'seeds':>6}{'runs':>6}{'to do':>7}{'hours':>8}")
    starts: dict[str, StartConfig] = {}
    pace = costs.pace(a.config for job in jobs for a in job.runs)
    for notebook in notebooks(settings.only):
        mine = experiments_of(notebook, settings)
        left += notebook_seconds()
        if not mine:
            lines.append(f"{notebook.stem:<38}{'-':<16}")
        for name in mine:
            own = [job for job in jobs if (job.experiment, job.notebook) == (name, notebook.stem)]
            todo = [a for job in own for a in job.runs if not is_finished(a.config, settings.reuses)]
            seconds = sum(run_seconds(a.config) * pace.get(any_world(a.config.world).family, 1.0) for a in todo)
            starts |= {a.config.start.name: a.config.start for a in todo if not a.config.start.model}
            left += seconds
            arms = len(experiments_at(settings.scale)[name].arms(scale_named(settings.scale), 0))
            runs = sum(len(job.runs) for job in own)
            lines.append(f"{notebook.stem:<38}{name:<16}{arms:>5}{settings.seeds_of(name):>6}{runs:>6}{len(todo):>7}"
                         f"{seconds / 3600 / cores:>8.2f}")
    left += sum(start_seconds(s) for s in starts.values() if not start_is_made(s))
    runs = sum(len(job.runs) for job in jobs)
    todo = sum(not is_finished(a.config, settings.reuses) for job in jobs for a in job.runs)
    kind = "the committed study" if settings.full else "the preview (FULL=1: the committed study)"
    lines.append(f"\nScale {settings.scale}, {kind}: {runs} runs, {todo} of them still to compute, "
                 f"about {left / 3600 / cores:.1f} hours on {where}.")
    if at_paper_scale(settings.scale):
        return "\n".join([*lines, *model_lines(jobs)])
    lines.append("A run that two experiments share is counted and computed once. "
                 "Hours are fitted to measured runs (data/costs.csv) and assume cores like the one they ran on"
                 + (", times what runs finished here took: " + ", ".join(f"{family} {x:.1f}" for family, x in pace.items())
                    if pace else "") + ".")
    if waiting := untuned(jobs):
        lines.append(f"Not tuned yet, so at a rate that is not their own (`python -m polarity_lib tune` finds it): {waiting}.")
    if settings.device == "cuda":
        lines.append(stacks_text(jobs))
    if settings.scale == "small":
        lines.append("The hours are those of a CPU core; scale small is meant for a GPU.")
    return "\n".join(lines)


def stacks_text(jobs: list[Job]) -> str:
    """How many runs go side by side on a GPU, world by world, and what memory they take."""
    stacks, by_world = study_stacks(jobs, "cuda"), {}
    for stack in stacks:
        config, runs = stack.jobs[0].runs[0].config, sum(len(job.runs) for job in stack.jobs)
        by_world.setdefault((config.world, f"{memory_of_run(config) / 1e9:.2f}"), []).append(runs)
    lines = [f"  {world:<12}{sum(sizes):>5} runs in {len(sizes)} stacks of up to {max(sizes)}, about {each} GB a run"
             for (world, each), sizes in by_world.items()]
    alone = sum(len(job.runs) for job in jobs) - sum(len(job.runs) for stack in stacks for job in stack.jobs)
    told = (f"On a GPU (DEVICE=cuda) {len(stacks)} stacks, up to {SIDE_BY_SIDE} of them at a time, each in "
            f"{free_memory('cuda') / 1e9:.0f} GB; {alone} runs go alone. The hours above are those of CPU cores.")
    return "\n".join([told, *lines])


def model_lines(jobs: list[Job]) -> list[str]:
    """What a plan with a language model needs: memory, disk, licence, and where the hours come from."""
    config = jobs[0].runs[0].config
    how, runs = config.start.model, sum(len(job.runs) for job in jobs)
    needed = memory_needed(how)
    return [
        f"{how.name}: {needed.parameters / 1e9:.2g} billion parameters, sampled by {how.engine}. One run at a time.",
        f"Memory about {needed.total / GIGABYTE:.1f} GB on the GPU"
        + (", and what vLLM takes while it samples." if how.engine == "vllm" else "."),
        f"Disk: the model's own {needed.weights / GIGABYTE:.1f} GB, and at most {needed.trained / GIGABYTE:.1f} GB for the "
        f"checkpoint of the run at work; tables of {runs} runs are megabytes.",
        costs.MODEL_ASSUMED,
        "Licences: the model's is on its card; of the problem sets: python -m polarity_lib.problems.sets list.",
    ]


def untuned(jobs: list[Job]) -> str:
    """World by world, the methods that the plan trains and nobody has tuned there (worlds without a protocol have none)."""
    pairs = sorted({(arm.config.world, arm.config.method) for job in jobs for arm in job.runs})
    missing = [(world, method) for world, method in pairs if any_world(world).protocol and not is_tuned(world, method)]
    worlds = dict.fromkeys(world for world, _ in missing)
    return "; ".join(f"{world}: {', '.join(m for w, m in missing if w == world)}" for world in worlds)


def paper_plan_text() -> str:
    """What each paper's own runs would take, from its folder."""
    parts = []
    for paper in papers():
        if published := paper.part("paper_scale", "PUBLISHED", ()):
            lines = [line for one in published for line in one.plan_lines()]
            parts.append("\n".join([f"{paper.title} ({paper.source})", *lines]))
    return "\n\n".join([*parts, EXPLAINED])
