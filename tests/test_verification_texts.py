"""Reading answers, the second witness and the step splitter: small cases a reader can follow."""

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polarity_lib.papers.bcpg_nsa.steps_text import locate_steps, split_steps
from polarity_lib.verification.answers import find_answer, visible_part
from polarity_lib.verification.comparison import compare, numbers_close
from polarity_lib.verification.exact import Formula, Number, Ordered, Several, read
from polarity_lib.verification.second_opinion import (
    answer_kind, disagreement, disagreement_by_kind,
)  # fmt: skip

DATA = os.environ.get("POLARITY_TEST_DATA", "")
needs_data = pytest.mark.skipif(
    not DATA or not (Path(DATA) / "responses.jsonl").is_file(),
    reason="POLARITY_TEST_DATA names no folder with responses.jsonl (the texts may not be committed)",
)


def recorded():
    return [json.loads(line) for line in (Path(DATA) / "responses.jsonl").read_text(encoding="utf-8").splitlines()]


# ------------------------------------------------------------------ the final answer


@pytest.mark.parametrize(
    "response, answer",
    [
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("\\boxed{1} and later \\boxed{2}. The correct answer is 3.", "3"),
        ("The solutions are \\boxed{1} and \\boxed{2}.", "1, 2"),
        ("The answer is $\\frac{1}{2}$ because of symmetry.", "\\frac{1}{2}"),
        ("It costs 5 dollars.\n\nSo she pays 15 dollars.", "15"),
        ("\\boxed{\\phantom{3}}", None),
    ],
)
def test_which_text_is_the_final_answer(response, answer):
    assert find_answer(response).text == answer


def test_a_cut_response_is_judged_only_by_what_it_completed():
    assert find_answer("The answer is 4", truncated=True).text is None
    assert find_answer("The answer is 42. We check", truncated=True).text == "42"
    assert find_answer("The answer is 42").text == "42"


def test_thinking_is_dropped_whatever_its_marks():
    assert visible_part("a<think>b</think>c") == ("ac", False)
    assert visible_part("a</think>b") == ("b", False)
    assert visible_part("a<think>b") == ("a", True)


# ------------------------------------------------------------------ numbers


def test_the_tolerance_by_hand():
    third = Fraction(1, 3)
    assert numbers_close(third, Fraction(3333, 10_000), None, 4)  # off by exactly 1e-4 of the value
    assert not numbers_close(third, Fraction(333, 1000), None, 3)  # off by 1e-3
    assert not numbers_close(third, Fraction(33334, 100_000), None, 5)  # within 2e-5, but 0.33333 is the rounding
    assert not numbers_close(Fraction(100), Fraction(99_999, 1000), None, 5)  # a whole number is exact
    assert not numbers_close(Fraction(66, 10**35), Fraction(11, 10**35), 2, 2)  # tiny, and six times as much


def test_plain_reading_decides_what_is_plain_and_leaves_the_rest():
    assert read("1\\frac{4}{5}") == Number(Fraction(9, 5), "1\\frac{4}{5}")
    assert isinstance(read("(1,2)"), Ordered) and isinstance(read("1,2"), Several) and isinstance(read("x+1"), Formula)
    assert compare("52_8", "52_9") is False and compare("x+1", "1+x") is None


# ------------------------------------------------------------------ the second witness


def test_both_checkers_side_by_side():
    golds = ["5", "\\frac{1}{2}", "(x+1)^2", "52_8", "0.25"]
    responses = ["\\boxed{5}", "\\boxed{0.5}", "\\boxed{x^2+2x+1}", "\\boxed{52}", "<think>\\boxed{0.25}</think> I do not know."]
    table = disagreement(golds, responses)
    assert list(table["label"]) == ["correct"] * 3 + ["wrong", "no_answer"]
    assert list(table["second_label"]) == ["correct"] * 5
    assert list(table["difference"]) == ["", "", "", "only second accepts", "only second accepts"]
    assert table.attrs["rate"] == pytest.approx(2 / 5)
    by_kind = disagreement_by_kind(table)
    assert by_kind.loc["decimal", "rate"] == 1.0 and by_kind.loc["all", "rows"] == 5


def test_an_empty_report_has_no_rate():
    table = disagreement([], [])
    assert len(table) == 0 and table.attrs["rate"] != table.attrs["rate"]


@pytest.mark.parametrize(
    "gold, kind",
    [
        ("5", "whole number"),
        ("\\frac12", "fraction"),
        ("0.5", "decimal"),
        ("25\\%", "number with unit or percent"),
        ("(C)", "choice"),
        ("\\text{east}", "words"),
        ("1,2", "several values"),
        ("(1,2)", "point or interval"),
        ("x=y+1", "formula"),
        ("x=5", "whole number"),
    ],
)
def test_the_kind_of_a_gold_answer(gold, kind):
    assert answer_kind(gold) == kind


@needs_data
def test_the_checkers_differ_rarely_on_recorded_responses():
    rows = recorded()[:300]
    table = disagreement([row["gold"] for row in rows], [row["response"] for row in rows])
    assert 0.0 < table.attrs["rate"] < 0.06
    assert set(table["difference"]) == {"", "only first accepts", "only second accepts"}


# ------------------------------------------------------------------ steps

REASONING = """First, add the two numbers: 3 + 4 = 7.

Wait, I should check the sign. It is positive. Alternatively, count on fingers.

1. Take three.
2. Add four to the three.

\\[
x = 7

y = 8
\\]

```python
print(3 + 4)

print("done")
```
So the answer is 7."""


def test_a_reasoning_text_is_cut_where_a_reader_would_cut():
    steps = split_steps(REASONING, min_characters=5)
    starts = [step.strip().split("\n")[0][:12] for step in steps]
    assert starts == [
        "First, add t",
        "Wait, I shou",
        "Alternativel",
        "1. Take thre",
        "2. Add four ",
        "\\[",
        "```python",
    ]
    assert "".join(steps) == REASONING


def test_positions_fit_the_text():
    for step in locate_steps(REASONING):
        assert REASONING[step.start : step.end] == step.text


def test_short_pieces_join_their_neighbours():
    assert split_steps("a\n\nb\n\nc", min_characters=20) == ["a\n\nb\n\nc"]
    assert split_steps("a\n\nb\n\nc", min_characters=0) == ["a\n\n", "b\n\n", "c"]
    assert split_steps("") == []
    with pytest.raises(ValueError, match="min_characters must not be negative"):
        split_steps("a", min_characters=-1)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "\n\n",
                "\n",
                "a",
                ". Wait",
                "```",
                "\\[",
                "\\]",
                "$$",
                "1. ",
                "<think>",
                "</think>",
                " ",
                "\\begin{x}",
                "\\end{x}",
                "Step 2",
                "é\u0301",
                "\r\n",
            ]
        ),
        max_size=40,
    ),
    st.integers(0, 30),
)
def test_joining_gives_any_text_back(parts, min_characters):
    text = "".join(parts)
    assert "".join(split_steps(text, min_characters)) == text


@needs_data
def test_joining_gives_recorded_responses_back():
    counts = []
    for row in recorded():
        steps = split_steps(row["response"])
        assert "".join(steps) == row["response"]
        counts.append(len(steps))
    long = [
        count for row, count in zip(recorded(), counts) if len(row["response"]) > 5_000 and "Sky-T1" in row["model"]
    ]
    assert sum(long) / len(long) > 20, "long reasoning falls into many steps"
