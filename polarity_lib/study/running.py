"""`make study`: notebooks and their runs by Snakemake, with our own lines to read.

Everything may be killed at any moment. One lock says that a study is at work
here; the operating system drops it when the last of its processes dies, so a
stale lock cannot exist and nothing needs unlocking by hand.
"""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd

from polarity_lib.config import ConfigError, at_paper_scale, choose
from polarity_lib.stacking import SIDE_BY_SIDE
from polarity_lib.study.costs import notebook_seconds, run_seconds, start_seconds
from polarity_lib.study.plan import (
    Settings, experiments_of, is_finished, notebooks, plan_text, progress_of, progress_of_start, start_is_made, study_jobs,
)
from polarity_lib.results import ROOT, clear_storage_errors, make_folder, runs_root, say, write_atomic
from polarity_lib.study.pages import ledger
from polarity_lib.study.site import build_site

EVERY = 20.0  # seconds between two lines about the whole study


def marker(job_name: str) -> Path:
    """The empty file that tells Snakemake a job is done."""
    return runs_root() / "study" / f"{job_name}.done"


def notebook_parameters(settings: Settings, notebook: Path) -> dict:
    """What the study tells a notebook that declares such parameters.

    Seeds are as many as one of its experiments has; a notebook without experiments counts other draws, and keeps its own number.
    """
    seeds = [settings.seeds_of(name) for name in experiments_of(notebook, settings)]
    told = {"scale": settings.scale, "full": settings.full, "reuse_published": settings.reuses,
            "figures_dir": str(settings.figures), "results_dir": str(settings.tables)}
    return told | ({"seeds": max(seeds)} if seeds else {})


def run_study(settings: Settings, cores: int, dry_run: bool = False, profile: str = "") -> int:
    """Print the plan, bring it about, name what was made. Returns the exit status."""
    profile = profile_folder(profile)
    refuse_patterns(ROOT, runs_root(), *notebooks(settings.only))
    print(plan_text(settings, cores), flush=True)
    if settings.scale == "paper":
        say("To run one headline contrast with a model of yours: make study SCALE=paper ONLY=10 MODEL=<hub id or folder>")
        return 0
    if at_paper_scale(settings.scale):
        cores = 1  # runs would share one GPU
    if dry_run:
        return snakemake(settings, cores, dry_run=True, profile=profile)
    make_folder(runs_root() / "study")
    progress = Progress(settings, cores)
    path = runs_root() / "study" / ".lock"
    with clear_storage_errors(path), open(path, "wb") as lock, progress:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("study: another `make study` is at work in this folder; waiting for it, then going on")
            fcntl.flock(lock, fcntl.LOCK_EX)
        settle_markers(settings)
        status = snakemake(settings, cores, lock=lock, profile=profile)
    summary(settings)
    if status:
        say("\nstudy: something above failed. What finished is kept; the same command continues from there. "
            "Snakemake's own account is in .snakemake/log.")
    return status


def refuse_patterns(*paths: Path) -> None:
    """Snakemake reads {names} and <names> in a path as patterns; every other sign is taken as it is.

    Raises:
        ConfigError: the checkout, the runs folder or a notebook's name holds such a sign.
    """
    for path in paths:
        if set("{}<>") & set(str(path)):
            raise ConfigError(f"Snakemake cannot work with {path}: it reads braces and <> in a name as patterns. Rename it, or "
                              "set POLARITY_RUNS to another folder. Single runs and notebooks work there.")


def settle_markers(settings: Settings) -> None:
    """Make the markers agree with the run folders, which are what counts.

    Runs computed elsewhere (a notebook, another study) need no job, and a
    run folder that was deleted brings its job back.
    """
    for job in study_jobs(settings):
        if job.finished(settings.reuses):
            marker(job.name).touch()
        else:
            marker(job.name).unlink(missing_ok=True)
        for name, start in job.starts(settings.reuses).items():
            if start_is_made(start):
                marker(f"start.{name}").touch()
            else:
                marker(f"start.{name}").unlink(missing_ok=True)


def write_report(settings: Settings, path: Path) -> int:
    """Snakemake's own page about a finished study: its jobs, their times, what they made."""
    make_folder(path.parent)
    status = snakemake(settings, 1, more=("--report", str(path)))
    say(str(path) if not status else "No report: the study must be finished first (`make study` with the same SCALE, SEEDS, "
        "ONLY and FULL). What Snakemake said is above.")
    return status


def profile_folder(name: str) -> str:
    """A Snakemake profile: one of ours by name (`profiles/`), or a folder of the person's own; "" stays: this machine.

    Raises:
        ConfigError: neither.
    """
    if not name or (Path(name) / "config.yaml").is_file():
        return os.path.abspath(name) if name else ""
    ours = {path.parent.name: path.parent for path in sorted((ROOT / "profiles").glob("*/config.yaml"))}
    return str(ours[choose("profile", name, ours)])


