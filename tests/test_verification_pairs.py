# ruff: noqa: E501 (tables of texts)
"""Ten thousand written pairs: the same value in two notations is accepted, a value that differs in one place never.

What is written is known to be equal or not because it is written from exact values.
"""

import math
import random
from fractions import Fraction

import pytest

from polarity_lib.verification.mathematics import MathVerifier

ROUNDS = 500


def whole(value, draw):
    minus, digits, commas = "-" if value < 0 else "", str(abs(value)), f"{abs(value):,}"
    forms = [
        f"{minus}{digits}", f"{minus}{commas}", minus + commas.replace(",", "{,}"), minus + commas.replace(",", "\\,"), f"{minus}{digits}.0",
        f"\\frac{{{3 * value}}}{{3}}", f"({minus}{digits})", f"x = {minus}{digits}", f"{minus}{digits}\\text{{ apples}}", f"\\text{{{minus}{digits}}}",
        f"{value - 7} + 7 = {value}", f"{minus}{digits},", f"  {minus}{digits}.", f"\\mathbf{{{minus}{digits}}}",
    ]  # fmt: skip
    return draw.choice(forms)


def fraction(value, draw):
    top, bottom, k = value.numerator, value.denominator, draw.randint(2, 9)
    minus = "-" if top < 0 else ""
    forms = [
        f"\\frac{{{top}}}{{{bottom}}}", f"{minus}\\frac{{{abs(top)}}}{{{bottom}}}", f"{top}/{bottom}", f"\\dfrac{{{k * top}}}{{{k * bottom}}}",
        f"\\frac{{{-top}}}{{{-bottom}}}", f"x = {top}/{bottom}", f"\\left(\\frac{{{top}}}{{{bottom}}}\\right)",
    ]  # fmt: skip
    if bottom > 1 and abs(top) > bottom:
        forms.append(f"{minus}{abs(top) // bottom}\\frac{{{abs(top) % bottom}}}{{{bottom}}}")
    return draw.choice(forms)


def pair_of_whole(draw):
    value = draw.choice([draw.randint(-20, 20), draw.randint(-(10**6), 10**6), draw.randint(-(10**15), 10**15)])
    other = draw.choice([value + 1, value - 1, -value or 3, value * 10 or 10, value + 1000])
    return whole(value, draw), whole(value, draw), whole(other, draw)


def pair_of_fractions(draw):
    value = Fraction(draw.randint(-99, 99) or 1, draw.randint(2, 60))
    other = draw.choice([value + Fraction(1, value.denominator), -value, value + 1, value / 2])
    return fraction(value, draw), fraction(value, draw), fraction(other, draw)


def pair_of_decimals(draw):
    value, places = draw.randint(1, 10**6), draw.randint(1, 4)
    text = f"{value // 10**places}.{value % 10**places:0{places}d}"
    forms = [
        text,
        text + "0",
        f"\\frac{{{value}}}{{{10**places}}}",
        f"{value} \\times 10^{{-{places}}}",
        f"{value}e-{places}",
        text.lstrip("0") or "0",
    ]
    other = f"{(value + 1) // 10**places}.{(value + 1) % 10**places:0{places}d}"
    return forms[0], draw.choice(forms), other if value < 5_000 else f"-{text}"


def pair_of_repeating(draw):
    digits = f"{draw.randint(1, 998):03d}"
    value = Fraction(int(digits), 999)
    other = value + Fraction(1, 999)
    return f"0.\\overline{{{digits}}}", fraction(value, draw), fraction(other, draw)


def pair_of_lists(draw):
    values = draw.sample(range(-30, 30), draw.randint(2, 5))
    other = [*values[:-1], values[-1] + 61]
    joints = [", ", " \\text{ and } ", ", \\text{ or } ", "; "]

    def form(items):
        items = draw.sample(items, len(items))
        plain = draw.choice(joints).join(map(str, items))
        return draw.choice([plain, "\\{" + ", ".join(map(str, items)) + "\\}", "x = " + ", ".join(map(str, items))])

    return form(values), form(values), draw.choice([form(other), form(values[:-1]), form([*values, 77])])


def pair_of_points(draw):
    a, b = draw.sample(range(-30, 30), 2)

    def form(x, y):
        return draw.choice(
            [
                f"({x}, {y})",
                f"\\left({x},{y}\\right)",
                f"(x, y) = ({x}, {y})",
                f"\\begin{{pmatrix}} {x} \\\\ {y} \\end{{pmatrix}}",
            ]
        )

    return form(a, b), form(a, b), draw.choice([form(b, a), form(a, b + 1), f"{a}, {b}", f"({a},{b},{b})"])


def pair_of_intervals(draw):
    low = draw.randint(-30, 20)
    high, left, right = low + draw.randint(1, 30), draw.choice("(["), draw.choice(")]")

    def form(low, high, left, right):
        signs = {"(": "<", "[": "\\le", ")": "<", "]": "\\leq"}
        inequality = f"{low} {signs[left]} x {signs[right]} {high}"
        return draw.choice(
            [f"{left}{low}, {high}{right}", f"x \\in {left}{low},{high}{right}", inequality, f"\\{{x \\mid {inequality}\\}}"]
        )

    other = draw.choice([
        (low, high, "(" if left == "[" else "[", right), (low, high, left, ")" if right == "]" else "]"), (low, high + 1, left, right)
    ])  # fmt: skip
    return form(low, high, left, right), form(low, high, left, right), form(*other)


def pair_of_matrices(draw):
    cells = [draw.randint(-9, 9) for _ in range(4)]
    other = list(cells)
    other[draw.randrange(4)] += draw.choice([-1, 1])

    def form(c):
        kind = draw.choice(["pmatrix", "bmatrix"])
        return f"\\begin{{{kind}}} {c[0]} & {c[1]} \\\\ {c[2]} & {c[3]} \\end{{{kind}}}"

    return form(cells), form(cells), form(other)


