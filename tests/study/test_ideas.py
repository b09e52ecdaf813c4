"""Figures of the notebooks that belong to no paper: what stands where."""

import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib.study import ideas  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_bars_show_before_and_after():
    fig = ideas.plot_redistribution([0.5, 0.3, 0.2], {"one": [0.4, 0.36, 0.24]}, ["a", "b", "c"], [False, True, True])
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == pytest.approx([0.5, 0.3, 0.2, 0.4, 0.36, 0.24])


def test_the_heat_map_has_a_cell_per_rollout_and_definition():
    index = pd.MultiIndex.from_tuples([(0, "right", 2), (0, "wrong", 4)], names=["group", "verdict", "tokens"])
    table = pd.DataFrame({"psr": [0.5, 0.0], "nsr": [0.0, -0.25]}, index=index)
    fig = ideas.plot_definitions(table)
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert texts == ["+1.00", "·", "·", "-1.00"]  # each column over its own largest weight


def test_verdict_bars_add_up():
    table = pd.DataFrame({"correct": [0.2, 0.5], "wrong": [0.7, 0.5], "truncated": [0.1, 0.0]}, index=["x", "y"])
    fig = ideas.plot_verdict_shares(table)
    assert sum(bar.get_width() for bar in fig.axes[0].patches) == pytest.approx(2.0)
