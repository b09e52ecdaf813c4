"""Mistakes are one line before any computing; the plan's numbers are those of the experiments."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from polarity_lib import execute, plan, study
from polarity_lib.__main__ import main
from polarity_lib.config import ConfigError
from polarity_lib.arms import EXPERIMENTS
from polarity_lib.experiments import experiment
from polarity_lib.plan import Settings
from polarity_lib.results import ROOT


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "runs"))


def write_notebook(path, parameters: str, *cells: str):
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[first, *map(nbformat.v4.new_code_cell, cells)], metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Three small notebooks that stand for the tour, the study and the claims."""
    folder = tmp_path / "notebooks"
    for name in ("00_tour", "10_spectrum", "90_claims"):
        write_notebook(folder / f"{name}.ipynb", 'scale = "tiny"\nseeds = 1\nreuse_published = True\nrate = 1.0')
    monkeypatch.setattr(plan, "NOTEBOOKS", folder)
    monkeypatch.setattr(execute, "NOTEBOOKS", folder)
    return folder


# --- mistakes -------------------------------------------------------------------


@pytest.mark.parametrize("arguments, hint", [
    (["plan", "--scale", "tny"], "Did you mean 'tiny'"),
    (["run", "psr_nrs", "--scale", "smoke"], "Did you mean 'psr_nsr'"),
    (["run", "psr_nsr", "--arms", "grop", "--scale", "smoke"], "Did you mean 'grpo'"),
    (["plan", "--only", "1O"], "Did you mean '10'"),
    (["notebook", "10", "-p", "seed", "2"], "Did you mean 'seeds'"),
    (["notebook", "10", "-p", "seeds", "two"], "'two' does not fit"),
    (["notebook", "10_spectrun"], "Did you mean '10_spectrum'"),
    (["run", "psr_nsr", "--scale", "paper"], "make plan SCALE=paper"),
])
def test_a_misspelt_name_ends_with_the_near_miss(arguments, hint, notebooks, capsys):
    assert main(arguments) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("arguments, hint", [
    (["plan", "--scael", "tiny"], "Did you mean --scale"),
    (["run", "psr_nsr", "--seeds", "0"], "not a whole number above zero"),
    (["stdy"], "invalid choice"),
])
def test_a_misspelt_option_is_refused(arguments, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err


def test_deleting_runs_asks_first(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs" / "some-run"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))
    assert main(["clean-runs"]) == 0 and folder.exists()
    assert main(["clean-runs", "--yes"]) == 0 and not folder.exists()


def test_a_base_policy_is_made_once(tmp_path, capsys):
    arguments = ["base-policy", "countdown", "smoke", "2", "0"]
    assert main(arguments) == 0
    weights = next((tmp_path / "runs" / "starts").glob("countdown-smoke-2-s0-*/weights.pt"))
    made = weights.stat().st_mtime_ns
    assert main(arguments) == 0 and weights.stat().st_mtime_ns == made
    assert main(["base-policy", "countdwn", "smoke", "2", "0"]) == 2
    assert "Did you mean 'countdown'" in capsys.readouterr().err


def test_a_job_asks_for_the_base_policies_of_its_unfinished_runs(notebooks):
    jobs = [job for job in plan.study_jobs(Settings(scale="smoke", seeds=2)) if job.arm == "grpo"]
    assert all(sorted(start.seed for start in job.starts(False).values()) == [0, 1] for job in jobs)


# --- notebook parameters ----------------------------------------------------------


def test_values_take_the_type_the_notebook_declares(tmp_path):
    path = write_notebook(tmp_path / "a.ipynb", 'name = "x"  # a word\nseeds = 1\nrate = 1e-4\nfresh = False')
    assert execute.declared_parameters(path) == {"name": "x", "seeds": 1, "rate": 1e-4, "fresh": False}
    given = {"name": "12", "seeds": "3", "rate": "1", "fresh": "True"}
    assert execute.check_parameters(path, given) == {"name": "12", "seeds": 3, "rate": 1.0, "fresh": True}
    for wrong in ({"seeds": "1.5"}, {"fresh": "1"}, {"rate": "fast"}):
        with pytest.raises(ConfigError, match="does not fit"):
            execute.check_parameters(path, wrong)


@pytest.mark.notebook
def test_a_notebook_appears_only_when_it_is_complete(tmp_path):
    papermill = pytest.importorskip("papermill")
    path = write_notebook(tmp_path / "a.ipynb", "bottom = 1", "print(1 / bottom)")
    with pytest.raises(papermill.PapermillExecutionError):
        execute.execute(path, tmp_path / "out" / "a.ipynb", {"bottom": 0})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.failed.ipynb"]
    execute.execute(path, tmp_path / "out" / "a.ipynb", {"bottom": 2})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.ipynb"]
    assert "0.5" in (tmp_path / "out" / "a.ipynb").read_text()


# --- the plan ---------------------------------------------------------------------


def test_the_preview_is_the_headline_arms_with_one_seed(notebooks):
    jobs = plan.study_jobs(Settings())
    assert [j.arm for j in jobs if j.experiment == "psr_nsr"] == [a.name for a in experiment("psr_nsr")]
    assert {j.experiment for j in jobs} == {"tour", "psr_nsr"}
    assert all(len(j.runs) == j.seeds == 1 for j in jobs)


def test_the_full_study_has_every_run_once(notebooks):
    jobs = plan.study_jobs(Settings(full=True))
    planned = [arm.config.hash for job in jobs for arm in job.runs]
    wanted = {arm.config.hash for name, spec in EXPERIMENTS.items() if spec.notebook in ("00", "10")
              for arm in experiment(name, seeds=spec.seeds)}
    assert len(planned) == len(set(planned)) and set(planned) == wanted


def test_the_printed_numbers_are_those_of_the_experiments(notebooks):
    settings = Settings(full=True, reuse=False)  # whatever is published by now
    text = plan.plan_text(settings)
    for name, spec in EXPERIMENTS.items():
        if spec.notebook in ("00", "10"):
            arms = len({a.name for a in experiment(name)})
            row = next(line for line in text.splitlines() if re.search(rf"\s{name}\s", line))
            assert row.split()[2:4] == [str(arms), str(spec.seeds)]
    runs = sum(len(job.runs) for job in plan.study_jobs(settings))
    assert f"{runs} runs, {runs} of them still to compute" in text


def test_a_matched_arm_waits_for_the_run_it_copies(notebooks):
    jobs = {job.arm: job for job in plan.study_jobs(Settings(full=True)) if job.experiment in ("psr_nsr", "controls")}
    assert jobs["grpo"].name in jobs["nsr_matched"].needs


def test_only_picks_notebooks_and_seeds_count_replicates(notebooks):
    jobs = plan.study_jobs(Settings(only="10", seeds=3))
    assert {job.notebook for job in jobs} == {"10_spectrum"} and {job.seeds for job in jobs} == {3}


def test_finished_runs_need_no_job(notebooks, tmp_path):
    settings = Settings(scale="smoke")
    job = plan.study_jobs(settings)[0]
    study.marker(job.name).parent.mkdir(parents=True)
    study.marker(job.name).touch()
    study.settle_markers(settings)
    assert not study.marker(job.name).exists()  # its runs are not there
    for arm in job.runs:
        (tmp_path / "runs" / arm.config.name).mkdir()
        (tmp_path / "runs" / arm.config.name / "done.json").write_text("{}")
    study.settle_markers(settings)
    assert study.marker(job.name).exists()


def test_progress_is_read_from_the_run_folder(tmp_path):
    config = experiment("psr_nsr", "nsr")[0].config
    assert plan.progress_of(config) == 0.0
    folder = tmp_path / "runs" / config.name
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": s}) + "\n" for s in range(100)))
    assert plan.progress_of(config) == pytest.approx(0.95 * 100 / config.steps)
    (folder / "metrics.jsonl").write_text('{"step": 3}\n{"ste')  # killed while writing
    assert plan.progress_of(config) == 0.0


def test_committed_runs_leave_no_work_but_the_notebook():
    progress = study.Progress(Settings(full=True, only="41"), cores=2)
    behind, total, runs, executed = progress.work()
    assert progress.starts == {} and runs == len(progress.runs) > 100 and executed == 0
    assert total - behind == pytest.approx(plan.SECONDS_PER_NOTEBOOK)


def test_an_edited_notebook_is_a_reason_to_execute_it_again(notebooks):
    tour, claims = notebooks / "00_tour.ipynb", notebooks / "90_claims.ipynb"
    before = [plan.reasons_to_execute(path, Settings()) for path in (tour, claims)]
    os.utime(tour, (0, 0))  # another checkout: same content, other time
    assert [plan.reasons_to_execute(path, Settings()) for path in (tour, claims)] == before
    write_notebook(tour, "scale = 'tiny'", "print('edited')")
    assert all(plan.reasons_to_execute(path, Settings()) != old for path, old in zip((tour, claims), before))


def test_the_plan_at_paper_scale_says_whose_estimate_it_is():
    text = plan.plan_text(Settings(scale="paper"))
    assert "OUR ESTIMATE" in text
    for model in plan.PAPER_MODELS:
        assert model.name in text and model.licence in text


def test_paper_gpu_hours_by_hand():
    model = plan.PaperModel("m", "", 1e9, 100, 1e4, 10)
    answers = 140 * 1024 * 8
    seconds = answers * 100 * (1 / 1e4 + 8 * 1e9 / (989e12 * 0.35)) + 570 * 10 * 100 / 1e4
    assert plan.paper_gpu_hours(model) == pytest.approx(seconds / 3600)


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
