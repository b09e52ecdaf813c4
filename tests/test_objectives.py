"""Losses a reader can redo with a pencil, then gradients against the published equations."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.objectives import BatchCounts

# A correct rollout of two tokens and a wrong one of a single token.
LOGPROBS = torch.tensor([[-0.5, -1.0], [-2.0, -9.0]])
ADVANTAGES = torch.tensor([1.0, -1.0])
MASK = torch.tensor([[1.0, 1.0], [1.0, 0.0]])

TOKEN_LOSSES = [
    obj.policy_gradient, obj.ppo_clip, obj.cispo, obj.gspo, obj.probability_weighted, obj.unlikelihood,
]  # fmt: skip
AGGREGATIONS = [
    obj.token_mean, obj.kept_token_mean, obj.kept_token_mean_times_share,
    obj.sequence_mean_token_mean, obj.sequence_mean_token_sum, obj.token_sum_over_constant,
]  # fmt: skip

by_name = {"ids": lambda function: function.__name__}


def one_token(function, ratio, advantage, **options):
    """Loss and its derivative by log pi of one token whose probability became `ratio` times 0.25."""
    logprob = torch.tensor([[math.log(0.25 * ratio)]], dtype=torch.float64, requires_grad=True)
    old = torch.full((1, 1), math.log(0.25), dtype=torch.float64)
    advantages = torch.full((1, 1), advantage, dtype=torch.float64)
    loss = function(logprob, old, advantages, torch.ones(1, 1), **options)
    (gradient,) = torch.autograd.grad(loss.sum(), logprob)
    return loss.item(), gradient.item()


# ---------------------------------------------------------------- polarity_loss


def loss(positive_weight, negative_weight):
    return obj.polarity_loss(
        LOGPROBS, ADVANTAGES, MASK, num_tokens=3,
        positive_weight=positive_weight, negative_weight=negative_weight,
    ).item()  # fmt: skip


def test_each_polarity_by_hand():
    assert loss(1, 0) == pytest.approx(1.5 / 3)  # -(+1)(-0.5 - 1.0) / 3
    assert loss(0, 1) == pytest.approx(-2.0 / 3)  # -(-1)(-2.0) / 3; -9 is padding


def test_the_two_polarities_add_up():
    assert loss(1, 1) == pytest.approx(loss(1, 0) + loss(0, 1))


def test_a_negative_step_moves_probability_to_the_other_tokens():
    logits = torch.zeros(1, 1, 3, requires_grad=True)  # [N, T, V]
    sampled = logits.log_softmax(-1)[..., 0]
    obj.polarity_loss(sampled, torch.tensor([-1.0]), torch.ones(1, 1), num_tokens=1).backward()
    # Descent lowers the sampled token by 2/3 and raises each other one by 1/3.
    assert torch.allclose(-logits.grad.flatten(), torch.tensor([-2 / 3, 1 / 3, 1 / 3]))


def test_polarity_loss_is_policy_gradient_and_token_mean():
    signal = adv.expand(torch.tensor([0.1, -1.0]), MASK)
    parts = obj.token_mean(obj.policy_gradient(LOGPROBS, LOGPROBS, signal, MASK), MASK, BatchCounts.of(MASK))
    assert loss(0.1, 1) == pytest.approx(parts.item())


# ---------------------------------------------------------------- token losses by hand


def test_losses_without_a_ratio_by_hand():
    # pi = 0.25. Loss and derivative by log pi.
    assert one_token(obj.policy_gradient, 1.0, 2.0) == pytest.approx((2 * math.log(4), -2))
    assert one_token(obj.probability_weighted, 1.0, 2.0) == pytest.approx((-0.5, -0.5))
    assert one_token(obj.unlikelihood, 1.0, 2.0) == pytest.approx((2 * math.log(4), -2))
    # - |A| log(1 - pi): derivative |A| pi / (1 - pi) = 2 / 3
    assert one_token(obj.unlikelihood, 1.0, -2.0) == pytest.approx((-2 * math.log(0.75), 2 / 3))


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (1.0, 1.0, -1.0, -1.0),
        (1.1, 1.0, -1.1, -1.1),
        (1.5, 1.0, -1.2, 0.0),  # a rising good token is held at the upper bound
        (0.5, 1.0, -0.5, -0.5),  # a falling good token is pulled back in full
        (0.5, -1.0, 0.8, 0.0),  # a falling bad token is held at the lower bound
        (1.5, -1.0, 1.5, 1.5),  # a rising bad token is pushed down in full
    ],
)
def test_ppo_clips_in_one_direction_per_sign(ratio, advantage, value, gradient):
    assert one_token(obj.ppo_clip, ratio, advantage) == pytest.approx((value, gradient))


def test_the_bounds_are_separate_and_dual_clip_acts_on_negatives_only():
    assert one_token(obj.ppo_clip, 1.25, 1.0, clip_high=0.28) == pytest.approx((-1.25, -1.25))
    assert one_token(obj.ppo_clip, 0.75, -1.0, clip_high=0.28) == pytest.approx((0.8, 0))
    assert one_token(obj.ppo_clip, 3.5, -2.0) == pytest.approx((7.0, 7.0))
    assert one_token(obj.ppo_clip, 3.5, -2.0, dual_clip=3.0) == pytest.approx((6.0, 0.0))
    assert one_token(obj.ppo_clip, 3.5, 2.0, dual_clip=3.0) == pytest.approx((-2.4, 0.0))
    with pytest.raises(ValueError, match="exceed 1"):
        one_token(obj.ppo_clip, 1.0, 1.0, dual_clip=1.0)


@pytest.mark.parametrize(("ratio", "weight"), [(1.0, 1.0), (1.5, 1.28), (0.01, 0.01)])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_cispo_bounds_the_weight_but_never_the_gradient_away(ratio, weight, advantage):
    expected = (-weight * advantage * math.log(0.25 * ratio), -weight * advantage)
    assert one_token(obj.cispo, ratio, advantage) == pytest.approx(expected)


def sequence_gspo(logprobs, old, advantages_N, mask, low, high):
    """The form printed in the GSPO paper: one ratio and one clip per response."""
    ratio = ((logprobs - old) * mask).sum(1).div(mask.sum(1)).exp()
    return torch.maximum(-advantages_N * ratio, -advantages_N * ratio.clamp(1 - low, 1 + high)).mean()


@pytest.mark.parametrize("drift", [0.0, 1e-4, 0.01])
def test_gspo_per_token_equals_the_sequence_form(drift):
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(4, 3, generator=generator, dtype=torch.float64) - 0.1
    logprobs = (old + drift * torch.randn(4, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    advantages = torch.tensor([1.0, -1.0, 0.5, -2.0], dtype=torch.float64)
    tokens = obj.gspo(logprobs, old, adv.expand(advantages, mask), mask)
    ours = obj.sequence_mean_token_mean(tokens, mask, BatchCounts.of(mask))
    theirs = sequence_gspo(logprobs, old, advantages, mask, 3e-4, 4e-4)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    gradients = [torch.autograd.grad(value, logprobs, retain_graph=True)[0] for value in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-12)


def test_unlikelihood_of_a_certain_token_is_finite():
    logprob = torch.zeros(1, 1, requires_grad=True)
    value = obj.unlikelihood(logprob, logprob, -torch.ones(1, 1), torch.ones(1, 1)).sum()
    value.backward()
    assert value.item() == pytest.approx(-math.log(1e-5), rel=1e-5)
    assert torch.isfinite(logprob.grad).all()


# ---------------------------------------------------------------- aggregations by hand

LOSS = torch.tensor([[1.0, 2.0], [6.0, 0.0]])
COUNTS = BatchCounts.of(MASK, keep_N=torch.tensor([True, False]), max_new_tokens=10)


def test_counts_are_of_the_whole_batch():
    assert COUNTS == BatchCounts(tokens=3, rollouts=2, kept_tokens=2, kept_rollouts=1, max_new_tokens=10)
    assert BatchCounts.of(MASK) == BatchCounts(3, 2, 3, 2, 0)


@pytest.mark.parametrize(
    ("aggregate", "both", "first_only"),
    [
        (obj.token_mean, 9 / 3, 3 / 3),
        (obj.kept_token_mean, 9 / 2, 3 / 2),
        (obj.kept_token_mean_times_share, 9 / 4, 1 / 2 * 3 / 2),
        (obj.sequence_mean_token_mean, (1.5 + 6) / 2, 1.5 / 2),
        (obj.sequence_mean_token_sum, (3 + 6) / 2, 3 / 2),
        (obj.token_sum_over_constant, 9 / 20, 3 / 20),
    ],
)
def test_each_aggregation_by_hand(aggregate, both, first_only):
    assert aggregate(LOSS, MASK, COUNTS).item() == pytest.approx(both)
    assert aggregate(LOSS[:1], MASK[:1], COUNTS).item() == pytest.approx(first_only)  # a dropped row, left out
    dropped = MASK * torch.tensor([[1.0], [0.0]])
    assert aggregate(LOSS, dropped, COUNTS).item() == pytest.approx(first_only)  # the same row, masked


@pytest.mark.parametrize("aggregate", [obj.kept_token_mean, obj.kept_token_mean_times_share], **by_name)
@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_kept_is_a_zero_that_can_be_differentiated(aggregate, rows):
    nothing = BatchCounts.of(MASK, keep_N=torch.tensor([False, False]))
    tokens = LOSS[:rows].clone().requires_grad_()
    value = aggregate(tokens, torch.zeros_like(tokens), nothing)
    value.backward()
    assert value.item() == 0
    assert (tokens.grad == 0).all()


def test_dr_grpo_needs_the_budget():
    with pytest.raises(ValueError, match="budget"):
        obj.token_sum_over_constant(LOSS, MASK, BatchCounts.of(MASK))


# ---------------------------------------------------------------- for any batch


@st.composite
def batches(draw):
    """Random log-probabilities, old ones, advantages and a ragged mask, in double precision."""
    rows, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    logprobs = -3 * torch.rand(rows, width, generator=generator, dtype=torch.float64) - 1e-3
    old = (logprobs + 0.3 * torch.randn(rows, width, generator=generator, dtype=torch.float64)).clamp(max=0)
    advantages = torch.randn(rows, 1, generator=generator, dtype=torch.float64).repeat(1, width)
    lengths = draw(st.lists(st.integers(0, width), min_size=rows, max_size=rows))
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).double()
    return logprobs, old, advantages, mask


def value_and_gradient(token_loss, aggregate, batch, counts):
    logprobs, old, advantages, mask = batch
    logprobs = logprobs.clone().requires_grad_()
    value = aggregate(token_loss(logprobs, old, advantages, mask), mask, counts)
    return value.detach(), torch.autograd.grad(value, logprobs)[0]


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
@given(batch=batches(), extra=st.integers(0, 3), junk=st.sampled_from([-math.inf, math.inf, math.nan, 7.0]))
def test_padding_changes_nothing(token_loss, batch, extra, junk):
    mask = batch[3]
    counts = BatchCounts.of(mask, max_new_tokens=9)
    wide = torch.nn.functional.pad(mask, (0, extra))
    dirty = [torch.nn.functional.pad(x, (0, extra)).where(wide > 0, junk) for x in batch[:3]]
    for aggregate in AGGREGATIONS:
        value, gradient = value_and_gradient(token_loss, aggregate, batch, counts)
        dirty_value, dirty_gradient = value_and_gradient(token_loss, aggregate, (*dirty, wide), counts)
        assert torch.allclose(value, dirty_value)
        assert torch.allclose(torch.nn.functional.pad(gradient, (0, extra)), dirty_gradient)
        assert (dirty_gradient[wide == 0] == 0).all()


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
@given(batch=batches(), cut=st.integers(0, 5), flip=st.booleans())
def test_micro_batches_and_the_order_of_rows_change_nothing(token_loss, batch, cut, flip):
    keep = torch.arange(len(batch[3])) % 2 == 0
    counts = BatchCounts.of(batch[3], keep, max_new_tokens=9)
    order = list(range(len(batch[3])))[:: -1 if flip else 1]
    parts = [part for part in (order[:cut], order[cut:]) if part]
    for aggregate in AGGREGATIONS:
        value, gradient = value_and_gradient(token_loss, aggregate, batch, counts)
        split = [value_and_gradient(token_loss, aggregate, [x[p] for x in batch], counts) for p in parts]
        assert torch.allclose(value, sum(v for v, _ in split))
        for part, (_, part_gradient) in zip(parts, split, strict=True):
            assert torch.allclose(gradient[part], part_gradient)


@given(batch=batches())
def test_polarities_add_up_only_under_a_common_denominator(batch):
    logprobs, old, advantages, mask = batch
    right = advantages[:, 0] > 0
    tokens = obj.ppo_clip(logprobs, old, advantages, mask)
    for aggregate in AGGREGATIONS:
        if aggregate in (obj.kept_token_mean, obj.kept_token_mean_times_share):
            continue  # they divide by what is kept, which is what the released codes do
        whole = aggregate(tokens, mask, BatchCounts.of(mask, max_new_tokens=9))
        parts = [
            aggregate(tokens[keep], mask[keep], BatchCounts.of(mask, keep, max_new_tokens=9))
            for keep in (right, ~right)
        ]
        assert torch.allclose(whole, sum(parts))


# ---------------------------------------------------------------- cross-checks between methods


@pytest.mark.parametrize("aggregate", AGGREGATIONS, **by_name)
def test_with_one_update_per_batch_the_ratio_methods_are_one_gradient(aggregate):
    rewards, groups = torch.tensor([1.0, 0.0, 0.0, 1.0]).double(), torch.tensor([0, 0, 0, 0])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    logprobs = -torch.rand(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.1
    batch = (logprobs, logprobs.clone(), adv.expand(adv.grpo(rewards, groups), mask), mask)
    counts = BatchCounts.of(mask, max_new_tokens=8)

    def dapo(*inputs):
        return obj.ppo_clip(*inputs, clip_low=0.2, clip_high=0.28)

    _, reinforce = value_and_gradient(obj.policy_gradient, aggregate, batch, counts)
    for token_loss in (obj.ppo_clip, dapo, obj.cispo, obj.gspo):
        _, gradient = value_and_gradient(token_loss, aggregate, batch, counts)
        assert torch.allclose(gradient, reinforce, atol=1e-15)
    # ... and the paper's literal objective is not among them: its tokens weigh pi.
    _, literal = value_and_gradient(obj.probability_weighted, aggregate, batch, counts)
    assert torch.allclose(literal, reinforce * logprobs.exp())


@pytest.mark.parametrize("rewards", [torch.ones(4), torch.zeros(4)])
def test_uniform_groups_teach_constants_only(rewards):
    mask = torch.ones(4, 2)
    logprobs = torch.full((4, 2), -1.0)

    def gradient(advantages):
        batch = (logprobs, logprobs, adv.expand(advantages, mask), mask)
        return value_and_gradient(obj.ppo_clip, obj.token_mean, batch, BatchCounts.of(mask))[1]

    groups = torch.tensor([0, 0, 1, 1])
    for baseline in (adv.grpo, adv.dr_grpo, adv.rloo):
        assert (gradient(baseline(rewards, groups)) == 0).all()
    assert (gradient(adv.signed_constant(rewards)) != 0).all()


def test_a_clipped_token_is_dead_in_ppo_and_alive_in_cispo():
    assert one_token(obj.ppo_clip, 2.0, 1.0)[1] == 0
    assert one_token(obj.cispo, 2.0, 1.0)[1] == pytest.approx(-1.28)


# ---------------------------------------------------------------- fork tokens and Lp-Reg

NAN, INF = math.nan, math.inf


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_fork_tokens_by_hand():
    # Five tokens, ceil(0.2 * 5) = 1 chosen: weights are 0 and 5. The 9 is padding.
    mask, entropies = table([1, 1, 1], [1, 1, 0]), table([0.1, 0.2, 0.3], [0.7, 0.5, 9])
    logprobs, advantages = table([-1, -1, -1], [-2, -1, NAN]), table([1, 1, 1], [-3, -3, -3])
    tokens = obj.fork_tokens(logprobs, logprobs, advantages, mask, entropies)
    assert tokens.tolist() == [[0, 0, 0], [15, 0, 0]]
    assert obj.token_mean(tokens, mask, BatchCounts.of(mask)).item() == 3  # the mean over the one chosen token


@pytest.mark.parametrize(
    ("tokens", "fraction", "count"), [(1, 0.2, 1), (5, 0.2, 1), (6, 0.2, 2), (100, 0.07, 7), (4, 0.5, 2), (3, 1e-12, 1)]
)
def test_fork_tokens_are_rounded_up_and_ties_go_in_reading_order(tokens, fraction, count):
    ones = torch.ones(1, tokens, dtype=torch.float64)
    chosen = obj.fork_tokens(-ones, -ones, ones, ones, ones, fraction) != 0
    assert chosen.tolist() == [[t < count for t in range(tokens)]]


@given(batch=batches(), fraction=st.sampled_from([0.2, 0.5, 1.0]))
def test_fork_tokens_are_dapo_on_the_chosen_and_at_fraction_one_everywhere(batch, fraction):
    mask = batch[3]
    entropies = torch.rand(mask.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    tokens = obj.fork_tokens(*batch, entropies, fraction)
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


def lp_reg_by_hand(**options):
    """A wrong answer of four tokens and a right one of one; the loss and its derivative by log pi."""
    logprobs = table([0.5, 0.1, 0.2, 0.01], [0.05, 1, 1, 1]).log().requires_grad_()
    old = table([0.5, 0.4, 0.2, 0.01], [0.05, 1, 1, 1]).log()
    mask = table([1, 1, 1, 1], [1, 0, 0, 0])
    top = table([0.5, 0.5, 0.5, 0.6], [0.5, 1, 1, 1]).log()
    mass = table([1.0, 0.8, 0.5, 0.9], [1.0, 1, 1, 1]).log()
    loss = obj.lp_reg(logprobs, old, table([-1] * 4, [2] * 4), mask, top, mass, **options)
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
        return one_token(lambda *b: obj.lp_reg(*b, extra, torch.zeros(1, 1)), ratio, advantage)

    assert at(3.9, 1.0) == pytest.approx((-3.9, -3.9))
    assert at(3.9, -1.0) == pytest.approx((3.9, 3.9))
    old, top = table([-6.0]), table([-1.0])
    for advantage, value in ((1.0, -10.0), (-1.0, math.exp(5))):
        loss = obj.lp_reg(top, old, table([advantage]), torch.ones(1, 1), top, table([-0.5]))
        assert loss.item() == pytest.approx(value)


def with_old_policy(batch, seed=5):
    """The batch, and the old policy's two numbers per token, from distributions that hold the sampled token."""
    generator = torch.Generator().manual_seed(seed)
    logprobs, old, advantages, mask = batch
    rest = torch.rand(*old.shape, 4, generator=generator, dtype=torch.float64).softmax(-1) * -torch.expm1(old)[..., None]
    return (*batch, *obj.filtered_mass(torch.cat([old[..., None], rest.log()], -1), 0.02))


