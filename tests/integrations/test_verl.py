"""Our methods in verl: against our own arithmetic, against verl's own estimators and losses. Run by `make test-verl`."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("verl")

from omegaconf import OmegaConf  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402

from polarity_lib.config import ConfigError  # noqa: E402
from polarity_lib.integrations import verl as ours  # noqa: E402
from polarity_lib.integrations.shared import as_rollouts  # noqa: E402
from polarity_lib.integrations.table import runs  # noqa: E402
from polarity_lib.methods import Progress, rows_kept  # noqa: E402
from polarity_lib.objectives import BatchCounts  # noqa: E402
from polarity_lib.registry import METHODS  # noqa: E402
from polarity_lib.results import ROOT  # noqa: E402

pytestmark = [pytest.mark.verl, pytest.mark.filterwarnings("ignore")]

N, T, LONGEST = 16, 7, 10
RIGHT = torch.tensor([1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0])
LENGTHS = torch.tensor([7, 3, 1, 5, 2, 6, 4, 7, 7, 7, 2, 3, 1, 4, 5, 6])
UID = np.array([f"prompt {i // 4}" for i in range(N)], dtype=object)
MASK = (torch.arange(T)[None] < LENGTHS[:, None]).long()
GENERATOR = torch.Generator().manual_seed(0)
OLD = -torch.rand(N, T, generator=GENERATOR) * 3 - 0.01
NEW = (OLD + 0.5 * torch.randn(N, T, generator=GENERATOR)).clamp(max=-0.01)
NAMES = [name.removeprefix("polarity.") for name in ours.REGISTERED]


def proto(scores=RIGHT.float()) -> DataProto:
    """A batch as verl's trainer has it when it asks for advantages; the last token carries the score."""
    scores_NT = torch.zeros(N, T).scatter(1, LENGTHS[:, None] - 1, scores[:, None])
    data = DataProto.from_dict({"token_level_scores": scores_NT, "token_level_rewards": scores_NT.clone(),
                                "response_mask": MASK, "old_log_probs": OLD})
    data.non_tensor_batch["uid"] = UID
    return data


class Trainer:
    """What of verl's trainer is read: where it stands, how long answers may be, how a batch is split."""

    global_steps, total_training_steps = 4, 20
    config = OmegaConf.create({"data": {"train_batch_size": 4, "max_response_length": LONGEST},
                               "actor_rollout_ref": {"actor": {"ppo_mini_batch_size": 4, "ppo_epochs": 1}}})

    def advantages(self, name, data=None):
        return compute_advantage(data or proto(), adv_estimator=name).batch["advantages"]


def actor(**changes) -> ActorConfig:
    """The actor's settings with the counts that its worker fills in."""
    fields = {"strategy": "fsdp", "rollout_n": 4, "ppo_mini_batch_size": 4, "ppo_micro_batch_size_per_gpu": 4,
              "use_dynamic_bsz": True, "clip_ratio_c": 1e6}
    config = ActorConfig(**(fields | changes))
    config.global_batch_info.update(dp_size=1, batch_num_tokens=int(MASK.sum()), global_batch_size=N,
                                    loss_scale_factor=config.loss_scale_factor)
    return config


def loss_and_slope(name, advantages, rows=slice(None), config=None):
    logprobs = NEW[rows].clone().requires_grad_()
    loss, metrics = core_algos.get_policy_loss_fn(name)(
        old_log_prob=OLD[rows], log_prob=logprobs, advantages=advantages[rows], response_mask=MASK[rows].bool(),
        loss_agg_mode=(config or actor()).loss_agg_mode, config=config or actor(), rollout_is_weights=None)
    return loss.item(), torch.autograd.grad(loss, logprobs)[0], metrics


