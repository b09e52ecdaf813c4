"""What the tests share: a scratch folder for runs, one small base policy, one small configuration.

No test reads or writes data/runs.
"""

import pytest
import torch
from gradients import G, P, with_verdicts
from hypothesis import settings

from polarity_lib.config import RunConfig, StartConfig
from polarity_lib.engines import make_sampler
from polarity_lib.methods import Progress, method_named, rows_kept
from polarity_lib.pretraining import base_policy
from polarity_lib.problems import world_named
from polarity_lib.registry import METHODS
from polarity_lib.run import prepare
from polarity_lib.updates import extras_for, update

pytest.register_assert_rewrite("families", "made_up_runs", "token_losses")  # helpers that assert

settings.register_profile("machines differ in speed", deadline=None)
settings.load_profile("machines differ in speed")

# Ten seconds of training; about one sampled answer in ten is right, so groups are mixed.
START = StartConfig("countdown", "smoke", steps=300, seed=0, batch=64)

BABBLE = StartConfig("chain_zero", "smoke", 2, 0, batch=4)  # its policy babbles; that is enough for many tests and costs nothing


@pytest.fixture(scope="session", autouse=True)
def scratch_runs(tmp_path_factory):
    """Runs and base policies of this session; a second use of a base policy loads it."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLARITY_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield


@pytest.fixture(autouse=True)
def methods_as_they_were():
    """A method that a test brings is gone after it: tests that go through all methods share its process."""
    before = dict(METHODS)
    yield
    for name in METHODS.keys() - before.keys():
        del METHODS[name]


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


@pytest.fixture
def babbler(scratch_runs):
    """A policy that has hardly been trained."""
    return base_policy(BABBLE)


@pytest.fixture
def batch(policy):
    """6 x 4 rollouts with verdicts by hand: mixed groups, one all right, one all wrong."""
    problems = world_named("countdown3").draw("train", P, 0)
    rollouts = make_sampler(policy).sample(problems, G, "methods")
    groups = [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]
    # The longest answer is as long as answers may be: DAPO punishes it.
    rollouts = rollouts.but(max_new_tokens=int(rollouts.mask_NT.sum(1).max()))
    return with_verdicts(rollouts, [right for group in groups for right in group])


@pytest.fixture
def gradient_of(configure):
    """gradient_of("nsr", batch): the gradient that the loop's own update leaves behind, as one vector."""

    def compute(method, rollouts, **changes):
        name = method if isinstance(method, str) else method.name
        config = configure(name, optimizer="sgd", grad_clip=0.0, **changes)
        run = prepare(config, "cpu")
        run.method = method_named(name) if isinstance(method, str) else method
        # Values of steps by hand, as a method's own collect would leave them: every token is worth less than the one before.
        before_NT = 1.0 - torch.arange(rollouts.mask_NT.shape[1]) / 64 * rollouts.mask_NT
        rollouts = rollouts.but(extras={"values_before": before_NT, "step_values": before_NT - rollouts.mask_NT / 64})
        rollouts = rollouts.but(extras=rollouts.extras | extras_for(run, rollouts))
        rewards = run.method.reward(rollouts)
        keep = rows_kept(run.method, rewards, rollouts.group_N)
        advantages = run.method.advantage(rollouts, rewards, Progress(0, 1)) * keep[:, None]
        found = update(run, rollouts, advantages, keep, None)
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in run.policy.model.parameters()]
        gradient = torch.cat([g.flatten() for g in grads])
        if config.minibatches == 1:  # of several, the metric is a mean and the gradient that of the last
            assert found["update/gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-4)
        return gradient

    return compute


@pytest.fixture
def own_runs(tmp_path, monkeypatch):
    """A folder for the runs of one test."""
    monkeypatch.setenv("POLARITY_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Three small notebooks that stand for the tour, the study and the claims."""
    from small_notebooks import write_notebook  # needs nbformat, which bare GPU machines lack

    from polarity_lib.study import execution, plan

    folder = tmp_path / "notebooks"
    for name in ("00_tour", "10_spectrum", "90_claims"):
        write_notebook(folder / f"{name}.ipynb", 'scale = "tiny"\nseeds = 1\nreuse_published = True\nrate = 1.0')
    monkeypatch.setattr(plan, "NOTEBOOKS", folder)
    monkeypatch.setattr(execution, "NOTEBOOKS", folder)
    return folder
