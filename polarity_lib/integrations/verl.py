"""Our methods in verl, as advantage estimators and policy losses of its own registers.

    export VERL_USE_EXTERNAL_MODULES=polarity_lib.integrations.verl
    python -m verl.trainer.main_ppo algorithm.adv_estimator=polarity.nsr \\
        actor_rollout_ref.actor.policy_loss.loss_mode=polarity.nsr ...

Both names belong together. Settings stand in the environment variable POLARITY_VERL, as JSON, so that every process of a
cluster has them:

    POLARITY_VERL='{"options": {"a3po": {"weight": 1.5}}, "right_above": 0.5}'

The loss is divided by the counts that verl hands over for the whole mini-batch, over all devices. verl hands over no count
of the rows that a method keeps; where a method divides by that, it is counted over the whole batch of rollouts, when
advantages are computed. verl hands estimators neither the policy's log-probabilities nor where a run stands, so both are
read from the trainer that calls.
"""

import functools
import json
import os
import sys

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss

from polarity_lib.config import ConfigError, choose
from polarity_lib.integrations.shared import as_rollouts, borrowed, has_option, obstacle_in_verl
from polarity_lib.methods import Method, Progress, method_named, rows_kept
from polarity_lib.objectives import BatchCounts
from polarity_lib.registry import METHODS

SETTINGS = {"options": {}, "right_above": 0.5}


def settings() -> dict:
    """What POLARITY_VERL says, over the defaults.

    Raises:
        ConfigError: it is no JSON object, or holds an unknown name.
    """
    try:
        given = json.loads(os.environ.get("POLARITY_VERL") or "{}")
    except json.JSONDecodeError as error:
        raise ConfigError(f"POLARITY_VERL is not JSON: {error}") from error
    for name in given:
        choose("setting of POLARITY_VERL", name, SETTINGS)
    return SETTINGS | given


def method_in_verl(name: str) -> Method:
    """A method with the options of POLARITY_VERL; one that samples in its own way is taken without that."""
    options = dict(settings()["options"].get(name, {}))
    if has_option(name, "dynamic"):
        options.setdefault("dynamic", False)
    return borrowed(name, options)


def caller():
    """The batch and the trainer of the nearest function of verl that calls us; None where there is none."""
    frame, batch, trainer = sys._getframe(1), None, None
    while frame is not None and trainer is None:
        data, owner = frame.f_locals.get("data"), frame.f_locals.get("self")
        if batch is None and hasattr(data, "non_tensor_batch"):
            batch = data.batch
        if hasattr(owner, "global_steps") and hasattr(owner, "config"):
            trainer = owner
        frame = frame.f_back
    return batch, trainer


def place(trainer, longest: int) -> tuple[Progress, int]:
    """Where the run stands, and the longest answer it allows. Without a trainer: its only step."""
    if trainer is None:
        return Progress(0, 1), longest
    actor = trainer.config.actor_rollout_ref.actor
    updates = trainer.config.data.train_batch_size // actor.ppo_mini_batch_size * actor.get("ppo_epochs", 1)
    # verl counts steps from 1.
    progress = Progress(max(0, trainer.global_steps - 1), int(trainer.total_training_steps), max(1, updates))
    return progress, int(trainer.config.data.max_response_length)


def estimate(name: str, token_level_rewards: Tensor, response_mask: Tensor, index, **_) -> tuple[Tensor, Tensor]:
    """verl's signature of an advantage estimator: [N, T] advantages, and the same again as returns.

    Rows that the method drops get zero, which in the loss is the same.
    """
    method = method_in_verl(name)
    batch, trainer = caller()
    progress, longest = place(trainer, response_mask.shape[1])
    known = {} if batch is None else batch
    scores_NT = known["token_level_scores"] if "token_level_scores" in known else token_level_rewards  # no penalty in them
    old_NT = known["old_log_probs"] if "old_log_probs" in known else None
    rollouts = as_rollouts(
        right_N=scores_NT.sum(-1).cpu() > settings()["right_above"], group_N=_numbered(index), mask_NT=response_mask,
        logprobs_NT=old_NT, entropies_NT=known["entropys"] if "entropys" in known else None,
        max_new_tokens=longest, keys=[str(uid) for uid in index])
    rollouts = rollouts.but(finished_N=rollouts.mask_NT.sum(1) < longest)  # a full answer may have been cut
    rewards_N = method.reward(rollouts)
    keep_N = rows_kept(method, rewards_N, rollouts.group_N)
    advantages_NT = method.advantage(rollouts, rewards_N, progress) * keep_N[:, None]
    advantages_NT = advantages_NT * kept_factor(method, rollouts.mask_NT, keep_N, longest)
    advantages_NT = advantages_NT.to(response_mask.device)
    return advantages_NT, advantages_NT


