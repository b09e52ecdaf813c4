"""LENS's tables by hand, and figures that draw whatever runs there are."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from polarity_lib.config import ConfigError  # noqa: E402
from polarity_lib.experiments import Runs  # noqa: E402
from polarity_lib.papers.lens import figures  # noqa: E402

ARMS = ("base", "grpo", "lens", "mixed only", "negative only", "uniform penalty", "shuffled", "flipped")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def made_up(arms=ARMS, seeds=3, samples=16) -> Runs:
    """Runs with random numbers under the real names."""
    rng = np.random.default_rng(0)
    curve = ("validation/pass@1", "validation/entropy", "validation/length", "validation/verdicts/no_answer", "groups/all_wrong")
    end = (*(f"test/pass@{2**i}" for i in range(5)), "test/distinct", "test/entropy")
    metrics = [{"arm": a, "seed": s, "step": step, "metric": m, "value": rng.uniform(0.3, 0.5)}
               for a in arms for s in range(seeds) for m in (*curve, *end) for step in ((0, 5, 10) if m in curve else (10,))]
    problems = [{"arm": a, "seed": s, "set": "test", "problem": str(p), "level": 1 + p % 5, "samples": samples,
                 "correct": int(rng.integers(0, samples + 1))} for a in arms for s in range(seeds) for p in range(10)]
    found = [SimpleNamespace(name=a, seed=s, config=SimpleNamespace(hash=f"{a}{s}")) for a in arms for s in range(seeds)]
    return Runs(pd.DataFrame(metrics), pd.DataFrame(problems), pd.DataFrame(), found)


def test_dead_groups_by_hand():
    problems = pd.DataFrame([{"arm": "lens", "seed": 0, "set": "test", "samples": 4, "correct": c} for c in (1, 0)])
    shares = figures.dead_shares(Runs(None, problems, None, []), sizes=(2, 4, 8))
    # One right of four: two draws miss it in C(3,2) / C(4,2) = 1/2 of cases; four never do. Eight cannot be drawn.
    assert shares.loc["lens", 0].to_dict() == pytest.approx({2: 75.0, 4: 50.0})


def test_a_gap_pairs_seeds_and_a_missing_arm_has_none():
    runs = made_up(("grpo", "lens"))
    table = 100 * runs.metric("test/pass@1")
    assert figures.gap(runs, "lens", "grpo", "test/pass@1") == pytest.approx((table["lens"] - table["grpo"]).to_numpy())
    assert len(figures.gap(runs, "lens", "flipped", "test/pass@1")) == 0
    assert len(figures.gap(runs, "lens", "grpo", "test/pass@512")) == 0


def test_the_papers_gaps_come_from_its_tables():
    rows = [("Table 1", "grpo", "Llama pass@1", 54.09), ("Table 1", "lens", "Llama pass@1", 56.63), ("Table 2", "lens", "x", 1.0)]
    gaps = figures.paper_gaps(pd.DataFrame(rows, columns=["table", "row", "column", "value"]))
    assert gaps.loc[("Table 1", "Llama"), 1] == pytest.approx(2.54)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("arms", [ARMS, ("base", "grpo", "lens"), ("grpo", "lens")])
def test_figures_draw_what_there_is(arms, seeds):
    runs = made_up(arms, seeds)
    paper = pd.DataFrame([("Table 2", a, "Llama pass@1", 50.0) for a in ("grpo", "lens", "mixed only", "negative only")],
                         columns=["table", "row", "column", "value"])
    theirs = pd.DataFrame([[1.0, 2.0]], columns=[1, 2], index=pd.MultiIndex.from_tuples([("Table 1", "Qwen")]))
    for fig in (figures.plot_gaps({"chain": runs}, theirs), figures.plot_two_by_two(runs, paper),
                figures.plot_dead_groups({"rare": runs, "search": runs}, {"paper": 45.0}), figures.plot_levels(runs),
                figures.plot_long(runs), figures.plot_diversity(runs), figures.plot_controls(runs),
                figures.plot_accuracy({"chain": runs}),
                figures.plot_minus(runs, [("lens", "grpo"), ("lens", "flipped")], {"test/pass@1": "x"}, side=1)):
        fig.canvas.draw()
        assert any(ax.has_data() for ax in fig.axes)


def test_dead_groups_before_and_after_are_means_over_seeds():
    rows = [{"arm": "grpo", "seed": s, "step": step, "metric": "groups/all_wrong", "value": value}
            for s, values in enumerate(((0.5, 0.9, 0.1), (0.4, 0.9, 0.3))) for step, value in zip((0, 5, 10), values)]
    table = figures.dead_over_training(Runs(pd.DataFrame(rows), None, None, []))
    assert table.loc["grpo"].tolist() == pytest.approx([45, 20])


def test_over_the_rate_a_missing_cell_is_left_out():
    runs = made_up(("grpo/1e-05", "grpo/4e-05", "lens/4e-05"))
    shown = {"test/pass@1": "a", "test/pass@16": "b"}
    first, second = figures.plot_over_rate(runs, ("grpo", "lens"), shown, {"test/pass@1": 12.0}).axes
    both, one = (list(line.get_xdata()) for line in first.lines[:2])
    assert both == pytest.approx([1e-05, 4e-05]) and one == pytest.approx([4e-05])
    assert len(first.lines) == len(second.lines) + 1  # the base's level


def test_a_sweep_without_any_level_is_refused():
    runs = made_up(("grpo", "alpha=0.25", "alpha=1"))
    levels = {x: f"alpha={x:g}" for x in (0.25, 0.5, 1.0)}
    ax = figures.plot_sweep(runs, levels, {"test/pass@1": ("pass@1", 100)}, "alpha").axes[0]
    assert list(ax.lines[0].get_xdata()) == [0.25, 1.0]
    with pytest.raises(ConfigError, match="factor=2"):
        figures.plot_sweep(runs, {2.0: "factor=2"}, {"test/pass@1": ("pass@1", 100)}, "factor")
