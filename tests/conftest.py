"""What the tests share: a scratch folder for runs, one small base policy, one small configuration.

No test reads or writes data/runs.
"""

import pytest
import torch
from hypothesis import settings

from polarity_lib.config import RunConfig, StartConfig
from polarity_lib.pretraining import base_policy

settings.register_profile("machines differ in speed", deadline=None)
settings.load_profile("machines differ in speed")

# Ten seconds of training; about one sampled answer in ten is right, so groups are mixed.
START = StartConfig("countdown", "smoke", steps=300, seed=0, batch=64)


@pytest.fixture(scope="session", autouse=True)
def scratch_runs(tmp_path_factory):
    """Runs and base policies of this session; a second use of a base policy loads it."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLARITY_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield


@pytest.fixture
def policy(scratch_runs):
    """A copy of the small base policy that a test may change."""
    return base_policy(START)


@pytest.fixture
def configure():
    """configure("nsr", steps=2): a run of about a second, with some fields changed."""

    def make(method: str = "reinforce", **changes) -> RunConfig:
        fields = {
            "world": "countdown3", "start": START, "seed": 0, "steps": 4, "learning_rate": 1e-3,
            "prompts_per_step": 8, "rollouts_per_prompt": 8, "pool_size": 16, "curve_every": 2,
            "curve_problems": 2, "curve_samples": 2, "final_problems": 4, "final_samples": 4,
            "checkpoint_every": 2,
        }  # fmt: skip
        return RunConfig(method=method, **(fields | changes))

    return make