def snakemake(settings: Settings, cores: int, dry_run: bool = False, lock=None, more: tuple[str, ...] = (),
              profile: str = "") -> int:
    """Call Snakemake on our Snakefile, with the cores of this machine or wherever a profile says.

    Our own lock replaces Snakemake's, which would outlive a hard kill. Only
    parameters trigger: they hold hashes of runs and sources (see
    plan.reasons_to_execute), so file times and checkouts play no part.
    """
    config = {"scale": settings.scale, "full": settings.full, "reuse": settings.reuses}
    if settings.device:
        config["device"] = settings.device
    if settings.seeds:
        config["seeds"] = settings.seeds
    if settings.only:
        config["only"] = ",".join(path.stem for path in notebooks(settings.only))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(ROOT),
               *(("--profile", profile) if profile else ("--cores", str(cores))),
               "--nolock", "--rerun-incomplete", "--rerun-triggers", "params", "--keep-going", "--scheduler", "greedy"]
    command += ["--resources", f"gpu={SIDE_BY_SIDE}"] if settings.device == "cuda" else []
    command += ["--dry-run"] if dry_run else ["--quiet", "all"]  # jobs speak for themselves
    command += more
    command += ["--config", *(f"{k}={v}" for k, v in config.items())]
    # The notebooks' kernels start elsewhere; they must find this library and this environment's kernel.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": path}
    keep = (lock.fileno(),) if lock else ()
    process = subprocess.Popen(command, env=environment, pass_fds=keep, stdout=None if dry_run else sys.stderr)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # it got the same signal and stops its jobs
        say("study: interrupted; the same command continues from here")
        return 130


class Progress(threading.Thread):
    """A line about the whole study every few seconds, read from the run folders."""

    def __init__(self, settings: Settings, cores: int):
        super().__init__(daemon=True)
        self.settings, self.cores = settings, cores
        jobs = study_jobs(settings)
        self.runs = {arm.config.hash: arm.config for job in jobs for arm in job.runs}
        self.costs = {name: run_seconds(config) for name, config in self.runs.items()}
        self.starts = {name: start for job in jobs for name, start in job.starts(settings.reuses).items()}
        self.reused = {name for name, config in self.runs.items() if is_finished(config, settings.reuses)}
        self.notebooks = notebooks(settings.only)
        self.stop = threading.Event()
        self.began = time.monotonic()

    def __enter__(self):
        self.before = self.work()[0]
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()

    def work(self) -> tuple[float, float, int, int]:
        """Seconds of work behind us, seconds in all, finished runs, executed notebooks."""
        shares = {name: 1.0 if name in self.reused else progress_of(config) for name, config in self.runs.items()}
        made = sum(self.settings.executed(path).exists() for path in self.notebooks)
        behind = sum(shares[name] * cost for name, cost in self.costs.items()) + made * notebook_seconds()
        behind += sum(progress_of_start(start) * start_seconds(start) for start in self.starts.values())
        total = sum(self.costs.values()) + len(self.notebooks) * notebook_seconds()
        total += sum(start_seconds(start) for start in self.starts.values())
        return behind, total, sum(share == 1.0 for share in shares.values()), made

    def line(self) -> str:
        behind, total, runs, made = self.work()
        elapsed = time.monotonic() - self.began
        # The first minute counts as if the machine were the one the timings come from.
        speed = (max(0.0, behind - self.before) + 60 * self.cores) / (elapsed + 60)
        return (f"study: {runs} of {len(self.runs)} runs, {made} of {len(self.notebooks)} notebooks, "
                f"{behind / total:.0%} of the work behind us, about {(total - behind) / speed / 60:.0f} min left")

    def run(self) -> None:
        while not self.stop.wait(EVERY):
            say(self.line())


def summary(settings: Settings) -> None:
    """Name the figures, executed notebooks, claims table and HTML pages."""
    pages = build_site(settings)
    figures = sorted(p for p in settings.figures.glob("*") if p.suffix in (".png", ".svg", ".pdf"))
    made = [p for p in map(settings.executed, notebooks(settings.only)) if p.exists()]
    print(f"\nFigures ({len(figures)}):", *map(shown, figures), sep="\n  ")
    print(f"Executed notebooks ({len(made)}):", *map(shown, made), sep="\n  ")
    made_claims = settings.claims.exists()
    print("Claims table:", shown(settings.claims) if made_claims else "not made yet (notebook 90 makes it)", sep="\n  ")
    if made_claims:
        write_atomic(settings.claims.with_suffix(".md"), ledger(settings.claims).encode())
        verdicts = pd.read_csv(settings.claims).verdict.value_counts()
        print("    " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items()))
    print(f"HTML pages ({len(pages)}), start at {shown(pages[0])}:", *map(shown, pages), sep="\n  ", flush=True)


def shown(path: Path) -> str:
    """A path as a person would type it."""
    return os.path.relpath(path) if path.is_relative_to(ROOT) else str(path)
