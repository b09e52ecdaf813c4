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
    x=5 answers 5 and the other way round; x=5 does not answer y=5.
Bases
    Digits and base must agree: 52 is not 52_8, and 42 is not 52_8 either (the form is the question).
"""

import re
from fractions import Fraction

from .exact import (
    Based,
    Chain,
    Choice,
    Formula,
    Grid,
    MAX_DEPTH,
    Named,
    Node,
    Number,
    Ordered,
    Several,
    Words,
    as_list,
    labelled_choice,
    number_alone,
    read,
    words_key,
)

RELATIVE_TOLERANCE = Fraction(1, 10_000)
FLOAT_NOISE = Fraction(1, 10**9)
SMALLEST_STEP = Fraction(1, 10**6)  # noise around a large whole number must not reach anything else


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
    exponent = 0
    size = abs(value)
    while size >= 10:
        size, exponent = size / 10, exponent + 1
    while 0 < size < 1:
        size, exponent = size * 10, exponent - 1
    return Fraction(10) ** (exponent - digits + 1) * Fraction(501, 1000)


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
    return True if _squeeze(gold.text) == _squeeze(answer.text) else None


_BLANKS = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")


def _squeeze(text):
    return _BLANKS.sub("", text)  # a blank between two digits is no mere blank


def equal(gold: Node, answer: Node, formula_equal=same_text) -> bool | None:
    """Whether two trees are the same answer: True, False, or None where `formula_equal` could not tell."""
    if isinstance(answer, Choice) and not isinstance(gold, Choice):
        if answer.content is not None:
            return equal(gold, answer.content, formula_equal)
        return True if words_key(gold.text) == words_key(answer.text) else False
    if isinstance(gold, Choice):
        chosen = answer if isinstance(answer, Choice) else labelled_choice(answer.text)
        return chosen is not None and gold.letter == chosen.letter
    if isinstance(gold, Chain) or isinstance(answer, Chain):
        return _chain(gold, answer, formula_equal)
    if isinstance(gold, Named) or isinstance(answer, Named):
        return _named(gold, answer, formula_equal)
    if isinstance(gold, Words) or isinstance(answer, Words):
        return words_key(gold.text) == words_key(answer.text)
    if isinstance(gold, Based) or isinstance(answer, Based):
        return type(gold) is type(answer) and (gold.digits, gold.base) == (answer.digits, answer.base)
    if isinstance(gold, Number) and isinstance(answer, Number):
        return numbers_equal(gold, answer)
    return _structures(gold, answer, formula_equal)


def _chain(gold, answer, formula_equal):
    """A worked-out chain counts by its last side, and only if its sides are equal."""
    if gold.text == answer.text:
        return True
    known = True
    for node in (gold, answer):
        if isinstance(node, Chain):
            steps = _all(_same_side(a, b, formula_equal) for a, b in zip(node.sides, node.sides[1:]))
            if steps is False:
                return False
            known = known and steps
    last = [node.sides[-1] if isinstance(node, Chain) else node for node in (gold, answer)]
    return _all([equal(*last, formula_equal), known])


def _same_side(left, right, formula_equal):
    """Sides may be rounded to the digits that are written, as 12/7 = 1.71, and may drop a unit."""
    if isinstance(left, Number) and isinstance(right, Number):
        coarse, fine = (left, right) if (left.digits or 10**9) <= (right.digits or 10**9) else (right, left)
        if coarse.digits and coarse.digits > 1 and abs(coarse.value - fine.value) <= _half_a_unit(coarse.value, coarse.digits):
            return True
    return equal(left, right, formula_equal)


def _named(gold, answer, formula_equal):
    if isinstance(gold, Named) and isinstance(answer, Named):
        if gold.name != answer.name:
            return None if formula_equal is same_text else formula_equal(Formula(gold.text), Formula(answer.text))
        return equal(gold.value, answer.value, formula_equal)
    named, other = (gold, answer) if isinstance(gold, Named) else (answer, gold)
    letters = re.findall("[a-z]", named.name) if named.name.startswith("(") else []
    if letters != sorted(letters):
        return False  # (y, x) = (1, 2) is not the point (1, 2)
    if isinstance(other, Formula) and any(sign in other.text for sign in ("=", "<", ">", "\\le", "\\ge")):
        return formula_equal(Formula(gold.text), Formula(answer.text))
    pair = (named.value, other) if named is gold else (other, named.value)
    return equal(*pair, formula_equal)


def _structures(gold, answer, formula_equal):
    if isinstance(gold, Several) and isinstance(answer, Several) and gold.kind == answer.kind == "list":
        return _without_order(gold.items, answer.items, formula_equal)
    if isinstance(gold, Several) and isinstance(answer, Several) and gold.kind == answer.kind:
        # The same union may be cut in other pieces: only a match of the pieces decides here.
        return _without_order(gold.items, answer.items, formula_equal) or _ask(gold, answer, formula_equal)
    if isinstance(gold, Ordered) and isinstance(answer, Ordered):
        if gold.brackets != answer.brackets or len(gold.items) != len(answer.items):
            return False
        return _all(equal(g, a, formula_equal) for g, a in zip(gold.items, answer.items))
    if isinstance(gold, Grid) and isinstance(answer, Grid):
        if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
            return False
        pairs = ((g, a) for rows in zip(gold.rows, answer.rows) for g, a in zip(*rows))
        return _all(equal(g, a, formula_equal) for g, a in pairs)
    kinds = {_kind(gold), _kind(answer)}
    if (
        len(kinds) == 2
        and "formula" not in kinds
        and not any(isinstance(x, Several) and x.kind == "union" for x in (gold, answer))
    ):
        return False
    if "list" in kinds and "formula" in kinds and not _may_be_a_list(gold if _kind(gold) == "formula" else answer):
        return False
    units = [getattr(node, "unit", "") for node in (gold, answer)]
    if all(units) and units[0] != units[1]:
        return False
    return _ask(gold, answer, formula_equal)


def _kind(node):
    return {Number: "number", Formula: "formula", Several: "list", Ordered: "ordered", Grid: "grid"}[type(node)]


def _may_be_a_list(formula):
    return any(mark in formula.text for mark in ("\\pm", "\\mp", "\\cup", "\\in", "{", "<", ">", "\\le", "\\ge", "\\ne"))


def _ask(gold, answer, formula_equal):
    return formula_equal(_as_formula(gold), _as_formula(answer))


def _as_formula(node):
    if isinstance(node, Number) and (node.unit or node.percent):
        return Formula(number_alone(node))  # 90 degrees must not become pi/2
    return node if isinstance(node, Formula) else Formula(node.text)


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
        match, maybe = None, False
        for index, answer in enumerate(left):
            result = equal(gold, answer, formula_equal)
            if result:
                match = index
                break
            maybe = maybe or result is None
        if match is not None:
            left.pop(match)
        elif maybe:
            undecided.append(gold)
        else:
            return False
    if any(all(equal(gold, answer, formula_equal) is False for gold in undecided) for answer in left):
        return False
    return None if undecided else True


def compare(gold: str, answer: str, formula_equal=same_text) -> bool | None:
    """`equal` on texts; "1,234" is also tried as the two values 1 and 234 where the other side is a list."""
    gold_node, answer_node = read(gold), read(answer)
    if isinstance(gold_node, Number) and isinstance(answer_node, Number):
        return numbers_equal(gold_node, answer_node)
    result = equal(gold_node, answer_node, formula_equal)
    if result is False and isinstance(answer_node, Several) and isinstance(gold_node, Number):
        other = as_list(gold)
        return equal(other, answer_node, formula_equal) if other else False
    if result is False and isinstance(gold_node, Several) and isinstance(answer_node, Number):
        other = as_list(answer)
        return equal(gold_node, other, formula_equal) if other else False
    return result


def too_deep(text: str) -> bool:
    """Brackets nested deeper than any answer needs."""
    depth = deepest = 0
    for ch in text:
        if ch in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif ch in ")]}":
            depth -= 1
    return deepest > MAX_DEPTH
