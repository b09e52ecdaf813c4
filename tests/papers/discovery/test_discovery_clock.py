"""Times to discovery and the rules on them, with a pencil; and that a watch changes nothing of a run."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_runs import curves

from polarity_lib.claims import is_equivalent, is_greater, is_less, is_not_worse
from polarity_lib.config import ConfigError
from polarity_lib.experiments import Runs, experiment
from polarity_lib.mechanism import hand_made
from polarity_lib.papers.discovery import clock, figures
from polarity_lib.papers.discovery.claims import CLAIMS
from polarity_lib.papers.discovery.experiments import EVERYBODY, HEADLINE, LEVELS, TELLING
from polarity_lib.papers.discovery.watches import ways
from polarity_lib.registry import EXPERIMENTS
from polarity_lib.results import RunFolder
from polarity_lib.training import train

METRICS = ["worked", "worked_right", "drawn", *(f"weight_{way}_{verdict}" for way, verdict in clock.CELLS)]


def watched(found_at: dict[str, list], horizon: int = 10, drawn: dict | None = None) -> Runs:
    """Runs whose share of worked answers jumps from 0.1 to 0.9 at a batch, per arm and seed; None: never."""
    tables = []
    for arm, firsts in found_at.items():
        for metric in METRICS:
            value = {"worked": 0.1, "drawn": (drawn or {}).get(arm, 4.0)}.get(metric, 0.0)
            tables.append(curves({arm: [[value] * horizon for _ in firsts]}, f"ways/{metric}").metrics)
        worked = next(t for t in reversed(tables) if (t.metric == "ways/worked").all())
        for seed, first in enumerate(firsts):
            worked.loc[(worked.seed == seed) & (worked.step >= 10 * (horizon if first is None else first)), "value"] = 0.9
    table = pd.concat(tables, ignore_index=True)
    return Runs(table.assign(step=table.step // 10), pd.DataFrame(), pd.DataFrame(), [])


def test_times_by_hand():
    table = clock.times(watched({"a": [3, None], "b": [0, 9]}))
    assert table.batches.to_dict() == {(0, "a"): 3, (1, "a"): 10, (0, "b"): 0, (1, "b"): 9}
    assert table.found.to_dict() == {(0, "a"): True, (1, "a"): False, (0, "b"): True, (1, "b"): True}
    assert table.answers.to_dict() == {(0, "a"): 12, (1, "a"): 40, (0, "b"): 0, (1, "b"): 36}


def test_a_run_that_collapsed_never_finds_it():
    runs = watched({"a": [8, 2]})
    ended = Runs(runs.metrics[~((runs.metrics.seed == 0) & (runs.metrics.step >= 5))], runs.problems, runs.rollouts, [])
    table = clock.times(ended)
    assert table.batches.tolist() == [10, 2] and table.found.tolist() == [False, True] and table.answers[0, "a"] == 40


def test_kaplan_and_meier_by_hand():
    """Four seeds: found after 2 and 5, two never. After 2 a quarter have it, after 5 a half."""
    curve = clock.found_by(clock.of_arm(clock.times(watched({"a": [2, 5, None, None]})), "a"))
    assert curve.time.tolist() == [2, 5, 10] and curve.share.tolist() == pytest.approx([0.25, 0.5, 0.5])
    assert (curve.low[:2] < curve.share[:2]).all() and (curve.share[:2] < curve.high[:2]).all()
    assert clock.half_time(clock.of_arm(clock.times(watched({"a": [2, 5, None, None]})), "a")) == 5
    assert clock.half_time(clock.of_arm(clock.times(watched({"a": [2, None, None, None]})), "a")) == np.inf


def test_the_log_rank_test_by_hand():
    """a: 1, b: 2, then nobody else. At 1: four at risk, one event, expected of a 1/2; at 2: one of a, two of b, expected 1/3.

    O - E = 1 - 5/6 = 1/6; variance 1/4 + 2/9 = 17/36; chi square (1/36) / (17/36) = 1/17.
    """
    table = clock.times(watched({"a": [1, None], "b": [2, None]}))
    p = clock.logrank(clock.of_arm(table, "a"), clock.of_arm(table, "b"))
    from scipy import stats
    assert p == pytest.approx(stats.chi2.sf(1 / 17, 1))
    never = clock.times(watched({"a": [None, None], "b": [None, None]}))
    assert np.isnan(clock.logrank(clock.of_arm(never, "a"), clock.of_arm(never, "b")))


def test_the_lead_per_batch_and_per_answer_drawn():
    runs = watched({"grpo": [5, None], "dapo": [3, 6]}, drawn={"dapo": 8.0})
    assert clock.lead(runs, "dapo", "grpo").tolist() == [20, 40]  # of ten batches
    # 40 answers is as far as GRPO goes: DAPO found it after 24 and, by then, not yet.
    assert clock.lead(runs, "dapo", "grpo", "answers").tolist() == pytest.approx([100 * (20 - 24) / 40, 0])


EARLY, LATE = [1, 2, 1, 2, 1, 2], [8, 9, None, 9, 8, None]


def word(rule, left, right, **more):
    return clock.compare_times(rule, "left", "right", watched({"left": left, "right": right}), **more)


def test_verdicts_on_plain_cases():
    assert word(is_greater, EARLY, LATE).verdict == "replicated" and word(is_greater, LATE, EARLY).verdict == "differs here"
    assert word(is_greater, EARLY, EARLY).verdict == "no effect" and word(is_equivalent, EARLY, EARLY).verdict == "replicated"
    assert word(is_not_worse, EARLY, LATE).verdict == "replicated" and word(is_not_worse, LATE, EARLY).verdict == "differs here"
    never = [None] * 6
    assert word(is_equivalent, never, never).verdict == "inconclusive"  # a level that nobody gets through tells nothing
    assert word(is_equivalent, [0] * 6, [0] * 6).verdict == "inconclusive"  # nor one where there is nothing to find
    assert word(is_greater, [1], [9]).verdict == "inconclusive"
    found = word(is_greater, EARLY, LATE)
    assert "found by 6 and 4 of 6" in found.reason and 0 < found.p < 0.05


def test_a_paired_difference_that_the_log_rank_test_does_not_see_settles_nothing():
    """Every seed a batch or two sooner, with a spread between seeds that is far larger."""
    left, right = [0, 3, 5, 7, 2], [2, 5, 7, 9, 4]
    assert is_greater(clock.lead(watched({"left": left, "right": right}), "left", "right")).verdict == "replicated"
    found = word(is_greater, left, right)
    assert found.verdict == "inconclusive" and "log-rank test does not" in found.reason and found.p >= 0.05


def test_most_seeds():
    runs = watched({"a": [1, 2, 3, None, 4, 5, 1, 2], "b": [None] * 8})
    none, most = clock.most_find_it(is_less, "b", runs), clock.most_find_it(is_greater, "a", runs)
    assert none.verdict == "replicated" and none.p == pytest.approx(2 / 2**8)  # as a coin that falls eight times alike
    assert none.interval.high == pytest.approx(100 * (1 - 0.025 ** (1 / 8)) - 50)
    assert clock.most_find_it(is_greater, "b", runs).verdict == "differs here"
    assert most.verdict == "inconclusive" and most.interval.estimate == 37.5 and most.p == pytest.approx(18 / 2**8)
    few = clock.most_find_it(is_greater, "a", watched({"a": [1, 2, 3]}))
    assert few.verdict == "inconclusive" and few.p == 0.25  # three of three are no certainty
    assert math.isnan(clock.majority_seen(5)) and clock.majority_seen(6) == pytest.approx(100 * 0.8 ** (1 / 6) - 50, abs=0.1)


def test_how_many_seeds_would_do():
    assert clock.seeds_needed(np.array([20.0, 21, 19, 20])) == 3
    assert clock.seeds_needed(np.array([1.0, -1, 30, -29])) is None and clock.seeds_needed(np.zeros(4)) is None


# ---------------------------------------------------------------- the watch


def test_ways_by_hand():
    """Worked right and wrong, direct right and twice wrong; weights of first tokens 3, -1, 2, -0.5, -0.5."""
    rollouts = hand_made([True, False, True, False, False], [0] * 5, [4, 4, 2, 2, 2])
    rollouts = rollouts.but(texts=["1+1=2#2", "1+1=3#3", "#2", "#3", "#4"], drawn=5)
    weights = torch.zeros(5, 4)
    weights[:, 0] = torch.tensor([3.0, -1.0, 2.0, -0.5, -0.5])
    weights[:, 1] = 100  # later tokens do not decide the way
    found = ways(rollouts, weights)
    assert found == pytest.approx({
        "ways/worked": 0.4, "ways/worked_right": 0.2, "ways/drawn": 5, "ways/weight_worked_right": 3,
        "ways/weight_worked_wrong": -1, "ways/weight_direct_right": 2, "ways/weight_direct_wrong": -1})
    runs = Runs(pd.DataFrame([{"arm": "a", "seed": 0, "step": 0, "metric": k, "value": v} for k, v in found.items()]),
                pd.DataFrame(), pd.DataFrame(), [])
    # (3 - 1) x 0.6 for the worked ones, (2 - 1) x -0.4 for the direct ones, over 3 + 1 + 2 + 1.
    assert clock.push(runs).iloc[0, 0] == pytest.approx((2 * 0.6 - 1 * 0.4) / 7)
    row = clock.before_found(runs).iloc[0]
    assert row.from_right == pytest.approx(3 / 7) and row.from_wrong == pytest.approx(-1 / 7) and row.worked == pytest.approx(2)


@pytest.mark.parametrize("method", ["grpo", "nsr", "dapo", "ppo"])
def test_a_watch_changes_nothing_of_a_run_and_is_kept_batch_by_batch(method, configure, tmp_path):
    plain = configure(method, steps=3, curve_every=2)
    seen = plain.but(watches=("ways",))
    assert plain.hash != seen.hash and "watches" not in plain.identity
    tables = {c.hash: train(c, RunFolder(c.name, c.identity, tmp_path)) for c in (plain, seen)}
    a, b = tables[plain.hash]["metrics"], tables[seen.hash]["metrics"]
    mine = b.metric.str.startswith("ways/")
    a, rest = (t[~t.metric.str.startswith("timing.")].reset_index(drop=True) for t in (a, b[~mine]))
    pd.testing.assert_frame_equal(a, rest)
    assert set(b[mine].metric) == {f"ways/{name}" for name in METRICS}
    assert sorted(b[b.metric == "ways/worked"].step) == [0, 1, 2]
    weights = b[mine & b.metric.str.contains("weight")].value
    assert weights.isna().all() if method == "ppo" else weights.notna().all()


def test_a_misspelt_watch_is_refused(configure, tmp_path):
    config = configure("grpo", watches=("way",))
    with pytest.raises(ConfigError, match="Did you mean 'ways'"):
        train(config, RunFolder(config.name, config.identity, tmp_path))


# ---------------------------------------------------------------- experiments, claims, figures


def test_seeds_levels_and_shared_runs():
    assert EXPERIMENTS["discovery"].seeds == EXPERIMENTS["discovery_one_rate"].seeds == 16
    assert len(LEVELS) in (4, 5) and TELLING in LEVELS and len(HEADLINE) == 6
    configs = {name: {a.name: a.config for a in experiment(name)} for name in EXPERIMENTS if name.startswith("discovery")}
    main, everybody, levels = (configs[n] for n in ("discovery", "discovery_methods", "discovery_levels"))
    assert all(main[arm] == everybody[arm] for arm in HEADLINE) and set(everybody) == {"base", *EVERYBODY}
    assert levels[f"{TELLING:g}/lens"] == main["lens"] and main["base"].start == main["grpo"].start
    assert {c.learning_rate for c in configs["discovery_one_rate"].values()} == {main["grpo"].learning_rate}
    mixtures = {dict(c.start.mixture).get("worked", 0.05) for c in levels.values()}
    assert mixtures == set(LEVELS)
    for config in (c for arms in configs.values() for c in arms.values() if c.steps):
        assert config.watches == ("ways",) and config.probes == () and config.rollouts_per_prompt == 8


def test_every_claim_names_one_or_two_primary_sub_tests_and_the_papers_claim_it_reads():
    for claim in CLAIMS:
        names = [test.name for test in claim.tests() if test.primary]
        assert 1 <= len(names) <= 2 and {t.reading_of for t in claim.tests()} - {""} <= set(names)
    read = {claim.name.removeprefix("OURS-") for claim in CLAIMS}
    assert {"PSRNSR-C2", "PSRNSR-C8", "PSRNSR-C11", "A3PO-C2", "A3PO-C7", "A3PO-C14", "LENS-C1", "LENS-C2", "LENS-C5",
            "LENS-C10"} <= read


def test_figures_are_drawn_from_runs():
    runs = watched({"grpo": [3, None, 5], "nsr": [1, 2, None], "0.005/grpo": [1, 2, 3], "0.05/grpo": [0, 0, 1]})
    assert len(figures.plot_discovery(runs, ["grpo", "nsr", "psr"]).axes[0].lines) == 2
    assert [ax.get_title() for ax in figures.plot_levels(runs, (0.005, 0.015, 0.05), ["grpo"]).axes] == ["r = 0.005", "r = 0.05"]
    figures.plot_reason(clock.before_found(runs), ["grpo", "nsr"])
    assert len(figures.plot_map(4).axes) >= 15
