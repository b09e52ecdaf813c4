"""Figures and claims on runs that nobody trained: every arm of every experiment, with the metrics that are read."""

import functools

import numpy as np
import pandas as pd
import pytest

from polarity_lib import plots
from polarity_lib.claims import VERDICTS, judge
from polarity_lib.experiments import Runs, experiment
from polarity_lib.papers.bcpg_nsa import experiments, figures
from polarity_lib.papers.bcpg_nsa.experiments import EXPERIMENTS
from polarity_lib.registry import CLAIMS

ENDS = {"test/pass@1": 0.4, "test/pass@16": 0.8, "pool/pass@1": 0.42, "test/entropy": 0.3, "test/work_shown": 0.6,
        "test/verdicts/no_answer": 0.01, "drift/right": 1.0, "drift/wrong": -2.0, "drift/steps": 0.01, "drift/per_token": 0.1,
        "blame/nthr_precision": 0.5, "blame/share": 0.4}  # fmt: skip
CURVES = {"validation/pass@1": 0.4, "validation/entropy": 0.3, "validation/work_shown": 0.6, "validation/length": 20.0,
          "validation/verdicts/no_answer": 0.01}  # fmt: skip


@functools.cache
def made(name: str, seeds: int = 3) -> Runs:
    """Numbers that depend on the arm's place in its experiment, and on the seed."""
    arms, rows, problems = experiment(name, scale="tiny", seeds=seeds), [], []
    places = {arm: i for i, arm in enumerate(dict.fromkeys(a.name for a in arms))}
    for arm in arms:
        luck = np.random.default_rng([places[arm.name], arm.seed])
        labels = {"experiment": name, "arm": arm.name, "seed": arm.seed, "run": arm.config.hash, "scale": "tiny"}
        last = arm.config.steps
        for step in sorted({0, last // 3, 2 * last // 3, last}):
            rows += [labels | {"step": step, "metric": m, "value": v + 0.01 * places[arm.name] + 0.01 * luck.random()}
                     for m, v in (CURVES | (ENDS if step == last else {})).items()]
        problems += [labels | {"problem": f"{arm.seed}/{q}", "level": 2 + q % 4, "samples": 32, "greedy": 0, "set": "test",
                               "correct": int(luck.integers(5, 28))} for q in range(8)]
    return Runs(pd.DataFrame(rows), pd.DataFrame(problems), pd.DataFrame(), arms=arms)


def lines(fig) -> int:
    """Lines and markers that hold a finite number, of all panels."""
    return sum(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any() for ax in fig.axes for line in ax.lines)


def test_every_claim_reads_its_runs():
    """No sub-test stumbles over a name: none is absent where every arm has every metric."""
    runs = {name: made(name) for name in EXPERIMENTS}
    for name in [n for n in CLAIMS if n.startswith(("BCPG", "OURS-B"))]:
        table = judge(name, runs)
        assert set(table.verdict) <= set(VERDICTS) - {"not run at this scale"}, (name, table.reason.tolist())
        assert np.isfinite(table.ours[table.subtest != ""]).all(), name


def test_without_runs_every_claim_says_so():
    for name in [n for n in CLAIMS if n.startswith(("BCPG", "OURS-B"))]:
        assert set(judge(name, None).verdict) == {"not run at this scale"}


def test_sweeps_have_a_line_per_method():
    fig = figures.plot_sweep(made("bcpg_tau"), {"BCPG": (experiments.TAUS, "tau=", figures.BCPG),
                                                "NSA": (experiments.TAUS, "nsa tau=", figures.NSA)},
                             {"test/pass@1": ("pass@1, %", 100.0), "drift/per_token": ("nats", 1.0)}, "tau", log=True)
    assert len(fig.axes) == 2 and lines(fig) == 4 and fig.axes[0].get_xscale() == "log"
    xs = fig.axes[0].lines[1].get_xdata()
    assert sorted(xs) == [0.001, 0.1, 1.0]  # the levels that were run
    fig = figures.plot_sweep(made("bcpg_beta"), {"true labels": (experiments.BETAS, "beta=", figures.NSA)},
                             {"test/pass@1": ("pass@1", 100.0)}, "beta")
    assert sorted(fig.axes[0].lines[0].get_xdata()) == sorted(experiments.BETAS)
    assert lines(figures.plot_fraction(made("bcpg_fraction"), experiments.SHARES)) == 3


def test_differences_are_drawn_for_the_arms_that_have_runs():
    fig = figures.plot_minus(made("bcpg_judges"), ["bcpg_nsa", "bcpg_nsa uniform", "nobody"], "bcpg", {"test/pass@1": "minus"})
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["BCPG-NSA, true labels", "one weight for all wrong"]
    table = figures.minus_table(made("bcpg_variants"), ["topr mined"], "topr", ["test/pass@1"])
    assert table.seeds.tolist() == [3] and np.isfinite(table.points).all()


def test_levels_noise_and_precision_have_their_marks():
    fig = figures.plot_levels(made("bcpg_offline"), ["bcpg_nsa", "rft"], "bcpg")
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()] == ["2", "3", "4", "5"] and lines(fig) >= 2
    purity = lambda f, paired: 1 - f / (2 if paired else 1)  # noqa: E731
    fig = figures.plot_noise(made("bcpg_noise"), experiments.NOISE, experiments.PAIRED, purity)
    assert sorted(fig.axes[0].lines[0].get_xdata()) == pytest.approx([20, 60, 80, 90, 100])
    assert {line.get_label() for line in fig.axes[0].lines} >= {"one judge", "two that must agree", "BCPG"}
    assert len(figures.plot_precision_quantity(made("bcpg_judges")).axes) == 2


def test_rounds_are_read_at_their_ends():
    table = figures.rounds_table(made("bcpg_rounds"))
    assert table.index.tolist() == [1, 2, 3] and set(table.columns) == {"bcpg", "bcpg_nsa"}
    assert table.to_numpy().min() > 39


def test_what_wrong_answers_hold_adds_up_to_all():
    steps = pd.DataFrame([{"row": 0, "way": "worked", "step": k, "text": "", "label": label, "tokens": n}
                          for k, (label, n) in enumerate((("right", 6), ("wrong", 5), ("final", 2)), start=1)])
    fig = figures.plot_contents(steps)
    assert sum(bar.get_height() for bar in fig.axes[0].patches) == pytest.approx(100)
    quality = pd.DataFrame({"called right": [0.2, 0.5], "precision": [0.9, 0.6], "recall": [0.6, 0.9]}, index=["and", "llm"])
    assert len(figures.plot_judge_quality(quality).axes[0].texts) == 2


def test_no_style_changes_another_papers_arms():
    assert plots.arm_colour("only right") == plots.NEUTRAL and plots.arm_label("bcpg other") == "bcpg other"
    assert plots.arm_colour("one rate/bcpg_nsa") == figures.NSA
