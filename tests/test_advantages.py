"""Advantages a reader can redo with a pencil, then what must hold for any rewards."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib import advantages as adv

# Two prompts of three rollouts: one right of three, two right of three.
REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
GROUPS = torch.tensor([7, 7, 7, 2, 2, 2])


def one_group(right, size):
    return torch.tensor([1.0] * right + [0.0] * (size - right), dtype=torch.float64), torch.zeros(
        size, dtype=torch.long
    )


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("size", "right", "positive", "negative"),
    [
        (8, 1, 2.4749, -0.3536),
        (8, 2, 1.6202, -0.5401),
        (8, 4, 0.9354, -0.9354),
        (8, 6, 0.5401, -1.6202),
        (8, 7, 0.3536, -2.4749),
        (16, 2, 2.5617, -0.3660),
    ],
)
def test_grpo_matches_the_published_table(size, right, positive, negative):
    advantages = adv.grpo(*one_group(right, size))
    assert advantages[0].item() == pytest.approx(positive, abs=1e-4)
    assert advantages[-1].item() == pytest.approx(negative, abs=1e-4)


def test_grpo_with_the_population_deviation():
    # mean 1/4, population std sqrt(3)/4, so (3/4) / (sqrt(3)/4) = sqrt(3)
    assert adv.grpo(*one_group(1, 4), epsilon=0.0, ddof=0)[0].item() == pytest.approx(3**0.5)


def test_constants_give_the_four_methods_of_the_paper():
    rewards = torch.tensor([1.0, 0.0])
    assert adv.signed_constant(rewards, 1, 0).tolist() == [1, 0]  # PSR
    assert adv.signed_constant(rewards, 0, 1).tolist() == [0, -1]  # NSR
    assert adv.signed_constant(rewards, 0.1, 1).tolist() == pytest.approx([0.1, -1])  # W-REINFORCE
    assert adv.signed_constant(rewards).tolist() == [1, -1]  # REINFORCE
    assert adv.signed_constant(2 * rewards - 1).tolist() == [1, -1]  # rewards of -1 and +1 mean the same


def test_baselines_by_hand():
    assert adv.batch_baseline(REWARDS).tolist() == [0.5, -0.5, -0.5, 0.5, 0.5, -0.5]
    third = 1 / 3
    assert adv.dr_grpo(REWARDS, GROUPS).tolist() == pytest.approx([2 * third, -third, -third, third, third, -2 * third])
    # The others' means are 0, 1/2, 1/2 and 1/2, 1/2, 1.
    assert adv.rloo(REWARDS, GROUPS).tolist() == pytest.approx([1, -0.5, -0.5, 0.5, 0.5, -1])


def test_polarity_weights_follow_the_verdict_not_the_sign():
    shaped = torch.tensor([-0.5, 0.5, -1.0])  # a right but long answer was given a negative advantage
    verdicts = torch.tensor([1.0, 0.0, 0.0])
    assert adv.weight_polarities(shaped, verdicts, 2, 10).tolist() == [-1, 5, -10]
    assert adv.weight_polarities(shaped[:, None].repeat(1, 2), verdicts, 2, 10).tolist() == [
        [-1, -1],
        [5, 5],
        [-10, -10],
    ]


def test_a_group_of_one():
    alone, group = torch.tensor([1.0, 0.0]), torch.tensor([0, 1])
    assert adv.grpo(alone, group, epsilon=0.0).tolist() == [1, 0]  # mean 0, std 1, as released
    assert adv.dr_grpo(alone, group).tolist() == [0, 0]
    with pytest.raises(ValueError, match="single rollout"):
        adv.rloo(alone, group)


def test_three_equal_shaped_rewards_are_a_uniform_group():
    # In single precision the mean of three 0.7 is not 0.7, and GRPO divides the rest by 1e-6.
    rewards = torch.full((3,), 0.7)
    assert adv.grpo(rewards, torch.zeros(3, dtype=torch.long)).abs().max() < 1e-6


def test_gae_by_hand():
    values = torch.tensor([[0.5, 0.25, 99.0]])
    mask = torch.tensor([[1, 1, 0]])
    advantages, returns = adv.gae(values, torch.tensor([1.0]), mask, discount=0.5, trace=0.5)
    # delta_2 = 1 - 0.25 = 0.75; delta_1 = 0.5 * 0.25 - 0.5 = -0.375; A_1 = -0.375 + 0.25 * 0.75
    assert advantages.tolist() == [[-0.1875, 0.75, 0.0]]
    assert returns.tolist() == [[0.3125, 1.0, 0.0]]


def test_whitening_by_hand():
    whitened = adv.whiten(torch.tensor([[1.0, 2.0], [3.0, 99.0]]), torch.tensor([[1, 1], [1, 0]]))
    assert whitened.tolist() == [[pytest.approx(-1), pytest.approx(0)], [pytest.approx(1), 0]]


def test_expansion_leaves_padding_at_zero():
    assert adv.expand(torch.tensor([2.0, -1.0]), torch.tensor([[1, 0], [1, 1]])).tolist() == [[2, 0], [-1, -1]]


# ---------------------------------------------------------------- refusals

ALL = {
    "signed_constant": lambda r, g: adv.signed_constant(r),
    "batch_baseline": lambda r, g: adv.batch_baseline(r),
    "rloo": adv.rloo,
    "dr_grpo": adv.dr_grpo,
    "grpo": adv.grpo,
    "weight_polarities": lambda r, g: adv.weight_polarities(r, r, 1, 1),
    "gae": lambda r, g: adv.gae(torch.zeros(len(r), 1), r, torch.ones(len(r), 1)),
    "expand": lambda r, g: adv.expand(r, torch.ones(len(r), 1)),
}


@pytest.mark.parametrize("function", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize(
    ("rewards", "reason"),
    [
        (torch.zeros(0), "empty"),
        (torch.zeros(2, 2), "one per rollout"),
        (torch.tensor([0.0, float("nan")]), "finite"),
        (torch.tensor([0.0, float("inf")]), "finite"),
    ],
)
def test_bad_rewards_are_refused(function, rewards, reason):
    with pytest.raises(ValueError, match=reason):
        function(rewards, torch.zeros(rewards.shape, dtype=torch.long))


@pytest.mark.parametrize("function", [adv.rloo, adv.dr_grpo, adv.grpo])
def test_bad_groups_are_refused(function):
    with pytest.raises(ValueError, match="one group"):
        function(REWARDS, GROUPS[:-1])
    with pytest.raises(ValueError, match="integers"):
        function(REWARDS, GROUPS.float())


def test_gae_and_whitening_refuse_bad_masks():
    one = torch.tensor([1.0])
    with pytest.raises(ValueError, match="empty"):
        adv.gae(torch.zeros(1, 2), one, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="gap"):
        adv.gae(torch.zeros(1, 3), one, torch.tensor([[1, 0, 1]]))
    with pytest.raises(ValueError, match="gap"):
        adv.gae(torch.zeros(1, 2), one, torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="must both be"):
        adv.gae(torch.zeros(1, 3), one, torch.ones(1, 2))
    with pytest.raises(ValueError, match="two response tokens"):
        adv.whiten(torch.zeros(1, 2), torch.tensor([[1, 0]]))
    with pytest.raises(ValueError, match="ddof"):
        adv.grpo(REWARDS, GROUPS, ddof=2)


# ---------------------------------------------------------------- for any rewards


@st.composite
def batches(draw, smallest=1):
    """Ragged groups of 0/1 rewards with arbitrary ids and rows in any order."""
    ids = draw(st.lists(st.integers(-5, 10**6), min_size=1, max_size=4, unique=True))
    groups = [i for i in ids for _ in range(draw(st.integers(smallest, 6)))]
    groups = draw(st.permutations(groups))
    rewards = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(groups), max_size=len(groups)))
    return torch.tensor(rewards, dtype=torch.float64), torch.tensor(groups)


def group_by_group(formula, rewards, groups):
    """The obvious loop that the library's vectorised code must equal."""
    result = torch.empty_like(rewards)
    for g in groups.unique():
        result[groups == g] = formula(rewards[groups == g])
    return result


