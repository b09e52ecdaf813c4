r"""Formulas judged by Math-Verify and sympy. Runs only inside a guarded process (`workers.py`).

Math-Verify's own LaTeX parser and its `verify` are kept. Around them stands a
numerical witness, because a symbolic "equal" can rest on rounding to six
decimals and a symbolic "different" on a simplification that was not found:

    both sides are evaluated to 30 digits at sample points that the pair itself determines;
    a point where they differ (relatively by more than 1e-20, or 1e-10 where a decimal is inside)
    makes them different, whatever `verify` says;
    agreement at all points, of either sign, makes them equal;
    agreement at the positive points only (sqrt(x^2) and x) leaves the decision to `verify`.

LaTeX is parsed by a grammar. Nothing here evaluates text as code: Math-Verify's plain
expression reader, which calls `eval` through sympy's `parse_expr`, is not used.
"""

import logging
import random
import re
from fractions import Fraction

import sympy
from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
from math_verify import verify
from math_verify.grader import should_treat_as_complex
from sympy.core.random import seed

from .comparison import numbers_close, same_text
from .exact import Formula, read_number

logging.disable(logging.CRITICAL)  # this process speaks to its parent only

MAX_POWER = 100_000
DIGITS = 30
_NORMAL = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
_CASE_KEPT = ConversionConfig(lowercase_symbols=False)
_ANGLE_IN_DEGREES = re.compile(r"\\(sin|cos|tan|cot|sec|csc)\s*[({]?\s*([0-9.]+)\s*[)}]?\s*\\text\{degrees\}\s*[)}]?")
# What the grammar reads wrongly: 52_8 without its base, 1 2 as twelve, x \approx 3 as x, 2{5} and {2}(5) as 2 + 5.
_MISREAD = re.compile(
    r"(?<![\\a-z_])[0-9]\s*_|(?<![_^])[0-9]\s+[0-9]|\\approx"
    r"|(?<![_^0-9.])[0-9]+\s*\\?[{\[]|(?:^|[-+*/(\s])\{[0-9.]+\}\s*[({0-9]"
)


class TooBig(Exception):
    """A number in the formula would not fit the limits; raised before it is built."""


def refuse_what_explodes(text: str) -> None:
    """Raise `TooBig` on powers, factorials and numerals that no limit of time would settle."""
    for pattern, what in (
        (r"\^\s*\{?\s*\(?\s*[-+]?\s*([0-9]{6,})", "a power"),
        (r"([0-9]{6,})\s*\}?\s*!", "a factorial"),
        (r"([0-9]{4001,})", "a numeral"),
    ):
        for match in re.finditer(pattern, text):
            if len(match[1]) > 6 or int(match[1]) > MAX_POWER:
                raise TooBig(f"{what} of {match[1][:12]}{'...' if len(match[1]) > 12 else ''} is beyond the limits")


def parse(text: str):
    """The sympy object of a formula, or None where the grammar does not know it."""
    refuse_what_explodes(text)
    if _MISREAD.search(text):
        return None
    text = _ANGLE_IN_DEGREES.sub(r"\\\1{(\2\\cdot\\frac{\\pi}{180})}", text)
    text = text.replace("\\text{degrees}", "\\cdot\\frac{\\pi}{180}")
    text = re.sub(r"\\text\s*\{\s*([a-zA-Z])\s*\}", r"\1", text)
    text = re.sub(r"(?<![_^0-9.])([0-9.]+)\s*\(", r"\1\\cdot(", text)  # 2(5), (2)(5): no mixed numbers
    text = re.sub(r"(\)|\\pi)\s*\(", r"\1\\cdot(", text)
    latex = normalize_latex(text, _NORMAL)
    try:
        return latex2sympy(
            latex,
            is_real=not should_treat_as_complex(latex),
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_CASE_KEPT,
        )
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the grammar's many ways of saying no
        return None


def formula_equal(gold: Formula, answer: Formula) -> bool:
    """Whether two formulas are the same answer; the judge that `comparison.equal` asks."""
    if same_text(gold, answer):
        return True
    if _primes(gold.text) != _primes(answer.text):
        return False  # the grammar drops the mark of a derivative, of feet and of minutes
    seed(0)  # sympy samples in places, with a generator of its own
    left, right = parse(gold.text), parse(answer.text)
    if left is None or right is None:
        return False
    equations = [isinstance(side, sympy.Eq) for side in (left, right)]
    if any(equations):
        return all(equations) and _same_equation(left, right)
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return _verify(left, right)
    left, right = _plain(left), _plain(right)
    if not (left.free_symbols | right.free_symbols):
        return _same_number(left, right, gold, answer)
    agree = _agreement(left, right)
    return _verify(left, right) if agree is None else agree


def _verify(left, right):
    """Math-Verify's own word, where sample points do not decide."""
    return bool(
        verify(left, right, float_rounding=12, numeric_precision=DIGITS, allow_set_relation_comp=True, timeout_seconds=None)
    )


def _primes(text):
    return len(re.findall(r"'|\"|\\prime(?![a-z])", text))


