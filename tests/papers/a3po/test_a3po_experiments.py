"""Which runs the experiments of A3PO share with each other and with PSR/NSR's, and what differs between arms."""

import pytest

from polarity_lib import experiments
from polarity_lib.experiments import experiment
from polarity_lib.papers.a3po.experiments import EVERYONE, EXPERIMENTS, SGD_RATE, WORLD
from polarity_lib.papers.baselines.experiments import RATE_FACTORS

RATES = {m: 1e-5 * (i + 1) for i, m in enumerate((*EVERYONE, "psr", "nsr", "reinforce"))}  # one each, so that none is mistaken


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    """Rates that nobody tuned."""
    record = experiments.rates_record() | {"worlds": {WORLD: {m: {"rate": rate} for m, rate in RATES.items()}}}
    monkeypatch.setattr(experiments, "rates_record", lambda: record)


def configs(name, scale="tiny"):
    return {arm.name: arm.config for arm in experiment(name, scale=scale)}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_is_in_latent_with_four_updates_per_batch(name):
    assert {(c.world, c.minibatches, c.start.corpus) for c in configs(name).values()} == {("latent", 4, "latent")}


def test_every_method_has_its_own_rate_and_then_grpos():
    own, one = configs("a3po"), configs("a3po_one_rate")
    assert {m: own[m].learning_rate for m in EVERYONE} == {m: RATES[m] for m in EVERYONE}
    assert {one[m].learning_rate for m in EVERYONE} == {RATES["grpo"]}
    assert all(own[m].but(learning_rate=RATES["grpo"]) == one[m] for m in EVERYONE)


@pytest.mark.parametrize("scale", ["smoke", "tiny"])
def test_experiments_share_their_common_runs(scale):
    own, one, swept = (configs(f"a3po{part}", scale) for part in ("", "_one_rate", "_over_rate"))
    assert own["grpo"] == one["grpo"] and own["base"] == one["base"]
    factors = RATE_FACTORS if scale == "tiny" else (1.0,)
    assert {c.learning_rate for c in swept.values()} == {f * RATES["grpo"] for f in factors} and len(swept) == 4 * len(factors)
    assert all(swept[f"{m}/{RATES['grpo']:g}"] == one[m] for m in ("grpo", "dapo", "lp_reg", "a3po"))
    assert {a: c for a, c in swept.items() if a.startswith("grpo/")}.items() <= configs("over_rate_latent", scale).items()
    ablations, weights, formulas = (configs(n, scale) for n in ("a3po_ablations", "polarity_weights", "definitions_latent"))
    assert ablations["grpo"] == one["grpo"] == weights["P1N1"] and ablations["a3po"] == one["a3po"]
    assert weights["P1N0"] == formulas["psr_grpo_seq"] and weights["P0N1"] == formulas["nsr_grpo_seq"]


def test_one_part_is_changed_at_a_time():
    arms = configs("a3po_ablations")
    assert {c.learning_rate for c in arms.values()} == {RATES["grpo"]}
    assert arms["a3po tossed"] == arms["a3po"].but(verdicts="tossed")
    assert arms["random tokens"] == arms["a3po"].but(options=(("selection", "random"),))
    matched = next(a for a in experiment("a3po_ablations") if a.name == "a3po matched")
    assert matched.matched == arms["grpo"] and matched.config.but(matched_to="") == arms["a3po"]


def test_sgd_is_not_clipped_and_differs_in_weights_alone():
    arms = {name: c for name, c in configs("polarity_weights").items() if name.startswith("sgd")}
    assert {(c.optimizer, c.grad_clip, c.learning_rate) for c in arms.values()} == {("sgd", 0.0, SGD_RATE)}
    assert len({c.but(options=()) for c in arms.values()}) == 1
    assert dict(arms["sgd+kl/P2N2"].options)["kl"] > 0


def test_probes_and_the_leak_change_nothing_of_a_training():
    arms, formulas = configs("single_polarity"), configs("definitions_latent")
    assert arms["nsr_grpo_seq"].but(probes=("cool",)) == formulas["nsr_grpo_seq"]
    assert arms["grpo leaky"] == arms["grpo"].but(verdicts="leaky")
    assert arms["base"].steps == 0 and set(arms["base"].probes) >= {"faithful", "shifted", "patterns", "garbled"}


def test_token_shaping_is_short_and_has_a_point_every_four_batches():
    assert {(c.steps, c.curve_every, c.learning_rate) for c in configs("token_shaping").values()} == {(40, 4, RATES["grpo"])}
