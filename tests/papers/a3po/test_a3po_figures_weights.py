"""Figures of notebooks 30 and 31 from made-up tables: what stands where, and what happens when runs are missing."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from polarity_lib.experiments import Runs, experiment  # noqa: E402
from polarity_lib.papers.a3po import figures_weights as pictures  # noqa: E402
from polarity_lib.papers.a3po.experiments import WEIGHTS  # noqa: E402
from polarity_lib.papers.a3po.theory import identity_table, toy_path  # noqa: E402
from polarity_lib.statistics import paired_t  # noqa: E402

GRID = [f"P{p:g}N{n:g}" for p, n in WEIGHTS]
PANELS = {"train/reward": "Reward", "validation/entropy": "Entropy"}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def made_up(name: str, seeds: int, arms: str = "all", entropy=lambda arm: 1.0) -> Runs:
    """Three curve points and a final accuracy per run; seeds differ by a constant."""
    found, rows = experiment(name, arms, "smoke", seeds), []
    for arm in found:
        for step in (0, 2, 4):
            values = {"validation/entropy": entropy(arm.name) * (1 + 0.1 * arm.seed), "train/reward": 0.2 + step / 20}
            rows += [{"arm": arm.name, "seed": arm.seed, "step": step, "metric": m, "value": v} for m, v in values.items()]
        rows.append({"arm": arm.name, "seed": arm.seed, "step": 4, "metric": "test/pass@1", "value": 0.5 + 0.01 * arm.seed})
    empty = pd.DataFrame({"arm": [], "seed": [], "step": []})
    return Runs(pd.DataFrame(rows), empty, empty, found)


def points(ax) -> list[float]:
    """Heights of the means: the markers of one large point."""
    return [float(line.get_ydata()[0]) for line in ax.lines if len(line.get_ydata()) == 1 and line.get_markersize() == 6]


def test_names_of_arms_are_read():
    assert pictures.weights_of("sgd+kl/P2N0.5") == (2.0, 0.5)
    assert pictures.arm_of("right_low", 0.2, "entropy") == "entropy/right_lowx0.2"
    assert {arm.name for arm in experiment("token_shaping", "all", "smoke", 1)} >= {"none", *pictures.CONTROLS}


def test_equal_ratios_have_one_colour_and_other_ratios_another():
    colours = [pictures.ratio_colour(arm) for arm in ("P1N1", "P2N2", "P2N1", "P1N0.5", "P1N0", "P0N1")]
    assert colours[0] == colours[1] and colours[2] == colours[3] and len(set(colours)) == 4


def test_the_grid_has_a_point_per_arm_and_lets_arms_be_missing():
    runs = made_up("polarity_weights", 2, entropy=lambda arm: 0.5)
    assert [len(points(ax)) for ax in pictures.plot_weight_grid(runs, GRID).axes] == [11, 11, 11]
    some = made_up("polarity_weights", 1, "P1N1,P2N2")
    assert [len(points(ax)) for ax in pictures.plot_weight_grid(some, GRID).axes] == [2, 2, 2]
    pictures.plot_weight_curves(some, GRID, PANELS)
    pictures.plot_equal_ratios(made_up("polarity_weights", 1, "P4N1")).canvas.draw()


def test_equal_ratios_show_the_interval_that_decides():
    runs = made_up("polarity_weights", 3)
    noise = np.random.default_rng(0).normal(0, 0.02, len(runs.metrics))
    runs.metrics["value"] += noise
    fig = pictures.plot_equal_ratios(runs)
    mean = 100 * runs.metrics[runs.metrics.metric == "train/reward"].groupby(["seed", "arm"]).value.mean().unstack()
    inner = paired_t(mean["P2N2"] - mean["P1N1"], 0.9)
    drawn = [line.get_xdata() for line in fig.axes[1].lines if line.get_linewidth() == 4.5]
    assert len(drawn) == 7 and list(drawn[0]) == pytest.approx([inner.low, inner.high])


def test_cells_stand_on_the_side_they_moved_to():
    def moved(arm):
        return 1.2 if arm == "right_lowx5" else 0.9 if arm == "right_highx5" else 1.0

    runs = made_up("token_shaping", 2, entropy=moved)
    with plt.rc_context({"axes.titlelocation": "center"}):  # where get_title looks; a theme may have moved it
        axes = {ax.get_title().replace("\n", " "): ax for ax in pictures.plot_cells(runs).axes}
    assert points(axes["unlikely tokens, right answers"]) == pytest.approx([0, 0, 0, 20])
    assert points(axes["likely tokens, right answers"]) == pytest.approx([0, 0, 0, -10])
    assert len(pictures.plot_cells(runs, "entropy", (0.2, 5.0)).axes) == 4


def test_missing_cells_are_said_and_not_refused():
    runs = made_up("token_shaping", 1, "none,right_lowx5")
    words = [text.get_text() for ax in pictures.plot_cells(runs).axes for text in ax.texts]
    assert words.count("no run") == 15
    for fig in (pictures.plot_cell_curves(runs), pictures.plot_controls(runs)):
        fig.canvas.draw()
    pictures.plot_controls(made_up("token_shaping", 1, "a3pox5")).canvas.draw()  # nothing to compare with


def test_theory_is_drawn_with_one_point_per_token():
    table = identity_table(cases=5)
    right, wrong = pictures.plot_identity(table).axes
    assert sum(len(c.get_offsets()) for c in right.collections) == len(table) == 30
    # What rises after a right answer falls after a wrong one.
    assert len(right.collections[0].get_offsets()) == len(wrong.collections[1].get_offsets())
    fig = pictures.plot_toy_paths({"AdamW": {"P1N1": toy_path(1.0, steps=3)}})
    assert len(fig.axes[0].lines[0].get_xdata()) == 4
