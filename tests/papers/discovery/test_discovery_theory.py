"""The map of methods and the signal of a rare way, with a pencil; then closed forms and groups drawn at random."""

import math

import numpy as np
import pytest

from polarity_lib.methods import Method, method_named
from polarity_lib.papers.discovery import theory
from polarity_lib.registry import METHODS


def at(name: str, size: int, p: float) -> list[float]:
    return theory.on_map(theory.gives(method_named(name), size), p)[0].tolist()


def by_drawing(method: Method, q: float, a: float, d: float, size: int = 8, groups: int = 4000, seed: int = 0) -> np.ndarray:
    """[groups] the mean of w (1[worked] - q) in groups drawn at random, through the method's own functions: checks `signal`."""
    rng, gives_K2 = np.random.default_rng(seed), theory.gives(method, size)
    worked_PG = rng.random((groups, size)) < q
    right_PG = rng.random((groups, size)) < np.where(worked_PG, a, d)
    weights_PG = np.where(right_PG, gives_K2[right_PG.sum(1), 0][:, None], gives_K2[right_PG.sum(1), 1][:, None])
    return (weights_PG * (worked_PG - q)).mean(1)


def infinite_group(p: float) -> dict[str, tuple[float, float]]:
    """The map for large groups, in closed form: (right, wrong), for the families that have one."""
    spread = math.sqrt(p * (1 - p))
    return {"psr": (p, 0.0), "nsr": (0.0, -(1 - p)), "w_reinforce": (0.1 * p, -(1 - p)), "reinforce": (p, -(1 - p)),
            "dr_grpo": (p * (1 - p), -p * (1 - p)), "rloo": (p * (1 - p), -p * (1 - p)), "grpo": (spread, -spread),
            "maxrl": (1 - p, -(1 - p)), "f_grpo": (spread * (1 - p), -spread * (1 - p))}


def test_groups_of_two_by_hand():
    """Both wrong (1/4), one right (1/2), both right (1/4)."""
    assert at("psr", 2, 0.5) == pytest.approx([0.5, 0.0])
    assert at("nsr", 2, 0.5) == pytest.approx([0.0, -0.5])
    # Dr. GRPO: +1/2 and -1/2 in the mixed group alone, for one answer of two each: 1/2 x 1/2 x 1/2.
    assert at("dr_grpo", 2, 0.5) == pytest.approx([0.125, -0.125])
    assert at("rloo", 2, 0.5) == pytest.approx([0.25, -0.25])  # twice that: the other answer is the baseline
    # GRPO: deviation of (1, 0) with one degree of freedom lost is 1/sqrt 2, so the advantage is 1/sqrt 2.
    assert at("grpo", 2, 0.5) == pytest.approx([0.25 / 2**0.5, -0.25 / 2**0.5], abs=1e-5)
    # MaxRL, one right of two: (1 - 1/2) / (1/2) = 1 and -1.
    assert at("maxrl", 2, 0.5) == pytest.approx([0.25, -0.25])


def test_a_group_of_four_by_hand():
    """MaxRL, (1, 0, 0, 0): (3, -1, -1, -1). QAE: the right one alone at 1 of 4, the wrong one alone at 3 of 4."""
    assert theory.gives(method_named("maxrl"), 4)[1].tolist() == [3, -1]
    qae = theory.gives(method_named("qae"), 4)
    assert qae[1] == pytest.approx([2, 0], abs=1e-4) and qae[3] == pytest.approx([0, -2], abs=1e-4)
    assert theory.gives(method_named("uniform_penalty"), 4)[0, 1] < 0 == theory.gives(method_named("grpo"), 4)[0, 1]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_large_groups_approach_the_closed_forms(p):
    for name, (right, wrong) in infinite_group(p).items():
        assert at(name, 256, p) == pytest.approx([right, wrong], abs=0.01), name


@pytest.mark.parametrize("size", [2, 5, 8])
def test_what_a_baseline_takes_from_the_right_it_gives_to_the_wrong(size):
    """Advantages that are centred in a group cancel at every p; those of one polarity are nothing on the other side."""
    p_P = np.linspace(0, 1, 11)
    for name in ("grpo", "dr_grpo", "rloo", "maxrl", "f_grpo"):
        assert theory.on_map(theory.gives(method_named(name), size), p_P).sum(1) == pytest.approx(np.zeros(11), abs=1e-6)
    assert not theory.on_map(theory.gives(method_named("psr_grpo_seq"), size), p_P)[:, 1].any()
    for name in ("grpo", "rloo", "maxrl", "psr_grpo_seq"):  # uniform groups teach nothing
        assert not theory.on_map(theory.gives(method_named(name), size), [0.0, 1.0]).any()


def test_every_registered_method_is_on_the_map_or_says_why_not():
    told, left_out = theory.map_of_methods(8)
    assert set(told) | set(left_out) == set(METHODS) and not set(told) & set(left_out)
    assert set(left_out) == {"ppo", "imitation", "step_values"}
    together = next(names for names in theory.families(told) if "grpo" in names)
    assert {"dapo", "cispo", "gspo", "aspo"} < set(together) and not {"lens", "ngrpo", "rl_zvp", "a3po"} & set(together)
    assert "base" not in {name for names in theory.families(told) for name in names}


# ---------------------------------------------------------------- the rare way


def test_the_signal_of_right_only_by_hand():
    """Four answers, half of them worked and then always right; direct ones never. Right ones get 1, wrong ones nothing."""
    found = theory.signal(theory.gives(method_named("psr"), 2), q=0.5, a=1.0, d=0.0, answers=4)
    assert found["push"] == pytest.approx(0.25)  # half of the time 1 x (1 - 1/2)
    assert found["strays"] == pytest.approx((0.5 * 0.25 - 0.0625) ** 0.5 / 2)
    assert theory.chance_of_one(0.01, 0.5, 2) == pytest.approx(1 - 0.995**2)


def test_both_polarities_push_alike_and_wrong_answers_stray_less_when_the_way_is_rare():
    right, wrong = (theory.signal(theory.gives(method_named(name), 8), 0.005, 0.9, 0.1) for name in ("psr", "nsr"))
    assert right["push"] == pytest.approx(wrong["push"]) == pytest.approx(0.005 * 0.995 * 0.8)
    assert wrong["strays"] < right["strays"] / 2


@pytest.mark.parametrize("name", ["psr", "nsr", "reinforce", "grpo", "maxrl", "ngrpo"])
def test_the_signal_is_that_of_groups_drawn_at_random(name):
    q, a, d = 0.2, 0.9, 0.3
    drawn = by_drawing(method_named(name), q, a, d, groups=20000)
    found = theory.signal(theory.gives(method_named(name), 8), q, a, d, answers=8)
    assert drawn.mean() == pytest.approx(found["push"], abs=4 * drawn.std() / 20000**0.5)
    if name in ("psr", "nsr", "reinforce"):  # answers of a group are independent there
        assert drawn.std() == pytest.approx(found["strays"], rel=0.03)