def by_hand(method):
    """The library alone on the same tensors: loss, and slope in the log-probabilities."""
    rollouts = as_rollouts(RIGHT > 0, torch.arange(N) // 4, MASK, OLD, None, LONGEST, list(UID))
    rewards_N = method.reward(rollouts)
    keep_N = rows_kept(method, rewards_N, rollouts.group_N)
    advantages_NT = method.advantage(rollouts, rewards_N, Progress(3, 20, 1)) * keep_N[:, None]
    logprobs, mask_NT = NEW.clone().requires_grad_(), MASK.float()
    loss_NT = method.token_loss(logprobs[keep_N], OLD[keep_N], advantages_NT[keep_N], mask_NT[keep_N], {})
    loss = method.aggregate(loss_NT, mask_NT[keep_N], BatchCounts.of(mask_NT, keep_N, LONGEST))
    return loss.item(), torch.autograd.grad(loss, logprobs)[0]


# ---------------------------------------------------------------- registered, by verl's own way of asking


def test_verl_loads_us_when_asked():
    code = """
import verl
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, get_policy_loss_fn
print(get_adv_estimator_fn("polarity.nsr").args, get_policy_loss_fn("polarity.nsr").args)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600,
                          env=os.environ | {"VERL_USE_EXTERNAL_MODULES": ours.__name__, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("('nsr',) ('nsr',)")


def test_what_is_registered_is_what_the_table_says():
    assert NAMES == [name for name in METHODS if runs(name, "verl") or runs(name, "verl", {"dynamic": False})]
    assert {"grpo", "psr", "nsr", "a3po", "lens", "dapo", "gspo", "cispo", "dr_grpo"} <= set(NAMES)
    assert not {"ppo", "lp_reg", "dapo_fork", "rl_zvp"} & set(NAMES)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("name", NAMES)
def test_a_method_gives_our_numbers_on_the_same_tensors(name):
    config = actor(loss_scale_factor=LONGEST)
    advantages = Trainer().advantages(f"polarity.{name}")
    loss, slope, metrics = loss_and_slope(f"polarity.{name}", advantages, config=config)
    expected, expected_slope = by_hand(ours.method_in_verl(name))
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert torch.allclose(slope, expected_slope, rtol=1e-4, atol=1e-7)
    assert (slope.abs().sum() > 0) == (name != "base")
    assert set(metrics) == {"actor/pg_clipfrac", "actor/ppo_kl"}
    # In pieces of whole rows, as devices and micro-batches see it, the same in sum.
    parts = [loss_and_slope(f"polarity.{name}", advantages, rows, config) for rows in (slice(0, 5), slice(5, None))]
    assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-5, abs=1e-7)
    assert torch.allclose(torch.cat([part[1] for part in parts]), slope, rtol=1e-4, atol=1e-8)


def overlong_rewards() -> torch.Tensor:
    """DAPO's: +-1, and down to -1 more in the last two of ten tokens."""
    return 2.0 * RIGHT - 1 - ((LENGTHS - 8) / 2).clamp(min=0)


TWINS = {  # verl's estimator, its loss, its settings, its scores
    "grpo": ("grpo", "vanilla", {"loss_agg_mode": "seq-mean-token-mean"}, RIGHT.float(), {}),
    "dr_grpo": ("grpo", "vanilla", {"loss_agg_mode": "seq-mean-token-sum-norm", "loss_scale_factor": LONGEST}, RIGHT.float(),
                {"norm_adv_by_std_in_grpo": False}),
    "dapo": ("grpo", "vanilla", {"loss_agg_mode": "token-mean", "clip_ratio_low": 0.2, "clip_ratio_high": 0.28},
             overlong_rewards(), {}),
    "gspo": ("grpo", "gspo", {"loss_agg_mode": "seq-mean-token-mean", "clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4},
             RIGHT.float(), {}),
    "cispo": ("grpo", "cispo", {"loss_agg_mode": "token-mean", "clip_ratio_low": 1.0, "clip_ratio_high": 0.28},
              RIGHT.float(), {}),
}


@pytest.mark.parametrize("name", TWINS)
def test_ours_equals_theirs(name):
    estimator, loss, settings, scores, options = TWINS[name]
    config = actor(**settings)
    kind = core_algos.AdvantageEstimator(estimator)
    theirs_A = compute_advantage(proto(scores), adv_estimator=kind, **options).batch["advantages"]
    ours_A = Trainer().advantages(f"polarity.{name}")
    assert torch.allclose(ours_A, theirs_A, atol=1e-5)
    theirs, mine = loss_and_slope(loss, theirs_A, config=config), loss_and_slope(f"polarity.{name}", ours_A, config=config)
    assert mine[0] == pytest.approx(theirs[0], rel=1e-5, abs=1e-7)
    assert torch.allclose(mine[1], theirs[1], rtol=1e-4, atol=1e-7) and theirs[1].abs().sum() > 0


def test_rloo_equals_theirs():
    theirs = compute_advantage(proto(), adv_estimator=core_algos.AdvantageEstimator.RLOO).batch["advantages"]
    assert torch.allclose(Trainer().advantages("polarity.rloo"), theirs, atol=1e-6)


def test_several_devices_add_up():
    """Each device's gradient is averaged with the others', so its loss is multiplied by their number."""
    one, two = actor(), actor()
    two.global_batch_info["dp_size"] = 2
    advantages = Trainer().advantages("polarity.grpo")
    assert loss_and_slope("polarity.grpo", advantages, config=two)[0] == pytest.approx(
        2 * loss_and_slope("polarity.grpo", advantages, config=one)[0])
    two.global_batch_info["batch_num_tokens"] = None
    with pytest.raises(ValueError, match="several devices need"):
        loss_and_slope("polarity.grpo", advantages, config=two)


def test_weights_of_the_sampler_gap_are_used():
    advantages, weights = Trainer().advantages("polarity.grpo"), torch.full((N, T), 0.5)
    loss, _ = core_algos.get_policy_loss_fn("polarity.grpo")(OLD, NEW, advantages, MASK.bool(), "", actor(), weights)
    assert loss.item() == pytest.approx(0.5 * loss_and_slope("polarity.grpo", advantages)[0])


# ---------------------------------------------------------------- schedules, settings, refusals


def test_a_schedule_follows_the_trainer():
    early, late = Trainer(), Trainer()
    early.global_steps, late.global_steps = 1, 20
    assert torch.allclose(late.advantages("polarity.a3po"), Trainer().advantages("polarity.grpo"))  # its weight has come to 1
    assert not torch.allclose(early.advantages("polarity.a3po"), late.advantages("polarity.a3po"))


def test_options_stand_in_the_environment(monkeypatch):
    monkeypatch.setenv("POLARITY_VERL", '{"options": {"w_reinforce": {"positive_weight": 0.5}}, "right_above": 0.2}')
    advantages = Trainer().advantages("polarity.w_reinforce", proto(0.3 * RIGHT.float()))
    assert set(advantages.unique().tolist()) == {0.5, 0.0, -1.0}
    for text, line in (("{", "is not JSON"), ('{"optoins": {}}', "Did you mean 'options'"),
                       ('{"options": {"a3po": {"wieght": 1}}}', "Did you mean 'weight'")):
        monkeypatch.setenv("POLARITY_VERL", text)
        with pytest.raises(ConfigError, match=line):
            Trainer().advantages("polarity.a3po")


def test_what_is_missing_is_named():
    data = proto()
    data.batch.pop("old_log_probs")
    with pytest.raises(ConfigError, match="reads the token log-probabilities, which are not there"):
        Trainer().advantages("polarity.lens", data)
    with pytest.raises(ConfigError, match="loss_scale_factor"):
        loss_and_slope("polarity.dr_grpo", Trainer().advantages("polarity.dr_grpo"))


# ---------------------------------------------------------------- the verifier


def test_the_verifier_as_verl_loads_it():
    from verl.trainer.ppo.reward import get_custom_reward_fn

    path = ROOT / "polarity_lib" / "integrations" / "rewards.py"
    score = get_custom_reward_fn(OmegaConf.create(
        {"reward": {"custom_reward_function": {"path": str(path), "name": "compute_score"}}}))
    paid = [score(data_source="math", solution_str=text, ground_truth=gold, extra_info={})
            for text, gold in ((r"so \boxed{0.5}", "1/2"), (r"\boxed{8}", 7))]
    assert [p["score"] for p in paid] == [1.0, 0.0] and [p["verdict"] for p in paid] == ["correct", "wrong"]


def test_a_caller_that_is_no_trainer_gets_the_only_step():
    assert ours.place(None, 7) == (Progress(0, 1), 7)
    trainer = SimpleNamespace(global_steps=3, total_training_steps=9, config=OmegaConf.create(
        {"data": {"train_batch_size": 8, "max_response_length": 40},
         "actor_rollout_ref": {"actor": {"ppo_mini_batch_size": 2, "ppo_epochs": 2}}}))
    assert ours.place(trainer, 7) == (Progress(2, 9, 8), 40)
