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
    assert "\n".join(str(pair) for pair in accepted if found[pair] != "correct") == ""
    assert "\n".join(str(pair) for pair in refused if found[pair] == "correct") == ""


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


def test_who_names_several_choices_has_chosen_none(verifier):
    accepted = [
        ("A", "\\text{(A)}"), ("A", "(A)"), ("A", "A"), ("A", "\\textbf{(A) }12"), ("A", "A."), ("A", "(A)\\ 12"),
        ("\\text{(A)}", "\\mathrm{A}"), ("E", "\\text{E} 12"), ("(C)", "(C) x=2 and y=3"), ("C", "\\text{C: } x \\text{ or } y"),
        ("12", "(C) 12"), ("A,C", "A and C"), ("A, C", "\\text{C, A}"), ("B", "(B) 3 \\text{ or } 4"),
    ]  # fmt: skip
    refused = [
        ("A", "\\text{(A) or (B)}"), ("A", "(A) or (B)"), ("A", "A or B"), ("A", "\\text{A or B}"), ("A", "A, B"), ("A", "A/B"),
        ("A", "(A)(B)"), ("A", "(A), (B)"), ("A", "A and B"), ("A", "\\text{A} \\text{ or } \\text{B}"), ("A", "(A) not (B)"),
        ("A", "(A) is wrong"), ("A", "(A) is not correct"), ("A", "not A"), ("A", "\\text{not (A)}"), ("A", "A. B."),
        ("A", "A: B: C"), ("A", "(A) / (B) / (C)"), ("A", "(A) or maybe (B)"), ("B", "(A) or (B)"), ("A", "A|B"),
        ("A", "\\text{A} \\text{B}"), ("A", "\\text{A} or (B)"), ("A", "\\text{(A)}\\text{(B)}"), ("A", "either A or B"),
        ("A", "\\text{(A) but (B) is possible}"), ("A", "(A) to (C)"), ("A", "A B C D E"), ("A", "ABCDE"), ("A", "\\text{(A)?(B)?}"),
        ("A", "(A) isn't right"), ("5", "\\text{E} 5 = 7"), ("A", "(A)\\text{ or }B"), ("A", "A) B) C)"), ("A", "(B) (A)"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))


JOINED = [
    "\\boxed{1} \\quad \\text{or} \\quad \\boxed{2}", "$\\boxed{1}$ or $\\boxed{2}$", "\\boxed{1}, \\boxed{2}",
    "\\boxed{1} \\text{ and } \\boxed{2}", "\\boxed{1}\\quad\\boxed{2}", "$x = \\boxed{1}$ and $y = \\boxed{2}$",
    "\\boxed{1}\\ \\text{or possibly}\\ \\boxed{2}", "\\(\\boxed{1}\\), or maybe \\(\\boxed{2}\\)", "\\boxed{1} \\boxed{2}",
    "either \\boxed{1} or else \\boxed{2}", "\\boxed{1} / \\boxed{2}", "\\[\\boxed{1}\\]\nor\n\\[\\boxed{2}\\]",
    "\\boxed{1} \\lor \\boxed{2}", "$\\boxed{1}$; $\\boxed{2}$", "\\boxed{1} \\mathrm{~or~} \\boxed{2}",
]  # fmt: skip


def test_joined_boxes_are_one_answer_with_several_values(verifier):
    accepted = [("1, 2", text) for text in JOINED] + [
        ("2", "\\boxed{1} is what I thought, but it is \\boxed{2}"), ("2", "\\boxed{2} and \\boxed{2}"),
        ("2", "First part: $\\boxed{1}$.\n\nNow the second part is $\\boxed{2}$"), ("2", "It is \\boxed{2}, not \\boxed{3}."),
    ]  # fmt: skip
    refused = [(gold, text) for gold in ("1", "2") for text in JOINED] + [
        ("3", "It is \\boxed{2}, not \\boxed{3}."), ("3", "The answer is not \\boxed{3}."), ("3", "It can't be $\\boxed{3}$"),
        ("3", "neither \\boxed{2} nor \\boxed{3}"),
    ]  # fmt: skip
    expect(verifier, accepted, refused)


def test_prose_around_one_value_yields_the_value(verifier):
    accepted = [
        ("-3.5", "The result is -3.5"), ("9", "Answer $9$"), ("12", "We get 12"), ("12", "We get 12."), ("12", "It costs $12"),
        ("\\frac{3}{4}", "The result is \\frac{3}{4}"), ("\\frac{3}{4}", "So we have $x = \\frac{3}{4}$."), ("12", "12 apples"),
        ("2/3", "The probability is 2/3"), ("5000000", "There are 5 million people"), ("60", "Tom bought 5 dozen eggs."),
        ("3\\sqrt{2}", "The length is 3\\sqrt{2}"), ("5", "Solution: 5"), ("x=5", "We find x = 5"), ("8", "Result 8"),
        ("12", "Tom has 12 apples left"), ("-2", "Therefore -2"), ("5", "5"), ("x+1", "x+1"), ("C", "Answer: C"), ("5", "= 5"),
    ]  # fmt: skip
    refused = [
        ("5", "There are 5 million people"), ("12", "We get 12x"), ("12", "We get 12x."), ("5", "The result is not 5"),
        ("5", "It is 5 or 6"), ("6", "It is 5 or 6"), ("5", "The answer is not 5"), ("5", "The answer is not 5."),
        ("5", "The result is not $5$."), ("5", "Is it 5?"), ("2", "We get 2^5"), ("5", "We get 2^5"), ("5", "We get 2^5."),
        ("5", "The result isn't 5"), ("2", "The answer is 2 pi"), ("5", "It is between 5 and 7"), ("5", "more than 5"),
        ("5", "5 is wrong"), ("5", "The answer is at least 5"), ("5", "I don't know, 5"), ("5", "3 and 5"), ("5", "Tom bought 5 dozen."),
        ("5", "There are 5 million people."), ("5", "We get -5"), ("5", "It is 1/5"), ("5", "It is 1/5."), ("5", "We get x5"),
        ("5", "We get 3 + 5"), ("5", "We get 3*5"), ("5", "We get 3 \\cdot 5"), ("3", "x > 3"), ("3", "The result: x > 3"),
        ("5", "We get \\sqrt{5}"), ("5", "We get \\sqrt 5."), ("5", "We get $\\sqrt 5$"), ("5", "The result is 5!"), ("5", "The answer is 5 million."),
        ("5", "The answer is 5 or 7."), ("5", "The answer is probably not 5"), ("5", "The answer isn't 5"), ("5", "The answer cannot be 5"),
    ]  # fmt: skip
    expect(verifier, accepted, refused)
