"""Fork tokens and Lp-Reg: by pencil, then what holds for any batch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_losses import ADVANTAGES, JUNK, LOGPROBS, MASK, batches, one_token, table

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.objectives import BatchCounts
from polarity_lib.papers.baselines import losses

NAN, INF = math.nan, math.inf


def test_fork_tokens_by_hand():
    # Five tokens, ceil(0.2 * 5) = 1 chosen: weights are 0 and 5. The 9 is padding.
    mask, entropies = table([1, 1, 1], [1, 1, 0]), table([0.1, 0.2, 0.3], [0.7, 0.5, 9])
    logprobs, advantages = table([-1, -1, -1], [-2, -1, NAN]), table([1, 1, 1], [-3, -3, -3])
    tokens = losses.fork_tokens(logprobs, logprobs, advantages, mask, entropies)
    assert tokens.tolist() == [[0, 0, 0], [15, 0, 0]]
    assert obj.token_mean(tokens, mask, BatchCounts.of(mask)).item() == 3  # the mean over the one chosen token


@pytest.mark.parametrize(
    ("tokens", "fraction", "count"), [(1, 0.2, 1), (5, 0.2, 1), (6, 0.2, 2), (100, 0.07, 7), (4, 0.5, 2), (3, 1e-12, 1)]
)
def test_fork_tokens_are_rounded_up_and_ties_go_in_reading_order(tokens, fraction, count):
    ones = torch.ones(1, tokens, dtype=torch.float64)
    chosen = losses.fork_tokens(-ones, -ones, ones, ones, ones, fraction) != 0
    assert chosen.tolist() == [[t < count for t in range(tokens)]]


@given(batch=batches(), fraction=st.sampled_from([0.2, 0.5, 1.0]))
def test_fork_tokens_are_dapo_on_the_chosen_and_at_fraction_one_everywhere(batch, fraction):
    mask = batch[3]
    entropies = torch.rand(mask.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    tokens = losses.fork_tokens(*batch, entropies, fraction)
    dapo = obj.ppo_clip(*batch, clip_low=0.2, clip_high=0.28)
    if fraction == 1:
        assert torch.equal(tokens, dapo)
        return
    chosen = tokens != 0
    assert chosen.sum() == math.ceil(fraction * mask.sum())
    assert not (chosen & (mask == 0)).any()
    left_out = (mask > 0) & ~chosen
    assert (entropies[chosen][:, None] > entropies[left_out]).all()
    if chosen.any():
        assert torch.allclose(obj.token_mean(tokens, mask, BatchCounts.of(mask)), dapo[chosen].mean())


def lp_reg(logprobs, old, advantages, mask, top, mass, **options):
    """The loss, its pair of tables as two arguments."""
    return losses.lp_reg(logprobs, old, advantages, mask, (top, mass), **options)


def lp_reg_by_hand(**options):
    """A wrong answer of four tokens and a right one of one; the loss and its derivative by log pi."""
    logprobs = table([0.5, 0.1, 0.2, 0.01], [0.05, 1, 1, 1]).log().requires_grad_()
    old = table([0.5, 0.4, 0.2, 0.01], [0.05, 1, 1, 1]).log()
    mask = table([1, 1, 1, 1], [1, 0, 0, 0])
    top = table([0.5, 0.5, 0.5, 0.6], [0.5, 1, 1, 1]).log()
    mass = table([1.0, 0.8, 0.5, 0.9], [1.0, 1, 1, 1]).log()
    loss = lp_reg(logprobs, old, table([-1] * 4, [2] * 4), mask, top, mass, **options)
    return loss.detach(), torch.autograd.grad(loss.sum(), logprobs)[0]


def test_lp_reg_by_hand():
    # Three quarters of the four tokens with A < 0: probabilities 0.01, 0.1, 0.2. The first was filtered out
    # (0.01 < 0.02 * 0.6 = 0.012). Proxies of the others: 0.4 / 0.8 = 0.5 and 0.2 / 0.5 = 0.4.
    loss, gradient = lp_reg_by_hand(rho=0.75)
    k3 = [5 - math.log(5) - 1, 2 - math.log(2) - 1]  # proxy / pi
    assert loss[0].tolist() == pytest.approx([1, 0.25 + k3[0], 1 + k3[1], 1])
    # The loss -A r pulls down by r, and k3 up by proxy / pi - 1.
    assert gradient[0].tolist() == pytest.approx([1, 0.25 - 4, 1 - 1, 1])
    # The right answer's token is rarer than most and untouched; padding stays zero.
    assert loss[1].tolist() == [-2, 0, 0, 0]
    assert gradient[1].tolist() == [-2, 0, 0, 0]


def test_lp_reg_strength_and_filter():
    assert lp_reg_by_hand(rho=0.75, beta=0.0)[0][0].tolist() == pytest.approx([1, 0.25, 1, 1])
    doubled = lp_reg_by_hand(rho=0.75, beta=2.0)[0] - lp_reg_by_hand(rho=0.75, beta=1.0)[0]
    assert doubled[0, 2].item() == pytest.approx(1 - math.log(2))
    # A laxer filter keeps the rare token too: proxy 0.01 / 0.9.
    last = lp_reg_by_hand(rho=0.75, kappa=0.01)[0][0, 3].item()
    assert last == pytest.approx(1 + 1 / 0.9 + math.log(0.9) - 1)


def test_lp_reg_regularises_nothing_when_one_token_or_none_is_selected():
    plain = lp_reg_by_hand(rho=0.0)[0]
    # 0.49 and 0.01 of four tokens round down to 1 and 0. With this kappa the rarest token could be protected.
    for rho in (0.25, 0.49, 0.01):
        assert torch.equal(lp_reg_by_hand(rho=rho, kappa=0.01)[0], plain)
    # The count is before the filter, and by current probability: of the two rarest, 0.01 was filtered out
    # and 0.1 is protected, though the old policy had it at 0.4.
    assert (lp_reg_by_hand(rho=0.5)[0] != plain).tolist() == [[False, True, False, False], [False] * 4]


def test_lp_reg_limits_the_ratio_at_ten_for_right_answers_only():
    def at(ratio, advantage):
        extra = torch.full((1, 1), math.log(0.25), dtype=torch.float64)
        return one_token(lambda *b: lp_reg(*b, extra, torch.zeros(1, 1)), ratio, advantage)

    assert at(3.9, 1.0) == pytest.approx((-3.9, -3.9))
    assert at(3.9, -1.0) == pytest.approx((3.9, 3.9))
    old, top = table([-6.0]), table([-1.0])
    for advantage, value in ((1.0, -10.0), (-1.0, math.exp(5))):
        loss = lp_reg(top, old, table([advantage]), torch.ones(1, 1), top, table([-0.5]))
        assert loss.item() == pytest.approx(value)


def with_old_policy(batch, seed=5):
    """The batch, and the old policy's two numbers per token, from distributions that hold the sampled token."""
    generator = torch.Generator().manual_seed(seed)
    logprobs, old, advantages, mask = batch
    rest = torch.rand(*old.shape, 4, generator=generator, dtype=torch.float64).softmax(-1) * -torch.expm1(old)[..., None]
    return (*batch, *losses.filtered_mass(torch.cat([old[..., None], rest.log()], -1), 0.02))


