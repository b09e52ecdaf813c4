# ruff: noqa: E501 (tables of texts)
r"""Kinds of answers that a checker reads wrongly, each kind whole: right texts are accepted, wrong ones never.

A row is (gold, answer): the answer stands in a box, unless the kind is about the text around it.
"""

import re
from pathlib import Path

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
        ("5", "5(^2)"), ("1.5", "1.5^2"), ("500", "510^2"), ("\\frac{1}{2}", "\\frac{1}{2}^2"), ("5\\text{ cm}^2", "5\\text{ cm}^3"),
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


def test_the_sides_of_an_equation_must_be_equal(verifier):
    accepted = [
        ("5", "3+2=5"), ("5", "2+3=4+1=5"), ("5", "x=3+2=5"), ("5", "5=x"), ("x=5", "5=x"), ("5", "5 = 5"),
        ("9\\pi", "A = \\pi r^2 = 9\\pi"), ("1/2", "\\frac{2}{4} = \\frac{1}{2}"), ("2x+1", "f(x) = 2x+1"), ("2x+1", "y = 2x + 1"),
        ("x^2+2x+1", "f(x) = (x+1)^2 = x^2+2x+1"), ("\\sqrt{8}", "\\sqrt{8} = 2\\sqrt{2}"), ("12/7", "12/7 \\approx 1.714"),
        ("1.71", "12/7 = 1.71"), ("6", "3! = 6"), ("x=5", "x=2+3=5"), ("5 = 2x", "2x = 5"),
    ]  # fmt: skip
    refused = [
        ("5", "7=5"), ("5", "5=7"), ("7", "5=7"), ("5", "3+3=5"), ("5", "7 = x = 5"), ("5", "x = 7 = 5"), ("7", "x=7=5"),
        ("2x+1", "0 = 2x+1"), ("x", "5 = x = 7"), ("2x+1", "7=2x+1"), ("5", "y=7=5"), ("y=5", "5=x"), ("5", "\\frac{1}{2} = 5"),
        ("5", "\\pi = 5"), ("5", "\\sqrt{2} = 5"), ("5", "6 = 6 = 5"), ("5", "5 \\approx 7"), ("5", "1=2=3=4=5"), ("5", "5 = 6 = x"),
        ("x^2", "f(x) = x^3 = x^2"), ("5", "4 < 5"), ("5", "x \\ne 5"), ("5", "5 \\text{ cm} = 7"), ("5", "7, 7=5"), ("1/3", "0.3 = 1/3"),
        ("5", "2x+1=5"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))


