"""Recorded verdicts: the card's numbers, what must hold for any table, and what is refused where."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polarity_lib.config import ConfigError
from polarity_lib.papers.dissecting import stability
from polarity_lib.papers.dissecting.stability import (
    Recorded, VerdictTableError, advice, agreement, decisive, describe, flips, of_counts, predicted_spread, read_verdicts,
    runs_needed, same_problems, share_of_uncertain, spread_of_runs, spread_range, uncertain, without_uncertain, write_verdicts,
    wrong_order, wrong_order_by_resampling,
)


@pytest.mark.parametrize("problems, points", [(30, 9.1), (83, 5.5), (198, 3.6), (3018, 0.9)])
def test_worst_case_of_the_card(problems, points):
    spread = predicted_spread([0.5] * problems)
    assert 100 * spread == pytest.approx(points, abs=0.05)
    if problems == 30:
        assert 100 * spread / math.sqrt(64) == pytest.approx(1.1, abs=0.05)


def test_spread_by_hand():
    right = np.array([[1, 1, 0, 0], [1, 0, 1, 0]])  # scores 1, 1/2, 1/2, 0
    assert spread_range(right) == 1.0 and spread_of_runs(right) == pytest.approx(math.sqrt(1 / 6))
    assert predicted_spread([0.5, 0.5]) == pytest.approx(math.sqrt(0.5) / 2)
    assert predicted_spread([0.5, 0.5], runs=4) == pytest.approx(math.sqrt(0.5 * 4 / 3) / 2)


def test_uncertain_by_hand():
    p = [0.0, 0.1, 0.2, 0.5, 0.8, 0.95]
    assert uncertain(p).tolist() == [False, False, True, True, True, False]
    assert uncertain(p, (0.1, 0.9)).tolist() == [False, True, True, True, True, False]
    assert share_of_uncertain([0.5, 0.1]) == pytest.approx(0.25 / 0.34)
    assert math.isnan(share_of_uncertain([0.0, 1.0]))


def test_flips_by_hand():
    found = flips([0.9, 0.6, 0.4, 0.1], [False, True, True, False])
    assert found == {"down": 0.25, "up": 0.25, "inside": 0.5, "bias": pytest.approx(0.0)}
    assert math.isnan(flips([0.9], [True])["inside"])
    assert agreement([[1, 1, 1], [1, 0, 1]]) == 0.5


tables = st.tuples(st.integers(2, 12), st.integers(4, 12)).flatmap(lambda shape: arrays(bool, shape))


@given(tables)
def test_any_table_of_verdicts(right):
    found = describe(right)
    assert 0 <= found["score"] <= 1 and 0 <= found["uncertain"] <= 1 and 0 <= found["range"] <= 1
    problems, runs = right.shape
    assert found["run_sd"] <= found["range"] + 1e-12
    assert found["predicted_sd"] <= 0.5 * math.sqrt(runs / (runs - 1) / problems) + 1e-12
    order = np.random.default_rng(0).permutation(right.shape[1])
    assert spread_of_runs(right[:, order]) == pytest.approx(found["run_sd"])
    wider = uncertain(stability.accuracies(right), (0.1, 0.9))
    assert (wider | ~uncertain(stability.accuracies(right))).all()


def test_independent_problems_spread_as_the_formula_says():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 60)
    right = rng.random((60, 4000)) < p[:, None]
    assert spread_of_runs(right) == pytest.approx(predicted_spread(p), rel=0.05)
    together = np.tile(rng.random(4000) < 0.5, (60, 1))  # all problems right or wrong at once
    assert spread_of_runs(together) > 5 * predicted_spread(stability.accuracies(together))


def test_deleting_what_is_uncertain_takes_the_spread_away():
    rng = np.random.default_rng(1)
    p = np.array([0.5] * 20 + [0.02] * 40 + [0.98] * 40)
    spread, without = without_uncertain(rng.random((100, 400)) < p[:, None])
    expected = math.sqrt(80 * 0.02 * 0.98) / math.sqrt(20 * 0.25 + 80 * 0.02 * 0.98)
    assert without / spread == pytest.approx(expected, abs=0.08)
    assert math.isnan(without_uncertain(np.tile([True, False], (4, 20)))[1])


# ---------------------------------------------------------------- ranking


def test_ranking_by_hand():
    p, q = np.full(100, 0.5), np.full(100, 0.55)
    z = 0.05 / math.hypot(0.05, math.sqrt(0.55 * 0.45 / 100))
    assert wrong_order(p, q, 1) == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)))
    assert wrong_order(p, q, 4) == pytest.approx(0.5 * math.erfc(2 * z / math.sqrt(2)))  # four runs, half the error bar
    assert wrong_order(p, p, 9) == 0.5 and wrong_order([1.0], [0.0], 1) == 0.0
    assert runs_needed(0.05, 0.05, 0.05) == math.ceil(2 * 1.6448536**2) == 6
    with pytest.raises(ConfigError, match="above zero"):
        runs_needed(0.0, 0.1, 0.1)
    with pytest.raises(ConfigError, match="between 0 and 0.5"):
        runs_needed(0.1, 0.1, 0.1, error=0.6)


def test_resampled_runs_are_ranked_as_the_formula_says():
    rng = np.random.default_rng(0)
    p, q = rng.uniform(0.2, 0.8, 50), rng.uniform(0.2, 0.8, 50) + 0.03
    left, right = (rng.random((50, 3000)) < x[:, None] for x in (p, q))
    for runs in (1, 4, 16):
        assert wrong_order_by_resampling(left, right, runs) == pytest.approx(wrong_order(p, q, runs), abs=0.04)


@given(st.floats(0.01, 0.3), st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_the_runs_needed_are_enough_and_one_less_is_not(gap, left, right):
    runs = runs_needed(gap, left, right)
    error = lambda n: 0.5 * math.erfc(gap * math.sqrt(n) / math.hypot(left, right) / math.sqrt(2))  # noqa: E731
    assert error(runs) <= 0.05 + 1e-9 and (runs == 1 or error(runs - 1) > 0.05 - 1e-9)


def test_advice_and_what_decides():
    recorded = Recorded(["a", "b", "c"], ["1", "2", "3", "4"], np.array([[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]) == 1)
    table = decisive(recorded)
    assert table.problem.tolist() == ["a", "b", "c"]
    assert table["share of the variance"].tolist() == pytest.approx([4 / 7, 3 / 7, 0])
    told = advice(describe(recorded.right_QR))
    assert told.runs.is_monotonic_decreasing and (told["wrong with one run, %"] < 50).all()
    solved = Recorded(["a", "b"], ["1", "2"], np.ones((2, 2), dtype=bool))
    assert advice(describe(solved.right_QR)).runs.tolist() == [1, 1, 1] and decisive(solved)["share of the variance"].sum() == 0


def test_counts_give_what_needs_no_single_verdicts():
    rows = pd.DataFrame({"run": "x", "arm": "grpo", "seed": 0, "problem": ["a", "b", "c"], "samples": 64, "correct": [64, 32, 0],
                         "greedy": [1, 1, 1], "set": "test"})
    found = of_counts(pd.concat([rows, rows.assign(set="pool"), rows.assign(run="y", samples=4, correct=2)])).iloc[0]
    assert found.problems == 3 and found.score == 0.5
    assert found.uncertain == pytest.approx(1 / 3) and found.up == pytest.approx(1 / 3)
    assert found.predicted_sd == pytest.approx(math.sqrt(0.25 * 64 / 63) / 3) and found.bias == pytest.approx(0.5)
    assert len(of_counts(pd.concat([rows, rows.assign(run="y", samples=4, correct=2)]))) == 1


# ---------------------------------------------------------------- a reader's table


GOOD = "problem,run_1,run_2,run_3\na,1,0,1\nb,true,False,1.0\n"


def written(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_good_table_is_read(tmp_path):
    for text in (GOOD, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.replace("b,", '"b",'), GOOD + "\n\n"):
        found = read_verdicts(written(tmp_path, text))
        assert found.problems == ["a", "b"] and found.runs == ["run_1", "run_2", "run_3"]
        assert found.right_QR.tolist() == [[True, False, True], [True, False, True]]


@pytest.mark.parametrize("values", [{"run_1": [1, 0], "run_2": [0, 1]}, {"run_1": [True, False], "run_2": [False, True]},
                                    {"run_1": [1.0, 0.0], "run_2": [0.0, 1.0]}])
def test_parquet_too(tmp_path, values):
    pd.DataFrame({"problem": ["a", "b"]} | values).to_parquet(tmp_path / "t.parquet")
    assert read_verdicts(tmp_path / "t.parquet").right_QR.tolist() == [[True, False], [False, True]]
    pd.DataFrame(values, index=pd.Index([1, 2], name="problem")).to_parquet(tmp_path / "i.parquet")
    assert read_verdicts(tmp_path / "i.parquet").problems == ["1", "2"]


@pytest.mark.parametrize("text, told", [
    ("question,run_1,run_2\na,1,0\n", r"line 1: there is no column `problem`; the columns are question, run_1, run_2"),
    ("problem,run_1,run_2\na,1\nb,1,1\n", "line 2, column run_2: the run is missing"),
    ("problem,run_1,run_2\na,1,0\nb,,1\n", "line 3, column run_1: the verdict is missing"),
    ("problem,run_1,run_2\na,1,nan\n", "line 2, column run_2: the verdict is missing"),
    ("problem,run_1,run_2\na,1,0\nb,1,yes\n", "line 3, column run_2: 'yes' is not a verdict"),
    ("problem,run_1,run_2\na,1,0.5\n", "line 2, column run_2: '0.5' is not a verdict"),
    ("problem,run_1,run_2\na,1,0\na,1,1\n", "line 3, column problem: 'a' stands in line 2 already"),
    ("problem,run_1,run_1\na,1,0\n", "line 1, column 3: the name 'run_1' stands there a second time"),
    ("problem,run_1,\na,1,0\n", "line 1, column 3: the column has no name"),
    ("problem,run_1\na,1\n", "at least two columns of runs; there are 1"),
    ("problem,run_1,run_2\na,1,0,1\n", "line 2: 4 cells, but the header has 3"),
    ("problem,run_1,run_2\n,1,0\n", "line 2, column problem: the problem has no name"),
    ("problem,run_1,run_2\na,1,0\n", "at least two problems; there are 1"),
    ('problem,run_1,run_2\n"a\nlong",1,0\nb,x,1\n', "line 4, column run_1: 'x' is not"),
    ('problem,run_1,run_2\n"a,1,0\n', "no readable CSV"),
    ("", "is empty"),
])
def test_what_is_refused_and_where(tmp_path, text, told):
    with pytest.raises(VerdictTableError, match=told) as caught:
        read_verdicts(written(tmp_path, text))
    assert "\n" not in str(caught.value).replace("\\n", "")


def test_files_that_are_none(tmp_path):
    with pytest.raises(VerdictTableError, match="is not a file"):
        read_verdicts(tmp_path / "nowhere.csv")
    with pytest.raises(VerdictTableError, match="not .xlsx"):
        read_verdicts(written(tmp_path, "x", "table.xlsx"))
    with pytest.raises(VerdictTableError, match="no readable parquet"):
        read_verdicts(written(tmp_path, "x", "table.parquet"))
    with pytest.raises(VerdictTableError, match="not in UTF-8"):
        read_verdicts(written(tmp_path, b"problem,run_1,run_2\n\xff,1,0\n"))
    pd.DataFrame({"problem": ["a", "b"], "run_1": [1, 0], "run_2": [1.0, None]}).to_parquet(tmp_path / "hole.parquet")
    with pytest.raises(VerdictTableError, match="line 3, column run_2: the verdict is missing"):
        read_verdicts(tmp_path / "hole.parquet")


@given(right=tables)
def test_what_is_written_is_read_back(right, tmp_path_factory):
    recorded = Recorded([f"p,{i}" for i in range(len(right))], [f"r{k}" for k in range(right.shape[1])], right)
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    write_verdicts(recorded, path)
    found = read_verdicts(path)
    assert found.problems == recorded.problems and found.runs == recorded.runs and (found.right_QR == right).all()


def test_two_methods_need_the_same_problems():
    left = Recorded(["a", "b"], ["1", "2"], np.eye(2, dtype=bool))
    right = Recorded(["b", "a"], ["x", "y"], np.eye(2, dtype=bool))
    assert same_problems(left, right).right_QR.tolist() == [[False, True], [True, False]]
    with pytest.raises(VerdictTableError, match="'b' stands only in the first"):
        same_problems(left, Recorded(["a", "c"], ["x", "y"], np.eye(2, dtype=bool)))
    with pytest.raises(VerdictTableError, match="'c' stands only in the second"):
        same_problems(left, Recorded(["a", "b", "c"], ["x", "y"], np.ones((3, 2), dtype=bool)))
