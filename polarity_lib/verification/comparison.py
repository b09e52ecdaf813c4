r"""Whether two answers are the same, once both are read.

The rules hold for a gold and an answer alike; where nothing else is said they are
symmetric. Every function returns True, False, or None where only algebra can tell:
`formula_equal` is asked then. In the fast path it knows nothing but "same text"; in a
guarded process it is `symbolic.formula_equal`.

Numbers
    Whole numbers and fractions are compared exactly. A decimal may stand for a number
    that is no whole number if it is that number correctly rounded to the written digits and
    differs by at most 1e-4 *of the value*: 0.3333 stands for 1/3, 0.33 does not, 0.533 does
    not stand for 0.53, and 6.6e-34 is not 1.1e-34. Between a whole number and a decimal
    only noise of floating-point size (1e-9 of the value) is forgiven.
Percent
    p% is p/100. A bare p is accepted for p% when |p| >= 1 (the question asked for a
    percentage), never p for p/100.
Units
    A unit on one side only is ignored (the question names it). Different units are
    different answers: nothing is converted, 1 m is not 100 cm and 90 degrees is not pi/2.
Several values
    `1,2`, `{2,1}`, `1 and 2` are the same. A pair `(1,2)` is not the list `1,2`; brackets of
    intervals must agree; a column vector is the point with the same entries.
Names
    x=5 answers 5 and the other way round; x=5 does not answer y=5. x=1, y=2 is the point (1,2).
    A gold x+y=5 is a line, which 5 does not answer.
Bases
    Digits and base must agree: 52 is not 52_8, and 42 is not 52_8 either (the form is the question).
"""

import math
import re
from fractions import Fraction
from itertools import accumulate

from .exact import MAX_DEPTH, Chain, Choice, Formula, Named, Node, Number, Ordered, Several, Words
from .exact import as_list, labelled_choice, read, words_key

RELATIVE_TOLERANCE = Fraction(1, 10_000)
FLOAT_NOISE = Fraction(1, 10**9)
SMALLEST_STEP = Fraction(1, 10**6)  # noise around a large whole number must not reach anything else
_BLANKS = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")  # a blank between two digits is no mere blank
_MAY_BE_A_LIST = re.compile(r"\\(?:pm|mp|cup|in|le|ge|ne)|[{<>]")


def numbers_close(a: Fraction, b: Fraction, digits_a: int | None, digits_b: int | None) -> bool:
    """The rule for numbers: exact, or a decimal that stands for the other number correctly rounded.

    Args:
        a, b: the exact values as written.
        digits_a, digits_b: significant digits where the number was written as a decimal, else None.
    """
    if a == b:
        return True
    if digits_a is None and digits_b is None:
        return False
    difference, size = abs(a - b), max(abs(a), abs(b))
    if any(x.denominator == 1 and digits is None for x, digits in ((a, digits_a), (b, digits_b))):
        return a.denominator != b.denominator and difference <= min(FLOAT_NOISE * size, SMALLEST_STEP)
    if difference > RELATIVE_TOLERANCE * size:
        return False
    coarse, fine, digits = (a, b, digits_a) if (digits_a or 10**9) <= (digits_b or 10**9) else (b, a, digits_b)
    return abs(coarse - fine) <= _half_a_unit(coarse, digits)


def _half_a_unit(value, digits):
    """Half of the last written place of a decimal with so many significant digits, a hair more for ties."""
    exponent = _exponent(abs(Fraction(value))) if value else 0
    return Fraction(10) ** (exponent - digits + 1) * Fraction(501, 1000)


def _exponent(size):
    """The power of ten that a positive number begins with, exactly and at once however long the number is."""
    exponent = math.floor((size.numerator.bit_length() - size.denominator.bit_length()) * math.log10(2))  # off by one at most
    while Fraction(10) ** exponent > size:
        exponent -= 1
    while Fraction(10) ** (exponent + 1) <= size:
        exponent += 1
    return exponent


def numbers_equal(gold: Number, answer: Number) -> bool:
    """Numbers with their percent signs and units, by the rules at the head of this module."""
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    if numbers_close(gold.value, answer.value, gold.digits, answer.digits):
        return True
    if gold.percent != answer.percent:
        scaled, bare = (gold, answer) if gold.percent else (answer, gold)
        return abs(bare.value) >= 1 and numbers_close(scaled.value * 100, bare.value, scaled.digits, bare.digits)
    return False


def same_text(gold: Formula, answer: Formula) -> bool | None:
    """The fast path's judge of formulas: True for the same text without blanks, else undecided."""
    one, other = (_BLANKS.sub("", node.text) for node in (gold, answer))
    return True if one == other else None


