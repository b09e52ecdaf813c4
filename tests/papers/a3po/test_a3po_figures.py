"""Figures of A3PO from made-up tables: what they compute, what stands where, and what happens when runs are missing."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib.experiments import Runs, experiment  # noqa: E402
from polarity_lib.papers.a3po import figures as figs  # noqa: E402
from polarity_lib.papers.a3po.claims import answers_drawn  # noqa: E402
from polarity_lib.papers.a3po.experiments import CELLS, WEIGHTS  # noqa: E402
from polarity_lib.papers.a3po.theory import identity_table, toy_path  # noqa: E402
from polarity_lib.plots import RIGHT, WRONG, arm_colour, style_of  # noqa: E402
from polarity_lib.statistics import paired_t  # noqa: E402

GRID = [f"P{p:g}N{n:g}" for p, n in WEIGHTS]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def runs_with(values: dict) -> Runs:
    """{(arm, seed, metric): {step: value}} as Runs."""
    rows = [{"arm": arm, "seed": seed, "metric": metric, "step": step, "value": value}
            for (arm, seed, metric), curve in values.items() for step, value in curve.items()]
    return Runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), [])


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


def means(ax, upright: bool = False) -> list[float]:
    """Where the means stand: the large markers, of one point each."""
    drawn = [line.get_ydata() if upright else line.get_xdata() for line in ax.lines if line.get_markersize() == 6]
    return [float(values[0]) for values in drawn if len(values) == 1]


# GRPO draws 10 answers a step; DAPO 30 in the first two steps, 20 in the last two.
TWO = runs_with({
    ("grpo", 0, "sampling/drawn"): {2: 10.0, 4: 10.0}, ("dapo", 0, "sampling/drawn"): {2: 30.0, 4: 20.0},
    ("grpo", 0, "validation/pass@1"): {0: 0.2, 2: 0.3, 4: 0.4}, ("dapo", 0, "validation/pass@1"): {0: 0.2, 2: 0.5, 4: 0.6}})


def test_answers_drawn_add_up_over_the_steps_between_curve_points():
    drawn = answers_drawn(TWO).set_index(["arm", "step"]).drawn
    assert drawn["grpo"].to_dict() == {0: 0, 2: 20, 4: 40}
    assert drawn["dapo"].to_dict() == {0: 0, 2: 60, 4: 100}


def test_at_equal_cost_reads_dapo_where_grpo_has_spent_its_answers():
    table = figs.at_equal_cost(TWO, ("grpo", "dapo"))
    assert table.loc["dapo"].tolist() == pytest.approx([2.5, 60.0, 20 + 30 * 40 / 60])  # two thirds of the way to 50 %
    assert table.loc["grpo"].tolist() == pytest.approx([1.0, 40.0, 40.0])


def test_nothing_drawn_yet_gives_an_empty_table():
    base = runs_with({("base", 0, "validation/pass@1"): {0: 0.2}})
    assert figs.at_equal_cost(base, ("grpo", "dapo")).empty


def test_a_kept_share_is_blank_where_there_was_nothing_to_keep():
    runs = runs_with({("base", 0, "test/pass@1"): {0: 0.8}, ("base", 0, "shifted/w/pass@1"): {0: 0.2},
                      ("base", 0, "shifted/w/pass@16"): {0: 0.5},
                      ("psr", 0, "test/pass@1"): {0: 0.0}, ("psr", 0, "shifted/w/pass@1"): {0: 0.1}})
    kept = figs.kept_share(runs, "w")
    assert kept.loc[0, "base"] == pytest.approx(25) and np.isnan(kept.loc[0, "psr"])
    base = figs.base_shifted(runs, ["w"]).loc["w"]
    assert base.admitted and base["base pass@1, %"] == pytest.approx(20)  # 50 % at 16 lies between 5 and 60


def test_ablations_are_drawn_as_paired_differences_and_missing_arms_said():
    runs = runs_with({(arm, seed, "test/pass@1"): {60: value} for seed in (0, 1) for arm, value in
                      (("a3po", 0.5 + 0.1 * seed), ("swapped", 0.4 + 0.1 * seed), ("a3po tossed", 0.1))})
    top, bottom = figs.plot_ablations(runs).axes
    assert means(top) == pytest.approx([-10]) and means(bottom) == pytest.approx([-45])
    assert [t.get_text() for t in bottom.texts].count("no runs") == 1  # flipped verdicts
    assert {"which tokens", "base loss"} <= {t.get_text() for t in top.texts}


def test_methods_keep_their_colour_at_every_rate_and_with_every_verifier():
    assert arm_colour("dapo/0.0001") == arm_colour("dapo")
    assert arm_colour("psr_grpo_seq leaky") == arm_colour("psr")
    assert len({arm_colour(m) for m in ("base", "grpo", "dapo", "dapo_fork", "w_reinforce", "lp_reg", "a3po")}) == 7
    assert figs.label_of("lp_reg") == "Lp-Reg" and figs.label_of("grpo leaky") == "GRPO"


def test_figures_are_drawn_with_one_reading_or_with_several():
    found = {"own rates": TWO, "one rate": TWO}
    panels = {"validation/pass@1": ("accuracy", "%", 100), "sampling/drawn": ("answers", "", 1)}
    assert len(figs.plot_dynamics({"own rates": TWO}, ("grpo", "dapo"), panels).axes) == 2
    fig = figs.plot_dynamics(found, ("grpo", "dapo"), panels)
    assert len(fig.axes) == 4
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["GRPO", "DAPO"]
    assert len(figs.plot_per_answer(found, ("grpo", "dapo")).axes) == 4


def test_the_head_to_head_shows_gains_over_each_seeds_own_base():
    values = {(arm, seed, "test/pass@1"): {4: base + gain} for seed, base in ((0, 0.1), (1, 0.4))
              for arm, gain in (("base", 0.0), ("grpo", 0.05))}
    ax = figs.plot_head_to_head({"own rates": (runs_with(values), "test/pass@1")}, ("grpo",)).axes[0]
    assert means(ax) == pytest.approx([5.0])
    assert "25.0 %" in ax.get_xlabel()


def test_a_method_is_drawn_over_the_rates_it_has_runs_at():
    values = {("grpo/0.0001", 0, "test/pass@1"): {4: 0.5}, ("grpo/0.0002", 0, "test/pass@1"): {4: 0.6},
              ("a3po/0.0001", 0, "test/pass@1"): {4: 0.7}}
    arms = [type("A", (), {"name": name}) for name, *_ in values]
    runs = runs_with(values)
    runs = Runs(runs.metrics, runs.problems, runs.rollouts, arms)
    ax = figs.plot_over_rate(runs, ("grpo", "a3po"), ["test/pass@1"]).axes[0]
    drawn = [list(line.get_ydata()) for line in ax.lines if len(line.get_xdata())]
    assert drawn == [pytest.approx([50, 60]), pytest.approx([70])]


def test_names_of_arms_are_read():
    assert figs.weights_of("sgd+kl/P2N0.5") == (2.0, 0.5)
    assert figs.arm_of("right_low", 0.2, "entropy") == "entropy/right_lowx0.2"
    assert {arm.name for arm in experiment("token_shaping", "all", "smoke", 1)} >= {"none", *figs.CONTROLS}


def test_equal_ratios_have_one_colour_and_other_ratios_another():
    colours = [arm_colour(arm) for arm in ("P1N1", "sgd/P2N2", "P2N1", "P1N0.5", "P1N0", "P0N1")]
    assert colours[0] == colours[1] and colours[2] == colours[3] and len(set(colours)) == 4
    assert [colour.upper() for colour in colours[4:]] == [RIGHT, WRONG]


def test_the_two_cells_that_a3po_raises_are_solid():
    assert [cell for cell in CELLS if style_of(f"{cell}x5")[2] == "-"] == ["right_low", "wrong_high"]
    assert figs.words_of("right_low", "entropy") == "certain positions, right answers"


def test_the_grid_has_a_point_per_arm_and_lets_arms_be_missing():
    runs = made_up("polarity_weights", 2, entropy=lambda arm: 0.5)
    assert [len(means(ax)) for ax in figs.plot_weight_grid(runs, GRID).axes] == [11, 11, 11]
    some = made_up("polarity_weights", 1, "P1N1,P2N2")
    assert [len(means(ax)) for ax in figs.plot_weight_grid(some, GRID).axes] == [2, 2, 2]
    figs.plot_equal_ratios(made_up("polarity_weights", 1, "P4N1")).canvas.draw()


def test_equal_ratios_show_the_interval_that_decides():
    runs = made_up("polarity_weights", 3)
    runs.metrics["value"] += np.random.default_rng(0).normal(0, 0.02, len(runs.metrics))
    fig = figs.plot_equal_ratios(runs)
    mean = 100 * runs.metrics[runs.metrics.metric == "train/reward"].groupby(["seed", "arm"]).value.mean().unstack()
    inner = paired_t(mean["P2N2"] - mean["P1N1"], 0.9)
    drawn = [line.get_xdata() for line in fig.axes[1].lines if line.get_linewidth() == 5]
    assert len(drawn) == 7 and list(drawn[0]) == pytest.approx([inner.low, inner.high])


def test_cells_stand_on_the_side_they_moved_to():
    def moved(arm):
        return 1.2 if arm == "right_lowx5" else 0.9 if arm == "right_highx5" else 1.0

    runs = made_up("token_shaping", 2, entropy=moved)
    with plt.rc_context({"axes.titlelocation": "center"}):  # where get_title looks; a theme may have moved it
        axes = {ax.get_title().replace("\n", " "): ax for ax in figs.plot_cells(runs).axes}
    assert means(axes["unlikely tokens, right answers"], upright=True) == pytest.approx([0, 0, 0, 20])
    assert means(axes["likely tokens, right answers"], upright=True) == pytest.approx([0, 0, 0, -10])
    assert len(figs.plot_cells(runs, "entropy", (0.2, 5.0)).axes) == 4


def test_missing_cells_are_said_and_not_refused():
    runs = made_up("token_shaping", 1, "none,right_lowx5")
    words = [text.get_text() for ax in figs.plot_cells(runs).axes for text in ax.texts]
    assert words.count("no run") == 15
    for fig in (figs.plot_cell_curves(runs), figs.plot_controls(runs)):
        fig.canvas.draw()
    figs.plot_controls(made_up("token_shaping", 1, "a3pox5")).canvas.draw()  # nothing to compare with


def test_theory_is_drawn_with_one_point_per_token():
    table = identity_table(cases=5)
    right, wrong = figs.plot_identity(table).axes
    assert sum(len(c.get_offsets()) for c in right.collections) == len(table) == 30
    # What rises after a right answer falls after a wrong one.
    assert len(right.collections[0].get_offsets()) == len(wrong.collections[1].get_offsets())
    fig = figs.plot_toy_paths({"AdamW": {"P1N1": toy_path(1.0, steps=3)}})
    assert len(fig.axes[0].lines[0].get_xdata()) == 4


def test_a_token_shows_its_advantage_and_its_probability():
    fig = figs.plot_token_advantages([[0.2, 0.9]], {"start": [[3.0, 1.5]]}, ["right"])
    assert [t.get_text() for t in fig.axes[0].texts] == ["+3.00\np = 0.20", "+1.50\np = 0.90"]


def test_hacking_is_drawn_for_both_verifiers_where_there_are_runs():
    runs = runs_with({(arm, 0, f"probe/{m}"): {4: value} for arm in ("base", "grpo leaky")
                      for m, value in (("rewarded", 0.4), ("unearned", 0.1), ("faithful", 0.2))})
    for ax in figs.plot_hacking(runs, ["base", "grpo"]).axes:
        large = [float(line.get_xdata()[0]) for line in ax.lines if line.get_markersize() == 8]
        assert sorted(x for x in large if x == x) == pytest.approx([20, 30, 40])  # one arm of each verifier has run
