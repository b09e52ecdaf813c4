"""Which runs the experiments of PSR/NSR share, and which they copy."""

import pytest

from polarity_lib.experiments import experiment, world_rate
from polarity_lib.papers.psr_nsr.experiments import FORMULAS, LAMBDAS, WORLDS


def configs(name, scale="tiny", seeds=1):
    return {arm.name: arm.config for arm in experiment(name, scale=scale, seeds=seeds)}


@pytest.mark.parametrize("scale", ["smoke", "tiny"])
def test_experiments_share_their_common_runs(scale):
    main = {world: configs(f"psr_nsr_{world}", scale) for world in WORLDS}
    strength = configs("strength", scale)
    assert strength["1/nsr"].hash == main["search"]["nsr"].hash and strength["1/base"].hash == main["search"]["base"].hash
    assert configs("controls", scale)["grpo"].hash == main["latent"]["grpo"].hash
    sweep = configs("lambda_sweep", scale)
    assert sweep["lambda=0.1"].hash == main["search"]["w_reinforce"].hash
    assert len({c.hash for c in sweep.values()}) == len(LAMBDAS) + 1  # and the base
    for world in WORLDS:
        one, formulas = configs(f"one_rate_{world}", scale), configs(f"definitions_{world}", scale)
        rate = world_rate(world, "grpo")
        assert one["base"].hash == formulas["base"].hash == main[world]["base"].hash
        assert one["grpo"].hash == configs(f"over_rate_{world}", scale)[f"grpo/{rate:g}"].hash == main[world]["grpo"].hash
        assert one["psr"].hash == formulas["psr"].hash and one["nsr"].hash == formulas["nsr"].hash


def test_one_rate_and_one_update_mean_what_they_say():
    for world in WORLDS:
        rate = world_rate(world, "grpo")
        arms = configs(f"one_rate_{world}") | configs(f"definitions_{world}")
        assert {c.learning_rate for name, c in arms.items() if name != "base"} == {rate} and set(FORMULAS) < set(arms)
        assert {c.minibatches for c in arms.values()} == {4}
        own = configs(f"psr_nsr_{world}")
        for name, config in configs(f"one_update_{world}").items():
            assert config.minibatches == 1 and config.learning_rate == pytest.approx(4 * own[name].learning_rate)


def test_matched_arms_point_at_the_run_they_copy():
    arms = {a.name: a for a in experiment("controls", scale="smoke")}
    assert arms["psr_matched"].matched == arms["grpo"].config
    assert arms["psr_matched"].config.matched_to == arms["grpo"].config.hash
    assert arms["grpo"].matched is None
