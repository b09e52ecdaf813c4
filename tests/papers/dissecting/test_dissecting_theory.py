"""Dead groups by the card's table, the geometry of the two polarities, and what figures are drawn from."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib.experiments import Runs  # noqa: E402
from polarity_lib.papers.dissecting import dead_groups, figures, theory  # noqa: E402
from polarity_lib.papers.dissecting.dead_groups import by_size, dead_probability, measured_share, predicted_share  # noqa: E402
from polarity_lib.papers.dissecting.stability import Recorded  # noqa: E402
from polarity_lib.papers.dissecting import recorded  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# ---------------------------------------------------------------- dead groups


@pytest.mark.parametrize("size, values", [(8, [0.923, 0.663, 0.430, 0.100, 0.008]), (16, [0.851, 0.440, 0.185, 0.010, 0.0])])
def test_dead_probability_of_the_card(size, values):
    p = np.array([0.01, 0.05, 0.10, 0.25, 0.50])
    assert dead_probability(p, size) == pytest.approx(values, abs=6e-4)
    assert dead_probability(1 - p, size) == pytest.approx(values, abs=6e-4)


def test_shares_by_hand():
    assert measured_share([[1, 1], [0, 0], [1, 0], [0, 1]]) == {"dead": 0.5, "easy": 0.25, "hard": 0.25}
    # Of 4 samples 2 right: a pair without replacement is all right with probability 1/6, all wrong too.
    assert predicted_share(4, [2], 2) == pytest.approx({"dead": 1 / 3, "easy": 1 / 6, "hard": 1 / 6})
    assert predicted_share(4, [4, 0], 4) == {"dead": 1.0, "easy": 0.5, "hard": 0.5}
    with pytest.raises(ValueError, match="groups of 8 cannot be predicted from 4"):
        predicted_share(4, [1], 8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 16))
def test_smaller_groups_die_oftener(p, size):
    smaller, larger = dead_probability(p, size), dead_probability(p, size + 1)
    assert (larger <= smaller + 1e-12).all() and (smaller >= 2.0 ** (1 - size) - 1e-12).all()


def test_the_prediction_is_unbiased():
    rng = np.random.default_rng(0)
    p = rng.beta(0.4, 0.4, 400)
    counts = rng.binomial(32, p, size=(200, 400))
    found = np.mean([predicted_share(32, row, 8)["dead"] for row in counts])
    assert found == pytest.approx(dead_probability(p, 8).mean(), abs=0.003)


def test_levels_and_their_mixture():
    problems = pd.DataFrame({"arm": "a", "seed": 0, "set": "test", "problem": list("abcd"), "level": [2, 2, 4, 4], "samples": 8,
                             "correct": [8, 8, 0, 4]})
    table = by_size(problems, (2, 16)).set_index("level")
    assert table["size"].tolist() == [2, 2, 2]  # sixteen are more than were sampled
    assert table.dead[2] == 1.0 and table.dead["all"] == pytest.approx((table.dead[2] + table.dead[4]) / 2)


# ---------------------------------------------------------------- geometry


def test_entropy_over_right_answers_by_hand():
    right = np.array([True, True, False])
    assert theory.entropy_over_right(np.array([0.25, 0.25, 0.5]), right) == pytest.approx(np.log(2))
    assert theory.entropy_over_right(np.array([0.5, 0.0, 0.5]), right) == 0


@pytest.fixture(scope="module")
def geometry():
    return theory.geometry(steps=120, draws=6)


def test_on_one_problem_both_polarities_walk_one_path(geometry):
    """Not the paper's drawing: at equal modal probability wrong mass and entropy are the same, only the pace differs."""
    for modal in (0.4, 0.5, 0.6, 0.7):
        there = theory.wrong_at_modal(geometry, modal).groupby("polarity")[["step", "wrong", "entropy"]].mean()
        assert np.ptp(there.wrong) < 0.02 and np.ptp(there.entropy) < 0.03
        assert there.step["both"] < min(there.step["right"], there.step["wrong"])
        assert (there.step["right"] < there.step["wrong"]) == (modal < 0.55)  # right only leads at first and stalls later


@given(st.sampled_from(["right", "wrong", "both"]), st.integers(0, 5))
def test_a_policy_stays_a_distribution(polarity, seed):
    probs, right = theory.start()
    path = theory.train(polarity, probs, right, 20, seed=seed)
    assert path.shape == (21, len(probs)) and np.allclose(path.sum(1), 1) and (path >= 0).all()
    assert np.array_equal(path, theory.train(polarity, probs, right, 20, seed=seed))
    assert not np.array_equal(path[0], path[-1])


# ---------------------------------------------------------------- tables behind figures


def made_up(seeds=3) -> Runs:
    ends = {"cold/wrong": 0.6, "cold/both": 0.6, "zero/wrong": 0.2, "zero/both": 0.5}
    shared = {"experiment": "x", "scale": "tiny", "step": 10, "metric": "test/pass@1"}
    rows = [shared | {"arm": arm, "seed": s, "run": f"{arm}{s}", "value": v} for arm, v in ends.items() for s in range(seeds)]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), arms=[])


def test_the_interaction_has_a_row_per_seed():
    table = figures.interaction_table(made_up())
    assert table.interaction.tolist() == pytest.approx([30.0] * 3) and list(table.columns) == ["cold", "zero", "interaction"]
    fig = figures.plot_interaction({"one rate": table, "own rates": table})
    assert len(fig.axes) == 2
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["cold start", "zero-RL", "interaction"]


def test_recorded_tables_are_drawn_and_ranked():
    rng = np.random.default_rng(0)
    table = Recorded([str(q) for q in range(30)], [str(k) for k in range(40)], rng.random((30, 40)) < 0.5)
    better, rest = recorded.close_pair(table)
    assert better.right_QR.shape == rest.right_QR.shape == (30, 20)
    assert (better.right_QR >= table.right_QR[:, :20]).all() and better.right_QR.sum() > table.right_QR[:, :20].sum()
    found = recorded.rankings(better, rest)
    assert found.runs.tolist() == list(recorded.COUNTS) and found.formula.is_monotonic_decreasing
    assert len(figures.plot_ranking({"pair": found}).axes) == 1 and len(figures.plot_recorded({"one": table}).axes) == 2


def test_what_is_published_is_described():
    counts = recorded.published_counts()
    assert len(counts) > 50 and counts.run.is_unique
    assert counts.score.between(0, 1).all() and (counts.down + counts.up <= 1).all() and (counts.samples >= 16).all()
    assert len(figures.plot_counts(counts).axes) == len(figures.plot_greedy(counts).axes) == 2


def test_dead_groups_need_no_runs_for_their_curve():
    fig = figures.plot_dead_probability((4, 8))
    assert [line.get_label() for line in fig.axes[0].lines] == ["G = 4", "G = 8"] and dead_groups.dead_probability(0.5, 2) == 0.5
