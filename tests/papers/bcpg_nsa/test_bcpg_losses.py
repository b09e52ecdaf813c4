"""Offline losses: the card's numbers first, then gradients against autograd, then TRL's own DPO."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.advantages import dr_grpo
from polarity_lib.objectives import BatchCounts, sequence_mean_token_mean, sequence_mean_token_sum
from polarity_lib.papers.bcpg_nsa.losses import (
    bcpg, bcpg_centred, bcpg_per_token, dpo, log_ratios, pair_signs, pairs_of, topr,
)
from polarity_lib.papers.bcpg_nsa.mining import nsa_weights

# One prompt: a right answer of three tokens with rho = 0.2, a wrong one of two with rho = -0.4; its first token is "good".
MASK = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
WRITTEN = torch.tensor([[-1.0, -0.5, -0.7], [-0.6, -0.9, -9.0]], dtype=torch.float64)
NOW = WRITTEN + torch.tensor([[0.1, -0.1, 0.2], [-0.3, -0.1, 5.0]], dtype=torch.float64)
RIGHT = torch.tensor([True, False])
GROUP = torch.zeros(2, dtype=torch.long)
GOOD = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
TAU, BETA = 0.1, 0.5


def slopes(token_loss, logprobs_NT=NOW, aggregate=sequence_mean_token_mean, mask_NT=MASK):
    """[N, T] what the loss would raise each log-probability by: minus its gradient."""
    logprobs_NT = logprobs_NT.clone().requires_grad_()
    loss = aggregate(token_loss(logprobs_NT), mask_NT, BatchCounts.of(mask_NT))
    return -torch.autograd.grad(loss, logprobs_NT)[0]


def card_advantages(beta=BETA):
    return dr_grpo(RIGHT.double(), GROUP)[:, None] * nsa_weights(GOOD, RIGHT, beta)


def test_the_numbers_of_the_card():
    assert log_ratios(NOW, WRITTEN, MASK).tolist() == pytest.approx([0.2, -0.4])
    up = slopes(lambda logp: bcpg(logp, logp.detach(), card_advantages(), MASK, WRITTEN, TAU))
    assert up[0].tolist() == pytest.approx([(0.5 - 0.02) / (2 * 3)] * 3) == [pytest.approx(0.08)] * 3
    assert up[1].tolist() == pytest.approx([-0.0525, -0.115, 0.0])  # (-0.25 + 0.04)/4, (-0.5 + 0.04)/4, padding


def test_the_objective_by_hand():
    """J = 1/2 [ (0.5 log pi(y1) - 0.05 0.2^2)/3 + (-0.25 log pi(y21) - 0.5 log pi(y22) - 0.05 0.4^2)/2 ]"""
    value = sequence_mean_token_mean(bcpg(NOW, NOW, card_advantages(), MASK, WRITTEN, TAU), MASK, BatchCounts.of(MASK))
    right = (0.5 * (-0.9 - 0.6 - 0.5) - 0.05 * 0.04) / 3
    wrong = (-0.25 * -0.9 - 0.5 * -1.0 - 0.05 * 0.16) / 2
    assert value.item() == pytest.approx(-(right + wrong) / 2)


def test_without_the_length_factor_a_token_weighs_the_same_in_any_answer():
    up = slopes(lambda logp: bcpg(logp, logp, card_advantages(), MASK, WRITTEN, 0.0), aggregate=sequence_mean_token_sum)
    assert up[0].tolist() == [0.25] * 3 and up[1, :2].tolist() == [-0.125, -0.25]


def test_a_wrong_answer_is_let_go_where_its_log_ratio_balances_its_advantage():
    tau = 0.5 / 0.4  # rho = -0.4 = (r - rbar) / tau
    up = slopes(lambda logp: bcpg(logp, logp, card_advantages(beta=1.0), MASK, WRITTEN, tau))
    assert up[1].abs().max().item() == pytest.approx(0.0, abs=1e-12) and up[0, 0] > 0


def test_centred_takes_the_mean_log_ratio_away():
    """rho = (0.2, -0.4), mean -0.1: coefficients 0.5 - 0.1 * 0.3 and -0.5 + 0.1 * 0.3."""
    advantages = card_advantages(beta=1.0)
    up = slopes(lambda logp: bcpg_centred(logp, logp, advantages, MASK, WRITTEN, GROUP, TAU))
    assert up[0].tolist() == pytest.approx([0.47 / 6] * 3) and up[1, :2].tolist() == pytest.approx([-0.47 / 4] * 2)


def test_per_token_each_token_answers_for_its_own_change():
    up = slopes(lambda logp: bcpg_per_token(logp, logp, card_advantages(), MASK, WRITTEN, TAU))
    assert up[0].tolist() == pytest.approx([(0.5 - 0.01) / 6, (0.5 + 0.01) / 6, (0.5 - 0.02) / 6])
    assert up[1].tolist() == pytest.approx([(-0.25 + 0.03) / 4, (-0.5 + 0.01) / 4, 0.0])


def test_topr_by_hand():
    """Right: full weight. Wrong: rho = -0.4, so exp(-0.4); a wrong answer that became likelier: 1, not more."""
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).expand(2, 3)
    up = slopes(lambda logp: topr(logp, logp, signs, MASK, WRITTEN))
    assert up[0].tolist() == pytest.approx([1 / 6] * 3)
    assert up[1].tolist() == pytest.approx([-math.exp(-0.4) / 4] * 2 + [0.0])
    likelier = WRITTEN - 0.1 + torch.tensor([[0.0], [0.3]], dtype=torch.float64)
    up = slopes(lambda logp: topr(logp, logp, signs, MASK, WRITTEN), likelier)
    assert up[1, :2].tolist() == pytest.approx([-0.25] * 2) and up[0].tolist() == pytest.approx([1 / 6] * 3)


def test_pairs_by_hand():
    rewards, groups = torch.tensor([1.0, 0, 1, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])
    signs = pair_signs(rewards, groups)
    assert signs.tolist() == [1, -1, 1, -1, 0, 0, 0, 0]  # the third wrong answer and the all-right group stay out
    right, wrong = pairs_of(signs, groups)
    assert right.tolist() == [0, 2] and wrong.tolist() == [1, 3]
    with pytest.raises(ValueError, match="1 right and 0 wrong"):
        pairs_of(torch.tensor([1.0]), torch.tensor([0]))


def test_dpo_by_hand():
    """One pair, rho = 0.2 and -0.4, beta 0.5: -log sigmoid(0.3); all answers of the batch count, two."""
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).expand(2, 3)
    tokens = dpo(NOW, NOW, signs, MASK, WRITTEN, GROUP, 0.5)
    assert sequence_mean_token_sum(tokens, MASK, BatchCounts.of(MASK)).item() == pytest.approx(math.log(1 + math.exp(-0.3)) / 2)
    up = slopes(lambda logp: dpo(logp, logp, signs, MASK, WRITTEN, GROUP, 0.5), aggregate=sequence_mean_token_sum)
    push = 0.5 / (1 + math.exp(0.3)) / 2  # beta sigmoid(-0.3), half
    assert up[0].tolist() == pytest.approx([push] * 3) and up[1].tolist() == pytest.approx([-push, -push, 0.0])


def trl_dpo(logprobs_NT, written_NT, mask_NT, beta):
    """DPOTrainer's own loss on given numbers; chosen rows first, then rejected ones. A stand-in for self, no model."""
    trainer = pytest.importorskip("trl.trainer.dpo_trainer", exc_type=ImportError)
    zeros = torch.zeros_like(logprobs_NT.detach())

    def outputs(values_NT):
        return SimpleNamespace(log_probs=values_NT * mask_NT, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

    class Models:
        training = True

        def __call__(self, **kwargs):
            return outputs(logprobs_NT)

    stand_in = SimpleNamespace(
        model=Models(), ref_model=lambda **kwargs: outputs(written_NT), aux_loss_enabled=False, ld_alpha=None,
        precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=["sigmoid"], loss_weights=[1.0], beta=beta,
        label_smoothing=0.0, use_weighting=False, _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x, unwrap_model=lambda m: m))
    half = len(mask_NT) // 2
    reference = (written_NT * mask_NT).sum(1)
    ones = torch.ones(len(mask_NT), mask_NT.shape[1] + 1)
    inputs = {"input_ids": ones.long(), "attention_mask": ones, "ref_chosen_logps": reference[:half],
              "ref_rejected_logps": reference[half:],
              "completion_mask": torch.cat([torch.zeros(len(mask_NT), 1), mask_NT], dim=1)}
    return trainer.DPOTrainer._compute_loss(stand_in, stand_in.model, inputs, False)


