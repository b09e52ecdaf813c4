"""Experiments as data: names, sharing, seeds, the rule that chose the rates."""

import pandas as pd
import pytest

from polarity_lib import experiments
from polarity_lib.arms import EXPERIMENTS, FAMILIES, FAMILY_OF, LAMBDAS, VALIDATION_SEEDS, tuned_rate
from polarity_lib.config import SCALES, ConfigError, StartConfig
from polarity_lib.experiments import Arm, Runs, choose_rates, experiment, get_run, published_run, train_or_load
from polarity_lib.methods import METHODS
from polarity_lib.results import RunFolder

SHORT = StartConfig("countdown", "smoke", steps=2, seed=0, batch=4)  # a base policy in an instant


def configs(name, scale="tiny", seeds=1):
    return {arm.name: arm.config for arm in experiment(name, scale=scale, seeds=seeds)}


# ---------------------------------------------------------------- what an experiment contains


def test_the_main_experiment_by_name():
    assert list(configs("psr_nsr")) == ["base", "ppo", "grpo", "reinforce", "psr", "nsr", "w_reinforce"]
    chosen = experiment("psr_nsr", "nsr, psr", "smoke", 2)
    assert [(a.name, a.seed) for a in chosen] == [("nsr", 0), ("psr", 0), ("nsr", 1), ("psr", 1)]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", ["smoke", "tiny", "small"])
def test_every_experiment_can_be_written_down(name, scale):
    arms = experiment(name, scale=scale, seeds=2)
    assert len({(a.name, a.seed) for a in arms}) == len(arms)
    for arm in arms:
        assert arm.config.method in METHODS and arm.config.start.size == SCALES[scale].policy
        assert arm.config.start.seed == arm.config.seed  # a seed is a whole replicate: base policy too
        assert (arm.matched is not None) == bool(arm.config.matched_to)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_names_of_arms_can_be_listed_with_commas(name):
    every = list(dict.fromkeys(arm.name for arm in experiment(name, scale="smoke")))
    assert [arm.name for arm in experiment(name, ",".join(every), "smoke")] == every


def test_seeds_change_nothing_but_the_seed():
    for first, second in zip(experiment("psr_nsr", seeds=1), experiment("psr_nsr", seeds=2)[7:]):
        start = StartConfig(**{**vars(first.config.start), "seed": 1})
        assert first.config.but(seed=1, start=start) == second.config


@pytest.mark.parametrize("scale", ["smoke", "tiny"])
def test_experiments_share_their_common_runs(scale):
    main = configs("psr_nsr", scale)
    assert configs("strength", scale)["countdown3/full/nsr"].hash == main["nsr"].hash
    assert configs("strength", scale)["countdown3/full/base"].hash == main["base"].hash
    assert configs("controls", scale)["grpo"].hash == main["grpo"].hash
    sweep = configs("lambda_sweep", scale)
    for weight, method in (("0", "nsr"), ("0.1", "w_reinforce"), ("1", "reinforce")):
        assert sweep[f"lambda={weight}"].hash == main[method].hash
    assert len({c.hash for c in sweep.values()}) == len(LAMBDAS) + 1  # and the base


def test_matched_arms_point_at_the_run_they_copy():
    arms = {a.name: a for a in experiment("controls", scale="smoke")}
    assert arms["psr_matched"].matched == arms["grpo"].config
    assert arms["psr_matched"].config.matched_to == arms["grpo"].config.hash
    assert arms["grpo"].matched is None


def test_tuning_never_sees_a_reported_seed():
    tuned = {arm.seed for arm in experiment("tuning", seeds=EXPERIMENTS["tuning"].seeds)}
    reported = {a.seed for n, e in EXPERIMENTS.items() if not n.startswith("tuning") for a in experiment(n, seeds=e.seeds)}
    assert tuned == set(VALIDATION_SEEDS) and not tuned & reported


def test_every_method_has_a_family_with_a_frozen_rate():
    assert set(FAMILY_OF) == set(METHODS) and set(FAMILY_OF.values()) == set(FAMILIES)
    assert all(0 < tuned_rate(method) < 1e-2 for method in METHODS)
    main = configs("psr_nsr")
    assert main["psr"].learning_rate == main["nsr"].learning_rate == main["w_reinforce"].learning_rate


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(("call", "message"), [
    (("psr_nrs",), "Unknown experiment 'psr_nrs'. Did you mean 'psr_nsr'"),
    (("psr_nsr", "nsr,pssr"), "Unknown arm of psr_nsr 'pssr'. Did you mean 'psr'"),
    (("psr_nsr", ""), "Unknown arm"),
    (("psr_nsr", "nsr", "tinny"), "Unknown scale 'tinny'. Did you mean 'tiny'"),
    (("psr_nsr", "nsr", "paper"), "GPU server"),
    (("psr_nsr", "nsr", "tiny", 0), "seeds"), (("psr_nsr", "nsr", "tiny", -2), "seeds"),
    (("psr_nsr", "nsr", "tiny", 1.5), "seeds"), (("psr_nsr", "nsr", "tiny", True), "seeds"),
    (("psr_nsr", "nsr", "tiny", "8"), "seeds"),
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


# ---------------------------------------------------------------- the rule


def rates_from(ends):
    """ends: (method, rate, seed) -> (first, last) validation pass@1."""
    rows = [{"arm": f"{m}/{rate}", "seed": seed, "metric": "validation/pass@1", "step": step, "value": value}
            for (m, rate, seed), pair in ends.items() for step, value in zip((0, 200), pair)]  # fmt: skip
    return choose_rates(Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), []))


def plain(constant=(0.4, 0.5, 0.6), others=(0.5, 0.5, 0.5)):
    """Two seeds, three rates, every run starting at 0.3."""
    table = {}
    for family, methods in FAMILIES.items():
        for method in methods:
            for rate, last in zip(("2e-05", "5e-05", "0.0001"), constant if family == "constant" else others):
                for seed in VALIDATION_SEEDS:
                    table[method, rate, seed] = (0.3, last)
    return table


def test_the_best_mean_wins_and_ties_go_to_the_lower_rate():
    assert rates_from(plain()) == {"constant": 1e-4, "group": 2e-5, "critic": 2e-5}


def test_a_rate_at_which_one_run_collapsed_is_out():
    table = plain()
    table["psr", "0.0001", 1001] = (0.3, 0.14)  # below half of its base, though the mean is still the best
    assert rates_from(table)["constant"] == 5e-5
    table["psr", "0.0001", 1001] = (0.3, 0.15)  # exactly half is not below half
    assert rates_from(table)["constant"] == 1e-4


def test_where_every_rate_collapses_the_lowest_is_taken():
    assert rates_from(plain(constant=(0.1, 0.12, 0.14)))["constant"] == 2e-5
