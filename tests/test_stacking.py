"""R stacked runs are the same R single runs: identical tokens, numbers within float32's rounding, whatever else is in the stack."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from polarity_lib import stacking, training
from polarity_lib.config import StartConfig
from polarity_lib.engines import FastSampler, make_sampler
from polarity_lib.engines.stacked import Decode, StackedModel
from polarity_lib.experiments import Arm, train_or_load
from polarity_lib.policy import build_policy, pack, token_logprobs
from polarity_lib.problems import world_named
from polarity_lib.results import RunFolder, without_timings
from polarity_lib.stacking import Wanted, memory_of_run, runs_at_once, stack_key, stacks_of, train_stacked
from polarity_lib.training import train

# Float32 sums in another order differ by about 1e-7; Adam divides by small numbers, and four steps add up.
CLOSE = {"rtol": 2e-3, "atol": 2e-5}


def folder_for(config, root) -> RunFolder:
    return RunFolder(config.name, config.identity, root)


def stacked(configs, root, sizes=None, watch=None, device="cpu"):
    wanted = [Wanted(c, folder_for(c, root), (sizes or {}).get(c.hash), watch) for c in configs]
    return train_stacked(wanted, device)


def alone(config, root, **options):
    return train(config, folder_for(config, root), device="cpu", **options)


def assert_same_run(ours, single, close=CLOSE):
    """Sampled answers and their counts are identical; numbers agree within `close`."""
    pd.testing.assert_frame_equal(ours["problems"], single["problems"], check_exact=True)
    columns = ["step", "prompt", "response", "label", "tokens"]
    pd.testing.assert_frame_equal(ours["rollouts"][columns], single["rollouts"][columns], check_exact=True)
    np.testing.assert_allclose(ours["updates"].norm, single["updates"].norm, **close)
    left, right = (without_timings(t["metrics"]) for t in (ours, single))
    assert left[["step", "metric"]].equals(right[["step", "metric"]])
    for row, value in zip(left.itertuples(), right.value):
        # The gap to the sampler is itself rounding, and another batch rounds otherwise.
        tolerance = {"rtol": 0, "atol": 1e-4} if row.metric == "update/sampler_gap" else close
        np.testing.assert_allclose(row.value, value, err_msg=f"{row.metric} at step {row.step}", **tolerance)


ARMS = {
    "grpo": {"method": "grpo"},
    "psr": {"method": "psr", "seed": 1, "learning_rate": 3e-4},
    "nsr": {"method": "nsr", "seed": 2, "learning_rate": 5e-4},
    "a3po": {"method": "a3po"},
    "lens": {"method": "lens", "learning_rate": 2e-3},
    "ppo": {"method": "ppo", "seed": 1},  # carries a critic
    "kl": {"method": "grpo", "options": (("kl", 0.1),)},  # carries a reference
    "dapo": {"method": "dapo", "seed": 2},  # draws more than once
    "free": {"method": "reinforce", "grad_clip": 0.0},
}


@pytest.mark.parametrize("sizes", [{}, {"minibatches": 4}, {"optimizer": "sgd", "learning_rate": 1e-2}],
                         ids=["one update", "four updates", "sgd"])  # fmt: skip
def test_stacked_runs_equal_single_runs(sizes, configure, tmp_path):
    configs = {name: configure(**(changes | sizes)) for name, changes in ARMS.items()}
    assert len({stack_key(c) for c in configs.values()}) == 1
    together = dict(zip(configs, stacked(configs.values(), tmp_path / "stacked")))
    for name, config in configs.items():
        assert_same_run(together[name], alone(config, tmp_path / "alone"))
        record = folder_for(config, tmp_path / "stacked").record()
        assert record["stacked"] == len(configs)
        assert "stacked" not in folder_for(config, tmp_path / "alone").record()
