"""Smoke runs -> committed tables -> read back, bit for bit."""

import json
import os
import shutil

import pandas as pd
import pytest

from polarity_lib import experiments, results
from polarity_lib.config import SCALES
from polarity_lib.experiments import Experiment, configure, experiment, train_or_load
from polarity_lib.registry import EXPERIMENTS
from polarity_lib.results import Damaged, RunFolder, without_timings
from polarity_lib.study import costs, publishing

ARMS = ("base", "nsr", "psr")


def small_experiment(scale, seed):
    return {name: configure(scale, name, seed, learning_rate=1e-3, **({"steps": 0} if name == "base" else {})) for name in ARMS}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run folders of three arms with two seeds, computed once."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLARITY_RUNS", str(root))
        patch.setitem(EXPERIMENTS, "small", Experiment(small_experiment, 2, "10"))
        train_or_load(experiment("small", scale="smoke", seeds=2), reuse_published=False, progress=False)
    return root


@pytest.fixture
def checkout(finished, tmp_path, monkeypatch):
    """An empty checkout whose only experiment is ours, with its own copy of the runs."""
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    monkeypatch.setenv("POLARITY_RUNS", str(runs))
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(publishing, "ROOT", tmp_path)
    monkeypatch.setattr(costs, "TABLE", tmp_path / "data" / "costs.csv")
    monkeypatch.setattr(costs, "measured", lambda: pd.read_csv(costs.TABLE))
    monkeypatch.setattr(experiments, "_PUBLISHED", {})
    for name in list(EXPERIMENTS):
        monkeypatch.delitem(EXPERIMENTS, name)
    monkeypatch.setitem(EXPERIMENTS, "small", Experiment(small_experiment, 2, "10"))
    return tmp_path


def published(checkout) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((checkout / "data" / "results" / "small").iterdir())}


def test_published_runs_equal_the_computed_ones(checkout):
    arms = experiment("small", scale="smoke", seeds=2)
    computed = train_or_load(arms, progress=False)
    publishing.publish("smoke")
    shutil.rmtree(checkout / "runs")
    read = train_or_load(arms, progress=False)  # nothing left to load but the committed tables
    assert without_timings(computed.metrics).equals(read.metrics)
    assert computed.problems.equals(read.problems)
    assert set(read.rollouts.seed) == {0}
    assert not (checkout / "runs").exists()


def test_committed_tables_load_where_the_first_seed_is_missing(checkout):
    for arm in experiment("small", scale="smoke", seeds=1):
        shutil.rmtree(checkout / "runs" / arm.config.name)
    publishing.publish("smoke")
    shutil.rmtree(checkout / "runs")
    read = experiments.load_finished(experiment("small", scale="smoke", seeds=2))
    assert set(read.metrics.seed) == {1} and read.rollouts.empty  # no readable answers: those are of seed 0


def test_committed_tables_of_an_edited_method_say_so(checkout, monkeypatch, capsys):
    arms = experiment("small", scale="smoke", seeds=2)
    publishing.publish("smoke")
    shutil.rmtree(checkout / "runs")
    monkeypatch.setattr(results, "_SAID", set())
    train_or_load(arms, progress=False)
    assert "edited" not in capsys.readouterr().err
    path = checkout / "data" / "results" / "small" / "runs.csv"
    lines = pd.read_csv(path)
    assert lines.method_digest.str.startswith("code-").all()
    for kept in (lines.method_digest.where(lines.method != "nsr", "code-0000000000"), None):
        lines.assign(method_digest=kept).dropna(axis=1, how="all").to_csv(path, index=False)
        experiments._PUBLISHED.clear()
        train_or_load(arms, progress=False)
        said = capsys.readouterr().err  # lines from before digests were kept: nothing to say
        assert ("method nsr was edited" in said and "reuse_published=False" in said) is (kept is not None)
        assert "psr" not in said


def test_files_are_small_and_say_what_ran(checkout):
    publishing.publish("smoke")
    files = published(checkout)
    assert set(files) == {"metrics.parquet", "problems.parquet", "rollouts.parquet", "runs.csv"}
    assert max(map(len, files.values())) < publishing.LARGEST
    lines = pd.read_csv(checkout / "data" / "results" / "small" / "runs.csv")
    assert [(line.arm, line.seed) for line in lines.itertuples()] == [(a, s) for a in ARMS for s in (0, 1)]
    first = lines.iloc[1 * 2]
    assert json.loads(first.identity)["method"] == "nsr" and first.steps == SCALES["smoke"].run["steps"]
    assert first.seconds > 0 and lines.iloc[0].seconds == 0 and first.torch


