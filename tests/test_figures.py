"""Figures are drawn from tables; every line can be traced to numbers."""

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib import figures  # noqa: E402
from polarity_lib.uncertainty import mean_t  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def curves(values: dict) -> pd.DataFrame:
    """{(arm, seed): [value at step 0, 10, ...]} as a long table."""
    return pd.DataFrame([
        {"arm": arm, "seed": seed, "step": 10 * i, "metric": "m/x", "value": v}
        for (arm, seed), series in values.items() for i, v in enumerate(series)
    ])


def test_a_method_keeps_its_colour_in_every_variant():
    colours = figures.arm_colours(["psr", "psr_matched", "countdown3/psr/2e-05", "nsr", "reinforce", "w_reinforce"])
    assert colours["psr"] == colours["psr_matched"] == colours["countdown3/psr/2e-05"]
    assert len({colours[n] for n in ("psr", "nsr", "reinforce", "w_reinforce")}) == 4


def test_lambda_arms_are_told_apart_and_the_unknown_is_grey():
    colours = figures.arm_colours(["lambda=0", "lambda=0.1", "lambda=1", "someone"])
    assert len(set(colours.values())) == 4
    assert colours["someone"] == figures.NEUTRAL


def test_lines_are_means_and_bands_are_t_intervals():
    table = curves({("psr", 0): [0.0, 0.2], ("psr", 1): [0.2, 0.6], ("psr", 2): [0.1, 0.4]})
    ax = figures.plot_curves(table, "m/x")
    assert ax.lines[0].get_ydata() == pytest.approx([0.1, 0.4])
    first, last = mean_t([0.0, 0.2, 0.1]), mean_t([0.2, 0.6, 0.4])
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(last.high)
    assert heights.min() == pytest.approx(min(first.low, last.low))


def test_one_seed_is_a_bare_line():
    ax = figures.plot_curves(curves({("nsr", 0): [1.0, 2.0]}), "m/x")
    assert len(ax.lines) == 1 and not ax.collections


def test_a_value_missing_at_one_step_is_left_out_of_the_mean():
    ax = figures.plot_curves(curves({("nsr", 0): [1.0, np.nan], ("nsr", 1): [3.0, 2.0]}), "m/x")
    assert ax.lines[0].get_ydata() == pytest.approx([2.0, 2.0])


def test_pass_at_k_reads_the_last_step_and_takes_the_base_from_step_zero():
    rows = [{"arm": arm, "seed": 0, "step": step, "metric": f"validation/pass@{k}", "value": value + k / 100}
            for step, value in ((0, 0.1), (60, 0.5)) for arm in ("psr", "nsr") for k in (1, 2, 4)]
    ax = figures.plot_spectrum(pd.DataFrame(rows), "validation")
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["base", "PSR (right only)", "NSR (wrong only)"]
    assert list(lines["base"].get_xdata()) == [1, 2, 4]
    assert lines["base"].get_ydata() == pytest.approx([0.11, 0.12, 0.14])
    assert lines["NSR (wrong only)"].get_ydata() == pytest.approx([0.51, 0.52, 0.54])


def test_bars_show_before_and_after():
    fig = figures.plot_redistribution([0.5, 0.3, 0.2], {"one": [0.4, 0.36, 0.24]}, ["a", "b", "c"], [False, True, True])
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == pytest.approx([0.5, 0.3, 0.2, 0.4, 0.36, 0.24])


def test_the_heat_map_has_a_cell_per_rollout_and_definition():
    index = pd.MultiIndex.from_tuples([(0, "right", 2), (0, "wrong", 4)], names=["group", "verdict", "tokens"])
    table = pd.DataFrame({"psr": [0.5, 0.0], "nsr": [0.0, -0.25]}, index=index)
    fig = figures.plot_definitions(table)
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert texts == ["+1.00", "·", "·", "-1.00"]  # each column over its own largest weight


def test_verdict_bars_add_up():
    table = pd.DataFrame({"correct": [0.2, 0.5], "wrong": [0.7, 0.5], "truncated": [0.1, 0.0]}, index=["x", "y"])
    ax = figures.plot_verdict_shares(table)
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(2.0)


def test_a_misspelt_metric_names_its_neighbours():
    with pytest.raises(KeyError, match="m/x"):
        figures.plot_curves(curves({("nsr", 0): [1.0]}), "m/y")


def test_a_saved_figure_tells_where_it_comes_from(tmp_path):
    figures.theme()
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    path = figures.save_figure(fig, "line", "00_tour", ["bbb", "aaa", "aaa"], str(tmp_path))
    assert path == tmp_path / "line.png" and 1_000 < path.stat().st_size < figures.MAX_BYTES
    origin = json.loads((tmp_path / "line.json").read_text())
    assert origin["notebook"] == "00_tour" and origin["runs"] == ["aaa", "bbb"]
    assert origin["commit"] and origin["time"].endswith("Z")


def test_a_heavy_figure_is_made_lighter(tmp_path):
    fig, ax = plt.subplots(figsize=(6, 4))
    ax.imshow(np.random.default_rng(0).random((300, 400)))
    path = figures.save_figure(fig, "noise", "00_tour", [], str(tmp_path))
    assert path.stat().st_size < 600_000


def test_a_relative_folder_starts_at_the_notebooks(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    path = figures.save_figure(plt.figure(), "empty", "00_tour", [], "../data/runs/figures")
    assert path == (tmp_path / "data/runs/figures/empty.png").resolve()
