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
    if re.search(r"(?<![\\a-z_])[0-9]\s*_|(?<![_^])[0-9]\s+[0-9]|\\approx", text):
        return None  # the grammar would drop the base of 52_8, read 1 2 as twelve, and x \approx 3 as x
    text = _ANGLE_IN_DEGREES.sub(r"\\\1{(\2\\cdot\\frac{\\pi}{180})}", text)
    text = text.replace("\\text{degrees}", "\\cdot\\frac{\\pi}{180}")
    text = re.sub(r"\\text\s*\{\s*([a-zA-Z])\s*\}", r"\1", text)
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
    seed(0)  # sympy samples in places
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
    if not _equals(*(_with_symbols(side, positive=True) for side in (left, right))):
        return False
    is_plain = left.free_symbols == right.free_symbols and not left.has(*_PIECES) and not right.has(*_PIECES)
    return is_plain or bool(_equals(*(_with_symbols(side, real=True) for side in (left, right)))) or _verify(left, right)


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
    if expression.has(sympy.Float):
        expression = sympy.nsimplify(expression, rational=True)  # decimals are exact
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


def _same_number(left, right, gold, answer):
    same = True if left == right else _equals(left, right)
    if same is not False:
        return bool(same) or _verify(left, right)
    numbers = read_number(gold.text), read_number(answer.text)
    values = [_value(side) for side in (left, right)]
    if not any(numbers) or not all(value is not None and value.is_finite and value.is_real for value in values):
        return False
    return numbers_close(*(Fraction(str(value)) for value in values), *(number and number.digits for number in numbers))


# ------------------------------------------------------------------ symbols


_PIECES = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.Max, sympy.Min, sympy.Abs, sympy.sign)


def _with_symbols(expression, **assumption):
    return expression.xreplace({symbol: sympy.Symbol(symbol.name, **assumption) for symbol in expression.free_symbols})


def _equals(left, right):
    """sympy's own test, symbolic and numerical: True, False, or None where it cannot tell."""
    try:
        return left.equals(right)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # sympy raises many types on functions it cannot evaluate
        return None


def _same_equation(left, right):
    """Equations are the same when their two sides differ by the same expression up to a constant factor."""
    first, second = (_plain(eq.lhs - eq.rhs) for eq in (left, right))
    if first.free_symbols != second.free_symbols or second == 0:
        return False
    return sympy.simplify(first / second).is_constant() is True
