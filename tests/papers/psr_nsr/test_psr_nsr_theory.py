"""The gradient analysis of PSR and NSR: by hand, by formula and by autograd (PSRNSR-C12)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_losses import (
    AGGREGATIONS, JUNK, LOGITS, batches, by_name, check_padding, check_refusals, check_splits, one_token, value_and_gradient,
)  # fmt: skip

from polarity_lib import mechanism
from polarity_lib import objectives as obj
from polarity_lib.objectives import BatchCounts
from polarity_lib.papers.psr_nsr import theory

PROBS = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)

TOKEN_LOSSES = [theory.probability_weighted, theory.unlikelihood]


# ---------------------------------------------------------------- formulas


def test_every_sub_test_of_the_mechanism_passes():
    checks = theory.mechanism_checks()
    assert list(checks) == ["subtest", "theirs", "ours", "tolerance", "passed"]
    assert len(checks) == 14 and checks.subtest.is_unique
    assert checks.passed.all(), checks[~checks.passed].to_string()
    assert (checks.tolerance == 1e-6).all()


def test_a_wrong_formula_does_not_pass(monkeypatch):
    monkeypatch.setattr(theory, "equation_8", lambda probs_V, sampled: theory.equation_7(probs_V, sampled))
    failed = theory.mechanism_checks(cases=5).query("not passed").subtest
    assert "Eq. 8, NSR gradient, linear in pi" in set(failed)


def test_equation_8_by_hand():
    # The sampled token has pi = 1/2: it loses 1/2 * 1/2, the others gain 1/2 of their own probability.
    assert theory.equation_8(PROBS, 0).tolist() == [-0.25, 0.125, 0.0625, 0.0625]
    moved = mechanism.descent(theory.probability_weighted, PROBS.log(), 0, -1.0)
    assert torch.allclose(moved, theory.equation_8(PROBS, 0))


# ---------------------------------------------------------------- their two token losses


def test_losses_without_a_ratio_by_hand():
    # pi = 0.25. Loss and derivative by log pi.
    assert one_token(theory.probability_weighted, 1.0, 2.0) == pytest.approx((-0.5, -0.5))
    assert one_token(theory.unlikelihood, 1.0, 2.0) == pytest.approx((2 * math.log(4), -2))
    # - |A| log(1 - pi): derivative |A| pi / (1 - pi) = 2 / 3
    assert one_token(theory.unlikelihood, 1.0, -2.0) == pytest.approx((-2 * math.log(0.75), 2 / 3))


def test_unlikelihood_of_a_certain_token_is_finite():
    logprob = torch.zeros(1, 1, requires_grad=True)
    value = theory.unlikelihood(logprob, logprob, -torch.ones(1, 1), torch.ones(1, 1)).sum()
    value.backward()
    assert value.item() == pytest.approx(-math.log(1e-5), rel=1e-5)
    assert torch.isfinite(logprob.grad).all()


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
@given(batch=batches(), extra=st.integers(0, 3), junk=st.sampled_from(JUNK))
def test_padding_changes_nothing(token_loss, batch, extra, junk):
    check_padding(token_loss, batch, extra, junk)


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
@given(batch=batches(), cut=st.integers(0, 5), flip=st.booleans())
def test_micro_batches_and_the_order_of_rows_change_nothing(token_loss, batch, cut, flip):
    check_splits(token_loss, batch, cut, flip)


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
def test_bad_inputs_are_refused(token_loss):
    check_refusals(token_loss)


@pytest.mark.parametrize("aggregate", AGGREGATIONS, **by_name)
@given(batch=batches())
def test_the_literal_objective_is_reinforce_with_tokens_weighed_by_pi(aggregate, batch):
    logprobs, _, advantages, mask = batch
    on_policy, counts = (logprobs, logprobs.clone(), advantages, mask), BatchCounts.of(mask, max_new_tokens=8)
    _, reinforce = value_and_gradient(obj.policy_gradient, aggregate, on_policy, counts)
    _, literal = value_and_gradient(theory.probability_weighted, aggregate, on_policy, counts)
    assert torch.allclose(literal, reinforce * logprobs.exp())


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
def test_gradcheck(token_loss):
    old = torch.tensor([[-1.0, -0.4]], dtype=torch.float64)
    advantages, mask = torch.tensor([[1.5, -0.7]], dtype=torch.float64), torch.ones(1, 2)
    logprobs = (old + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: token_loss(x, old, advantages, mask), logprobs)


# ---------------------------------------------------------------- gradients by the logits


def descent(token_loss, advantage, sampled, logits=LOGITS):
    """Minus the gradient of one token's loss by the logits: where a step of rate 1 goes."""
    logits = logits.clone().requires_grad_()
    logprob = logits.log_softmax(-1)[sampled].reshape(1, 1)
    advantages = torch.full((1, 1), advantage, dtype=torch.float64)
    token_loss(logprob, logprob.detach(), advantages, torch.ones(1, 1)).sum().backward()
    return -logits.grad