def _numbered(index) -> Tensor:
    seen: dict = {}
    return torch.tensor([seen.setdefault(str(uid), len(seen)) for uid in index])


def kept_factor(method: Method, mask_NT: Tensor, keep_N: Tensor, longest: int) -> float:
    """What a method's denominator makes of dropped rows: its loss over that of the same rows if all were counted as kept."""
    if keep_N.all() or not keep_N.any():
        return 1.0
    ones_NT, rows = mask_NT[keep_N].double(), mask_NT[keep_N]
    true, blind = (method.aggregate(ones_NT, rows, counts) for counts in (
        BatchCounts.of(mask_NT, keep_N, longest), BatchCounts.of(mask_NT, None, longest)))
    return float(true / blind)


def policy_loss(name: str, old_log_prob: Tensor, log_prob: Tensor, advantages: Tensor, response_mask: Tensor,
                loss_agg_mode: str = "", config=None, rollout_is_weights: Tensor | None = None) -> tuple[Tensor, dict]:
    """verl's signature of a policy loss. Clip bounds and the aggregation are the method's, not the configuration's.

    Raises:
        ConfigError: the method divides by the longest answer and `actor.loss_scale_factor` does not give it.
        ValueError: several devices and no count of the whole mini-batch.
    """
    method, mask_NT = method_in_verl(name), response_mask.float()
    given = dict(getattr(config, "global_batch_info", None) or {})
    devices = int(given.get("dp_size") or 1)
    tokens, rows = given.get("batch_num_tokens"), given.get("global_batch_size")
    if devices > 1 and (tokens is None or rows is None):
        raise ValueError("several devices need batch_num_tokens and global_batch_size of the whole mini-batch.")
    tokens = int(mask_NT.sum()) if tokens is None else int(tokens)
    rows = len(mask_NT) if rows is None else int(rows)
    longest = given.get("loss_scale_factor") or getattr(config, "loss_scale_factor", None) or 0
    loss_NT = method.token_loss(log_prob, old_log_prob, advantages, mask_NT, {})
    if rollout_is_weights is not None:
        loss_NT = loss_NT * rollout_is_weights
    try:
        loss = method.aggregate(loss_NT, mask_NT, BatchCounts(tokens, rows, tokens, rows, int(longest)))
    except ValueError as error:
        if "generation budget" in str(error):
            raise ConfigError(f"polarity.{name} divides by the longest answer allowed: set "
                              "actor_rollout_ref.actor.loss_scale_factor to data.max_response_length.") from error
        raise
    ratio_NT = (log_prob - old_log_prob).detach().clamp(-20, 20).exp()
    blocked = ((advantages > 0) & (ratio_NT > 1.2)) | ((advantages < 0) & (ratio_NT < 0.8))
    total = mask_NT.sum().clamp(min=1)
    return loss * devices, {
        "actor/pg_clipfrac": float((blocked * mask_NT).sum() / total),
        "actor/ppo_kl": float(((old_log_prob - log_prob).detach() * mask_NT).sum() / total),
    }


def register() -> list[str]:
    """Enter every method that can run here into verl's registers; returns their names there."""
    entered = []
    for name in METHODS:
        options = {"dynamic": False} if has_option(name, "dynamic") else {}
        if not obstacle_in_verl(method_named(name, options)):
            estimator, loss = functools.partial(estimate, name), functools.partial(policy_loss, name)
            register_adv_est(f"polarity.{name}")(estimator)
            register_policy_loss(f"polarity.{name}")(loss)
            entered.append(f"polarity.{name}")
    return entered


REGISTERED = register()
