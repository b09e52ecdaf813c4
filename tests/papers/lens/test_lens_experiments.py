"""Which runs the experiments of LENS share, and whose rate they take."""

import json

import pytest

from polarity_lib import experiments
from polarity_lib.experiments import RATES_FILE, experiment
from polarity_lib.papers.lens.experiments import EXPERIMENTS, LENS_VARIANTS, LONG
from polarity_lib.problems import world_named

OWN = {"grpo": 1e-5, "lens": 2e-5, "uniform_penalty": 3e-5, "ngrpo": 4e-5, "rl_zvp": 5e-5, "cw_nsr": 6e-5}


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    """Every method has a rate of its own, whatever has been tuned."""
    record = json.loads(RATES_FILE.read_text(encoding="utf-8"))
    cells = {method: {"rate": rate} for method, rate in OWN.items()}
    monkeypatch.setattr(experiments, "rates_record", lambda: record | {"worlds": {"rare": cells, "search": cells}})


def configs(name, scale="tiny"):
    return {arm.name: arm.config for arm in experiment(name, scale=scale)}


@pytest.mark.parametrize("scale", ["smoke", "tiny"])
def test_what_is_the_same_run_has_one_hash(scale):
    main, sweep, one = configs("lens", scale), configs("lens_sweep", scale), configs("lens_one_rate", scale)
    assert sweep["alpha=0.25"] == main["lens"] and sweep["alpha=0"] == main["mixed only"]
    assert sweep["factor=2"] == main["negative only"]
    assert sweep["grpo"] == main["grpo"] == one["grpo"] == configs("lens_neighbours", scale)["grpo"]
    assert one["base"] == main["base"] and configs("lens_over_rate", scale)["grpo/1e-05"] == main["grpo"]
    assert configs("lens_over_rate", scale)["lens/1e-05"] == one["lens"] != main["lens"]
    for arms in (main, sweep, one):
        assert len({config.hash for config in arms.values()}) == len(arms)


def test_options_of_one_formula_share_its_rate_and_one_rate_is_grpos():
    main, sweep = configs("lens"), configs("lens_sweep")
    for name in ("lens", "mixed only", "negative only", "shuffled", "flipped"):
        assert main[name].learning_rate == OWN["lens"]
    for name, (method, _) in LENS_VARIANTS.items():
        assert sweep[name].learning_rate == OWN[method]
    assert {c.learning_rate for name, c in configs("lens_one_rate").items() if name != "base"} == {OWN["grpo"]}
    assert {name: c.learning_rate for name, c in configs("lens_neighbours").items()} == {
        name: OWN[name] for name in ("grpo", "lens", "ngrpo", "rl_zvp", "cw_nsr")}


def test_groups_of_16_four_updates_and_both_temperatures_everywhere():
    for name in EXPERIMENTS:
        for arm, config in configs(name).items():
            assert (config.prompts_per_step, config.rollouts_per_prompt, config.minibatches) == (16, 16, 4), (name, arm)
            assert config.world == ("search" if name == "lens_search" else "rare") and "cool" in config.probes
    long, short = configs("lens_long")["lens"], configs("lens")["lens"]
    assert long.steps == LONG * short.steps == LONG * world_named("rare").protocol["steps"]