def test_plain_notation_is_read(verifier):
    accepted = [
        ("1/3", "0.\\overline{3}"), ("\\frac{1}{6}", "0.1\\overline{6}"), ("0.\\overline{12}", "4/33"), ("1/3", "0.(3)"), ("1/3", "0.\\dot{3}"),
        ("\\frac{\\sqrt{3}}{2}", "\\sin 60^\\circ"), ("\\sin 60^\\circ", "\\cos 30^\\circ"), ("1/2", "\\sin(30^\\circ)"), ("1", "\\tan{45^\\circ}"),
        ("\\emptyset", "\\varnothing"), ("\\emptyset", "\\{\\}"), ("\\{x \\mid x>3\\}", "(3,\\infty)"), ("(3,\\infty)", "x>3"),
        ("(3,\\infty)", "3<x"), ("x>3", "3<x"), ("(-\\infty,-1)\\cup(4,\\infty)", "x<-1 \\text{ or } x>4"), ("x<-1 \\text{ or } x>4", "x>4 \\text{ or } x<-1"),
        ("[-2,5]", "-2 \\le x \\le 5"), ("[-2,5)", "5 > x \\geq -2"), ("[-2,5]", "\\{x \\in \\mathbb{R} : -2 \\leq x \\leq 5\\}"), ("x \\le 3", "(-\\infty, 3]"),
        ("10", "\\binom52"), ("10", "C(5,2)"), ("10", "\\binom{5}{2}"), ("\\binom{5}{3}", "\\binom{5}{2}"), ("5", "5,"), ("1,2", "1,2,"), ("10", "\\dbinom{5}{2}"),
        ("\\log_2 3", "\\log_2 3"), ("\\log_2 3", "\\frac{\\log 3}{\\log 2}"), ("15552", "2^6 3^5"), ("2^6 3^5", "2^6 \\cdot 3^5"), ("1 000", "1000"), ("3", "\\log_2 8"),
        ("1000000", "1 000 000"), ("x>3", "x \\in (3,\\infty)"), ("10", "{}_5C_2"), ("2\\lambda", "2λ"), ("260100", "510^2"), ("x<-1 \\text{ or } x>4", "(-\\infty,-1)\\cup(4,\\infty)"),
    ]  # fmt: skip
    refused = [
        ("1/3", "0.\\overline{31}"), ("0.3", "0.\\overline{3}"), ("3/10", "0.(3)"), ("\\sin 60", "\\sin 60^\\circ"), ("60", "\\sin 60^\\circ"), ("\\frac{1}{2}", "\\sin 60^\\circ"),
        ("\\emptyset", "\\{0\\}"), ("0", "\\emptyset"), ("(3,\\infty)", "x<3"), ("(3,\\infty)", "x \\ge 3"), ("[3,\\infty)", "x>3"), ("x>3", "y>3"), ("x>3", "x>4"),
        ("(-\\infty,-1)\\cup(4,\\infty)", "x<-1 \\text{ and } x>4"), ("(-\\infty,-1)\\cup(4,\\infty)", "x<-1"), ("[-2,5]", "-2<x \\le 5"), ("[-2,5]", "-2 \\le x < 5"),
        ("10", "\\binom{5}{1}"), ("(5,2)", "C(5,2)"), ("52", "\\binom52"), ("10", "C(5,3)+1"), ("12", "1 2"), ("1000", "1 0 0 0"), ("1000", "1 00"), ("52", "52_8"),
        ("\\log_2 3", "\\log_3 2"), ("\\log_2 3", "\\log 23"), ("15552", "2^{63}5"), ("3", "x>3"), ("3", "x \\ge 3"), ("(3,\\infty)", "3"), ("23", "2 3"), ("2^{63}", "2^6 3"),
        ("52_8", "42"), ("1,2", "1,2,3"), ("1000", "10 00"), ("100", "1 000"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))


def test_the_answer_is_taken_from_a_gold_that_is_a_solution(verifier):
    solution = "We add 2 and 3 to get 5, so the value of $x$ is $\\boxed{5}$."
    accepted = [
        ("\\(\\boxed{\\text{C}}\\).", "\\boxed{C}"), (solution, "\\boxed{5}"), ("$\\boxed{\\frac12}$", "\\boxed{0.5}"), ("$5$", "\\boxed{5}"),
        ("\\[5\\]", "\\boxed{5}"), ("Tom has 3.\n#### 12", "\\boxed{12}"), ("The answer is $5$.", "\\boxed{5}"), ("$5$.", "5"), ("\\(x=5\\)", "\\boxed{5}"),
    ]  # fmt: skip
    refused = [
        (solution, "\\boxed{2}"),
        (solution, "\\boxed{3}"),
        (solution, "\\boxed{x}"),
        ("\\(\\boxed{\\text{C}}\\).", "\\boxed{A}"),
        ("\\boxed{1} or \\boxed{2}", "\\boxed{2}"),
    ]
    expect(verifier, accepted, refused)


