"""LENS's theorems by autograd and by hand, and what its claims C9 and C14 hang on."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.papers.lens import theory


def near(values, abs=1e-6):
    return pytest.approx(values, abs=abs)


# ---------------------------------------------------------------- claim LENS-C9


@pytest.mark.parametrize("variant", ["N", "R"])
def test_without_one_over_g_wrong_answers_pass_for_right(variant):
    counts = theory.sign_violations(groups=200, variant=variant).set_index("over_group")["violations"]
    assert counts[True] == 0
    assert counts[False] > 0


def test_a_factor_below_two_breaks_signs_even_with_one_over_g():
    counts = theory.sign_violations(groups=200, variant="R", factor=1.1).set_index("over_group")["violations"]
    assert 0 < counts[True] < counts[False]
    with pytest.raises(ValueError, match="mixed group"):
        theory.sign_violations(size=1)


# ---------------------------------------------------------------- theorems


def test_theorems_hold_on_random_policies():
    checks = theory.theorem_checks(cases=30, seed=1)
    assert len(checks) == 6 and checks["passed"].all()
    assert (checks["ours"] < 1e-8).all() and (checks["ours"] > 0).any()


def test_theorem_checks_notice_a_wrong_formula(monkeypatch):
    monkeypatch.setattr(theory, "theorem_1", lambda z, right, wrong, d: right - wrong)
    failed = theory.theorem_checks(cases=3).set_index("subtest")["passed"]
    assert not failed["Theorem 1: gradient of the log-likelihood"]
    assert not failed["Theorem 2: gradient of the value function"]
    assert failed["Theorem 2: w + z w' = pi / (D - pi)"]


def test_odds_where_right_answers_are_preferred():
    """Pencil: 0.2 / (0.5 - 0.2) = 2/3. With rho = pi it is the odds of the pass rate 1/D, which is not the pass rate."""
    assert theory.preferred_odds(torch.tensor(0.2), 0.5).item() == near(2 / 3)
    pi = torch.tensor([0.01, 0.3, 0.9])
    assert theory.preferred_odds(pi, 4.0, pi).tolist() == near([1 / 3] * 3)  # pass rate 1/4: odds 1/3
    with pytest.raises(ValueError, match="pi / .D rho."):
        theory.preferred_odds(torch.tensor(0.5), 0.5, 0.9)


def test_they_are_the_gradient_of_the_likelihood_of_a_wrong_answer():
    pi = torch.tensor([0.1, 0.25, 0.4], dtype=torch.float64, requires_grad=True)
    rho = torch.tensor([0.9, 0.5, 0.8], dtype=torch.float64)
    torch.log1p(-pi / (0.9 * rho)).sum().backward()
    assert (pi.grad * pi.detach()).tolist() == near((-theory.preferred_odds(pi.detach(), 0.9, rho)).tolist())


def test_the_limit_for_long_answers_holds_near_the_policys_own_decay_alone():
    length, pi = 64.0, 0.9
    for gamma, close in ((0.90001, True), (0.95, False)):
        exact = theory.preferred_odds(torch.tensor(pi**length, dtype=torch.float64), 1.0, gamma**length).item()
        assert (exact == pytest.approx(pi / (gamma - pi) / length, rel=0.01)) == close


def test_theorem_1_by_hand():
    # Two equal answers and D = 1: odds 1. One right draw of the first, one wrong of the second.
    z, right, wrong = torch.zeros(2).double(), torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    assert theory.log_likelihood_loss(z, right, wrong, 1.0).item() == near(math.log(2))
    assert theory.theorem_1(z, right, wrong, 1.0).tolist() == near([-0.5, 0.5])  # -(1, -1)/2, scores sum to 0
    # D = 0.75: odds 2, so signal (1, -2)/2, minus its sum -1/2 times pi = 1/2.
    assert theory.theorem_1(z, right, wrong, 0.75).tolist() == near([-0.75, 0.75])


def test_theorem_gradients_by_finite_differences():
    z = torch.tensor([0.3, -1.0, 0.8]).double()
    p_star, step = torch.tensor([0.7, 0.1, 0.4]).double(), 1e-5 * torch.eye(3).double()
    slopes = [(theory.value_function(z + h, p_star, 0.9) - theory.value_function(z - h, p_star, 0.9)) / 2e-5 for h in step]
    assert theory.theorem_2(z, p_star, 0.9).tolist() == near([s.item() for s in slopes], 1e-8)


def test_the_value_weight_by_hand_and_by_series():
    assert theory.value_weight(0.0).item() == 0
    assert theory.value_weight(0.5).item() == near(2 * math.log(2) - 1, 1e-12)
    for z in (1e-12, 1e-6, 0.01, 0.099999, 0.100001, 0.2):
        series = sum(z**k / (k + 1) for k in range(1, 60))
        assert theory.value_weight(z).item() == pytest.approx(series, rel=1e-12)
    assert theory.value_weight(torch.tensor(1e-3)).item() == pytest.approx(5.00333583e-4, rel=1e-6)  # single precision


@given(st.floats(0.0, 0.999))
def test_the_value_weight_makes_the_odds(z):
    z = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    weight = theory.value_weight(z)
    (slope,) = torch.autograd.grad(weight, z)
    assert (weight + z * slope).item() == pytest.approx((z / (1 - z)).item(), rel=1e-9, abs=1e-15)


def test_theory_refuses_confidence_above_difficulty():
    z, one = torch.zeros(2).double(), torch.ones(2).double()
    for function in (theory.log_likelihood_loss, theory.theorem_1):
        with pytest.raises(ValueError, match="below"):
            function(z, one, one, 0.5)
        function(z, one, 0 * one, 0.5)  # nothing wrong was drawn: no odds to overflow
        with pytest.raises(ValueError, match="negative"):
            function(z, -one, one, 1.0)
        with pytest.raises(ValueError, match=r"\[K\]"):
            function(z, one[:1], one, 1.0)
    for bad in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="below 1|negative"):
            theory.value_weight(bad)


# ---------------------------------------------------------------- claim LENS-C14


def test_maximum_likelihood_is_the_minimum_of_the_loss():
    right, wrong, d = torch.tensor([3.0, 1.0, 6.0]).double(), torch.tensor([5.0, 9.0, 2.0]).double(), 0.7
    found = theory.maximum_likelihood(right[None], wrong[None], torch.tensor([d]))[0]
    assert found.sum().item() == near(1, 1e-9) and (found < d).all()
    assert theory.theorem_1(found.log(), right, wrong, d).abs().max() < 1e-6
    lowest = theory.log_likelihood_loss(found.log(), right, wrong, d)
    for other in ([0.3, 0.2, 0.5], [1 / 3, 1 / 3, 1 / 3], [0.34, 0.06, 0.6]):
        assert theory.log_likelihood_loss(torch.tensor(other).double().log(), right, wrong, d) > lowest


def test_maximum_likelihood_by_hand():
    # Frequencies 0.9 and 0.5 add up to 1/D already, so nothing binds: pi = D p.
    found = theory.maximum_likelihood(torch.tensor([[9.0, 5.0]]), torch.tensor([[1.0, 5.0]]), torch.tensor([1 / 1.4]))
    assert found[0].tolist() == near([0.9 / 1.4, 0.5 / 1.4], 1e-5)
    # Never drawn: the last two answers share what the first leaves, 1.4 - 0.9.
    one = theory.maximum_likelihood(
        torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([1 / 1.4]))
    assert one[0].tolist() == near([0.9 / 1.4, 0.25 / 1.4, 0.25 / 1.4], 1e-5)
    with pytest.raises(ValueError, match="1/2"):
        theory.maximum_likelihood(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([0.5]))


def test_more_data_bring_the_target_policy():
    table = theory.consistency((30, 300, 3000, 30000), seed=2, repeats=30)
    errors = table["total_variation"]
    assert (errors.diff().dropna() < 0).all()
    # A root-n law divides the error by sqrt(1000), about 32, over three decades.
    assert 15 < errors.iloc[0] / errors.iloc[-1] < 60
    wrong_d = theory.consistency((30000,), seed=2, repeats=30, factor=1.5)["total_variation"].item()
    assert wrong_d > 5 * errors.iloc[-1]
    with pytest.raises(ValueError, match="at least 1"):
        theory.consistency((0, 10))


# ---------------------------------------------------------------- groups by hand


def test_the_groups_of_the_card():
    sure, negative = [0.9, 0.8, 0.6, 0.5], [0, 0, 0, 0]
    table = theory.group_table(sure, negative)
    assert table.D.tolist() == pytest.approx([1.8] * 4)
    assert table.reward.tolist() == pytest.approx([-0.25, -0.2, -0.125, -0.096154], abs=1e-6)
    assert table.advantage.tolist() == pytest.approx([-0.020553, -0.008053, 0.010697, 0.017909], abs=1e-6)
    n, r = (theory.group_table(sure, [0, 1, 0, 0], variant=v, ddof=0) for v in "NR")
    assert n.D.iloc[0] == pytest.approx(3.2) and r.D.iloc[0] == pytest.approx(1.8)
    assert n.advantage.tolist() == pytest.approx([-0.642914, 1.730567, -0.556146, -0.531508], abs=1e-5)
    assert r.advantage.tolist() == pytest.approx([-0.757839, 1.720629, -0.509992, -0.452797], abs=1e-5)


def test_equal_confidences_give_nothing_to_compare():
    assert theory.group_table([0.7] * 4, [0] * 4).advantage.abs().max() < 1e-12
    kept = theory.group_table([0.7] * 4, [0] * 4, demean=False).advantage
    assert kept.tolist() == pytest.approx([-0.25 / 4] * 4)


def test_the_share_of_all_wrong_groups_in_the_signal():
    found = theory.negative_share(0.85, 0.05, 0.45, 0.55)
    inner, outer = found["|A| in an all-wrong group"], found["|A| in a mixed group"]
    assert inner == pytest.approx(0.0011, abs=3e-4)  # the card's size, after alpha
    assert found["share of the signal, %"] == pytest.approx(100 * 0.45 * inner / (0.45 * inner + 0.55 * outer))
    assert theory.negative_share(0.85, 0.05, 0.0, 1.0)["share of the signal, %"] == 0
