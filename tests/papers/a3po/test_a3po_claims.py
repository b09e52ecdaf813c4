"""Claims of A3PO with rules of their own, on numbers where the verdict is plain to see; and what they quote."""

import pytest
from made_up_runs import check_quoted, curves

from polarity_lib.claims import judge
from polarity_lib.experiments import Runs
from polarity_lib.papers.a3po.experiments import BASELINES

# What a claim quotes from its paper, and the cells of data/papers.csv it is the difference of.
SOURCES = [("A3PO-C13", f"above {m}, chain", "Table 2", "a3po", m, ["Qwen2.5-7B-Math", "Qwen3-8B-Base", "R1-Distill-Qwen-7B"])
            for m in BASELINES]


def cells_of_tokens(flipped: tuple[str, ...] = ()) -> Runs:
    """Entropy 20 % up or down as A3PO-C10 predicts, three seeds; the arms of `flipped` go the other way."""
    arms = {"none": [[1.0]] * 3}
    for prefix, raising, scales in (("", ("right_low", "wrong_high"), (0.2, 0.5, 2.0, 5.0)),
                                    ("entropy/", ("right_high", "wrong_low"), (0.2, 5.0))):
        for cell in ("right_low", "right_high", "wrong_low", "wrong_high"):
            for scale in scales:
                arm = f"{prefix}{cell}x{scale:g}"
                up = ((cell in raising) == (scale > 1)) != (arm in flipped)
                arms[arm] = [[1 + (0.2 if up else -0.2) + noise] for noise in (-0.01, 0, 0.01)]
    return curves(arms, "validation/entropy")


def test_signs_are_counted_and_one_that_is_significantly_wrong_is_too_many():
    by_probability, by_entropy, whole = judge("A3PO-C10", cells_of_tokens()).to_dict("records")
    assert (by_probability["verdict"], by_probability["ours"]) == ("replicated", 16)
    assert (by_entropy["verdict"], by_entropy["ours"], whole["verdict"]) == ("replicated", 8, "replicated")
    one_off = judge("A3PO-C10", cells_of_tokens(("right_lowx2",))).iloc[0]
    assert one_off.verdict == "inconclusive" and "significantly opposite: right_low x2;" in one_off.reason
    most = tuple(f"{cell}x{scale}" for cell in ("right_low", "right_high", "wrong_low") for scale in ("0.2", "0.5", "5"))
    assert judge("A3PO-C10", cells_of_tokens(most)).iloc[0].verdict == "differs here"


def test_the_named_cells_are_compared_at_their_weaker_and_the_others_at_their_stronger():
    arms = {"none": [1.0, 1.0, 1.0], "right_lowx5": [1.5, 1.6, 1.5], "wrong_highx5": [1.4, 1.4, 1.6],
            "right_highx5": [0.9, 0.9, 0.9], "wrong_lowx5": [1.1, 1.0, 0.8]}
    runs = curves({arm: [[v] for v in values] for arm, values in arms.items()}, "validation/entropy")
    found = judge("A3PO-C11", runs).iloc[0]
    assert found.ours == pytest.approx((30 + 40 + 60) / 3) and found.verdict == "replicated"


@pytest.mark.parametrize("claim, subtest, table, left, right, columns", SOURCES)
def test_quoted_differences_are_those_of_the_papers_tables(claim, subtest, table, left, right, columns):
    check_quoted(claim, subtest, table, left, right, columns)
