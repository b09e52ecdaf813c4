"""The rule that chooses a rate, and the grid that grows until its best rate is inside."""

import json

import pytest

from polarity_lib import experiments
from polarity_lib.config import SCALES, ConfigError
from polarity_lib.experiments import experiment, is_tuned, world_rate
from polarity_lib.registry import EXPERIMENTS
from polarity_lib.results import published_root
from polarity_lib.study import plan, tuning
from polarity_lib.study.plan import Settings


def cell(end, collapsed=False):
    return {"start": 0.1, "end": end, "collapsed": collapsed}


def test_the_best_stable_rate_wins_and_ties_go_to_the_lower_one():
    assert tuning.best({1e-5: cell(0.2), 2e-5: cell(0.3), 4e-5: cell(0.3)}) == 2e-5
    assert tuning.best({1e-5: cell(0.2), 2e-5: cell(0.9, collapsed=True), 4e-5: cell(0.1)}) == 1e-5
    assert tuning.best({1e-5: cell(0.2, True), 2e-5: cell(0.3, True)}) == 1e-5  # all collapsed: the lowest


@pytest.mark.parametrize(("optimum", "low", "high"), [
    (2.5e-5, 1.25e-5, 5e-5), (1e-4, 1.25e-5, 2e-4), (3.125e-6, 1.5625e-6, 5e-5)])
def test_the_grid_grows_until_the_best_rate_is_inside(optimum, low, high, monkeypatch, tmp_path):
    """A made-up landscape with one peak."""
    monkeypatch.setattr(tuning, "RATES_FILE", tmp_path / "rates.json")
    (tmp_path / "rates.json").write_text('{"rates": {}}')
    monkeypatch.setattr(tuning, "measure", lambda scale, method, world, rate: cell(1 - abs(rate - optimum)))
    assert tuning.tune("latent", "grpo") == optimum
    kept = json.loads((tmp_path / "rates.json").read_text())["worlds"]["latent"]["grpo"]
    grid = [float(rate) for rate in kept["grid"]]
    assert kept["rate"] == optimum and not kept["at_edge"] and (min(grid), max(grid)) == pytest.approx((low, high))


def test_a_grid_that_never_turns_stops_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "RATES_FILE", tmp_path / "rates.json")
    (tmp_path / "rates.json").write_text('{"rates": {}}')
    monkeypatch.setattr(tuning, "measure", lambda scale, method, world, rate: cell(rate))
    tuning.tune("mix", "nsr")
    kept = json.loads((tmp_path / "rates.json").read_text())["worlds"]["mix"]["nsr"]
    assert kept["at_edge"] and len(kept["grid"]) == tuning.MAX_RATES


def test_a_grid_run_is_half_the_horizon_on_validation_seeds():
    config = tuning.grid_run(SCALES["tiny"], "nsr", "latent", 1e-5, tuning.SEEDS[0])
    assert (config.steps, config.minibatches, config.pool_size, config.learning_rate) == (50, 4, 2000, 1e-5)
    assert config.seed == config.start.seed == 1000 and config.start.steps == 700


def test_misspelt_names_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'latent'"):
        tuning.tune("lattent", "grpo")
    with pytest.raises(ConfigError, match="Did you mean 'grpo'"):
        tuning.tune("latent", "grop")


def test_tuning_never_sees_a_reported_seed():
    seeds = {name: {arm.seed for arm in experiment(name, seeds=spec.seeds)} for name, spec in EXPERIMENTS.items()}
    on_validation = {name for name, found in seeds.items() if min(found) >= 1000}  # gates, grids and looks at starts
    assert {"gates_latent", "dial"} <= on_validation and not {"psr_nsr_latent", "a3po", "lens"} & on_validation
    reported = set().union(*(found for name, found in seeds.items() if name not in on_validation))
    assert reported == set(range(16)) and not reported & set(tuning.SEEDS)  # 16: the headline of the clock


@pytest.mark.parametrize("name", ["psr_nsr_latent", "psr_nsr_search", "a3po", "lens"])
def test_a_headline_comparison_is_published_only_when_all_its_arms_have_been_tuned(name):
    if not (published_root() / name).exists():
        pytest.skip(f"{name} has not been published yet")
    untuned = [arm.config.method for arm in experiment(name) if not is_tuned(arm.config.world, arm.config.method)]
    assert untuned == []


def test_until_a_method_is_tuned_it_runs_at_grpos_rate_and_the_plan_says_so(monkeypatch):
    record = {"worlds": {"latent": {"grpo": {"rate": 0.5}, "nsr": {"rate": 0.25}}, "search": {"grpo": {"rate": 0.5}}}}
    monkeypatch.setattr(experiments, "rates_record", lambda: record)
    assert world_rate("latent", "nsr") == 0.25 and is_tuned("latent", "nsr") and is_tuned("latent", "base")
    assert world_rate("latent", "psr") == 0.5 and not is_tuned("latent", "psr")
    assert plan.untuned(plan.study_jobs(Settings(scale="smoke", only="10"))).startswith("latent: psr, w_reinforce")
    assert world_rate("strong", "psr") == experiments.UNTUNED and not is_tuned("strong", "grpo")
