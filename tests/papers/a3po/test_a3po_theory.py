"""The entropy identity by hand and by a finite step; a toy that shows what a common factor does."""

import math

import pytest
import torch

from polarity_lib.mechanism import after_update, random_cases
from polarity_lib.papers.a3po import theory

HALF = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)


def test_the_identity_by_hand():
    # H = 1.5 log 2. Effects pi (log pi + H): 1/2 * 0.5 log 2, and twice 1/4 * -0.5 log 2.
    likely, unlikely = 0.25 * math.log(2), -0.125 * math.log(2)
    mean = 0.5 * likely + 0.5 * unlikely
    assert theory.entropy(HALF) == pytest.approx(1.5 * math.log(2))
    assert theory.entropy_change(HALF, 0) == pytest.approx(-(likely - mean))
    assert theory.entropy_change(HALF, 1) == pytest.approx(-(unlikely - mean))
    assert theory.entropy_change(HALF, 1, -2.0) == pytest.approx(2 * (unlikely - mean))


def test_a_finite_step_agrees():
    rate = 1e-4
    for logits_V, a in random_cases(50, vocabulary=6, seed=3):
        probs_V = logits_V.softmax(-1)
        up, down = (theory.entropy(after_update(probs_V, [(a, 1.0)], r)) for r in (rate, -rate))
        assert theory.entropy_change(probs_V, a) == pytest.approx((up - down) / (2 * rate), abs=1e-7)


def test_a_flat_and_a_certain_distribution_hardly_move():
    flat = torch.full((6,), 1 / 6, dtype=torch.float64)
    assert theory.entropy_change(flat, 2) == pytest.approx(0, abs=1e-12)
    assert theory.entropy(torch.tensor([1.0, 0.0])) == 0


def test_signs_that_need_no_other_token():
    table = theory.identity_table(cases=200)
    assert len(table) == 200 * 6
    logs, entropies = torch.tensor(table.probability).log(), torch.tensor(table.entropy)
    sure = theory.surely_raises(logs, entropies).numpy()
    assert 0 < sure.mean() < 1 and (table.change[sure] > 0).all()
    # The likeliest token of a distribution always lowers entropy, the unlikeliest always raises it.
    ordered = table.sort_values("probability").groupby("case").change
    assert (ordered.last() < 0).all() and (ordered.first() > 0).all()
    # The converse does not hold.
    assert (table.change[~sure] > 0).any()


def test_adam_forgets_a_common_factor_and_sgd_does_not():
    small, one, two = (theory.toy_path(size) for size in (0.5, 1.0, 2.0))
    assert torch.allclose(one, two, atol=1e-6) and torch.allclose(one, small, atol=1e-6)
    sgd = theory.toy_path(1.0, "sgd"), theory.toy_path(2.0, "sgd")
    assert torch.allclose(sgd[1], 2 * sgd[0])  # the gradient of this loss is constant
    assert torch.equal(theory.toy_path(2.0, "sgd", rate=0.1), theory.toy_path(1.0, "sgd", rate=0.2))


def test_clipping_alone_forgets_it_too_where_it_binds():
    one, two = (theory.toy_path(size, "sgd", clip=0.1) for size in (1.0, 2.0))
    assert torch.allclose(one, two, atol=1e-5)


def test_with_kl_the_size_decides_where_training_ends():
    options = {"optimizer": "sgd", "rate": 0.1, "kl": 10.0}
    one, two = (theory.toy_path(size, steps=400, **options)[-1] for size in (1.0, 2.0))
    later = theory.toy_path(1.0, steps=800, **options)[-1]
    assert torch.allclose(later, one, atol=1e-6)  # it has arrived
    assert float((two - one).norm()) > 0.1


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="adamw, sgd"):
        theory.toy_path(1.0, "adma")