def _plain(expression):
    """Symbols by name alone, i as the imaginary unit, derivatives as symbols of their own (else d m/d t were 0)."""
    if expression.has(sympy.Derivative):
        expression = expression.replace(lambda e: isinstance(e, sympy.Derivative), lambda e: sympy.Symbol(str(e)))
    names = {s: sympy.I if s.name == "i" else sympy.Symbol(s.name) for s in expression.free_symbols}
    return expression.xreplace(names)


# ------------------------------------------------------------------ numbers


def _value(expression):
    """A finite or infinite complex value to `DIGITS` digits, or None."""
    try:
        value = expression.evalf(DIGITS)
        if not value.is_number or value.has(sympy.nan, sympy.zoo):
            return None
        value = sympy.N(value.doit() if not value.is_Atom else value, DIGITS)
        return value if value.is_number and all(part.is_Number for part in value.as_real_imag()) else None
    except (MemoryError, RecursionError):
        raise
    except Exception:  # sympy raises many types on functions it cannot evaluate
        return None


def _near(left, right, a, b):
    """Whether two expressions without symbols, whose values are `a` and `b`, have the same value."""
    if a.has(sympy.oo, -sympy.oo) or b.has(sympy.oo, -sympy.oo):
        return a == b
    size = max(abs(a), abs(b))
    tolerance = sympy.Float("1e-10" if left.has(sympy.Float) or right.has(sympy.Float) else "1e-20")
    if abs(a - b) > tolerance * size and not (size < sympy.Float("1e-25") and (a == 0 or b == 0)):
        return False
    inexact = (sympy.Float, sympy.Sum, sympy.Integral, sympy.Limit, sympy.Product)
    if left.has(*inexact) or right.has(*inexact):
        return True
    difference = left - right
    if difference.is_Rational:  # 5 + 10^{-9999} is not 5
        return difference == 0
    # 2^2008 - 1 and 2^2008 - 2 share 600 digits; a root of 2 and the same with 10^{-25} added share 25
    difference = difference.evalf(15, maxn=1_000 if size < 10**6 else 5_000)
    return bool(abs(difference) < sympy.Float("1e-900" if size < 10**6 else "1e-10"))


def _same_number(left, right, gold, answer):
    a, b = _value(left), _value(right)
    if a is None or b is None:
        return _verify(left, right)
    if _near(left, right, a, b):
        return True
    numbers = read_number(gold.text), read_number(answer.text)
    if a == b or not any(numbers) or not (a.is_finite and b.is_finite and a.is_real and b.is_real):
        return False
    return numbers_close(Fraction(str(a)), Fraction(str(b)), *(number and number.digits for number in numbers))


# ------------------------------------------------------------------ symbols

_STEPS = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.factorial, sympy.binomial)
_PIECES = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.Max, sympy.Min, sympy.Abs, sympy.sign)


def _points(expressions):
    """Sample points, positive ones and others. They are drawn from the two expressions: a pair always sees the same
    ones, in either order, and nobody can write an expression that vanishes at points he knows."""
    symbols = sorted(set().union(*(e.free_symbols for e in expressions)), key=lambda s: s.name)
    draw = random.Random("|".join(sorted(map(str, expressions))))

    def point(*ranges):
        """One number per symbol, each from one of the ranges."""
        return {s: sympy.Rational(draw.randint(*(97 * end for end in draw.choice(ranges))) * 2 + 1, 194) for s in symbols}

    positive = [point((0, 4)) for _ in range(4)]
    mixed = [point((-4, -1)), point((-4, -1), (1, 3)), point((-4, -1), (1, 3))]
    if any(e.has(*_PIECES) for e in expressions):  # pieces may differ far away only
        positive, mixed = positive + [point((500, 900))], mixed + [point((-900, -500))]
    if any(e.has(*_STEPS) for e in expressions):
        whole = [{s: sympy.Integer(n + 3 * i) for i, s in enumerate(symbols)} for n in (2, 3, 4, 5, 7, 8, 9, 16)]
        return whole + positive, []
    return positive, mixed


def _values_at(left, right, points):
    """Both sides at the points where both have a value: [(left, right, value of left, value of right), ...]."""
    sides = [(left.subs(point), right.subs(point)) for point in points]
    found = [(*pair, _value(pair[0]), _value(pair[1])) for pair in sides]
    return [row for row in found if row[2] is not None and row[3] is not None]


def _agreement(left, right):
    """True or False where the sample points decide, None where they do not."""
    positive, mixed = _points([left, right])
    same = [_near(*row) for row in _values_at(left, right, positive)]
    if not all(same) or len(same) < 3:
        return None if all(same) else False
    same_mixed = [_near(*row) for row in _values_at(left, right, mixed)]
    enough = len(same_mixed) >= 2 or not mixed or len(same) == len(positive)
    return True if all(same_mixed) and enough else None


def _same_equation(left, right):
    """Equations are the same when their two sides differ by the same expression up to a constant factor."""
    first, second = (_plain(eq.lhs - eq.rhs) for eq in (left, right))
    if first.free_symbols != second.free_symbols:
        return False
    rows = _values_at(first, second, sum(_points([first, second]), []))
    ratios = [a / b for _left, _right, a, b in rows if a != 0 and b != 0]
    return len(ratios) >= 4 and all(_near(ratio, ratios[0], ratio, ratios[0]) for ratio in ratios[1:])