@given(batch=batches())
def test_lp_reg_with_rho_zero_is_the_clipped_loss(batch):
    plain = obj.ppo_clip(*batch, clip_low=1.0, clip_high=9.0)
    assert torch.equal(lp_reg(*with_old_policy(batch), rho=0.0), plain)
    # Otherwise it only adds, and only where the advantage is negative.
    added = lp_reg(*with_old_policy(batch), rho=1.0) - plain
    assert (added >= 0).all()
    assert (added[(batch[2] > 0) | (batch[3] == 0)] == 0).all()


@given(batch=batches(), extra=st.integers(0, 3), junk=st.sampled_from(JUNK))
def test_padding_changes_nothing(batch, extra, junk):
    entropies = torch.rand(batch[3].shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for function, inputs, options in (
        (losses.fork_tokens, (*batch, entropies), {}),
        (lp_reg, with_old_policy(batch), {"rho": 0.6}),
    ):
        wide = torch.nn.functional.pad(inputs[3], (0, extra))
        dirty = [torch.nn.functional.pad(x, (0, extra)).where(wide > 0, junk) for x in inputs]
        dirty[3] = wide
        leaf, dirty_leaf = inputs[0].clone().requires_grad_(), dirty[0].clone().requires_grad_()
        loss = function(leaf, *inputs[1:], **options)
        dirty_loss = function(dirty_leaf, *dirty[1:], **options)
        assert torch.equal(torch.nn.functional.pad(loss, (0, extra)), dirty_loss)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        (dirty_gradient,) = torch.autograd.grad(dirty_loss.sum(), dirty_leaf)
        assert torch.equal(torch.nn.functional.pad(gradient, (0, extra)), dirty_gradient)


def test_filtered_mass_by_hand():
    pi = table([0.6, 0.3, 0.09, 0.01, 0])
    top, mass = losses.filtered_mass(pi.log(), kappa=0.02)  # 0.01 < 0.012 is dropped
    assert (top.exp().item(), mass.exp().item()) == pytest.approx((0.6, 0.99))
    assert losses.filtered_mass(pi.log(), kappa=0.49)[1].exp().item() == pytest.approx(0.9)
    assert losses.filtered_mass(pi.log(), kappa=1.0)[1].exp().item() == pytest.approx(0.6)
    assert [x.shape for x in losses.filtered_mass(torch.zeros(2, 3, 1))] == [(2, 3), (2, 3)]


def test_bad_inputs_are_refused():
    signal, entropies = adv.expand(ADVANTAGES, MASK), torch.ones(2, 2)
    top, mass = torch.full((2, 2), -0.5), torch.full((2, 2), -0.1)
    fork, lp = (LOGPROBS, LOGPROBS, signal, MASK, entropies), (LOGPROBS, LOGPROBS, signal, MASK, top, mass)
    for function, good in ((losses.fork_tokens, fork), (lp_reg, lp)):
        for place in range(len(good)):
            bad = [*good]
            bad[place] = good[place][:, :1]
            with pytest.raises(ValueError, match=r"\[2, 1\]"):
                function(*bad)
        with pytest.raises(ValueError, match="above 0 or NaN"):
            function(-LOGPROBS, *good[1:])
    for value in (-1.0, NAN, INF):
        with pytest.raises(ValueError, match="entropy on a response token"):
            losses.fork_tokens(*fork[:4], entropies * value)
    for value in (1.0, NAN, -INF):
        with pytest.raises(ValueError, match="old top log-probability"):
            lp_reg(*lp[:4], torch.full((2, 2), value), mass)
        with pytest.raises(ValueError, match="old kept log-mass"):
            lp_reg(*lp[:5], torch.full((2, 2), value))
    with pytest.raises(ValueError, match="are they exchanged"):
        lp_reg(*lp[:4], mass, top)
    for name, values in (("rho", (-0.1, 1.1, NAN)), ("beta", (-1.0, INF, NAN)), ("kappa", (0.0, 1.1, NAN))):
        for value in values:
            with pytest.raises(ValueError, match=f"{name} must be in"):
                lp_reg(*lp, **{name: value})
    for fraction in (0.0, 1.1, NAN):
        with pytest.raises(ValueError, match="fraction must be in"):
            losses.fork_tokens(*fork, fraction)
    with pytest.raises(ValueError, match="logits passed"):
        losses.filtered_mass(torch.ones(1, 1, 3))
    with pytest.raises(ValueError, match="vocabulary"):
        losses.filtered_mass(torch.tensor(0.0))