@given(batches())
def test_ragged_groups_equal_a_plain_loop(batch):
    def standardised(r):
        return (r - r.mean()) / (r.std() + 1e-6) if len(r) > 1 else r / (1 + 1e-6)

    rewards, groups = batch
    assert torch.allclose(adv.dr_grpo(*batch), group_by_group(lambda r: r - r.mean(), rewards, groups))
    assert torch.allclose(adv.grpo(*batch), group_by_group(standardised, rewards, groups))


@given(batches(smallest=2))
def test_rloo_is_a_rescaled_dr_grpo(batch):
    size = group_by_group(lambda r: torch.full_like(r, len(r)), *batch)
    assert torch.allclose(adv.rloo(*batch), size / (size - 1) * adv.dr_grpo(*batch))


@given(batches(smallest=2))
def test_signs_and_uniform_groups(batch):
    rewards, groups = batch
    uniform = group_by_group(lambda r: (r.min() == r.max()).to(r).expand_as(r), rewards, groups) > 0
    for function in (adv.rloo, adv.dr_grpo, adv.grpo):
        advantages = function(rewards, groups)
        assert (advantages[uniform] == 0).all()  # exactly: nothing to compare
        assert ((advantages > 0) == (rewards > 0))[~uniform].all()
    assert (adv.signed_constant(rewards) != 0).all()  # constants teach from uniform groups too


