"""The plan's numbers are those of the experiments."""

import json
import os
import re

import pytest
from small_notebooks import write_notebook

from polarity_lib.experiments import experiment
from polarity_lib.registry import EXPERIMENTS
from polarity_lib.study import plan
from polarity_lib.study.plan import Settings

pytestmark = pytest.mark.usefixtures("own_runs")


def test_a_job_asks_for_the_base_policies_of_its_unfinished_runs(notebooks):
    jobs = [job for job in plan.study_jobs(Settings(scale="smoke", seeds=2)) if job.arm == "grpo"]
    assert all(sorted(start.seed for start in job.starts(False).values()) == [0, 1] for job in jobs)


def test_the_preview_is_the_headline_arms_with_one_seed(notebooks):
    jobs = plan.study_jobs(Settings())
    assert [j.arm for j in jobs if j.experiment == "psr_nsr_latent"] == [a.name for a in experiment("psr_nsr_latent")]
    assert {j.experiment for j in jobs} == {"tour", "psr_nsr_latent"}
    assert all(len(j.runs) == j.seeds == 1 for j in jobs)


def test_the_full_study_has_every_run_once(notebooks):
    jobs = plan.study_jobs(Settings(full=True))
    planned = [arm.config.hash for job in jobs for arm in job.runs]
    wanted = {arm.config.hash for name, spec in EXPERIMENTS.items() if {"00", "10"} & set(spec.notebooks)
              for arm in experiment(name, seeds=spec.seeds)}
    assert len(planned) == len(set(planned)) and set(planned) == wanted


def test_the_printed_numbers_are_those_of_the_experiments(notebooks):
    settings = Settings(full=True, reuse=False)  # whatever is published by now
    text = plan.plan_text(settings)
    for name, spec in EXPERIMENTS.items():
        if {"00", "10"} & set(spec.notebooks):
            arms = len({a.name for a in experiment(name)})
            row = next(line for line in text.splitlines() if re.search(rf"\s{name}\s", line))
            assert row.split()[2:4] == [str(arms), str(spec.seeds)]
    runs = sum(len(job.runs) for job in plan.study_jobs(settings))
    assert f"{runs} runs, {runs} of them still to compute" in text


def test_a_matched_arm_waits_for_the_run_it_copies(notebooks):
    jobs = {job.arm: job for job in plan.study_jobs(Settings(full=True)) if job.experiment in ("psr_nsr_latent", "controls")}
    assert jobs["grpo"].name in jobs["nsr_matched"].needs


def test_only_picks_notebooks_and_seeds_count_replicates(notebooks):
    jobs = plan.study_jobs(Settings(only="10", seeds=3))
    assert {job.notebook for job in jobs} == {"10_spectrum"} and {job.seeds for job in jobs} == {3}


def test_progress_is_read_from_the_run_folder(tmp_path):
    config = experiment("psr_nsr_search", "nsr")[0].config
    assert plan.progress_of(config) == 0.0
    folder = tmp_path / "runs" / config.name
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": s}) + "\n" for s in range(100)))
    assert plan.progress_of(config) == pytest.approx(0.95 * 100 / config.steps)
    (folder / "metrics.jsonl").write_text('{"step": 3}\n{"ste')  # killed while writing
    assert plan.progress_of(config) == 0.0


def test_an_edited_notebook_is_a_reason_to_execute_it_again(notebooks):
    tour, claims = notebooks / "00_tour.ipynb", notebooks / "90_claims.ipynb"
    before = [plan.reasons_to_execute(path, Settings()) for path in (tour, claims)]
    os.utime(tour, (0, 0))  # another checkout: same content, other time
    assert [plan.reasons_to_execute(path, Settings()) for path in (tour, claims)] == before
    write_notebook(tour, "scale = 'tiny'", "print('edited')")
    assert all(plan.reasons_to_execute(path, Settings()) != old for path, old in zip((tour, claims), before))


def test_on_a_gpu_jobs_of_one_shape_go_side_by_side(notebooks, monkeypatch):
    jobs = plan.study_jobs(Settings(full=True))
    assert plan.study_stacks(jobs, None) == plan.study_stacks(jobs, "cpu") == []
    stacks = plan.study_stacks(jobs, "cuda")
    placed = [job.name for stack in stacks for job in stack.jobs]
    assert len(placed) == len(set(placed)) > len(jobs) / 2
    assert len({stack.name for stack in stacks}) == len(stacks)
    for stack in stacks:
        keys = {plan.stack_key(arm.config) for job in stack.jobs for arm in job.runs}
        assert len(keys) == 1 and None not in keys
        assert sum(len(job.runs) for job in stack.jobs) > 1
        if stack.needs:  # matched updates go after what they copy, which is in another stack
            assert all(arm.matched for job in stack.jobs for arm in job.runs)
            assert not set(stack.needs) & {job.name for job in stack.jobs}
    assert any(stack.needs for stack in stacks)
    text = plan.plan_text(Settings(full=True, reuse=False, device="cuda"))
    assert f"On a GPU (DEVICE=cuda) {len(stacks)} stacks" in text and "GB a run" in text
    monkeypatch.setattr(plan, "free_memory", lambda device: 1e9)
    assert len(plan.study_stacks(jobs, "cuda")) > len(stacks)


def test_what_shows_a_figure_at_once_goes_behind_the_tour_and_before_what_trains():
    order = [plan.priority("00_tour"), plan.priority("03_x", True), plan.priority("41_x", True), plan.priority("01_x"),
             plan.priority("20_x")]
    assert order == sorted(order, reverse=True) and len(set(order)) == len(order)


def test_notebooks_that_make_a_base_policy_or_need_runs_train_something(notebooks, tmp_path):
    own = tmp_path / "05_own.ipynb"
    for source, nothing in (("print('a figure')", True), ("base_policy(start)", False)):
        own.write_text(source)
        assert plan.trains_nothing(own, Settings()) is nothing
    assert not any(plan.trains_nothing(path, Settings()) for path in plan.notebooks() if path.stem.startswith(("00", "10")))
