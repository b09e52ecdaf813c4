"""Experiments as data: names, seeds, refusals, and how runs are got."""

import pandas as pd
import pytest

from polarity_lib import experiments
from polarity_lib.config import SCALES, ConfigError, StartConfig
from polarity_lib.experiments import TABLES, Arm, Runs, experiment, get_run, published_run, runs_of, train_or_load
from polarity_lib.registry import EXPERIMENTS, METHODS
from polarity_lib.results import RunFolder

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)  # a base policy in an instant


def configs(name, scale="tiny", seeds=1):
    return {arm.name: arm.config for arm in experiment(name, scale=scale, seeds=seeds)}


# ---------------------------------------------------------------- what an experiment contains


def test_the_main_experiment_by_name():
    assert list(configs("psr_nsr_search")) == ["base", "ppo", "grpo", "reinforce", "psr", "nsr", "w_reinforce"]
    chosen = experiment("psr_nsr_search", "nsr, psr", "smoke", 2)
    assert [(a.name, a.seed) for a in chosen] == [("nsr", 0), ("psr", 0), ("nsr", 1), ("psr", 1)]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", ["smoke", "tiny", "small"])
def test_every_experiment_can_be_written_down(name, scale):
    arms = experiment(name, scale=scale, seeds=2)
    assert len({(a.name, a.seed) for a in arms}) == len(arms)
    for arm in arms:
        own = arm.name.partition("/")[0]  # arms of several sizes are called by them
        assert arm.config.method in METHODS and arm.config.start.size in (SCALES[scale].policy, own)
        assert arm.config.start.seed == arm.config.seed  # a seed is a whole replicate: base policy too
        assert (arm.matched is not None) == bool(arm.config.matched_to)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_names_of_arms_can_be_listed_with_commas(name):
    every = list(dict.fromkeys(arm.name for arm in experiment(name, scale="smoke")))
    assert [arm.name for arm in experiment(name, ",".join(every), "smoke")] == every


def test_an_arm_named_twice_is_one_arm():
    assert [(arm.name, arm.seed) for arm in experiment("tour", "grpo, grpo", "smoke", 2)] == [("grpo", 0), ("grpo", 1)]


def test_seeds_change_nothing_but_the_seed():
    for first, second in zip(experiment("psr_nsr_search", seeds=1), experiment("psr_nsr_search", seeds=2)[7:]):
        start = StartConfig(**{**vars(first.config.start), "seed": 1})
        assert first.config.but(seed=1, start=start) == second.config


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(("call", "message"), [
    (("psr_nrs",), "Unknown experiment 'psr_nrs'. Did you mean 'psr_nsr"),
    (("psr_nsr_search", "nsr,pssr"), "Unknown arm of psr_nsr_search 'pssr'. Did you mean 'psr'"),
    (("psr_nsr_search", ""), "Unknown arm"),
    (("psr_nsr_search", "nsr", "tinny"), "Unknown scale 'tinny'. Did you mean 'tiny'"),
    (("psr_nsr_search", "nsr", "paper"), "needs a model"),
    (("psr_nsr_search", "nsr", "paper:a/b"), "Did you mean 'psr_nsr_math'"),
    (("psr_nsr_search", "nsr", "tiny", 0), "seeds"), (("psr_nsr_search", "nsr", "tiny", -2), "seeds"),
    (("psr_nsr_search", "nsr", "tiny", 1.5), "seeds"), (("psr_nsr_search", "nsr", "tiny", True), "seeds"),
    (("psr_nsr_search", "nsr", "tiny", "8"), "seeds"),
])  # fmt: skip
def test_bad_parameters_are_refused_before_any_run(call, message, monkeypatch):
    monkeypatch.setattr(experiments, "train", lambda *a, **k: pytest.fail("a run was started"))
    with pytest.raises(ConfigError, match=message):
        train_or_load(experiment(*call))


# ---------------------------------------------------------------- getting runs


def test_a_finished_run_is_loaded_and_labelled(configure, monkeypatch):
    arms = [Arm("test", name, configure("nsr", start=SHORT, steps=1), "smoke") for name in ("one", "same")]
    first = train_or_load(arms, reuse_published=False)
    monkeypatch.setattr(experiments, "train", lambda *a, **k: pytest.fail("a run was computed twice"))
    again = train_or_load(arms, reuse_published=False)
    pd.testing.assert_frame_equal(first.metrics, again.metrics)
    assert list(first.metrics.columns[:5]) == ["experiment", "arm", "seed", "run", "scale"]
    final = again.metric("test/pass@1")
    assert list(final.columns) == ["one", "same"] and list(final.index) == [0]
    assert final["one"].item() == final["same"].item()
    assert again.metric("validation/pass@1", last=False).step.tolist() == [0, 1, 0, 1]


def test_a_matched_arm_computes_its_model_first(configure):
    model = configure("reinforce", start=SHORT, steps=2)
    arm = Arm("test", "matched", configure("nsr", start=SHORT, steps=2, matched_to=model.hash), "smoke", matched=model)
    copied = get_run(arm, reuse_published=False)["updates"].norm
    wanted = RunFolder(model.name, model.identity).load()["updates"].norm
    assert copied.tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_committed_tables_are_used_unless_told_otherwise(configure, tmp_path, monkeypatch):
    arm = Arm("paper", "arm", configure("psr", start=SHORT, steps=1, learning_rate=2e-3), "smoke")
    hashes = {"run": [arm.config.hash, "other"]}
    committed = {"metrics": hashes | {"step": 0, "metric": "test/pass@1", "value": [0.25, 0.5]},
                 "problems": hashes, "rollouts": hashes}  # fmt: skip
    (tmp_path / "paper").mkdir()
    for name, table in committed.items():
        pd.DataFrame(table).to_parquet(tmp_path / "paper" / f"{name}.parquet")
    monkeypatch.setattr("polarity_lib.results.published_root", lambda: tmp_path)
    monkeypatch.setattr(experiments, "published_root", lambda: tmp_path)
    monkeypatch.setattr(experiments, "_PUBLISHED", {})
    assert published_run("nowhere") is None
    assert train_or_load([arm]).metrics.value.tolist() == [0.25]
    assert len(train_or_load([arm], reuse_published=False).metrics) > 1


def test_an_experiment_of_which_an_arm_was_never_run_is_left_out_of_a_notebook(monkeypatch, capsys):
    def load(arms):  # the base is shared with other experiments
        return Runs(*(pd.DataFrame() for _ in TABLES), arms=[arm for arm in arms if arm.name == "base"])

    monkeypatch.setattr(experiments, "load_finished", load)
    assert runs_of("lambda_sweep").arms == []
    told = capsys.readouterr()
    assert "[lambda_sweep] left out: no run of lambda=0" in told.out + told.err