@given(batches(smallest=2), st.randoms())
def test_the_order_of_rows_does_not_matter(batch, random):
    rewards, groups = batch
    order = torch.tensor(random.sample(range(len(rewards)), len(rewards)))
    for function in (adv.rloo, adv.dr_grpo, adv.grpo):
        assert torch.allclose(function(rewards[order], groups[order]), function(rewards, groups)[order])


@given(batches(smallest=2))
def test_reward_units_do_not_matter_to_grpo(batch):
    rewards, groups = batch
    assert torch.allclose(adv.grpo(2 * rewards - 1, groups, epsilon=1e-12), adv.grpo(rewards, groups, epsilon=1e-12))


@st.composite
def rows(draw):
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    width = max(lengths) + draw(st.integers(0, 2))
    mask = torch.tensor([[int(t < n) for t in range(width)] for n in lengths])
    return mask, torch.Generator().manual_seed(draw(st.integers(0, 10**6)))


@given(rows())
def test_gae_without_discount_is_reward_minus_value(case):
    mask, generator = case
    values = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    rewards = torch.randn(len(mask), generator=generator, dtype=torch.float64)
    junk = torch.where(mask > 0, values, float("nan"))
    advantages, returns = adv.gae(junk, rewards, mask)
    assert torch.allclose(advantages, (rewards[:, None] - values) * mask)
    assert torch.allclose(returns, rewards[:, None] * mask)


@given(rows(), st.floats(0, 1), st.floats(0, 1))
def test_gae_is_the_discounted_sum_of_its_definition(case, discount, trace):
    mask, generator = case
    values = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    rewards = torch.randn(len(mask), generator=generator, dtype=torch.float64)
    advantages, _ = adv.gae(values, rewards, mask, discount, trace)
    for i, length in enumerate(mask.sum(1).tolist()):
        v = [*values[i, :length].tolist(), 0.0]
        delta = [(rewards[i].item() if t == length - 1 else 0.0) + discount * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            expected = sum((discount * trace) ** (u - t) * delta[u] for u in range(t, length))
            assert advantages[i, t].item() == pytest.approx(expected, abs=1e-9)


def test_advantages_are_constants_and_keep_the_rewards_precision():
    rewards = torch.tensor([1.0, 0.0], requires_grad=True)
    assert not adv.grpo(rewards, torch.tensor([0, 0])).requires_grad
    values = torch.zeros(2, 1, requires_grad=True)
    assert not any(out.requires_grad for out in adv.gae(values, rewards, torch.ones(2, 1)))
    assert adv.grpo(REWARDS.double(), GROUPS).dtype == torch.float64
    assert adv.grpo(REWARDS.bool(), GROUPS).dtype == torch.float32
    assert adv.signed_constant(REWARDS.long(), 0.1, 1).dtype == torch.float32
