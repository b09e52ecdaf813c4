"""What the A3PO figures compute before they draw: costs, kept shares, and sweeps with holes."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib.experiments import Runs  # noqa: E402
from polarity_lib.papers.a3po import figures as figs  # noqa: E402
from polarity_lib.plots import arm_colour  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def runs_with(values: dict) -> Runs:
    """{(arm, seed, metric): {step: value}} as Runs."""
    rows = [{"arm": arm, "seed": seed, "metric": metric, "step": step, "value": value}
            for (arm, seed, metric), curve in values.items() for step, value in curve.items()]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), [])


# GRPO draws 10 answers a step; DAPO 30 in the first two steps, 20 in the last two.
TWO = runs_with({
    ("grpo", 0, "sampling/drawn"): {2: 10.0, 4: 10.0}, ("dapo", 0, "sampling/drawn"): {2: 30.0, 4: 20.0},
    ("grpo", 0, "validation/pass@1"): {0: 0.2, 2: 0.3, 4: 0.4}, ("dapo", 0, "validation/pass@1"): {0: 0.2, 2: 0.5, 4: 0.6}})


def test_answers_drawn_add_up_over_the_steps_between_curve_points():
    drawn = figs.answers_drawn(TWO).set_index(["arm", "step"]).drawn
    assert drawn["grpo"].to_dict() == {0: 0, 2: 20, 4: 40}
    assert drawn["dapo"].to_dict() == {0: 0, 2: 60, 4: 100}


def test_at_equal_cost_reads_dapo_where_grpo_has_spent_its_answers():
    table = figs.at_equal_cost(TWO, "", ("grpo", "dapo"))
    assert table.loc["dapo"].tolist() == pytest.approx([2.5, 60.0, 20 + 30 * 40 / 60])  # two thirds of the way to 50 %
    assert table.loc["grpo"].tolist() == pytest.approx([1.0, 40.0, 40.0])


def test_nothing_drawn_yet_gives_an_empty_table():
    base = runs_with({("base", 0, "validation/pass@1"): {0: 0.2}})
    assert figs.at_equal_cost(base, "", ("grpo", "dapo")).empty


def test_a_kept_share_is_blank_where_there_was_nothing_to_keep():
    runs = runs_with({("base", 0, "test/pass@16"): {0: 0.8}, ("base", 0, "shifted/w/pass@16"): {0: 0.2},
                      ("psr", 0, "test/pass@16"): {0: 0.0}, ("psr", 0, "shifted/w/pass@16"): {0: 0.1}})
    kept = figs.kept_share(runs, "w")
    assert kept.loc[0, "base"] == pytest.approx(25) and np.isnan(kept.loc[0, "psr"])
    assert figs.base_shifted(runs, ["w"]).admitted.tolist() == [True]  # 20 % lies between 5 and 60


def test_ablations_are_drawn_as_paired_differences_and_missing_arms_left_out():
    runs = runs_with({(arm, seed, "test/pass@1"): {60: value} for seed in (0, 1) for arm, value in
                      (("a3po", 0.5 + 0.1 * seed), ("swapped", 0.4 + 0.1 * seed), ("a3po tossed", 0.1))})
    top, bottom = figs.plot_ablations(runs).axes
    assert [t.get_text() for t in top.get_yticklabels()] == ["swapped"]
    assert [t.get_text() for t in bottom.get_yticklabels()] == ["a3po tossed"]
    assert top.lines[-2].get_xdata()[0] == pytest.approx(-10)  # the diamond; the last line is zero


def test_methods_keep_their_colour_in_every_world_and_with_every_verifier():
    assert arm_colour("countdown3/dapo") == arm_colour("dapo")
    assert arm_colour("psr_grpo_seq leaky") == arm_colour("psr")
    assert len({arm_colour(m) for m in ("base", "grpo", "dapo", "dapo_fork", "w_reinforce", "lp_reg", "a3po")}) == 7
    assert figs.label_of("countdown4/lp_reg") == "Lp-Reg"


def test_figures_are_drawn_with_one_world_or_with_several_of_which_some_lack_runs():
    worlds = {"one": (TWO, ""), "two": (TWO, "countdown3/")}
    panels = {"validation/pass@1": ("accuracy", "%", 100), "train/reward": ("reward", "%", 100)}
    assert len(figs.plot_dynamics({"one": worlds["one"]}, ("grpo", "dapo"), panels).axes) == 2
    fig = figs.plot_dynamics(worlds, ("grpo", "dapo"), panels)
    assert len(fig.axes) == 4
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["GRPO", "DAPO"]
    assert len(figs.plot_per_sample(worlds, ("grpo", "dapo")).axes) == 4
    assert len(figs.plot_head_to_head(worlds, ("grpo", "dapo")).axes) == 2


def test_the_head_to_head_shows_gains_over_each_seeds_own_base():
    values = {(arm, seed, "test/pass@1"): {4: base + gain} for seed, base in ((0, 0.1), (1, 0.4))
              for arm, gain in (("base", 0.0), ("grpo", 0.05))}
    ax = figs.plot_head_to_head({"one": (runs_with(values), "")}, ("grpo",)).axes[0]
    assert ax.lines[0].get_xdata() == pytest.approx([5.0, 5.0])
    assert "25.0 %" in ax.get_xlabel()
