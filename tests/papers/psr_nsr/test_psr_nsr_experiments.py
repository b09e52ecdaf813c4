"""Which runs the experiments of PSR/NSR share, and which they copy."""

import pytest

from polarity_lib.experiments import experiment
from polarity_lib.papers.psr_nsr.experiments import LAMBDAS


def configs(name, scale="tiny", seeds=1):
    return {arm.name: arm.config for arm in experiment(name, scale=scale, seeds=seeds)}


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