def equal(gold: Node, answer: Node, formula_equal=same_text) -> bool | None:
    """Whether two trees are the same answer: True, False, or None where `formula_equal` could not tell."""
    if isinstance(gold, Choice):
        chosen = answer if isinstance(answer, Choice) else labelled_choice(answer.text)
        return chosen is not None and gold.letter == chosen.letter
    if isinstance(answer, Choice):
        if answer.content is not None:
            return equal(gold, answer.content, formula_equal)
        return words_key(gold.text) == words_key(answer.text)
    kinds = {type(gold), type(answer)}
    if Chain in kinds:
        return _chain(gold, answer, formula_equal)
    if Named in kinds:
        return _named(gold, answer, formula_equal)
    if Words in kinds:
        one, other = (node.key if isinstance(node, Words) else words_key(node.text) for node in (gold, answer))
        return one == other
    if kinds == {Number}:
        return numbers_equal(gold, answer)
    if kinds == {Ordered, Several}:  # x = 1, y = 2 is the point (1, 2)
        gold, answer = (_point(node) if isinstance(node, Several) else node for node in (gold, answer))
        kinds = {type(gold), type(answer)}
    if kinds == {Ordered}:
        if gold.brackets != answer.brackets or len(gold.items) != len(answer.items):
            return False
        return _all(equal(g, a, formula_equal) for g, a in zip(gold.items, answer.items))
    if kinds == {Several}:
        return _without_order(gold.items, answer.items, formula_equal)
    if Formula not in kinds:
        return False  # of two kinds
    if Several in kinds and not _MAY_BE_A_LIST.search((gold if isinstance(gold, Formula) else answer).text):
        return False
    units = [getattr(node, "unit", "") for node in (gold, answer)]
    return False if all(units) and units[0] != units[1] else _ask(gold, answer, formula_equal)


def _chain(gold, answer, formula_equal):
    """A worked-out chain counts by its last side, and only if its sides are equal."""
    if gold.text == answer.text:
        return True
    last, known = [], []
    for node in (gold, answer):
        sides = node.sides if isinstance(node, Chain) else (node,)
        last.append(sides[-1])
        known.append(_all(_same_side(a, b, formula_equal) for a, b in zip(sides, sides[1:])))
    return False if False in known else _all([equal(*last, formula_equal), *known])


def _same_side(left, right, formula_equal):
    """Sides may be rounded to the digits that are written, as 12/7 = 1.71, and may drop a unit."""
    if isinstance(left, Number) and isinstance(right, Number):
        coarse, fine = sorted((left, right), key=lambda number: number.digits or 10**9)
        if coarse.digits and coarse.digits > 1 and abs(coarse.value - fine.value) <= _half_a_unit(coarse.value, coarse.digits):
            return True
    return equal(left, right, formula_equal)


def _named(gold, answer, formula_equal):
    if isinstance(gold, Named) and isinstance(answer, Named):
        if gold.name == answer.name:
            return equal(gold.value, answer.value, formula_equal)
        return formula_equal(Formula(gold.text), Formula(answer.text))
    named, other = (gold, answer) if isinstance(gold, Named) else (answer, gold)
    if named is gold and re.fullmatch(r"[xyz](?:\+[xyz])+", named.name) and not isinstance(other, Formula):
        return False  # x + y = 5 is a line, m + n = 5 asks for a number
    letters = re.findall("[a-z]", named.name) if named.name.startswith("(") else []
    if letters != sorted(letters):
        return False  # (y, x) = (1, 2) is not the point (1, 2)
    if isinstance(other, Formula) and re.search(r"[=<>]|\\[lg]e", other.text):
        return formula_equal(Formula(gold.text), Formula(answer.text))
    pair = (named.value, other) if named is gold else (other, named.value)
    return equal(*pair, formula_equal)


def _point(several):
    """Values with the names of different coordinates, as a point; other lists as they are."""
    names = [item.name if isinstance(item, Named) else "" for item in several.items]
    if not all(re.fullmatch("[a-z]", name) for name in names) or len(set(names)) < len(names):
        return several
    items = sorted(several.items, key=lambda item: item.name)
    return Ordered("()", tuple(item.value for item in items), several.text)


def _ask(gold, answer, formula_equal):
    """Algebra's word, on formulas without units: 90 degrees must not become pi/2."""
    plain = [node if isinstance(node, Formula) else Formula(getattr(node, "bare", "") or node.text) for node in (gold, answer)]
    return formula_equal(*plain)


def _all(results):
    known = True
    for result in results:
        if result is False:
            return False
        known = known and result
    return True if known else None


def _without_order(golds, answers, formula_equal):
    """Each gold value has its own equal answer value, whatever the order."""
    if len(golds) != len(answers):
        return False
    left, undecided = list(answers), []
    for gold in sorted(golds, key=lambda node: isinstance(node, Formula)):
        results = [equal(gold, answer, formula_equal) for answer in left]
        if True in results:
            left.pop(results.index(True))
        elif None in results:
            undecided.append(gold)
        else:
            return False
    if any(all(equal(gold, answer, formula_equal) is False for gold in undecided) for answer in left):
        return False
    return None if undecided else True


def compare(gold: str, answer: str, formula_equal=same_text) -> bool | None:
    """`equal` on texts; "1,234" is also tried as the two values 1 and 234 where the other side is a list."""
    gold_node, answer_node = read(gold), read(answer)
    result = equal(gold_node, answer_node, formula_equal)
    if result is False and {type(gold_node), type(answer_node)} == {Number, Several}:
        gold_node, answer_node = (as_list(node.text) or node for node in (gold_node, answer_node))
        return {type(gold_node), type(answer_node)} == {Several} and equal(gold_node, answer_node, formula_equal)
    return result


def too_deep(text: str) -> bool:
    """Brackets nested deeper than any answer needs."""
    return max(accumulate((ch in "([{") - (ch in ")]}") for ch in text), default=0) > MAX_DEPTH
