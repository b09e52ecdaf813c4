"""Verdicts and step labels of the tiny worlds, by hand, against Python, and on hostile text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.problems import Problem, world_named
from polarity_lib.problems.chain import read_question, write_trace
from polarity_lib.verification.worlds import (
    CHECKERS, MAX_CHARACTERS, Unreadable, check_chain, check_countdown, evaluate, label_steps, verify,
)  # fmt: skip

# ---------------------------------------------------------------- expressions


def test_expressions_by_hand():
    assert evaluate("2+3*4") == 14
    assert evaluate("(2+3)*4") == 20
    assert evaluate("9-5-1") == 3  # from the left
    assert evaluate("2-3*(4-9)") == 17
    assert evaluate("((7))") == 7


trees = st.recursive(
    st.integers(0, 9).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map("".join) | inner.map("({})".format),
    max_leaves=12,
)


@given(trees)
def test_expressions_mean_what_they_mean_in_python(text):
    assert evaluate(text) == eval(text)


@given(st.text(alphabet="0123456789+-*() ", max_size=12))
def test_what_is_read_has_one_digit_per_number_and_no_signs(text):
    try:
        value = evaluate(text)
    except Unreadable:
        return
    # Python agrees once its own extras (12 as one number, -3, blanks) are out of reach.
    assert value == eval(text)
    assert not any(a.isdigit() and b.isdigit() for a, b in zip(text, text[1:]))


@pytest.mark.parametrize("text", ["", "+", "1+", "-1", "12", "1+*2", "(1", "1)", "()", "2(3)", "1 +2", "2**3", "4/2"])
def test_what_is_not_an_expression_is_refused(text):
    with pytest.raises(Unreadable):
        evaluate(text)


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(("text", "label", "reason"), [
    ("5*7-9-2", "correct", "equals 24"),
    ("7*5-(9+2)", "correct", "equals 24"),
    (" 5*7-9-2 ", "correct", "equals 24"),
    ("5*7-9+2", "wrong", "equals 28, not 24"),
    ("5*7-9-1-1", "wrong", "uses the digits 11579"),
    ("5+7+9", "wrong", "uses the digits 579"),
    ("8*3", "wrong", "uses the digits 38"),  # the right value from the wrong digits
    ("24", "no_answer", "not an expression: '4' at position 1"),
    ("5*7-9-2=24", "no_answer", "'=' at position 7"),
    ("", "no_answer", "empty"),
])  # fmt: skip
def test_countdown_by_hand(text, label, reason):
    verdict = check_countdown("2579>24:", text)
    assert verdict.label == label and reason in verdict.reason and verdict.gold == "24"


@pytest.mark.parametrize(("text", "label", "answer"), [
    ("3+5=8;8-2=6#6", "correct", "6"),
    ("#6", "correct", "6"),
    ("#06", "correct", "06"),
    ("3+5=9;9-2=7#6", "correct", "6"),  # the last number decides, steps have their own labels
    ("3+5=8;8-2=6#7", "wrong", "7"),
    ("#6#7", "wrong", "7"),
    ("#-6", "wrong", "-6"),
    ("3+5=8;8-2=6", "no_answer", None),
    ("6", "no_answer", None),
    ("#6;", "no_answer", None),
    ("#", "no_answer", None),
    ("#1e1", "no_answer", None),
])  # fmt: skip
def test_chain_by_hand(text, label, answer):
    verdict = check_chain("3+5-2:", text)
    assert (verdict.label, verdict.answer, verdict.gold) == (label, answer, "6")


def test_a_response_that_was_cut_off_is_truncated_whatever_stands_in_it():
    problem = Problem("countdown4", "2579>24:", "24", "countdown:2579>24", 4)
    cut, whole = verify([problem] * 2, ["5*7-9-2"] * 2, [False, True])
    assert (cut.label, whole.label) == ("truncated", "correct")
    assert not cut.is_correct and cut.gold == "24"
    with pytest.raises(ValueError):
        verify([problem], ["1", "2"], [True])


# ---------------------------------------------------------------- hostile text

HOSTILE = {
    "deep parentheses": "(" * 100_000 + "1" + ")" * 100_000,
    "unclosed": "(" * 390 + "1",
    "nested within the limit": "(" * 199 + "1" + ")" * 199,
    "a megabyte of digits": "9" * 1_000_000,
    "a megabyte after the mark": "#" + "9" * 1_000_000,
    "marks": "#" * 1_000_000,
    "steps": "1+1=2;" * 200_000 + "#2",
    "steps without an end": "1+1=2;" * 200_000,
    "a power tower": "9**9**9**9",
    "products": "*".join("9" * 200),
    "arabic digits": "٢+٣*٤",
    "superscripts": "²+³",
    "fullwidth": "#６",
    "code": "__import__('os').system('false')",
    "null bytes": "\x00" * 300,
    "surrogate": "\ud800#7",
    "newlines": "\n" * 400 + "#6",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(("family", "prompt"), [("countdown", "2579>24:"), ("chain", "3+5-2:")])
def test_hostile_text_gets_a_verdict_at_once(family, prompt, text):
    began = time.process_time()
    assert CHECKERS[family](prompt, text).label in ("wrong", "no_answer")
    label_steps("3+5-2:", text)
    assert time.process_time() - began < 0.5


@given(st.text(max_size=500))
def test_no_text_raises(text):
    for world, prompt in (("countdown3", "123>6:"), ("chain", "3+5-2:")):
        assert world_named(world).family in CHECKERS
        assert not CHECKERS[world_named(world).family](prompt, text + "=").is_correct
    label_steps("3+5-2:", text)


# ---------------------------------------------------------------- step labels


@pytest.mark.parametrize(("text", "labels"), [
    ("3+5=8;8-2=6#6", ["right", "right"]),
    ("3+5=9;9-2=7#7", ["wrong", "follows"]),  # sound work on an inherited error
    ("3+5=9;8-2=6#6", ["wrong", "right"]),  # jumps back to the truth without saying so
    ("3+5=8;8-2=5#5", ["right", "wrong"]),
    ("3+5=9;9-2=6#6", ["wrong", "wrong"]),  # two errors that happen to cancel
    ("3+5=9?3+5=8;8-2=6#6", ["wrong", "repaired", "right"]),
    ("3+5=8?3+5=8;8-2=6#6", ["right", "right", "right"]),
    ("3+5=8?3+5=9;9-2=7#7", ["right", "wrong", "follows"]),  # a re-check that spoils it
    ("3+5=9;9-2=7?8-2=6#6", ["wrong", "follows", "repaired"]),
    ("3+5=8;8-2=6;6+1=7#7", ["right", "right", "wrong"]),  # nobody asked for a third line
    ("3+4=7;8-2=6#6", ["wrong", "right"]),  # another operand than the question's
    ("3plus5;8-2=6#6", ["wrong", "wrong"]),  # an unread line does not count as an operation
    ("?3+5=8;8-2=6#6", ["right", "right"]),  # nothing to re-check yet
    ("#6", []),
    ("", []),
    # Cut off, or ended without the final mark: lines keep their labels, and one that was not finished is none that is right.
    ("3+5=8;8-2=6", ["right", "right"]),
    ("3+5=8;8-2=6;", ["right", "right"]),
    ("3+5=8;8-2=", ["right", "wrong"]),
    ("3+5=8;8-", ["right", "wrong"]),
    ("3+5=9;9-2=7", ["wrong", "follows"]),
    ("3+5=8?3+5=", ["right", "wrong"]),
    ("3+5=9?3+5=8", ["wrong", "repaired"]),
    ("6", ["wrong"]),
])  # fmt: skip
def test_step_labels_by_hand(text, labels):
    assert [label for _, label in label_steps("3+5-2:", text)] == labels


def test_the_line_that_a_cut_left_unfinished_is_not_right():
    assert label_steps("3+5-2+7:", "3+5=8;8-2=6;6+") == [("3+5=8", "right"), ("8-2=6", "right"), ("6+", "wrong")]
    assert label_steps("9+8:", "9+8=1") == [("9+8=1", "wrong")]  # of 17


def test_our_own_limit_of_characters_cuts_no_line_in_two():
    """Where the labels end, the beginning of `5-4=12` does not count as the line `5-4=1`."""
    head = "?".join(["5-4=1"] * 65) + ";" * 5
    text = head + "?5-4=12"
    assert text[:MAX_CHARACTERS] == head + "?5-4=1"
    for end in ("", "#1", ";" * 50 + "#1"):
        assert label_steps("5-4:", text + end) == [("5-4=1", "right")] * 65, end


def test_labelled_lines_are_the_lines_of_the_response():
    assert label_steps("3+5-2:", "3+5=9?3+5=8;8-2=6#6") == [
        ("3+5=9", "wrong"), ("3+5=8", "repaired"), ("8-2=6", "right")]  # fmt: skip


@pytest.mark.parametrize(("style", "lines"), [("worked", 1), ("checked", 2)])
def test_traces_of_the_corpus_are_right_line_by_line(style, lines):
    for problem in world_named("chain").draw("train", 40, 0):
        trace = write_trace(read_question(problem.prompt), style)
        assert [label for _, label in label_steps(problem.prompt, trace)] == ["right"] * problem.level * lines