def test_texts_that_try_to_pass(verifier):
    """Short wrong texts written by someone who knows the code; every one that was once accepted stays here."""
    refused = boxed([
        ("5", "5\\cdot"), ("5", "5/"), ("5", "5\\ldots"), ("5", "5..."), ("5", "5\\text{ eighteenths}"), ("5", "5\\text{ nths}"), ("5", "5\\text{ logs}"),
        ("5", "5\\text{ factorials}"), ("5", "5\\text{ negatives}"), ("5", "5\\text{ basis points}"), ("5", "5\\text{ answers wrongness}"),
        ("5", "5 \\pm 1"), ("5", "\\{5,6\\}"), ("5", "5\\quad 6"), ("5", "5{}6"), ("5", "5\\text{6}"), ("5", "5\\text{ 6}"), ("5", "5-6"), ("5", "5 | 6"),
        ("5", "6 \\Rightarrow 5"), ("5", "5\\to 6"), ("5", "\\ne 5"), ("5", "\\approx 6"), ("5", "x \\ne 5"), ("5", "5\\sim 6"), ("5", "4.9999999"),
        ("5", "(5,5)"), ("5", "5,5,6"), ("5", "\\overline{5}"), ("5", "5^\\circ \\text{ or } 6^\\circ"), ("5", "5 \\vee 6"), ("5", "\\text{five or six}"),
        ("\\frac{1}{2}", "\\frac{2}{1}"), ("\\frac{1}{2}", "0.49999"), ("x+1", "X+1"), ("x+1", "x+1=0"), ("x+1", "x+1>0"), ("x+1", "x+1 = x+2"), ("(1,2)", "(y,x)=(1,2)"),
        ("(1,2)", "1,2"), ("(1,2)", "(1.2)"), ("2\\sqrt{3}", "\\pm2\\sqrt{3}"), ("2\\sqrt{3}", "2\\sqrt[3]{3}"), ("90^\\circ", "\\pi/2"), ("90^\\circ", "90\\pi"),
    ]) + [
        ("5", "\\boxed{6 \\boxed{5}}"), ("5", "\\boxed{5 \\boxed{6}}"), ("5", "- \\boxed{6}\n- \\boxed{5}"), ("5", "1. \\boxed{6} 2. \\boxed{5}"), ("5", "$x \\ne \\boxed{5}$"),
        ("5", "\\boxed{5} is wrong"), ("5", "$\\boxed{5}$ is not the answer."), ("5", "\\boxed{6}+\\boxed{5}"), ("5", "\\boxed{6} (\\boxed{5})"), ("5", "<answer>5 or 6</answer>"),
        ("5", "#### 5 or 6"), ("A", "A B"), ("A", "A? No, B."), ("A", "All of A"), ("5", "The answer is 5 (or 6)."), ("5", "5 6"), ("5", "either 5 or 6"),
        ("5", "\\boxed{5}, where the answer could also be \\boxed{6}"),
    ]  # fmt: skip
    accepted = [("5", "\\boxed{\\boxed{5}}"), ("(1,2)", "\\boxed{(x,y)=(1,2)}"), ("5", "\\boxed{5}. It is not difficult.")]
    expect(verifier, accepted, refused)


def test_what_stands_at_a_box_is_read_with_it(verifier):
    refused = [
        ("5", text) for text in (
            "-\\boxed{5}", "-$\\boxed{5}$", "-\u200b\\boxed{5}", "$x = -\\boxed{5}$", "minus \\boxed{5}", "negative $\\boxed{5}$", "$\\pm\\boxed{5}$", "-<answer>5</answer>", "\\boxed{5} million",
            "\\boxed{5} dozen", "$\\boxed{5}$ million", "$\\boxed{5}\\text{ million}$", "<answer>5</answer> million", "The answer is \\boxed{5} thousand dollars.", "x > \\boxed{5}",
            "$x \\le \\boxed{5}$", "$\\boxed{5} < x$", "$2\\boxed{5}$", "2\\boxed{5}", "1\\boxed{5}", "\\boxed{5}00", "\\boxed{5}.5", "$x = 2 \\cdot \\boxed{5}$", "$1/\\boxed{5}$",
            "3 + \\boxed{5}", "\\boxed{5} + 3", "$\\boxed{5} \\times 10^3$", "\\boxed{5}^2", "$\\boxed{5}!$", "\\boxed{5} squared", "$\\boxed{5}\\pi$", "$$\\boxed{5}\\sqrt{2}$$",
            "\\sqrt{\\boxed{5}}", "\\frac{1}{\\boxed{5}}", "$\\frac{\\boxed{5}}{2}$", "\\boxed{5} or 6", "$\\boxed{5}$, or 6.", "\\boxed{5}. Or 6.", "\\boxed{5} or more", "$\\boxed{5} \\text{ or more}$",
            "$x = -\\,\\boxed{5}$", "$2\\,\\boxed{5}$", "$-\\left(\\boxed{5}\\right)$", "$\\boxed{5}\\,\\pi$", "$\\boxed{5}\\;\\text{million}$", "$\\boxed{5}\\quad\\text{million}$",
            "Is it \\boxed{5}?", "It is \\boxed{5}? No, it is 6.", "\\boxed{5} Wait, I made a mistake. The answer is 6.", "\\boxed{5}. Hmm, it should be 6.",
        )
    ] + [("A", "\\boxed{A} or B"), ("A", "$\\boxed{A}$. Or maybe (B)."), ("5", "\\boxed{6}+\\boxed{5}"), ("25", "$2\\boxed{5}$"), ("500", "\\boxed{5}00")]  # fmt: skip
    accepted = [
        ("5", text) for text in (
            "$x = 3+2 = \\boxed{5}$", "Total: $2 + 3 = \\boxed{5}$ dollars", "\\boxed{5} apples", "so $x \\Rightarrow \\boxed{5}$", "the answer is - \\boxed{5}", "- \\boxed{5}",
            "**Answer**: \\boxed{5}!", "The value of x is \\boxed{5}, or five.", "1. First step\n2. \\boxed{5}", "Problem 2 \\boxed{5}", "(a) \\boxed{5}", "$\\text{Area} = \\boxed{5}$",
            "$\\therefore \\boxed{5}$", "\\textbf{\\boxed{5}}", "\\[ x \\equiv \\boxed{5} \\pmod{7} \\]", "$\\approx \\boxed{5}$", "\\boxed{5} or 5.0", "so $\\boxed{5}$ and $x$ is", "The cost is at least \\boxed{5}",
            "> \\boxed{5}", "+ \\boxed{5}", "* \\boxed{5}", "Step 3: $\\boxed{5}$", "$$\n\\boxed{5}\n$$", "\\begin{align} x &= \\boxed{5} \\end{align}", "$\\left(\\boxed{5}\\right)$", "{\\boxed{5}}",
        )
    ] + [
        ("x>5", "$x > \\boxed{5}$"), ("(-\\infty,5)", "$x < \\boxed{5}$"), ("-5", "-\\boxed{5}"), ("-5", "$-\\,\\boxed{5}$"), ("0.05", "\\boxed{5} percent"), ("0.05", "\\boxed{5}\\%"), ("5000000", "\\boxed{5} million"),
        ("25", "\\boxed{5}^2"), ("1/5", "\\frac{1}{\\boxed{5}}"), ("\\sqrt{5}", "$\\sqrt{\\boxed{5}}$"), ("1/2", "\\boxed{\\frac12} or 0.5"), ("90^\\circ", "$\\boxed{90}^\\circ$"), ("6", "It is \\boxed{5}? No, it is 6."),
    ]  # fmt: skip
    expect(verifier, accepted, refused)


