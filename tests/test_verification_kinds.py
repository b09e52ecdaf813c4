r"""Kinds of answers that a checker reads wrongly, each kind whole: right texts are accepted, wrong ones never.

A row is (gold, answer): the answer stands in a box, unless the kind is about the text around it.
"""

import pytest

from polarity_lib.verification.mathematics import MathVerifier


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(timeout_s=4.0, workers=1) as shared:
        yield shared


def labels(verifier, pairs):
    return {pair: v.label for pair, v in zip(pairs, verifier.verify(*zip(*pairs)))}


def boxed(pairs):
    return [(gold, f"So it is $\\boxed{{{answer}}}$.") for gold, answer in pairs]


def expect(verifier, accepted, refused):
    """Every pair of `accepted` is correct and none of `refused` is; the message lists the ones that are not so."""
    found = labels(verifier, [*accepted, *refused])
    assert [pair for pair in accepted if found[pair] != "correct"] == []
    assert [pair for pair in refused if found[pair] == "correct"] == []


def test_a_power_is_no_unit(verifier):
    accepted = [
        ("2^3", "8"), ("8", "2^3"), ("25", "5^2"), ("32", "2^{5}"), ("-9", "-3^2"), ("9", "(-3)^2"), ("1/8", "2^{-3}"),
        ("5", "5\\text{ cm}^2"), ("5", "5 \\text{ m}^{3}"), ("\\frac{4}{9}", "(\\frac{2}{3})^2"), ("81", "3^4"),
        ("5\\text{ cm}^2", "5\\text{ square centimeters}"), ("1024", "2^{10}"),
    ]  # fmt: skip
    refused = [
        ("2^3", "2"), ("5", "5^2"), ("3", "3^{-1}"), ("2^3", "6"), ("2", "2 ^ 2"), ("7", "7^{0}"), ("5", "5^{2}\\text{ cm}"),
        ("5", "5(^2)"), ("1.5", "1.5^2"), ("\\frac{1}{2}", "\\frac{1}{2}^2"), ("5\\text{ cm}^2", "5\\text{ cm}^3"),
        ("5\\text{ cm}^2", "5\\text{ cm}"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))


def test_only_a_unit_is_a_unit(verifier):
    accepted = [
        ("5", "5\\text{ apples}"), ("5", "5 people"), ("5", "5\\text{ m/s}"), ("5", "5\\text{ m/s}^2"), ("5", "5 cm"),
        ("5", "5\\mathrm{~kg}"), ("5000000", "5\\text{ million}"), ("5\\text{ million}", "5000000"), ("60", "5 dozen"),
        ("2500000", "2.5 \\text{ million dollars}"), ("5", "\\$5"), ("5", "5\\text{ dollars per hour}"),
        ("5\\text{ million}", "5\\text{ million}"), ("2\\pi", "2\\pi\\text{ cm}"), ("90", "90^\\circ"), ("5", "5\\%"),
        ("12", "12\\text{ square units}"), ("5 \\text{ thousand}", "5,000"), ("3", "3\\text{ degrees Celsius}"),
        ("5", "5\\text{ cubic feet}"), ("10", "10 \\text{ different ways}"), ("5", "5\\text{ ft.}"), ("5", "5\\text{ hours}"),
    ]  # fmt: skip
    refused = [
        ("5", "5 \\text{ million}"), ("2", "2\\text{ pi}"), ("2", "2 pi"), ("3", "3\\text{ or more}"), ("5", "5 dozen"),
        ("5", "5\\text{ not}"), ("5", "5\\text{ maybe}"), ("5", "5 minus"), ("5", "5\\text{ times pi}"), ("5", "5 sin"),
        ("5", "5\\text{ x}"), ("5", "5\\text{ is wrong}"), ("5", "5\\text{ at least}"), ("5", "5 theta"), ("5", "5 sqrt"),
        ("5", "5\\text{ half}"), ("5", "5 halves"), ("5", "5\\text{ squared pi}"), ("5", "5\\text{ plus three}"),
        ("5", "5\\text{ to }7"), ("5", "5\\text{ if x is positive}"), ("5", "5m"), ("5", "5\\text{ hundredths}"),
        ("5", "5\\text{ unless}"), ("5", "5\\text{ is no solution}"), ("5", "5\\text{ thousand}"), ("5", "5k"),
        ("5", "5 \\text{ or 6}"), ("5", "5 log"), ("5", "5\\text{ mod 7}"), ("5", "5 infinity"), ("5", "5\\text{ k}"),
        ("\\sqrt{2}", "\\sqrt{2}\\text{ million}"), ("\\sqrt{2}", "\\sqrt{2}\\text{ or more}"), ("\\sqrt{2}", "\\sqrt{2}\\text{ pi}"),
        ("5\\text{ million}", "5"), ("5\\text{ cm}", "5\\text{ m}"), ("5", "5\\text{ hundred dollars}"), ("5", "5 \\text{ or } 6"),
        ("2", "2\\text{ factorial}"), ("5", "5\\text{ percent of }20"), ("x", "x\\text{ squared}"), ("x", "x\\text{ cubed}"),
        ("\\sqrt{2}", "\\sqrt{2}\\text{ squared}"), ("2", "2\\text{ squared}"), ("2", "2 cubed"), ("5", "5\\text{ square}"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))
