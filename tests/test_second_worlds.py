"""Two checkers that share no code agree on real answers, and each difference would be counted."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarity_lib.verification.second_worlds import second_chain, second_countdown, world_disagreement
from polarity_lib.verification.worlds import check_chain, check_countdown


@pytest.mark.parametrize("text, right", [
    ("5*7-9-2", True), ("(5*7)-(9+2)", True), ("7*5-2-9", True), ("24", False), ("5*7-9", False),
    ("5**7", False), ("__import__('os')", False), ("", False), ("5*7-9-2)", False), ("-2+5*7-9", False),
])
def test_countdown_by_hand(text, right):
    assert second_countdown("2579>24:", text) is right
    assert check_countdown("2579>24:", text).is_correct is right


@pytest.mark.parametrize("prompt, text, right", [
    ("3+5-2:", "3+5=8;8-2=6#6", True), ("3+5-2:", "#6", True), ("3+5-2:", "#7", False),
    ("3+5-2:", "6", False), ("3+5[9-4]-2:", "#6", True), ("3 + 5 - 2:", "#6", True), ("3+5-2:", "#6#", False),
])
def test_chain_by_hand(prompt, text, right):
    assert second_chain(prompt, text) is right
    assert check_chain(prompt, text).is_correct is right


@given(st.text("0123456789+-*()", max_size=12))
def test_they_agree_on_whatever_a_policy_could_write(text):
    # Python reads 007 as an error and 0012 too; so does the first checker, digit by digit.
    assert second_countdown("129>18:", text) == check_countdown("129>18:", text).is_correct


@given(st.text("0123456789+-=;#?[] ", max_size=24))
def test_they_agree_on_chains(text):
    assert second_chain("3+5-2:", text) == check_chain("3+5-2:", text).is_correct


def test_a_difference_is_counted():
    rows = pd.DataFrame({"prompt": ["129>18:"] * 4, "response": ["1*2*9", "1*2*9", "9", "("],
                         "label": ["correct", "wrong", "wrong", "truncated"]})
    assert world_disagreement("countdown3", rows) == pytest.approx(1 / 3)  # the second row; the last is left out