@pytest.mark.peers
def test_dpo_equals_trls_on_the_same_tensors():
    """Three pairs in two groups; ours divides by all six answers, TRL by its three pairs."""
    generator = torch.Generator().manual_seed(5)
    written = -2 * torch.rand(6, 5, generator=generator, dtype=torch.float64) - 0.5
    logprobs = (written + 0.3 * torch.randn(6, 5, generator=generator, dtype=torch.float64)).clamp(max=0).requires_grad_()
    mask = (torch.arange(5) < torch.tensor([[5], [4], [3], [2], [1], [5]])).double()
    signs, groups = torch.tensor([1.0, 1, -1, -1, 1, -1], dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1])
    ours = sequence_mean_token_sum(
        dpo(logprobs, logprobs, signs[:, None].expand(6, 5), mask, written, groups, 0.5), mask, BatchCounts.of(mask))
    rows = torch.cat(pairs_of(signs, groups))
    theirs = trl_dpo(logprobs[rows], written[rows], mask[rows], 0.5)
    assert 2 * ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    gradients = [torch.autograd.grad(value, logprobs, retain_graph=True)[0] for value in (2 * ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-12)


# ---------------------------------------------------------------- what must hold for any numbers

numbers = st.lists(st.floats(-3, 0), min_size=6, max_size=6)


@given(numbers, numbers, st.floats(-1, 1), st.floats(0, 2), st.lists(st.booleans(), min_size=6, max_size=6))
def test_the_gradient_identity_of_the_card(now, written, beta, tau, good):
    """Every token's coefficient is (beta_it (r_i - rbar) - tau rho_i) / (N |y_i|), whatever the numbers."""
    now, written = (torch.tensor(x, dtype=torch.float64).view(2, 3) for x in (now, written))
    weights = nsa_weights(torch.tensor(good).double().view(2, 3), RIGHT, beta)
    advantages = dr_grpo(RIGHT.double(), GROUP)[:, None] * weights
    up = slopes(lambda logp: bcpg(logp, logp, advantages, MASK, written, tau), now)
    rho = ((now - written) * MASK).sum(1)
    wanted = (advantages - tau * rho[:, None]) * MASK / (2 * MASK.sum(1, keepdim=True))
    assert torch.allclose(up, wanted, atol=1e-10)


@given(numbers, numbers, st.floats(0, 2))
def test_centring_changes_nothing_but_the_mean(now, written, tau):
    now, written = (torch.tensor(x, dtype=torch.float64).view(2, 3) for x in (now, written))
    advantages = dr_grpo(RIGHT.double(), GROUP)[:, None].expand(2, 3)
    plain = slopes(lambda logp: bcpg(logp, logp, advantages, MASK, written, tau), now)
    centred = slopes(lambda logp: bcpg_centred(logp, logp, advantages, MASK, written, GROUP, tau), now)
    level = ((now - written) * MASK).sum(1).mean()
    assert torch.allclose(centred - plain, tau * level * MASK / (2 * MASK.sum(1, keepdim=True)), atol=1e-10)


def test_where_the_policy_wrote_the_answers_itself_nothing_is_held():
    signs = dr_grpo(RIGHT.double(), GROUP)[:, None].expand(2, 3)
    for loss in (lambda p, tau: bcpg(p, p, signs, MASK, WRITTEN, tau),
                 lambda p, tau: bcpg_per_token(p, p, signs, MASK, WRITTEN, tau),
                 lambda p, tau: bcpg_centred(p, p, signs, MASK, WRITTEN, GROUP, tau)):  # fmt: skip
        assert torch.allclose(slopes(lambda p: loss(p, 5.0), WRITTEN), slopes(lambda p: loss(p, 0.0), WRITTEN))


def test_padding_may_hold_anything():
    now, written = NOW.clone(), WRITTEN.clone()
    now[1, 2], written[1, 2] = float("nan"), -math.inf
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).expand(2, 3)
    losses = [lambda p: bcpg(p, p, signs, MASK, written, TAU), lambda p: bcpg_per_token(p, p, signs, MASK, written, TAU),
              lambda p: bcpg_centred(p, p, signs, MASK, written, GROUP, TAU), lambda p: topr(p, p, signs, MASK, written),
              lambda p: dpo(p, p, signs, MASK, written, GROUP)]
    for loss in losses:
        up = slopes(loss, now)
        assert torch.isfinite(up).all() and up[1, 2] == 0


@pytest.mark.parametrize("tau", [-0.1, math.inf, math.nan])
def test_a_constraint_that_cannot_be_is_refused(tau):
    with pytest.raises(ValueError, match="tau must be finite"):
        bcpg(NOW, NOW, torch.zeros(2, 3), MASK, WRITTEN, tau)


def test_dpo_refuses_a_beta_of_zero():
    with pytest.raises(ValueError, match="beta must be above 0"):
        dpo(NOW, NOW, torch.zeros(2, 3), MASK, WRITTEN, GROUP, 0.0)
