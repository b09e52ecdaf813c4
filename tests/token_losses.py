"""What every token loss must do, for the tests of the core's losses and of the papers'."""

import math

import pytest
import torch
from hypothesis import strategies as st

from polarity_lib import advantages as adv
from polarity_lib import objectives as obj
from polarity_lib.objectives import BatchCounts

# A correct rollout of two tokens and a wrong one of a single token.
LOGPROBS = torch.tensor([[-0.5, -1.0], [-2.0, -9.0]])
ADVANTAGES = torch.tensor([1.0, -1.0])
MASK = torch.tensor([[1.0, 1.0], [1.0, 0.0]])

LOGITS = torch.tensor([2.0, 1.0, 0.5, -0.3, -1.0], dtype=torch.float64)

AGGREGATIONS = [
    obj.token_mean, obj.kept_token_mean, obj.kept_token_mean_times_share,
    obj.sequence_mean_token_mean, obj.sequence_mean_token_sum, obj.token_sum_over_constant,
]  # fmt: skip

JUNK = (-math.inf, math.inf, math.nan, 7.0)  # what padding may hold

by_name = {"ids": lambda function: function.__name__}


def one_token(function, ratio, advantage, **options):
    """Loss and its derivative by log pi of one token whose probability became `ratio` times 0.25."""
    logprob = torch.tensor([[math.log(0.25 * ratio)]], dtype=torch.float64, requires_grad=True)
    old = torch.full((1, 1), math.log(0.25), dtype=torch.float64)
    advantages = torch.full((1, 1), advantage, dtype=torch.float64)
    loss = function(logprob, old, advantages, torch.ones(1, 1), **options)
    (gradient,) = torch.autograd.grad(loss.sum(), logprob)
    return loss.item(), gradient.item()


def table(*rows):
    """Rows of numbers in double precision."""
    return torch.tensor(rows, dtype=torch.float64)


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
    """Of the aggregated loss, by log pi."""
    logprobs, old, advantages, mask = batch
    logprobs = logprobs.clone().requires_grad_()
    value = aggregate(token_loss(logprobs, old, advantages, mask), mask, counts)
    return value.detach(), torch.autograd.grad(value, logprobs)[0]


def check_padding(token_loss, batch, extra, junk):
    """Whatever stands on padding changes neither value nor gradient."""
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


def check_splits(token_loss, batch, cut, flip):
    """Micro-batches and the order of rows change nothing."""
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


def check_refusals(token_loss):
    """Shapes, log-probabilities, masks and advantages that cannot be."""
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