def test_a_sentence_with_a_second_value_or_a_condition_has_none(verifier):
    refused = [
        ("A", "The answer is A. Or B."), ("5", "The answer is 5. Or 6."), ("5", "The answer is 5. Or maybe 6?"), ("5", "The answer is 5. No, 6."), ("5", "The answer is 5 if x > 0, otherwise 6."),
        ("5", "The answer is 5, but it could also be 6."), ("5", "The answer is $5$ million."), ("5", "The answer is -$5$."), ("5", "It is 5 and a half."), ("5", "The answer is $5$ or $6$."),
        ("5", "half of 5"), ("5", "twice 5"), ("5", "5 doubled"), ("5", "The square of 5"), ("5", "minus 5"), ("5", "negative 5"),
    ]  # fmt: skip
    accepted = [
        ("5", "The answer is 5. It is a prime."), ("D", "The answer is D, it can't be A or B"), ("5", "The answer is 5, since 2 + 3 = 5."), ("5", "The answer is 5 if I am right."),
        ("B", "It's not A, therefore I think it's B"), ("3", "Final Answer: Jane started 3 hours ago."), ("9", "Answer \\[ \n 9 \n \\]"),
    ]  # fmt: skip
    expect(verifier, accepted, refused)


def test_an_interval_is_its_inequality_and_a_pair_is_not(verifier):
    accepted = [("(1,2)", "1<x<2"), ("1<x<2", "(1,2)"), ("(1,2)", "x \\in (1,2)"), ("(1,2)", "2>x>1"), ("[1,2]", "1 \\le x <= 2")]
    refused = [
        ("(2,1)", "2<x<1"), ("(x,y)=(1,2)", "1<x<2"), ("(1,2)", "1<x\\le2"), ("(1,2)", "1<2"), ("(1,2,3)", "1<x<2<3"), ("(1,2)", "{1,2}"), ("(1,2)", "[1,2]"), ("[2,1]", "2 \\le x \\le 1"),
        ("(t,t^2)", "t<x<t^2"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))


