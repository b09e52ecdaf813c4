"""`make study`: markers follow the run folders, progress counts what is behind us, Snakemake lists the plan's jobs."""

import csv
import importlib.util
import os
import re
import subprocess
import sys

import pytest

from polarity_lib.config import ConfigError
from polarity_lib.results import ROOT
from polarity_lib.study import plan, running
from polarity_lib.study.costs import notebook_seconds, run_seconds, start_seconds
from polarity_lib.study.plan import Settings

pytestmark = pytest.mark.usefixtures("own_runs")


def test_finished_runs_need_no_job(notebooks, tmp_path):
    settings = Settings(scale="smoke")
    job = plan.study_jobs(settings)[0]
    running.marker(job.name).parent.mkdir(parents=True)
    running.marker(job.name).touch()
    running.settle_markers(settings)
    assert not running.marker(job.name).exists()  # its runs are not there
    for arm in job.runs:
        (tmp_path / "runs" / arm.config.name).mkdir()
        (tmp_path / "runs" / arm.config.name / "done.json").write_text("{}")
    running.settle_markers(settings)
    assert running.marker(job.name).exists()


def test_committed_runs_are_no_work():
    """What is left of notebook 04: itself, and the runs that no committed table holds, with their base policies."""
    progress = running.Progress(Settings(full=True, only="04"), cores=2)
    behind, total, runs, executed = progress.work()
    committed = {line["run"] for path in (ROOT / "data" / "results").glob("*/runs.csv") for line in csv.DictReader(path.open())}
    assert progress.reused == set(progress.runs) & committed and runs == len(progress.reused) > 50 and executed == 0
    to_do = [config for name, config in progress.runs.items() if name not in committed]
    assert set(progress.starts) == {config.start.name for config in to_do}
    left = sum(map(run_seconds, to_do)) + sum(map(start_seconds, progress.starts.values())) + notebook_seconds()
    assert total - behind == pytest.approx(left)


@pytest.mark.slow
def test_snakemake_lists_the_jobs_of_the_plan(tmp_path):
    """A dry run of the real Snakefile: one job per arm, one per notebook."""
    arguments = ["plan", "--scale", "smoke", "--dry-run", "--only", "10", "--cores", "1"]
    command = [sys.executable, "-m", "polarity_lib", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = plan.study_jobs(Settings(scale="smoke", only="10"))
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.M))
    name = plan.notebooks("10")[0].stem
    assert counts[f"runs_of_{name}"] == str(len(jobs)) and counts[f"notebook_{name}"] == "1"


@pytest.mark.slow
def test_snakemake_lists_the_stacks_of_a_gpu(tmp_path):
    arguments = ["plan", "--scale", "smoke", "--seeds", "2", "--dry-run", "--only", "10", "--cores", "1", "--device", "cuda"]
    command = [sys.executable, "-m", "polarity_lib", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = plan.study_jobs(Settings(scale="smoke", seeds=2, only="10"))
    stacks = plan.study_stacks(jobs, "cuda")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.M))
    assert stacks and all(counts[f"stack_{stack.name}"] == "1" for stack in stacks)
    left = len(jobs) - sum(len(stack.jobs) for stack in stacks)
    assert int(counts.get(f"runs_of_{plan.notebooks('10')[0].stem}", 0)) == left


@pytest.mark.parametrize("status", [0, 1])
def test_a_report_is_snakemakes_own(status, monkeypatch, tmp_path, capfd):
    asked = {}
    monkeypatch.setattr(running, "snakemake", lambda settings, cores, more: asked.update(more=more) or status)
    page = tmp_path / "study" / "report.html"
    assert running.write_report(Settings(scale="smoke"), page) == status
    assert asked["more"] == ("--report", str(page)) and page.parent.is_dir()
    assert ("must be finished" if status else str(page)) in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name, plugins", [
    ("slurm", ["snakemake_executor_plugin_slurm"]),
    ("kubernetes", ["snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_fs"]),
])
def test_a_committed_profile_sends_the_same_jobs_elsewhere(name, plugins, tmp_path):
    """A dry run, which Snakemake checks against the profile's executor."""
    for plugin in plugins:
        if importlib.util.find_spec(plugin) is None:
            pytest.skip(f"{plugin.replace('_', '-')} is not installed")
    command = [sys.executable, "-m", "polarity_lib", "study", "--scale", "smoke", "--only", "10", "--dry-run", "--profile", name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = plan.study_jobs(Settings(scale="smoke", only="10"))
    assert f"runs_of_{plan.notebooks('10')[0].stem}" in done.stdout and "mem_mb=4000" in done.stdout
    assert dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.M))[f"runs_of_{plan.notebooks('10')[0].stem}"] == str(len(jobs))


def test_a_profile_is_ours_by_name_or_a_folder(tmp_path):
    assert running.profile_folder("") == "" and running.profile_folder("slurm") == str(ROOT / "profiles" / "slurm")
    (tmp_path / "config.yaml").write_text("jobs: 1\n")
    assert running.profile_folder(str(tmp_path)) == str(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'slurm'"):
        running.profile_folder("slrum")


def test_committed_profiles_say_what_they_need():
    import yaml

    for path in sorted((ROOT / "profiles").glob("*/config.yaml")):
        found = yaml.safe_load(path.read_text())
        assert found["executor"] == path.parent.name and found["jobs"] > 1
        assert f"snakemake-executor-plugin-{found['executor']}" in path.read_text()