@given(batch=batches())
def test_lp_reg_with_rho_zero_is_the_clipped_loss(batch):
    plain = obj.ppo_clip(*batch, clip_low=1.0, clip_high=9.0)
    assert torch.equal(obj.lp_reg(*with_old_policy(batch), rho=0.0), plain)
    # Otherwise it only adds, and only where the advantage is negative.
    added = obj.lp_reg(*with_old_policy(batch), rho=1.0) - plain
    assert (added >= 0).all()
    assert (added[(batch[2] > 0) | (batch[3] == 0)] == 0).all()


@given(batch=batches(), extra=st.integers(0, 3), junk=st.sampled_from([-INF, INF, NAN, 7.0]))
def test_padding_changes_nothing_in_fork_tokens_and_lp_reg(batch, extra, junk):
    entropies = torch.rand(batch[3].shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for function, inputs, options in (
        (obj.fork_tokens, (*batch, entropies), {}),
        (obj.lp_reg, with_old_policy(batch), {"rho": 0.6}),
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
    top, mass = obj.filtered_mass(pi.log(), kappa=0.02)  # 0.01 < 0.012 is dropped
    assert (top.exp().item(), mass.exp().item()) == pytest.approx((0.6, 0.99))
    assert obj.filtered_mass(pi.log(), kappa=0.49)[1].exp().item() == pytest.approx(0.9)
    assert obj.filtered_mass(pi.log(), kappa=1.0)[1].exp().item() == pytest.approx(0.6)
    assert [x.shape for x in obj.filtered_mass(torch.zeros(2, 3, 1))] == [(2, 3), (2, 3)]


def test_bad_inputs_of_fork_tokens_and_lp_reg_are_refused():
    signal, entropies = adv.expand(ADVANTAGES, MASK), torch.ones(2, 2)
    top, mass = torch.full((2, 2), -0.5), torch.full((2, 2), -0.1)
    fork, lp = (LOGPROBS, LOGPROBS, signal, MASK, entropies), (LOGPROBS, LOGPROBS, signal, MASK, top, mass)
    for function, good in ((obj.fork_tokens, fork), (obj.lp_reg, lp)):
        for place in range(len(good)):
            bad = [*good]
            bad[place] = good[place][:, :1]
            with pytest.raises(ValueError, match=r"\[2, 1\]"):
                function(*bad)
        with pytest.raises(ValueError, match="above 0 or NaN"):
            function(-LOGPROBS, *good[1:])
    for value in (-1.0, NAN, INF):
        with pytest.raises(ValueError, match="entropy on a response token"):
            obj.fork_tokens(*fork[:4], entropies * value)
    for value in (1.0, NAN, -INF):
        with pytest.raises(ValueError, match="old top log-probability"):
            obj.lp_reg(*lp[:4], torch.full((2, 2), value), mass)
        with pytest.raises(ValueError, match="old kept log-mass"):
            obj.lp_reg(*lp[:5], torch.full((2, 2), value))
    with pytest.raises(ValueError, match="are they exchanged"):
        obj.lp_reg(*lp[:4], mass, top)
    for name, values in (("rho", (-0.1, 1.1, NAN)), ("beta", (-1.0, INF, NAN)), ("kappa", (0.0, 1.1, NAN))):
        for value in values:
            with pytest.raises(ValueError, match=f"{name} must be in"):
                obj.lp_reg(*lp, **{name: value})
    for fraction in (0.0, 1.1, NAN):
        with pytest.raises(ValueError, match="fraction must be in"):
            obj.fork_tokens(*fork, fraction)
    with pytest.raises(ValueError, match="logits passed"):
        obj.filtered_mass(torch.ones(1, 1, 3))
    with pytest.raises(ValueError, match="vocabulary"):
        obj.filtered_mass(torch.tensor(0.0))


# ---------------------------------------------------------------- gradients by the logits (PSRNSR-C12)

LOGITS = torch.tensor([2.0, 1.0, 0.5, -0.3, -1.0], dtype=torch.float64)


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
    assert torch.allclose(descent(obj.probability_weighted, advantage, sampled), literal, rtol=0, atol=1e-10)
    # With log pi, or with the released code's ratio at pi = pi_old, the factor pi_y is gone.
    for token_loss in (obj.policy_gradient, obj.ppo_clip):
        released = advantage * (one_hot - pi)
        assert torch.allclose(descent(token_loss, advantage, sampled), released, rtol=0, atol=1e-10)


@pytest.mark.parametrize("token_loss", [obj.probability_weighted, obj.policy_gradient], **by_name)
@pytest.mark.parametrize("sampled", range(5))
def test_a_small_negative_step_keeps_the_prior(token_loss, sampled):
    rate, pi = 1e-3, LOGITS.softmax(-1)
    step = rate * descent(token_loss, -1.0, sampled)
    after = LOGITS + step
    factor = pi[sampled] if token_loss is obj.probability_weighted else 1.0
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
        assert torch.allclose(descent(obj.unlikelihood, -1.0, sampled), expected, rtol=0, atol=1e-10)
    nsr = [descent(obj.policy_gradient, -1.0, v)[v].abs() for v in (0, 4)]
    unlikelihood = [descent(obj.unlikelihood, -1.0, v)[v].abs() for v in (0, 4)]
    assert nsr[0] < nsr[1]  # token 0 is the confident one
    assert unlikelihood[0] > unlikelihood[1]


def test_gradcheck_of_the_smooth_losses():
    old = torch.tensor([[-1.0, -0.4]], dtype=torch.float64)
    logprobs = (old + 0.05).requires_grad_()  # inside every clip
    advantages, mask = torch.tensor([[1.5, -0.7]], dtype=torch.float64), torch.ones(1, 2)
    for token_loss in (obj.policy_gradient, obj.ppo_clip, obj.probability_weighted, obj.unlikelihood):
        assert torch.autograd.gradcheck(lambda x, f=token_loss: f(x, old, advantages, mask), logprobs)
    assert torch.autograd.gradcheck(lambda x: obj.k3(x, old), logprobs)


# ---------------------------------------------------------------- divergence and entropy


def test_k3_by_hand():
    logprobs = torch.log(torch.tensor([[0.5, 0.5]]))
    reference = torch.log(torch.tensor([[0.25, 0.5]]))
    # d = log(1/2): 0.5 + log 2 - 1
    assert obj.k3(logprobs, reference).tolist() == [[pytest.approx(math.log(2) - 0.5), 0]]


@given(batch=batches())
def test_k3_is_never_negative_and_flat_where_policies_agree(batch):
    logprobs, reference, _, _ = batch
    assert (obj.k3(logprobs, reference) >= 0).all()
    same = logprobs.clone().requires_grad_()
    obj.k3(same, logprobs).sum().backward()
    assert (same.grad == 0).all()


def test_k3_is_bounded_and_ignores_padding():
    far = torch.tensor([[-500.0, -math.inf]], requires_grad=True)
    value = obj.k3(far, torch.tensor([[-1.0, -math.inf]]), torch.tensor([[1, 0]]))
    value.sum().backward()
    assert value.tolist() == [[10, 0]]
    assert torch.isfinite(far.grad).all()


def test_k3_averages_to_the_divergence():
    pi, reference = LOGITS.softmax(-1), (LOGITS / 2).softmax(-1)  # near enough that no clamp acts
    expected = (pi * obj.k3(pi.log()[None], reference.log()[None])[0]).sum()
    assert expected.item() == pytest.approx((pi * (pi / reference).log()).sum().item())


def test_entropy_by_hand():
    assert obj.entropy_from_logits(torch.zeros(2, 3, 8)).flatten().tolist() == pytest.approx([math.log(8)] * 6)
    assert obj.entropy_from_logits(torch.tensor([0.0, -math.inf])).item() == 0  # only one token possible


def test_entropy_gradient_is_the_entropy_bonus_of_appendix_b():
    # d H / d z_v = - pi_v (log pi_v + H), also with a forbidden token.
    logits = torch.cat([LOGITS, torch.tensor([-math.inf])]).requires_grad_()
    entropy = obj.entropy_from_logits(logits)
    entropy.backward()
    pi = LOGITS.softmax(-1)
    assert torch.allclose(logits.grad[:-1], -pi * (pi.log() + entropy.detach()))
    assert logits.grad[-1] == 0


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("token_loss", TOKEN_LOSSES, **by_name)
def test_bad_inputs_are_refused(token_loss):
    good = [LOGPROBS, LOGPROBS, adv.expand(ADVANTAGES, MASK), MASK]
    for place in range(4):
        bad = [*good]
        bad[place] = good[place][:, :1]
        with pytest.raises(ValueError, match=r"\[2, 1\]"):
            token_loss(*bad)
    for place in range(2):
        for value in (0.01, math.nan):
            bad = [*good]
            bad[place] = LOGPROBS.clone()
            bad[place][0, 0] = value
            with pytest.raises(ValueError, match="above 0 or NaN"):
                token_loss(*bad)
    with pytest.raises(ValueError, match="0 and 1 only"):
        token_loss(*good[:3], MASK / 2)
    with pytest.raises(ValueError, match="an advantage"):
        token_loss(*good[:2], good[2] / 0, MASK)


def test_shapes_of_the_other_functions_are_checked():
    for aggregate in AGGREGATIONS:
        with pytest.raises(ValueError, match=r"loss \[2, 2\], mask \[2, 1\]"):
            aggregate(LOSS, MASK[:, :1], COUNTS)
    with pytest.raises(ValueError, match="one shape"):
        obj.k3(LOGPROBS, LOGPROBS[:1])
    with pytest.raises(ValueError, match="vocabulary"):
        obj.entropy_from_logits(torch.tensor(0.0))
    with pytest.raises(ValueError, match=r"must be \[N\]"):
        obj.polarity_loss(LOGPROBS, ADVANTAGES[:1], MASK, 3)
    with pytest.raises(ValueError, match="keep must have shape"):
        BatchCounts.of(MASK, torch.ones(3))


def test_a_huge_ratio_gives_no_nan():
    for advantage in (1.0, -1.0):
        logprobs = torch.full((1, 1), -1e-3, requires_grad=True)
        advantages, mask = torch.full((1, 1), advantage), torch.ones(1, 1)
        for token_loss in (obj.ppo_clip, obj.cispo, obj.gspo):
            tokens = token_loss(logprobs, torch.full((1, 1), -500.0), advantages, mask)
            (gradient,) = torch.autograd.grad(tokens.sum(), logprobs)
            assert torch.isfinite(tokens).all()
            assert torch.isfinite(gradient).all()


# ---------------------------------------------------------------- TRL's own arithmetic


def trl_loss(loss_type, batch, **options):
    """Run GRPOTrainer's own loss on given numbers: a stand-in for self, no model, no training."""
    trainer_module = pytest.importorskip(
        "trl.trainer.grpo_trainer", reason="TRL, or something it imports, is not installed", exc_type=ImportError
    )
    logprobs, old, advantages, mask = batch
    settings = {
        "importance_sampling_level": "token", "epsilon_low": 0.2, "epsilon_high": 0.28, "beta": 0.0,
        "reference": old, "max_completion_length": 9, **options,
    }  # fmt: skip
    metrics = {"train": defaultdict(list)}
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        loss_type=loss_type, top_entropy_quantile=1.0, off_policy_mask_threshold=None, aux_loss_enabled=False,
        use_vllm=False, _entropy_bonus_enabled=False, current_gradient_accumulation_steps=1, _metrics=metrics,
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        **settings,
    )  # fmt: skip
    tokens = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": tokens[:, :1], "prompt_mask": tokens[:, :1] + 1,
        "completion_ids": tokens, "completion_mask": mask, "advantages": advantages[:, 0],
        "old_per_token_logps": old, "ref_per_token_logps": settings["reference"], "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return trainer_module.GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("loss_type", "options", "token_loss", "aggregate"),
    [
        ("grpo", {}, lambda *b: obj.ppo_clip(*b, clip_high=0.28), obj.sequence_mean_token_mean),
        ("dapo", {}, lambda *b: obj.ppo_clip(*b, clip_high=0.28), obj.token_mean),
        ("dr_grpo", {}, lambda *b: obj.ppo_clip(*b, clip_high=0.28), obj.token_sum_over_constant),
        # TRL states the upper bound of CISPO itself, not its distance from one.
        ("cispo", {"epsilon_high": 1.28}, obj.cispo, obj.token_mean),
        (
            "grpo",
            {"importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
            obj.gspo,
            obj.sequence_mean_token_mean,
        ),
    ],
    ids=["grpo", "dapo", "dr_grpo", "cispo", "gspo"],
)
def test_values_and_gradients_equal_trl(loss_type, options, token_loss, aggregate):
    generator = torch.Generator().manual_seed(3)
    old = -2 * torch.rand(6, 5, generator=generator, dtype=torch.float64) - 0.5
    logprobs = (old + 0.3 * torch.randn(6, 5, generator=generator, dtype=torch.float64)).requires_grad_()
    mask = (torch.arange(5) < torch.tensor([[5], [4], [3], [2], [1], [5]])).double()
    advantages = torch.randn(6, 1, generator=generator, dtype=torch.float64).repeat(1, 5)
    batch = (logprobs, old, advantages, mask)
    theirs = trl_loss(loss_type, batch, **options)
    ours = aggregate(token_loss(*batch), mask, BatchCounts.of(mask, max_new_tokens=9))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    gradients = [torch.autograd.grad(value, logprobs)[0] for value in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-12)


@pytest.mark.peers
def test_k3_and_entropy_equal_trl():
    generator = torch.Generator().manual_seed(4)
    logprobs = -torch.rand(2, 3, generator=generator, dtype=torch.float64)
    reference = -torch.rand(2, 3, generator=generator, dtype=torch.float64)
    mask = torch.ones(2, 3, dtype=torch.float64)
    batch = (logprobs, logprobs, torch.zeros(2, 3, dtype=torch.float64), mask)
    theirs = trl_loss("dapo", batch, beta=1.0, reference=reference)  # advantages of zero leave the divergence alone
    assert obj.k3(logprobs, reference).mean().item() == pytest.approx(theirs.item())
    utils = pytest.importorskip("trl.trainer.utils", exc_type=ImportError)
    logits = torch.randn(2, 3, 11, generator=generator, dtype=torch.float64)
    assert torch.allclose(obj.entropy_from_logits(logits), utils.entropy_from_logits(logits))
