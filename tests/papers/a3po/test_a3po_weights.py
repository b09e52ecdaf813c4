"""Token weights a reader can redo with a pencil, then what holds for any batch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.objectives import BatchCounts
from polarity_lib.papers.a3po import weights as token_weights

NAN, INF = math.nan, math.inf

# A right answer of five tokens and a wrong one of four; a fifth of either is one token.
PROBABILITY = torch.tensor([[0.9, 0.1, 0.5, 0.2, 0.8], [0.3, 0.7, 0.6, 0.4, NAN]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
RIGHT = torch.tensor([True, False])
BOTH = torch.tensor([True, True])

by_name = {"ids": lambda function: function.__name__}


def row(values, mask=None):
    values = torch.tensor([values])
    return values, torch.ones_like(values) if mask is None else torch.tensor([mask])


def picked(values, fraction, end, mask=None):
    """Positions chosen in one response."""
    chosen = token_weights.select_tokens(*row(values, mask), torch.tensor([True]), fraction, end)
    return chosen[0].nonzero().flatten().tolist()


# ---------------------------------------------------------------- selection by hand


def test_selection_by_hand():
    assert picked([0.9, 0.1, 0.5, 0.2, 0.8], 0.4, "low") == [1, 3]
    assert picked([0.9, 0.1, 0.5, 0.2, 0.8], 0.4, "high") == [0, 4]
    assert picked([3, 1, 2], 0.7, "low") == [1, 2]  # whole numbers are ranked too
    assert picked([0.0, 0.5, 0.0, 0.7, 0.2], 0.2, "low") == [0]  # an entropy of exactly 0 is a token


def test_ties_go_to_the_earlier_position_at_both_ends():
    assert picked([1.0] * 10, 0.3, "high") == picked([1.0] * 10, 0.3, "low") == [0, 1, 2]
    assert picked([0.5, 1.0, 0.5, 1.0, 1.0], 0.4, "high") == [1, 3]


@pytest.mark.parametrize(
    ("fraction", "tokens", "count"),
    [(0.2, 1, 1), (0.2, 4, 1), (0.2, 5, 1), (0.2, 9, 1), (0.2, 10, 2), (0.2, 15, 3), (0.29, 100, 29), (0.7, 10, 7),
     (0.01, 99, 1), (1.0, 7, 7)],
)  # fmt: skip
def test_counts_are_rounded_down_and_at_least_one(fraction, tokens, count):
    assert len(picked(list(range(tokens)), fraction, "high")) == count


@pytest.mark.parametrize("junk", [NAN, INF, -INF, 0.0])
@pytest.mark.parametrize("end", ["high", "low"])
def test_padding_is_never_chosen_also_inside_a_gap(junk, end):
    assert picked([junk, 0.5, junk, 0.5, junk], 1.0, end, [0, 1, 0, 1, 0]) == [1, 3]
    assert picked([junk, junk], 1.0, end, [0, 0]) == []


def test_only_the_named_rows_are_ranked_each_on_its_own():
    metric = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    chosen = token_weights.select_tokens(metric, torch.ones(3, 2), torch.tensor([True, False, True]), 0.5, "high")
    assert chosen.tolist() == [[False, True], [False, False], [False, True]]


# ---------------------------------------------------------------- weights by hand


def test_a3po_takes_the_unlikely_of_right_and_the_likely_of_wrong():
    weights = token_weights.a3po_weights(PROBABILITY, MASK, RIGHT, 2.0)
    assert weights.tolist() == [[1, 2, 1, 1, 1], [1, 2, 1, 1, 1]]
    swapped = token_weights.swapped_weights(PROBABILITY, MASK, RIGHT, 2.0)
    assert swapped.tolist() == [[2, 1, 1, 1, 1], [2, 1, 1, 1, 1]]
    entropy = -PROBABILITY.log()  # of one rank order with surprise
    assert torch.equal(token_weights.a3po_weights_by_entropy(entropy, MASK, RIGHT, 2.0), weights)


def test_overlapping_cells_multiply():
    scales = {("right", "high"): 2.0, ("right", "low"): 5.0, ("wrong", "low"): 0.5}
    weights = token_weights.cell_weights(PROBABILITY, MASK, RIGHT, scales, fraction=0.6)
    assert weights.tolist() == [[2, 5, 10, 5, 2], [0.5, 1, 1, 0.5, 1]]


def test_the_decay_by_hand():
    assert [token_weights.decayed_weight(s) for s in (0, 50, 100, 150, 200, 201, 10**6)] == [2, 1.75, 1.5, 1.25, 1, 1, 1]
    assert token_weights.decayed_weight(10, start=5.0, slope=0.0) == 5
    assert token_weights.decayed_weight(3, start=2.0, slope=0.25) == 1.25


def test_mean_one_by_hand():
    weights = token_weights.mean_one(torch.tensor([[2.0, 1, 1, NAN], [2.0, 2, 0, 0]]), torch.tensor([[1, 1, 1, 0], [1] * 4]))
    assert weights.flatten().tolist() == pytest.approx([1.5, 0.75, 0.75, 1, 2, 2, 0, 0])


def test_position_matching_by_hand():
    # The rows exchange their places: first token of five becomes first of three, and so on.
    chosen = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]).bool()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    weights = token_weights.position_matched_weights(chosen, mask, 3.0, seed=0)
    assert weights.tolist() == [[1, 1, 1, 1, 3], [3, 1, 1, 1, 1]]
    # One donor token for three of its own: they spread around the middle. And the middle one of three.
    chosen = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 0, 0]]).bool()
    weights = token_weights.position_matched_weights(chosen, torch.ones(2, 5), 2.0, seed=0)
    assert weights.tolist() == [[1, 2, 2, 2, 1], [1, 2, 1, 1, 1]]


def test_with_verdicts_a_donor_has_the_same_one():
    starts, ends = [True, False, False, False], [False, False, False, True]
    chosen, right = torch.tensor([starts, ends] * 8), torch.tensor([True, False] * 8)
    mask = torch.ones(16, 4)
    assert torch.equal(token_weights.position_matched_weights(chosen, mask, 2.0, 0, right) == 2, chosen)
    mixed = token_weights.position_matched_weights(chosen, mask, 2.0, 0) == 2
    assert mixed.sum(0).tolist() == [8, 0, 0, 8] and not torch.equal(mixed, chosen)


# ---------------------------------------------------------------- for any batch


@st.composite
def batches(draw):
    """Probabilities (coarse, so that ties are common), a mask with gaps and empty rows, verdicts."""
    rows, width = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    mask = torch.from_numpy(generator.random((rows, width)) < draw(st.sampled_from([0.3, 0.8, 1.0])))
    probability = torch.from_numpy(generator.integers(0, 8, (rows, width)) / 7)
    right = torch.from_numpy(generator.random(rows) < 0.5)
    return probability.where(mask, NAN), mask, right


def card(metric, mask, right, weight, fraction):
    """The pseudo-code of the paper card, token by token; sorted() is stable."""
    weights = torch.ones_like(metric)
    for i in range(len(metric)):
        tokens = [t for t in range(metric.shape[1]) if mask[i, t]]
        if tokens:
            count = max(1, math.floor(fraction * len(tokens) + 1e-9))
            sign = 1 if right[i] else -1
            for t in sorted(tokens, key=lambda t: sign * metric[i, t].item())[:count]:
                weights[i, t] *= weight
    return weights


@given(batch=batches(), fraction=st.sampled_from([0.1, 0.2, 0.5, 1.0]), weight=st.sampled_from([0.0, 1.0, 2.0, 5.0]))
def test_a3po_equals_the_card(batch, fraction, weight):
    assert torch.equal(token_weights.a3po_weights(*batch, weight, fraction), card(*batch, weight, fraction))


@given(batch=batches(), extra=st.integers(0, 3), junk=st.sampled_from([NAN, INF, -INF, 7.0]))
def test_padding_and_other_rows_change_nothing(batch, extra, junk):
    probability, mask, right = batch
    wide = torch.nn.functional.pad(mask, (0, extra))
    dirty = torch.nn.functional.pad(probability, (0, extra)).where(wide, junk)
    weights = token_weights.a3po_weights(probability, mask, right, 2.0)
    expected = torch.nn.functional.pad(weights, (0, extra), value=1)
    assert torch.equal(token_weights.a3po_weights(dirty, wide, right, 2.0), expected)
    alone = [token_weights.a3po_weights(probability[i : i + 1], mask[i : i + 1], right[i : i + 1], 2.0) for i in range(len(mask))]
    assert torch.equal(torch.cat(alone), weights)
    randomly = token_weights.random_weights(mask, 2.0, 3)
    assert torch.equal(token_weights.random_weights(wide, 2.0, 3), torch.nn.functional.pad(randomly, (0, extra), value=1))


@given(batch=batches(), seed=st.integers(0, 99), fraction=st.sampled_from([0.2, 0.6, 1.0]))
def test_controls_choose_as_many_tokens_per_row_and_no_padding(batch, seed, fraction):
    probability, mask, right = batch
    chosen = token_weights.a3po_weights(*batch, 2.0, fraction) == 2
    controls = [
        token_weights.swapped_weights(*batch, 2.0, fraction),
        token_weights.random_weights(mask, 2.0, seed, fraction),
        token_weights.position_matched_weights(chosen, mask, 2.0, seed),
        token_weights.position_matched_weights(chosen, mask, 2.0, seed, right),
    ]
    for weights in controls:
        assert ((weights == 1) | (weights == 2)).all()
        assert ((weights == 2).sum(1) == chosen.sum(1)).all()
        assert not ((weights == 2) & ~mask).any()


@given(counts=st.lists(st.integers(0, 7), min_size=1, max_size=6), seed=st.integers(0, 999))
def test_position_matching_keeps_uneven_counts(counts, seed):
    generator = np.random.default_rng(seed)
    chosen = torch.zeros(len(counts), 9, dtype=torch.bool)
    for i, count in enumerate(counts):
        chosen[i, generator.permutation(9)[:count]] = True
    mask = chosen | torch.from_numpy(generator.random(chosen.shape) < 0.5)
    taken = token_weights.position_matched_weights(chosen, mask, 2.0, seed) == 2
    assert taken.sum(1).tolist() == counts
    assert not (taken & ~mask).any()


@given(seed=st.integers(0, 999))
def test_with_equal_lengths_the_chosen_positions_are_permuted_among_rows(seed):
    chosen = torch.from_numpy(np.random.default_rng(seed).permuted([[1, 1, 0, 0, 0, 0]] * 5, axis=1)).bool()
    taken = token_weights.position_matched_weights(chosen, torch.ones(5, 6), 2.0, seed) == 2
    assert sorted(taken.tolist()) == sorted(chosen.tolist())


def test_random_tokens_are_uniform_and_follow_their_seed():
    mask = torch.ones(4000, 5)
    weights = token_weights.random_weights(mask, 2.0, seed=1)
    assert ((weights == 2).float().mean(0) - 0.2).abs().max() < 0.03
    assert torch.equal(weights, token_weights.random_weights(mask, 2.0, seed=1))
    assert not torch.equal(weights, token_weights.random_weights(mask, 2.0, seed=2))


@given(batch=batches(), weight=st.sampled_from([0.2, 2.0, 5.0]))
def test_mean_one_keeps_the_budget_and_the_order(batch, weight):
    mask = batch[1]
    weights = token_weights.a3po_weights(*batch, weight)
    level = token_weights.mean_one(weights, mask)
    lengths = mask.sum(1)
    assert torch.allclose((level * mask).sum(1), lengths.double())
    assert (level[~mask] == 1).all()
    ratios = (level / weights).where(mask, INF).min(1, keepdim=True)[0]
    assert torch.allclose(level, (weights * ratios).where(mask, 1.0))  # one factor per row


@given(batch=batches())
def test_a_weight_of_one_leaves_an_advantage_bit_for_bit(batch):
    probability, mask, right = batch
    advantages = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ones = [
        token_weights.a3po_weights(*batch, 1.0), token_weights.swapped_weights(*batch, 1.0),
        token_weights.cell_weights(*batch, {}), token_weights.cell_weights(*batch, dict.fromkeys(token_weights.CELLS, 1.0)),
        token_weights.random_weights(mask, 1.0, 0).double(),
    ]  # fmt: skip
    for weights in (*ones, *[token_weights.mean_one(w, mask) for w in ones]):
        assert torch.equal(advantages * weights, advantages)


def test_a3po_at_weight_one_is_its_base_method_and_signs_never_change():
    rewards, groups = torch.tensor([1.0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 1])
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(9) < torch.tensor([[9], [5], [1], [7], [9], [9]])
    logprobs = -2 * torch.rand(6, 9, generator=generator)
    base = adv.expand(adv.grpo(rewards, groups), mask)

    def gradient(weight):
        new = logprobs.clone().requires_grad_()
        weights = token_weights.a3po_weights(logprobs.exp(), mask, rewards > 0, weight)
        tokens = obj.ppo_clip(new, logprobs, base * weights, mask, clip_high=0.28)
        obj.token_mean(tokens, mask, BatchCounts.of(mask)).backward()
        return base * weights, new.grad

    plain = logprobs.clone().requires_grad_()
    tokens = obj.ppo_clip(plain, logprobs, base, mask, clip_high=0.28)
    obj.token_mean(tokens, mask, BatchCounts.of(mask)).backward()
    assert torch.equal(gradient(token_weights.decayed_weight(200))[1], plain.grad)
    shaped, bigger = gradient(2.0)
    assert torch.equal(shaped.sign(), base.sign())
    assert not torch.equal(bigger, plain.grad)
    assert (shaped[4:] == 0).all()  # the all-right group stays out


def test_an_empty_mask_selects_nothing():
    nothing = torch.full((2, 3), NAN)
    mask = torch.zeros(2, 3)
    assert not token_weights.select_tokens(nothing, mask, BOTH, 0.2, "low").any()
    results = [
        token_weights.a3po_weights(nothing, mask, RIGHT, 2.0), token_weights.swapped_weights(nothing, mask, RIGHT, 2.0),
        token_weights.a3po_weights_by_entropy(nothing, mask, RIGHT, 2.0), token_weights.random_weights(mask, 2.0, 0),
        token_weights.position_matched_weights(mask.bool(), mask, 2.0, 0), token_weights.mean_one(nothing, mask),
    ]  # fmt: skip
    for weights in results:
        assert torch.equal(weights, torch.ones(2, 3))
    assert token_weights.random_weights(torch.zeros(2, 0), 2.0, 0).shape == (2, 0)


# ---------------------------------------------------------------- why these two cells (paper card, 4.8)


def entropy_change(pi, sampled, advantage, rate):
    """First-order change of entropy after a step of `rate` on one sampled token."""
    entropy = -(pi * pi.log()).sum()
    surplus = pi.log() + entropy
    return -rate * advantage * (pi[sampled] * surplus[sampled] - (pi**2 * surplus).sum())


@given(seed=st.integers(0, 10**6), sampled=st.integers(0, 5), advantage=st.sampled_from([1.0, -1.0]))
def test_the_entropy_identity_against_finite_differences(seed, sampled, advantage):
    logits = 2 * torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    # The step is that of our own token loss, not the formula's.
    leaf = logits.clone().requires_grad_()
    logprob = leaf.log_softmax(-1)[sampled].reshape(1, 1)
    signal = torch.full((1, 1), advantage, dtype=torch.float64)
    obj.ppo_clip(logprob, logprob.detach(), signal, torch.ones(1, 1)).sum().backward()
    rate = 1e-4
    ends = [obj.entropy_from_logits(logits - sign * rate * leaf.grad) for sign in (1, -1)]
    measured = (ends[0] - ends[1]) / 2  # central: the error is of third order
    expected = entropy_change(logits.softmax(-1), sampled, advantage, rate)
    assert measured.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-11)


def test_a3po_weighs_the_tokens_whose_update_raises_entropy():
    pi = torch.tensor([0.6, 0.25, 0.08, 0.04, 0.02, 0.01], dtype=torch.float64)
    change = [[entropy_change(pi, a, advantage, 1.0).item() for a in range(6)] for advantage in (1.0, -1.0)]
    # One answer whose tokens are these six: the weighted one raises entropy, the swapped one lowers it.
    for right, row_change in zip((True, False), change, strict=True):
        given_row = (pi[None], torch.ones(1, 6), torch.tensor([right]), 2.0)
        assert row_change[token_weights.a3po_weights(*given_row)[0].argmax()] > 0
        assert row_change[token_weights.swapped_weights(*given_row)[0].argmax()] < 0


# ---------------------------------------------------------------- refusals

WEIGHTS = [token_weights.a3po_weights, token_weights.swapped_weights, token_weights.a3po_weights_by_entropy]


@pytest.mark.parametrize("function", WEIGHTS, **by_name)
def test_bad_inputs_are_refused(function):
    for bad in ([PROBABILITY[:, :2], MASK, RIGHT], [PROBABILITY, MASK[:1], RIGHT], [PROBABILITY[0], MASK[0], RIGHT]):
        with pytest.raises(ValueError, match="one shape"):
            function(*bad, 2.0)
    with pytest.raises(ValueError, match="0 and 1 only"):
        function(PROBABILITY, MASK / 2, RIGHT, 2.0)
    for bad in (RIGHT[:1], RIGHT.float(), torch.tensor([1, -1])):
        with pytest.raises(ValueError, match=r"bool of shape \[2\]"):
            function(PROBABILITY, MASK, bad, 2.0)
    for fraction in (0.0, -0.2, 1.01, NAN):
        with pytest.raises(ValueError, match="fraction"):
            function(PROBABILITY, MASK, RIGHT, 2.0, fraction)
    for weight in (-1.0, NAN, INF):
        with pytest.raises(ValueError, match="finite and at least 0"):
            function(PROBABILITY, MASK, RIGHT, weight)
    with pytest.raises(ValueError, match="NaN"):
        function(PROBABILITY, torch.ones(2, 5), RIGHT, 2.0)  # the NaN is now a token


@pytest.mark.parametrize("value", [-0.5, 1.01, INF])
def test_what_is_no_probability_is_refused(value):
    bad = PROBABILITY.clone()
    bad[0, 0] = value
    calls = [
        lambda: token_weights.a3po_weights(bad, MASK, RIGHT, 2.0), lambda: token_weights.swapped_weights(bad, MASK, RIGHT, 2.0),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="log-probabilities passed instead"):
            call()
    bad[0, 0] = 1 + 1e-6  # rounding
    assert token_weights.a3po_weights(bad, MASK, RIGHT, 2.0).max() == 2


def test_unknown_names_are_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match="'middle'.*high, low"):
        token_weights.select_tokens(PROBABILITY, MASK, RIGHT, 0.2, "middle")
    with pytest.raises(ValueError, match="unknown cell .*'wrong', 'low'"):
        token_weights.cell_weights(PROBABILITY, MASK, RIGHT, {("positive", "low"): 2.0})
    with pytest.raises(ValueError, match="factor of .*'right', 'low'"):
        token_weights.cell_weights(PROBABILITY, MASK, RIGHT, {("right", "low"): NAN})


def test_bad_numbers_of_the_other_functions_are_refused():
    for start, slope, step in [(0.5, 0.1, 0), (NAN, 0.1, 0), (2.0, -0.1, 0), (2.0, INF, 0), (2.0, 0.1, -1)]:
        with pytest.raises(ValueError, match="start|slope|step"):
            token_weights.decayed_weight(step, start, slope)
    for seed in (None, 1.5, True):
        with pytest.raises(ValueError, match="seed must be an integer"):
            token_weights.random_weights(MASK, 2.0, seed)
        with pytest.raises(ValueError, match="seed must be an integer"):
            token_weights.position_matched_weights(MASK.bool(), MASK, 2.0, seed)
    with pytest.raises(ValueError, match="response tokens only"):
        token_weights.position_matched_weights(MASK == 0, MASK, 2.0, 0)
    with pytest.raises(ValueError, match="all weights of a response are 0"):
        token_weights.mean_one(torch.zeros(2, 5), MASK)
    for value in (-1.0, NAN, INF):
        with pytest.raises(ValueError, match="negative, NaN or infinite"):
            token_weights.mean_one(torch.full((2, 5), value), MASK)