@pytest.mark.parametrize("sampled", range(5))
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_gradients_equal_equations_7_and_8(sampled, advantage):
    pi = LOGITS.softmax(-1)
    one_hot = torch.nn.functional.one_hot(torch.tensor(sampled), 5).double()
    # Eq. 7 (R = +1) and 8 (R = -1): R pi_y (1 - pi_y) for the sampled token, -R pi_y pi_v for the others.
    literal = advantage * pi[sampled] * (one_hot - pi)
    assert torch.allclose(descent(theory.probability_weighted, advantage, sampled), literal, rtol=0, atol=1e-10)
    # With log pi, or with the released code's ratio at pi = pi_old, the factor pi_y is gone.
    for token_loss in (obj.policy_gradient, obj.ppo_clip):
        released = advantage * (one_hot - pi)
        assert torch.allclose(descent(token_loss, advantage, sampled), released, rtol=0, atol=1e-10)


@pytest.mark.parametrize("token_loss", [theory.probability_weighted, obj.policy_gradient], **by_name)
@pytest.mark.parametrize("sampled", range(5))
def test_a_small_negative_step_keeps_the_prior(token_loss, sampled):
    rate, pi = 1e-3, LOGITS.softmax(-1)
    step = rate * descent(token_loss, -1.0, sampled)
    after = LOGITS + step
    factor = pi[sampled] if token_loss is theory.probability_weighted else 1.0
    others = [v for v in range(5) if v != sampled]
    assert after[others].argsort().tolist() == LOGITS[others].argsort().tolist()  # ranks are kept
    for v in others:
        for w in others:
            moved = (after[v] - after[w]) - (LOGITS[v] - LOGITS[w])
            assert moved.item() == pytest.approx((rate * factor * (pi[v] - pi[w])).item(), abs=1e-10)
    assert step[sampled].item() == pytest.approx((-rate * factor * (1 - pi[sampled])).item(), abs=1e-10)


def test_negatives_spare_confident_tokens_and_unlikelihood_does_not():
    pi = LOGITS.softmax(-1)
    for sampled in range(5):
        # Appendix B: -pi_v for the sampled token, + pi_y / (1 - pi_y) pi_v for the others.
        expected = pi[sampled] / (1 - pi[sampled]) * pi
        expected[sampled] = -pi[sampled]
        assert torch.allclose(descent(theory.unlikelihood, -1.0, sampled), expected, rtol=0, atol=1e-10)
    nsr = [descent(obj.policy_gradient, -1.0, v)[v].abs() for v in (0, 4)]
    unlikelihood = [descent(theory.unlikelihood, -1.0, v)[v].abs() for v in (0, 4)]
    assert nsr[0] < nsr[1]  # token 0 is the confident one
    assert unlikelihood[0] > unlikelihood[1]
