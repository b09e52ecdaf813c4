"""PSR and NSR by their three formulas, written out by hand."""

import pytest
from gradients import counted, differ, gradient_by_hand

from polarity_lib.methods import method_named
from polarity_lib.papers.psr_nsr.methods import METHODS


def only(f, kept, weights):
    """The weights of one verdict's rows; the others have none."""
    return [w if r == kept else 0.0 for r, w in zip(f.right, weights)]


def share(f, kept):
    """Mean over the kept tokens, times the kept rows' share of the batch."""
    return f.rows[kept] / f.N / f.tokens_of[kept]


FORMULAS = {
    "psr": lambda f: only(f, 1, [+share(f, 1)] * f.N),
    "nsr": lambda f: only(f, 0, [-share(f, 0)] * f.N),
    "psr_all_tokens": lambda f: only(f, 1, [+1 / f.tokens] * f.N),
    "nsr_all_tokens": lambda f: only(f, 0, [-1 / f.tokens] * f.N),
    "psr_grpo_seq": lambda f: only(f, 1, [a / n / f.N for a, n in zip(f.normalised, f.length)]),
    "nsr_grpo_seq": lambda f: only(f, 0, [a / n / f.N for a, n in zip(f.normalised, f.length)]),
    "psr_grpo_tok": lambda f: only(f, 1, [a * share(f, 1) for a in f.normalised]),
    "nsr_grpo_tok": lambda f: only(f, 0, [a * share(f, 0) for a in f.normalised]),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_the_formula(name, policy, batch, gradient_of):
    assert differ(gradient_of(name, batch), gradient_by_hand(policy, batch, FORMULAS[name](counted(batch)))) < 1e-5


def test_positive_and_negative_add_up_to_reinforce(batch, gradient_of):
    parts = gradient_of("psr_all_tokens", batch), gradient_of("nsr_all_tokens", batch)
    assert differ(sum(parts), gradient_of("reinforce", batch)) < 1e-5
    assert differ(0.1 * parts[0] + parts[1], gradient_of("w_reinforce", batch)) < 1e-5


def test_polarity_weights_scale_the_parts_of_grpo(batch, gradient_of):
    weighted = method_named("grpo", {"positive_weight": 0.5, "negative_weight": 2.0})
    parts = 0.5 * gradient_of("psr_grpo_seq", batch) + 2.0 * gradient_of("nsr_grpo_seq", batch)
    assert differ(gradient_of(weighted, batch), parts) < 1e-5
