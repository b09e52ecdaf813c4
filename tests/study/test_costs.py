"""What runs cost: fitted to what was measured, recovered where the truth is known."""

import pandas as pd
import pytest

from polarity_lib.experiments import experiment
from polarity_lib.study import costs, plan
from polarity_lib.study.plan import Settings


@pytest.fixture(autouse=True)
def forget():
    yield
    costs._fit.cache_clear()


def test_the_fit_recovers_costs_that_are_linear(monkeypatch):
    rows = [{"what": "run", "name": str(i), "family": "countdown", "method": "grpo", "updates": 4, "trained": t, "sampled": s,
             "seconds": 1e-3 * t + 1e-4 * s + 5} for i, (t, s) in enumerate([(1e3, 1e3), (5e4, 1e3), (1e3, 8e4), (5e4, 8e4)])]
    slow = [{**rows[1], "name": "ppo", "method": "ppo", "seconds": 2 * rows[1]["seconds"]}]
    starts = [{"what": "start", "name": "countdown", "trained": 100, "seconds": 30}]
    monkeypatch.setattr(costs, "measured", lambda: pd.DataFrame([*rows, *slow, *starts]))
    costs._fit.cache_clear()
    grpo, ppo = (experiment("psr_nsr_search", m)[0].config for m in ("grpo", "ppo"))
    work = costs.work_of(grpo)
    assert costs.run_seconds(grpo) == pytest.approx(1e-3 * work["trained"] + 1e-4 * work["sampled"] + 5, rel=0.15)
    assert costs.run_seconds(ppo) > 1.5 * costs.run_seconds(grpo)
    assert costs.start_seconds(grpo.start) == pytest.approx(0.3 * grpo.start.steps)


def test_work_by_hand():
    config = experiment("psr_nsr_search", "nsr")[0].config  # 400 steps of 32 x 8; 9 points of 100 x 16; 300 x 256 and 256 x 16
    assert costs.work_of(config) == {"family": "countdown", "method": "nsr", "updates": 4, "trained": 102400,
                                     "sampled": 9 * 1600 + 300 * 256 + 256 * 16}


def test_snakemakes_seconds_become_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    monkeypatch.setattr(costs, "TABLE", tmp_path / "costs.csv")
    job = next(job for job in plan.study_jobs(Settings(scale="smoke", seeds=2)) if job.arm == "grpo")
    start = job.runs[0].config.start
    costs.benchmarks().mkdir(parents=True)
    for name, seconds in ((job.name, 8.0), (f"start.{start.name}", 3.0), ("notebook.10_x", 25.0)):
        (costs.benchmarks() / f"{name}.tsv").write_text(f"s\th:m:s\n{seconds}\t0:00:08\n")
    assert costs.publish_costs([job], [start]) == 3
    table = pd.read_csv(tmp_path / "costs.csv").set_index("what")
    assert table.seconds.to_dict() == {"run": 4.0, "start": 3.0, "notebook": 25.0}  # two seeds in one job
    assert table.name.to_dict() == {"run": f"{job.experiment}/grpo", "start": start.corpus, "notebook": "10_x"}


def test_runs_finished_here_say_how_fast_this_machine_is(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path))
    configs = [arm.config for arm in experiment("psr_nsr_search", "grpo", "tiny", 3)]
    for i, config in enumerate(configs):
        assert costs.pace(configs) == {}  # fewer than three say nothing
        folder = tmp_path / config.name
        folder.mkdir()
        rows = {"metric": ["test/pass@1", "timing.run"], "value": [0.5, (1, 3, 50)[i] * costs.run_seconds(config)]}
        pd.DataFrame(rows).to_parquet(folder / "metrics.parquet")
    assert costs.pace(configs) == {"countdown": pytest.approx(3)}  # their median
