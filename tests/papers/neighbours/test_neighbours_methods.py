"""The neighbours by hand: the numbers of card `related`, section 9, and what follows from the formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.advantages import grpo, signed_constant
from polarity_lib.objectives import policy_gradient, ppo_clip
from polarity_lib.papers.neighbours import methods as nb

ONE_OF_FOUR, THREE_OF_FOUR = torch.tensor([1.0, 0, 0, 0]), torch.tensor([1.0, 1, 1, 0])
ALL_WRONG, ALL_RIGHT = torch.zeros(4), torch.ones(4)
GROUP = torch.zeros(4, dtype=torch.long)
verdicts = st.lists(st.integers(0, 1), min_size=2, max_size=16)


def near(*values):
    return pytest.approx(list(values), abs=1e-6)


def test_maxrl_by_hand():
    assert nb.maxrl_advantage(ONE_OF_FOUR, GROUP).tolist() == near(3, -1, -1, -1)
    assert nb.maxrl_advantage(THREE_OF_FOUR, GROUP).tolist() == near(1 / 3, 1 / 3, 1 / 3, -1)
    assert nb.maxrl_advantage(ALL_WRONG, GROUP).tolist() == nb.maxrl_advantage(ALL_RIGHT, GROUP).tolist() == [0] * 4


def test_f_grpo_weighs_hard_groups_more():
    # GRPO of one of four: (1.5, -0.5, -0.5, -0.5), mean 0.25, spread 0.5; times (1 - 0.25)^2.
    assert nb.f_grpo_advantage(ONE_OF_FOUR, GROUP, gamma=2.0, epsilon=0.0).tolist() == near(
        1.5 * 0.5625, *[-0.5 * 0.5625] * 3)
    assert torch.equal(nb.f_grpo_advantage(THREE_OF_FOUR, GROUP, gamma=0.0), grpo(THREE_OF_FOUR, GROUP))


def test_qae_switches_by_the_success_rate():
    hard, easy = (nb.qae_advantage(r, GROUP, quantile=0.4, epsilon=0.0).tolist() for r in (ONE_OF_FOUR, THREE_OF_FOUR))
    assert hard == near(2, 0, 0, 0)  # p = 0.25 <= 0.6: baseline 0, spread 0.5
    assert easy == near(0, 0, 0, -2)
    at_the_edge = torch.tensor([1.0, 1, 1, 0, 0])  # p = 0.6 belongs to the hard ones
    assert (nb.qae_advantage(at_the_edge, torch.zeros(5, dtype=torch.long)) >= 0).all()
    assert nb.qae_advantage(ALL_WRONG, GROUP).tolist() == nb.qae_advantage(ALL_RIGHT, GROUP).tolist() == [0] * 4


def test_rl_zvp_by_hand():
    entropies, mask = torch.tensor([[0.2, 1.0, 0.5, 9.0]] * 4), torch.tensor([[1.0, 1, 1, 0]] * 4)
    right = nb.rl_zvp_advantage(ALL_RIGHT, GROUP, entropies, mask, alpha=0.1)
    wrong = nb.rl_zvp_advantage(ALL_WRONG, GROUP, entropies, mask, alpha=0.1)
    assert right[0].tolist() == near(0.02, 0.10, 0.05, 0)  # 9.0 is padding
    assert wrong[0].tolist() == near(-0.08, 0, -0.05, 0)
    mixed = nb.rl_zvp_advantage(ONE_OF_FOUR, GROUP, entropies, mask)
    assert torch.equal(mixed, grpo(ONE_OF_FOUR, GROUP)[:, None] * mask)


def test_cw_nsr_by_hand():
    # Mean probabilities: 0.5 (right), 0.5, 0.25, 0.125 of answers of two tokens; the second token of the last is padding.
    logs = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.25, 0.25], [0.125, 0.9]]).log()
    mask = torch.tensor([[1.0, 1], [1, 1], [1, 1], [1, 0]])
    assert nb.cw_nsr_advantage(ONE_OF_FOUR, GROUP, logs, mask).tolist() == near(0, -1, -0.5, -0.25)
    assert nb.cw_nsr_advantage(ALL_RIGHT, GROUP, logs, mask).tolist() == [0] * 4
    equal = torch.full((4, 2), -0.7)
    assert torch.equal(nb.cw_nsr_advantage(ONE_OF_FOUR, GROUP, equal, mask), signed_constant(ONE_OF_FOUR, 0.0, 1.0))  # NSR


def test_aspo_turns_the_ratio_of_right_tokens():
    old = torch.tensor([[-1.0, -1.0, -1.0]])
    logs = (old + torch.tensor([[0.1, -0.1, 0.5]])).requires_grad_()
    mask, right, wrong = torch.ones(1, 3), torch.ones(1, 3), -torch.ones(1, 3)
    nb.aspo_loss(logs, old, right, mask).sum().backward()
    # PPO weighs by pi / pi_old = e^0.1 and e^-0.1; here it is the reverse, and e^-0.5 is bounded by 0.8.
    assert logs.grad.tolist() == [near(-math.exp(-0.1), -math.exp(0.1), -0.8)]
    assert torch.equal(nb.aspo_loss(logs, old, wrong, mask), ppo_clip(logs, old, wrong, mask))


@given(verdicts, st.sampled_from([1.0, -1.0]))
def test_with_one_update_aspo_is_reinforce(rewards, sign):
    logs = torch.linspace(-3, -0.1, len(rewards))[:, None].requires_grad_()
    advantages, mask = sign * torch.tensor(rewards, dtype=torch.float)[:, None], torch.ones(len(rewards), 1)
    slopes = [torch.autograd.grad(loss(logs, logs.detach(), advantages, mask).sum(), logs)[0]
              for loss in (nb.aspo_loss, policy_gradient)]
    assert torch.allclose(*slopes)


@given(verdicts, st.floats(0.05, 0.95))
def test_signs_follow_the_verdict(rewards, quantile):
    rewards = torch.tensor(rewards, dtype=torch.float)
    group = torch.zeros(len(rewards), dtype=torch.long)
    for advantages in (nb.maxrl_advantage(rewards, group), nb.f_grpo_advantage(rewards, group),
                       nb.qae_advantage(rewards, group, quantile)):
        assert (advantages[rewards == 1] >= 0).all() and (advantages[rewards == 0] <= 0).all()
    assert nb.maxrl_advantage(rewards, group).sum().item() == pytest.approx(0, abs=1e-4)


def test_groups_do_not_mix():
    both, groups = torch.cat([ONE_OF_FOUR, THREE_OF_FOUR])[[0, 4, 1, 5, 2, 6, 3, 7]], torch.tensor([7, 2] * 4)
    for function in (nb.maxrl_advantage, nb.f_grpo_advantage, nb.qae_advantage):
        found = function(both, groups)
        assert torch.allclose(found[groups == 7], function(ONE_OF_FOUR, GROUP))
        assert torch.allclose(found[groups == 2], function(THREE_OF_FOUR, GROUP))


@pytest.mark.parametrize("call", [
    lambda: nb.maxrl_advantage(torch.tensor([0.5, 1.0]), GROUP[:2]),
    lambda: nb.f_grpo_advantage(ONE_OF_FOUR, GROUP, gamma=-1.0),
    lambda: nb.qae_advantage(ONE_OF_FOUR, GROUP, quantile=1.0),
    lambda: nb.rl_zvp_advantage(ONE_OF_FOUR, GROUP, torch.ones(4, 1), torch.ones(4, 1), alpha=-0.1),
    lambda: nb.cw_nsr_advantage(torch.tensor([2.0, 0]), GROUP[:2], torch.zeros(2, 1), torch.ones(2, 1)),
])
def test_what_cannot_be_is_refused(call):
    with pytest.raises(ValueError, match="must"):
        call()