def test_short_wrong_texts_by_one_who_knows_the_code(verifier):
    refused = [("5", text) for text in (
        "⁵", "₅", "5'", "5\"", "5\\text{K}", "5\\text{T}", "5 lakhs", "5 crore", "5 quadrillions", "5 zillions", "5 a", "5 the", "5()", "5 )", "5 in 6", "5 of 6", "\\ln(x)=5", "log(x)=5",
        "half of x = 5", "twice x = 5", "minus x = 5", "the negative of x = 5", "-x = 5", "2x=5", "x!=5", "x≠5", "\\overline{5}", "\\bar5", "\\neg 5", "\\not 5", "\\cancel{5}", "\\overset{6}{5}",
        "5\\\\6", "5\\newline6", "5\\color{white}{6}", "5\\rlap{6}", "5 % or 6", "5 # 6", "5 → 6", "5…6", "5 vs 6", "5 & 6", "5\\text{?}", "5?", "5 (?)", "\\text{maybe }5", "5\\text{ (wrong)}", "5_{10}",
        "5th", "5bn", "5 mil", "5 \\text{ six}", "five six", "5\u200b6", "\u202e5 6", "\u202e65", "5\u20606", "5\u00ad6", "½5", "5½", "5²", "5⁻¹", "٥", "Ⅴ", "5 \\pmod 7 + 1", "5=5=6", "6=x=5", "5>4", "4<5",
        "5 \\cup 6", "[5,6]", "5e", "5E2", "0x5", "5_000", "5'000", "5\\,000", "f(5)", "\\Delta 5", "5dx", "5i", "5\\infty", "5 - 0.0001", "5.000001", "\\text{it is }5\\text{ or }6",
    )] + [("52", "5₂"), ("25", "5₂"), ("33", "33a"), ("E", "\\mathrm{E}*2"), ("1, 2, 3", "1, 2, 3, ..."), ("\\text{east}", "\\text{east?}"), ("Yes", "Yes?")]
    refused += [("A", text) for text in ("A?", "\\bar{A}", "\\neg A", "\\text{not A}", "A=B", "A\\cup B", "A, but maybe B", "\\text{A is incorrect}", "\\cancel{A}", "\\text{all but A}", "A;B", "А")]
    refused += [("x+1", text) for text in (
        "x+1+10^{-25}", "x+1+(x-1.37)(x-2.3)(x-3.5)(x-0.41)(x+1.3)(x-1.71)(x+3.1)", "x'+1", "x+1 \\approx 3", "x+1+\\lfloor x/100 \\rfloor", "\\max(x+1,-100)", "x+1+|x-100|-100+x", "x+1 \\text{ if } x>0", "х+1",
    )] + [("\\sqrt{2}", "\\sqrt{2}+10^{-25}"), ("\\sqrt{2}", "\\sqrt{2} a"), ("\\sqrt{2}", "\\sqrt{2}\\text{K}")]  # fmt: skip
    accepted = [
        ("5", "5 apples"), ("300", "300\\text{ K}"), ("300", "300\\,\\mathrm{K}"), ("500000", "5 lakhs"), ("5", "5 in total"), ("5", "5\\text{ apples in total}"), ("5", "\\text{area} = 5"), ("2*pi", "2\\pi"), ("x >= 5", "x \\ge 5"),
        ("x \\ne 3", "x != 3"), ("\\sqrt[3]{2}", "\\sqrt[3]2"), ("9004/9", "1 000 4/9"), ("3", "\\begin{vmatrix} 2 & 1 \\\\ 1 & 2 \\end{vmatrix} = 3"), ("1", "\\lim_{x \\to 0} \\frac{\\sin x}{x} = 1"), ("28\\%", "28 pct"), ("5", "\\max = 5"),
    ]  # fmt: skip
    expect(verifier, boxed(accepted), boxed(refused))