def test_every_place_that_continued_a_run_stands_in_its_line(checkout):
    arms = {arm.seed: arm for arm in experiment("small", "nsr", "smoke", seeds=2)}
    places = {0: ["step 1: B, 1 stacked", "step 2: A, 1 stacked"], 1: "step 1: B, 1 stacked"}  # older records hold one text
    for seed, continued in places.items():
        folder = RunFolder(arms[seed].config.name, arms[seed].config.identity)
        folder.begin(folder.record() | {"continued": continued})
    publishing.publish("smoke")
    lines = pd.read_csv(checkout / "data" / "results" / "small" / "runs.csv").query("arm == 'nsr'").set_index("seed")
    assert json.loads(lines.continued[0]) == places[0] and lines.continued[1] == places[1]


def test_publishing_twice_changes_no_byte(checkout):
    publishing.publish("smoke")
    before = published(checkout)
    publishing.publish("smoke")
    assert published(checkout) == before


def test_runs_of_another_machine_stay(checkout):
    publishing.publish("smoke")
    before = published(checkout)
    shutil.rmtree(next((checkout / "runs").glob("countdown3-nsr-s0-*")))
    publishing.publish("smoke")
    assert published(checkout) == before


def test_a_run_that_another_experiment_published_is_published_here_too(checkout, monkeypatch):
    publishing.publish("smoke")
    shutil.rmtree(checkout / "runs")
    renamed = lambda scale, seed: {"wrong only": small_experiment(scale, seed)["nsr"]}  # noqa: E731
    monkeypatch.setitem(EXPERIMENTS, "again", Experiment(renamed, 2, "11"))
    publishing.publish("smoke")
    folders = [checkout / "data" / "results" / name for name in ("small", "again")]
    for table in ("metrics", "problems", "rollouts"):
        there, here = (pd.read_parquet(folder / f"{table}.parquet") for folder in folders)
        there = there[there.arm == "nsr"].assign(experiment="again", arm="wrong only").reset_index(drop=True)
        assert len(here) and here.equals(there), table
    lines = pd.read_csv(folders[1] / "runs.csv")
    assert lines.arm.tolist() == ["wrong only"] * 2 and set(lines.experiment) == {"again"} and lines.seconds.gt(0).all()


def test_a_damaged_run_is_refused_and_nothing_is_written(checkout):
    table = next((checkout / "runs").glob("countdown3-psr-s1-*")) / "metrics.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(Damaged, match="psr-s1.*metrics.parquet"):
        publishing.publish("smoke")
    assert not (checkout / "data" / "results").exists()
    assert (table.parent / "done.json").exists()  # publishing never alters a run


@pytest.mark.parametrize("shape", [lambda done: done | {"files": []}, lambda done: done | {"files": {"metrics": 1}},
                                   lambda done: [done], lambda done: {}, lambda done: None])
def test_a_record_of_another_shape_is_a_damaged_run(checkout, shape):
    path = next((checkout / "runs").glob("countdown3-psr-s1-*")) / "done.json"
    path.write_text(json.dumps(shape(json.loads(path.read_text()))))
    with pytest.raises(Damaged, match="psr-s1.*damaged"):
        publishing.publish("smoke")
    assert not (checkout / "data" / "results").exists()


def test_a_run_that_left_the_experiment_goes(checkout, monkeypatch, capsys):
    publishing.publish("smoke")
    other = lambda scale, seed: {n: c for n, c in small_experiment(scale, seed).items() if n != "psr"}  # noqa: E731
    monkeypatch.setitem(EXPERIMENTS, "small", Experiment(other, 2, "10"))
    publishing.publish("smoke")
    table = pd.read_parquet(checkout / "data" / "results" / "small" / "metrics.parquet")
    assert set(table.arm) == {"base", "nsr"} and "2 dropped" in capsys.readouterr().err


def test_only_the_full_study_brings_figures(checkout):
    for label in ("smoke-full", "smoke-1"):
        folder = checkout / "runs" / "figures" / label
        os.makedirs(folder)
        (folder / f"{label}.png").write_bytes(b"picture")
    publishing.publish("smoke")
    assert [p.name for p in (checkout / "figures").iterdir()] == ["smoke-full.png"]


def test_training_seconds_by_hand():
    """Means of 0.5 s over steps 0 to 9 and 0.2 s over steps 10 to 14: 5 + 1 seconds."""
    rows = [(10, "timing.sample", 0.5), (15, "timing.sample", 0.2), (15, "update/norm", 9.0)]
    assert publishing.training_seconds(pd.DataFrame(rows, columns=["step", "metric", "value"])) == pytest.approx(6.0)