def pair_of_choices(draw):
    letter, other = draw.sample("ABCDE", 2)

    def form(x):
        return draw.choice(
            [x, f"({x})", f"\\text{{{x}}}", f"\\text{{({x})}}", f"\\textbf{{({x})}}", f"{x}.", f"({x})\\ 12", f"\\mathrm{{{x}}}"]
        )

    return (
        letter,
        form(letter),
        draw.choice([form(other), f"{form(letter)} or {form(other)}", f"\\text{{{letter} or {other}}}", f"{letter}, {other}"]),
    )


def pair_of_units(draw):
    value = draw.randint(2, 999)
    unit, other = draw.sample(["cm", "m", "kg", "miles", "hours", "dollars"], 2)
    forms = [
        f"{value}\\text{{ {unit}}}",
        f"{value} {unit}" if len(unit) > 1 else f"{value}",
        f"{value}\\,\\mathrm{{{unit}}}",
        f"{value}",
    ]
    wrong = [
        f"{value}\\text{{ {other}}}",
        f"{value + 1}\\text{{ {unit}}}",
        f"{value}\\text{{ million}}",
        f"{value}\\text{{ or more}}",
        f"{value}^2",
    ]
    return forms[0], draw.choice(forms), draw.choice(wrong)


def pair_of_percents(draw):
    value = draw.randint(2, 99)
    forms = [f"{value}\\%", f"{value}%", f"{value}\\text{{ percent}}", f"0.{value:02d}", f"\\frac{{{value}}}{{100}}", f"{value}"]
    return forms[0], draw.choice(forms), draw.choice([f"{value + 1}\\%", f"{value + 1}", f"0.{value + 1:03d}", f"0.{value}\\%"])


FAST = [
    pair_of_whole, pair_of_fractions, pair_of_decimals, pair_of_repeating, pair_of_lists, pair_of_points, pair_of_intervals,
    pair_of_matrices, pair_of_choices, pair_of_units, pair_of_percents,
]  # fmt: skip


def pair_of_radicals(draw):
    outside, inside = draw.randint(2, 9), draw.choice([2, 3, 5, 6, 7, 10])
    forms = [
        f"{outside}\\sqrt{{{inside}}}",
        f"\\sqrt{{{outside**2 * inside}}}",
        f"\\sqrt{{{inside}}}\\cdot {outside}",
        f"\\frac{{{outside * inside}}}{{\\sqrt{{{inside}}}}}",
    ]
    other = [
        f"{outside}\\sqrt{{{inside + 1}}}",
        f"{outside + 1}\\sqrt{{{inside}}}",
        f"\\sqrt{{{outside * inside}}}",
        f"-{forms[0]}",
        f"{math.isqrt(outside**2 * inside)}",
    ]
    return forms[0], draw.choice(forms), draw.choice(other)


def pair_of_powers(draw):
    base, power = draw.randint(2, 9), draw.randint(2, 5)
    forms = [f"{base}^{power}", f"{base}^{{{power}}}", f"{base**power}", f"{base} \\cdot {base}^{{{power - 1}}}"]
    return (
        forms[0],
        draw.choice(forms),
        draw.choice([f"{base}", f"{base}^{{{power + 1}}}", f"{base * power + (base == power == 2)}", f"{power}"]),
    )


def pair_of_multiples_of_pi(draw):
    a, b = draw.randint(2, 9), draw.randint(2, 9)
    forms = [f"\\frac{{{a}\\pi}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}\\pi", f"{a}\\pi/{b}"]
    return forms[0], draw.choice(forms), draw.choice([f"\\frac{{{a + 1}\\pi}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}", f"-{forms[1]}"])


def pair_of_polynomials(draw):
    a, b = draw.randint(2, 9), draw.randint(1, 9)
    forms = [f"(x+{a})(x-{b})", f"x^2 + ({a - b})x - {a * b}", f"(x-{b})(x+{a})", f"-{a * b} + x^2 + {a}x - {b}x"]
    return (
        forms[0],
        draw.choice(forms),
        draw.choice([f"(x+{a})(x+{b})", f"x^2 - {a * b}" if a != b else "x^2", f"(x+{a + 1})(x-{b})", f"(y+{a})(y-{b})"]),
    )


ALGEBRA = [pair_of_radicals, pair_of_powers, pair_of_multiples_of_pi, pair_of_polynomials]


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(timeout_s=5.0, workers=1) as shared:
        yield shared


def judged(verifier, write, rounds):
    draw = random.Random(write.__name__)
    triples = [write(draw) for _ in range(rounds)]
    golds = [gold for gold, _same, _other in triples for _ in range(2)]
    texts = [f"So it is $\\boxed{{{text}}}$." for _gold, same, other in triples for text in (same, other)]
    verdicts = verifier.verify(golds, texts)
    refused = [(t[0], t[1], v.label) for t, v in zip(triples, verdicts[::2]) if not v.is_correct]
    accepted = [(t[0], t[2]) for t, v in zip(triples, verdicts[1::2]) if v.is_correct]
    return refused, accepted


@pytest.mark.parametrize("write", FAST)
def test_written_pairs(verifier, write):
    refused, accepted = judged(verifier, write, ROUNDS)
    assert (refused[:5], accepted[:5]) == ([], [])


@pytest.mark.parametrize("write", ALGEBRA)
def test_written_pairs_that_need_algebra(verifier, write):
    refused, accepted = judged(verifier, write, 60)
    assert (refused[:5], accepted[:5]) == ([], [])