def test_a_hedge_at_a_box_or_at_the_end_of_a_text_is_no_answer(verifier):
    refused = [("5", text) for text in (
        "\\boxed{6} \\mid \\boxed{5}", "\\boxed{6} & \\boxed{5}", "\\boxed{6} \\text{ oder } \\boxed{5}", "\\boxed{6} xor \\boxed{5}", "\\boxed{6} for $x>0$ and \\boxed{5} otherwise", "\\boxed{6} < \\boxed{5}",
        "\\boxed{6} if even, \\boxed{5} if odd", "Either \\boxed{6}, which is nice, or \\boxed{5}", "\\boxed{6} plus \\boxed{5}", "(a) \\boxed{6} (b) \\boxed{5}", "A: \\boxed{6}\nB: \\boxed{5}", "Option 1: \\boxed{6}\nOption 2: \\boxed{5}",
        "\\boxed{6} \\hfill \\boxed{5}", "\\boxed{6} or maybe even the value \\boxed{5}", "\\boxed{5} (or 6)", "\\boxed{5}, maybe 6", "\\boxed{5}, 6", "\\boxed{5} and 6", "$\\boxed{5}, 6$", "\\boxed{5} if x>0, otherwise 6", "\\boxed{5} - or 6",
        "\\boxed{5} or \\textbf{6}", "\\boxed{5} or six", "\\boxed{5}, or it could be 6", "\\boxed{5}, but maybe 6", "\\boxed{5}. Possibly 6.", "\\boxed{5} or $x=6$", "\\boxed{5} or \\sqrt{7}", "\\boxed{5} or $\\frac{1}{2}$", "\\boxed{5}, alternatively 6",
        "$\\boxed{5} \\lor 6$", "\\boxed{5}. Alternatively, 6.", "\\boxed{5} minus 2", "\\boxed{5} plus 2", "\\boxed{5} times 2", "\\boxed{5} and a half", "The answer is 5? No.", "The answer is about 5?", "The answer is 5. Actually it is 6.", "The answer is 5. Wait, 6.",
        "Let me think.\nIt is 6 or 5.", "Let me think.\nSo it is between 4 and 5.", "Let me think.\nSo it is maybe 5.", "Let me think.\nIt has to be more than 5.", "Let me think.\nSo it is 6 or $5$.", "Let me think.\nSo it is half of 5.", "Let me think.\nSo it is minus 5.",
        "Let me think.\nSo it is the root of 5.", "Let me think.\nSo it is wrong to say 5.", "Let me think.\nSo $x = 6$ or $x = 5$.", "Let me think.\nThis is step 5.", "Let me think.\nSo it is 5 or maybe something else.", "Let me think.\nHence $x=5$ is no solution.", "Let me think.\nHence $5$ is wrong.",
        "Let me think.\nSo it is either $6$ or $5$.", "Let me think.\nSo it is 2 times 5.", "Let me think.\nIf it is even, then it is 5.", "5 times as many", "Question 5", "Step 5", "Problem 5.", "Page 5", "Case 5", "Let x = 5", "Suppose x = 5", "If x = 5", "Assume x=5.", "Try 5", "Guess: 5", "See equation 5",
        "Let $x = 5$.", "5!", "$5!$", "1\\boxed{5}", "Choice B or C is correct.",
    )] + [("C", text) for text in ("Choice B or C is correct.", "B or C is the correct answer", "Is C correct?", "C is not correct.", "I choose B, not C")]  # fmt: skip
    accepted = [("120", "$5!$"), ("120", "5!"), ("7", "Tom has 7 apples, and 2 times 7 is 14, so he has \\boxed{7}"), ("15", "\\boxed{12} and we add 3, so it is \\boxed{15}")] + [("5", text) for text in (
        "\\boxed{6}, or rather \\boxed{5}", "\\boxed{6} is not right, it must be \\boxed{5}", "\\boxed{2+3} = \\boxed{5}", "\\boxed{6}\n\n\\boxed{5}", "\\boxed{5}, or 5.0.", "First \\boxed{6} so the final one is \\boxed{5}", "Let me think.\nThere are 2 or 3 ways, so it is 5.",
    )]  # fmt: skip
    expect(verifier, accepted, refused)


