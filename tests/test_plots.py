"""Figures are drawn from tables; every line can be traced to numbers."""

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib import plots  # noqa: E402
from polarity_lib.statistics import paired_t  # noqa: E402


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


def drawn(table: pd.DataFrame, metric: str):
    """The axes with a metric's curves."""
    _, ax = plt.subplots()
    plots.curves(ax, table, metric)
    return ax


def colours_of(names: list[str]) -> dict[str, str]:
    return {name: plots.arm_colour(name) for name in names}


def test_a_method_keeps_its_colour_in_every_variant():
    colours = colours_of(["psr", "psr_matched", "countdown3/psr/2e-05", "nsr", "reinforce", "w_reinforce"])
    assert colours["psr"] == colours["psr_matched"] == colours["countdown3/psr/2e-05"]
    assert len({colours[n] for n in ("psr", "nsr", "reinforce", "w_reinforce")}) == 4


def test_the_unknown_is_grey_and_keeps_its_name():
    assert plots.arm_colour("someone") == plots.NEUTRAL and plots.arm_label("someone") == "someone"


def test_lines_are_means_and_bands_are_t_intervals():
    table = curves({("psr", 0): [0.0, 0.2], ("psr", 1): [0.2, 0.6], ("psr", 2): [0.1, 0.4]})
    ax = drawn(table, "m/x")
    assert ax.lines[0].get_ydata() == pytest.approx([0.1, 0.4])
    first, last = paired_t([0.0, 0.2, 0.1]), paired_t([0.2, 0.6, 0.4])
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(last.high)
    assert heights.min() == pytest.approx(min(first.low, last.low))


def test_one_seed_is_a_bare_line():
    ax = drawn(curves({("nsr", 0): [1.0, 2.0]}), "m/x")
    assert len(ax.lines) == 1 and not any(band.get_paths() for band in ax.collections)


def test_a_value_missing_at_one_step_is_left_out_of_the_mean():
    ax = drawn(curves({("nsr", 0): [1.0, np.nan], ("nsr", 1): [3.0, 2.0]}), "m/x")
    assert ax.lines[0].get_ydata() == pytest.approx([2.0, 2.0])


def test_pass_at_k_reads_the_last_step_and_takes_the_base_from_step_zero():
    rows = [{"arm": arm, "seed": 0, "step": step, "metric": f"validation/pass@{k}", "value": value + k / 100}
            for step, value in ((0, 0.1), (60, 0.5)) for arm in ("psr", "nsr") for k in (1, 2, 4)]
    _, ax = plt.subplots()
    plots.plot_spectrum(pd.DataFrame(rows), "validation", ax)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["base", "PSR (right only)", "NSR (wrong only)"]
    assert list(lines["base"].get_xdata()) == [1, 2, 4]
    assert lines["base"].get_ydata() == pytest.approx([0.11, 0.12, 0.14])
    assert lines["NSR (wrong only)"].get_ydata() == pytest.approx([0.51, 0.52, 0.54])


def test_a_misspelt_metric_names_its_neighbours():
    with pytest.raises(KeyError, match="m/x"):
        drawn(curves({("nsr", 0): [1.0]}), "m/y")


def test_a_saved_figure_tells_where_it_comes_from(tmp_path):
    plots.theme()
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    path = plots.save_figure(fig, "line", "00_tour", ["bbb", "aaa", "aaa"], str(tmp_path))
    assert path == tmp_path / "line.png" and 1_000 < path.stat().st_size < plots.MAX_BYTES
    origin = json.loads((tmp_path / "line.json").read_text())
    assert origin["notebook"] == "00_tour" and origin["runs"] == ["aaa", "bbb"]
    assert origin["commit"] and origin["time"].endswith("Z")


def test_a_heavy_figure_is_made_lighter(tmp_path):
    fig, ax = plt.subplots(figsize=(6, 4))
    ax.imshow(np.random.default_rng(0).random((300, 400)))
    path = plots.save_figure(fig, "noise", "00_tour", [], str(tmp_path))
    assert path.stat().st_size < 600_000


def test_a_relative_folder_starts_at_the_notebooks(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    path = plots.save_figure(plt.figure(), "empty", "00_tour", [], "../data/runs/figures")
    assert path == (tmp_path / "data/runs/figures/empty.png").resolve()


def test_seeds_of_different_strength_are_brought_to_one_level():
    rows = pd.DataFrame([{"arm": arm, "seed": seed, "step": step, "value": 10.0 * seed + step + 3 * (arm == "b")}
                         for arm in "ab" for seed in (0, 1) for step in (0, 2)])
    table = plots.without_seed_effects(rows).pivot(index=["arm", "step"], columns="seed", values="value")
    assert (table[0] == table[1]).all() and table[0].tolist() == [5.0, 7.0, 8.0, 10.0]
    more = pd.concat([rows, rows[:2].assign(seed=2, value=99.0)])  # a seed that has one arm only
    assert (plots.without_seed_effects(more).query("seed == 2").value == 99.0).all()