def test_short_right_texts_of_base_models_are_read(verifier):
    accepted = [("5", text) for text in (
        "**5**", "`5`", "_5_", "It's 5", "It's 5.", "Thus, 5.", "so 5", "So 5.", "x is 5", "x: 5", "x -> 5", "Area: 5 square units", "The answer comes out to 5", "The answer turns out to be 5.", "It has to be 5", "equal to 5", "five", "the answer would be 5", "Let me think: 2 + 3 = 5",
    )] + [("C", text) for text in (
        "**C**", "c", "[C]", "Choice C is correct.", "The correct option is (C).", "C is correct", "C is the correct answer.", "Therefore, the correct choice is C.", "I choose C", "Thus, C.", "**C. 12**", "\\boxed{\\text{(C) 12}}", "the answer is c.",
    )] + boxed([
        ("\\frac{1}{2}", "\\left.\\frac12\\right."), ("\\frac{\\sqrt{3}}{2}", "sqrt3/2"), ("\\frac{\\sqrt{3}}{2}", "sqrt(3)/2"), ("e^{2x}", "exp(2x)"), ("(-\\infty, 3]", "(-oo,3]"), ("\\infty", "infinity"), ("\\infty", "\\text{Infinity}"), ("1,2", "x=1 \\lor x=2"),
        ("1,2", "1\\text{, }2"), ("1,2", "1 \\& 2"), ("(1,2)", "x=1, y=2"), ("(1,2)", "y=2 \\text{ and } x=1"), ("10", "10\\Omega"), ("10", "£10"), ("10", "\\text{Rs. }10"), ("10", "\\text{\\$}10"), ("10", "10^{\\circ}C"), ("10", "\\underline{10}"), ("10", "\\textcolor{red}{10}"),
        ("10", "{\\color{blue}10}"), ("10", "\\large 10"), ("10", "10\\checkmark"), ("10", "|S| = 10"), ("10", "m\\angle A=10"), ("10", "\\text{The answer is }10"), ("10", "10\\text{ possible values}"), ("10", "10\\text{ distinct real solutions}"), ("10", "10\\text{ apples left}"),
        ("10", "2(5)"), ("10", "(2)(5)"), ("\\text{no solution}", "no solutions"), ("\\text{no solution}", "\\text{There is no solution}"), ("\\mathbb{R}", "\\text{all real numbers}"), ("\\mathbb{R}", "\\R"), ("2\\pi", "\\pi(2)"), ("3:2", "3\\colon2"), ("5", "m+n=5"),
    ])  # fmt: skip
    refused = boxed([
        ("5", "5\\text{ feet 6 inches}"), ("5", "5\\text{ point 6}"), ("5", "5\\text{ times 6}"), ("5", "5\\text{ halfs}"), ("5", "5\\text{ elevens}"), ("5", "5\\text{ twenties}"), ("5", "5\\text{ myriads}"), ("5", "5\\text{ decillions}"), ("5", "5\\text{ apples and 6}"),
        ("5", "5\\text{ possible}"), ("5", "5\\text{ positive}"), ("5", "5+10^{-99}"), ("5", "5-10^{-9999}"), ("x+1", "x+1+10^{-99}"), ("7", "2(5)"), ("7", "(2)(5)"), ("7", "2{5}"), ("7", "{2}(5)"), ("7", "2[5]"), ("7", "2\\{5\\}"), ("(1,2)", "x=2, y=1"), ("(1,2)", "x=1, x=2"), ("(1,2]", "x=1, y=2"),
        ("x+y=5", "5"), ("5", "5\\color{white}{6}"), ("5", "\\color{red}{5}6"), ("5", "5\\underline{6}"), ("A", "(A) 12, B 13"), ("A", "(A) 12 \\text{ or } B 13"), ("C", "\\text{(C) or (D)}"), ("\\infty", "-infinity"), ("\\text{no solution}", "\\text{one solution}"), ("£10", "10\\text{ dollars}"),
        ("B", "c"), ("5", "c"),
    ])  # fmt: skip
    expect(verifier, accepted, refused)


def test_a_text_without_a_full_stop_has_come_to_its_end_where_that_is_known(verifier):
    response = "There are 2 apples and 3 pears.\n2 + 3 = 5"
    found = [verifier.verify(["5"], [response], truncated=truncated)[0].label for truncated in ([False], None, [True])]
    assert found == ["correct", "no_answer", "truncated"]


def test_golds_of_every_kind_and_wrong_texts_that_are_close(verifier):
    wrong = {
        "\\frac{1}{2}": ["1:2 or 2:1", "\\frac{1}{2}x", "\\frac{1}{2}\\%", "\\frac{1}{2}\\text{ dozens}", "0.4999", "1/2/1/2", "\\frac{1}{-2}", "\\sqrt{\\frac12}"],
        "2\\sqrt{3}": ["2\\sqrt{3}i", "\\sqrt{2}3", "2^{\\sqrt3}", "3.46", "2\\sqrt{3}\\%", "2\\sqrt{3}\\text{ dozen}", "2\\sqrt{3x}", "\\sqrt{12+10^{-99}}", "\\sqrt{12}+10^{-40}", "2\\sqrt{3}!"],
        "x+1": ["x+1,x", "1+y", "|x+1|", "\\sqrt{(x+1)^2}", "x+1-1/x^{99}", "x!+1", "x+1+\\sin(10^{9}\\pi x)", "\\lceil x\\rceil+1", "x+i", "x+1\\text{ million}"],
        "(0,1)": ["(0,1),(1,0)", "(0,1)\\cup\\{1\\}", "0<x\\le 1", "x=0,y=1,z=2", "y=0,x=1", "(0.0001,1)"],
        "\\{1,2\\}": ["\\{1,2\\}\\cup\\{3\\}", "\\{1,2\\}\\setminus\\{2\\}", "\\{1,1,2\\}", "1..2", "\\{(1,2)\\}", "1 \\text{ or } 3"],
        "C": ["C1", "CD", "C^2", "\\text{C?}", "\\overline{C}", "all but C", "C=5", "C: D", "C then D", "C\\text{ or none}", "\\neg C", "C+D", "D (not C)", "C\\to D", "c, d", "c d", "[C] [D]", "[C, D]"],
        "y=2x+3": ["2x+3=0", "x=2y+3", "y=2x+3=5", "y>2x+3", "y \\ne 2x+3", "0=0", "y=y", "2x-y-3", "y^2=(2x+3)^2", "(y-2x-3)(x-1)=0", "y=2|x|+3", "y=2x+3+10^{-30}"],
        "x^2+y^2=4": ["4", "x^2+y^2", "x^2+y^2=2", "0=0", "2x^2+2y^2=4", "(x^2+y^2-4)^2=0", "(x^2+y^2-4)x=0", "x^2+y^2<4", "y=\\sqrt{4-x^2}"],
        "25\\%": ["0.25\\%", "25\\% or 30\\%", "2.5", "250\\%", "25\\%\\text{ of }4", "0.0025"],
        "10\\text{ cm}": ["10\\text{ cm}^2", "10\\text{ cm or }5", "10\\text{ cm}\\cdot 2", "100\\text{ mm}", "10\\text{ million cm}", "10\\text{ cm/s}"],
        "\\text{Tuesday}": ["\\text{not Tuesday}", "\\text{Tuesday or Monday}", "TuesdayMonday", "\\text{before Tuesday}"],
        "2+3i": ["2-3i", "2+3i \\text{ or } 2-3i", "|2+3i|", "2\\pm3i", "\\overline{2+3i}", "2+3i^2"],
        "52_8": ["52_9", "52_{10}", "52_8 \\text{ or } 42", "-52_8", "52_8+1", "0.52_8"],
        "\\infty": ["\\pm\\infty", "\\infty \\text{ or } 5", "\\infty^0", "\\text{not infinity}"],
        "3\\pi": ["3\\pi^2", "3\\pi r", "9.42", "3\\cdot 3.14", "540^\\circ", "3\\pi\\%", "3\\Pi", "3+\\pi"],
        "-7": ["7-", "\\pm7", "-7x", "-(\u22127)", "|{-7}|", "\u20137.1"],
        "1,000": ["1", "1,00", "1, 0", "1,000 \\text{ or } 1", "10,00", "1.0001"],
        "\\log_2 3": ["\\log_2 3x", "\\log_{2} 30", "\\log_2 3^2", "1.58", "\\log_2(3)+0.00001"],
        "f(x)=x^2": ["f(x)=x^2+1", "x^2=0", "f(x)=x^2 \\text{ or } x", "f'(x)=x^2", "f^{-1}(x)=x^2", "f(x)>x^2"],
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}": ["\\begin{pmatrix}2\\\\1\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}", "1,2", "\\begin{vmatrix}1\\\\2\\end{vmatrix}"],
    }  # fmt: skip
    expect(verifier, [(gold, f"\\boxed{{{gold}}}") for gold in wrong], boxed([(gold, text) for gold in wrong for text in wrong[gold]]))


CONVENTION = re.compile(r"^\| .*\| `(.+)` \| `(.+)` \| (\w+) \|$", re.MULTILINE)


def test_every_example_of_the_conventions_holds(verifier):
    page = (Path(__file__).parents[1] / "docs" / "verification.md").read_text(encoding="utf-8")
    rows = CONVENTION.findall(page)
    found = labels(verifier, [(gold, response) for gold, response, _label in rows])
    assert len(rows) >= 30
    assert [row for row in rows if found[row[:2]] != row[2]] == []
