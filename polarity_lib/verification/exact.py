r"""Reading an answer exactly, without sympy.

`read` turns the text of an answer into a small tree whose leaves are exact
where the notation is plain: a fraction of whole numbers, a numeral with its base,
a choice letter, words. What is not plain becomes a `Formula`, which only a
computer algebra system can judge (`symbolic.py`, in a guarded process).

Conventions, in the order in which a reader may ask about them:

    10,080  10{,}080  10\,080      thousands separators, when every group has three digits
    \frac12  1/2  \tfrac{1}{2}     fractions;  1\frac12 and "1 1/2" are mixed numbers
    7e37  7\times10^{37}           scientific notation, exponents up to 4,000
    +7  \$36  36\text{ cm}         a plus sign says nothing; units and currency are kept beside the number
    25\%                           25 per hundred: equal to 0.25 and 1/4; see `numbers_equal` for bare 25
    90^\circ  90 degrees           a unit like any other: never converted into radians
    52_8  52_{\text{eight}}        a numeral in a base: digits and base
    1,2  {1,2}  1 and 2  1\pm2     several values without order;  (1,2)  [1,2)  an order and brackets
    x=5  f(x)=x+1  x\in[0,1]       a value with a name
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from .units import read_unit

MAX_DIGITS = 4_000  # of a number that is read exactly; Python itself refuses longer ones
MAX_DEPTH = 30  # of brackets within brackets
MAX_ITEMS = 200  # of a list


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number. `digits` counts significant digits where it was written as a decimal, else None."""

    value: Fraction
    text: str
    digits: int | None = None
    percent: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Based:
    digits: str
    base: int
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    letter: str
    text: str
    content: "Node | None" = None


@dataclass(frozen=True, slots=True)
class Words:
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Several:
    """Values without order: a list, a set, a union of intervals (`kind`)."""

    items: tuple
    text: str
    kind: str = "list"


@dataclass(frozen=True, slots=True)
class Ordered:
    """Values in order between brackets: a point, an interval, a column (brackets "()")."""

    brackets: str
    items: tuple
    text: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix with more than one row and more than one column."""

    rows: tuple
    text: str


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    value: "Node"
    text: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A worked-out equation such as 3+2=5: the value of its last side, if all `sides` are equal."""

    sides: tuple
    text: str


@dataclass(frozen=True, slots=True)
class Formula:
    text: str
    unit: str = ""


Node = Number | Based | Choice | Words | Several | Ordered | Grid | Named | Chain | Formula


# ------------------------------------------------------------------ one notation for many

_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉₊₋"
_ON_THE_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789+-" * 2)
_SYMBOLS = {
    "\u00d7": "\\times ",
    "\u00b7": "\\cdot ",
    "\u22c5": "\\cdot ",
    "\u00f7": "/",
    "\u2215": "/",
    "\u221e": "\\infty ",
    "\u00b0": "^\\circ ",
    "\u222a": "\\cup ",
    "\u2229": "\\cap ",
    "\u2208": "\\in ",
    "\u2264": "\\le ",
    "\u2265": "\\ge ",
    "\u2260": "\\ne ",
    "\u00b1": "\\pm ",
    "\u2213": "\\mp ",
    "\u2248": "\\approx ",
    "\u2211": "\\sum ",
    "\u20ac": "\\text{euros}",
    "\u00a3": "\\text{pounds}",
    "\u2220": "\\angle ",
    "\u2205": "\\emptyset ",
    "\u211d": "\\mathbb{R}",
    "\u3001": ",",
    **dict.fromkeys("\u2212\u2013\u2010\u2011", "-"),
    **dict.fromkeys("\u27e8\u3008", "("),
    **dict.fromkeys("\u27e9\u3009", ")"),
    **dict.fromkeys("\u2032\u2019\u2018", "'"),
    **dict.fromkeys("\u201c\u201d", '"'),
    **{letter: f"\\{unicodedata.name(letter).split()[-1].lower()} " for letter in "αβγδεζηθικλμνξπρστυφχψω"},
}  # what NFKC does not bring into ASCII by itself
_VULGAR = {c: unicodedata.normalize("NFKD", c).split("\u2044") for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒"}
_UNICODE = re.compile(
    "|".join([*map(re.escape, [*_SYMBOLS, *_VULGAR]), f"[{_RAISED}]+", f"[{_LOWERED}]+", "√\\(([^()]*)\\)", "√([0-9]+|[a-zA-Z])"])
)
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def without_zero_width(text: str) -> str:
    """The text without characters of no width: between a minus sign and a number they would hide the sign."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def _from_unicode(match):
    text = match.group()
    if text[0] == "√":
        return "\\sqrt{" + (match.group(1) or match.group(2) or "") + "}"
    if text in _VULGAR:
        return "\\frac{%s}{%s}" % tuple(_VULGAR[text])
    return _SYMBOLS.get(text) or ("^{" if text[0] in _RAISED else "_{") + text.translate(_ON_THE_LINE) + "}"


_WRAPPERS = re.compile(
    r"\\(?:mbox|textrm|textbf|textit|textsf|textnormal|mathrm|mathbf|mathit|mathsf|bf|rm|emph|bold|boldsymbol|operatorname)\s*(?=\{)"
)
_SIMPLE = [
    (
        re.compile(
            r"(?<!\\)\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits|quad|qquad|hfill|,|!|;|:|>|\s)(?![a-zA-Z])"
        ),
        " ",
    ),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:lbrace|\{)"), "\\\\{"),
    (re.compile(r"\\(?:rbrace|\})"), "\\\\}"),
    (re.compile(r"\\(?:langle|lparen)(?![a-z])"), "("),
    (re.compile(r"\\(?:rangle|rparen)(?![a-z])"), ")"),
    (re.compile(r"\\(?:lbrack)(?![a-z])"), "["),
    (re.compile(r"\\(?:rbrack)(?![a-z])"), "]"),
    (re.compile(r"\\leqslant|\\leq(?![a-z])|<=(?!=)"), r"\\le "),
    (re.compile(r"\\geqslant|\\geq(?![a-z])|>=(?!=)"), r"\\ge "),
    (re.compile(r"\\neq(?![a-z])|(?:^|(?<=\s))!="), r"\\ne "),  # n!=120 is about a factorial
    (re.compile(r"\\lt(?![a-z])"), "<"),
    (re.compile(r"\\gt(?![a-z])"), ">"),
    (re.compile(r"\\(?:ldots|dots|cdots)(?![a-z])"), "..."),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![a-z])|\\textdegree(?![a-z])"), r" \\text{degrees} "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\frac\s*([0-9])\s*([0-9])(?![0-9])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*([0-9])\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"\\frac\s*(\{[^{}]*\})\s*([0-9a-zA-Z])"), r"\\frac\1{\2}"),
    (re.compile(r"\\sqrt\s*(\[[0-9a-z]\])?\s*([0-9]|[a-zA-Z](?![a-zA-Z]))"), r"\\sqrt\1{\2}"),
    (re.compile(r"\\(?:exp)\s*\{"), "e^{"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(\\text\s*\{[^{}]*\})|(?<![a-zA-Z\\])pi(?![a-zA-Z])"), lambda m: m[1] or "\\pi "),
    (re.compile(r"\\[dt]?binom\s*([0-9])\s*([0-9])"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\varnothing(?![a-z])|\\\{\s*\\\}|\\text\s*\{\s*(?:the )?empty set\s*\}|^(?:the )?empty set$"), r"\\emptyset "),
    (re.compile(r"^\s*([0-9]{1,3}(?:\s[0-9]{3})+)(?=\s*$|\s+[0-9]+\s*/)"), lambda m: re.sub(r"\s", "", m[1])),
    (re.compile(r"[,;\s]+$"), ""),
    (re.compile(r"([_^])\s*([0-9])\s+(?=[0-9])"), r"\1{\2}"),
    (re.compile(r"~"), " "),
]
_THIN_THOUSANDS = re.compile(r"(?<=\d)(?:\\[,;! ]|~|\u2009|\u202f)+(?=\d{3}(?!\d))")
_COMMA_THIN = re.compile(r"(?<=\d),\s*\\!\s*(?=\d{3}(?!\d))")
_SINGLE_LETTER_TEXT = re.compile(r"\\text\s*\{([a-zA-Z])\}(?=\s*[_^(]|\s*=)|\\text\s*\{([ied])\}")


@lru_cache(maxsize=8192)
def tidy(text: str) -> str:
    """One notation for the many ways of writing the same thing; changes no meaning, and nothing when done twice."""
    for _round in range(6):
        before, text = text, _tidy_once(text)
        if text == before:
            break
    return text


def _tidy_once(text):
    if not text.isascii():
        text = _UNICODE.sub(_from_unicode, without_zero_width(text))
        text = unicodedata.normalize("NFKC", text)
    text = text.strip()
    if _PLAIN_TEXT.fullmatch(text):
        return text
    text = _CONTROL.sub("", text)
    text = _COMMA_THIN.sub(",", text)
    text = _THIN_THOUSANDS.sub("", text)
    text = text.replace("\\$", "\\DOLLAR ").replace("$", " ").replace("\\DOLLAR ", "\\$")
    text = re.sub(r"\\[()\[\]]", " ", text)
    text = _WRAPPERS.sub(r"\\text", text)
    for pattern, replacement in _SIMPLE:
        text = pattern.sub(replacement, text)
    text = _SINGLE_LETTER_TEXT.sub(r"\1\2", text)
    return re.sub(r"(?<!\.)\.$", "", re.sub(r"\s+", " ", text).strip()).rstrip("\\").strip()


_PLAIN_TEXT = re.compile(r"[-+]?[0-9]+(?:/[0-9]+)?|[a-zA-Z]+")

# ------------------------------------------------------------------ numbers

_THOUSANDS = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])"
_DECIMAL = rf"(?:(?:{_THOUSANDS}|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<currency>\\\$)?\s*(?P<sign2>[-+]?)\s*(?:"
    rf"(?P<whole>[0-9]+)\s*\\frac\s*\{{\s*(?P<mtop>[0-9]+)\s*\}}\s*\{{\s*(?P<mbottom>[0-9]+)\s*\}}"
    rf"|(?P<whole2>[0-9]+)\s+(?P<mtop2>[0-9]+)\s*/\s*(?P<mbottom2>[0-9]+)"
    rf"|\\frac\s*\{{\s*(?P<top>[-+]?\s*{_DECIMAL})\s*\}}\s*\{{\s*(?P<bottom>[-+]?\s*{_DECIMAL})\s*\}}"
    rf"|(?P<stop>{_DECIMAL})\s*/\s*\(?\s*(?P<sbottom>[-+]?\s*{_DECIMAL})\s*\)?"
    rf"|(?:(?P<plain>{_DECIMAL})\s*)?(?:\\times|\\cdot|\*|x(?=\s*10\s*\^))?\s*10\s*\^\s*(?:\{{\s*(?P<exp>[-+]?\s*[0-9]{{1,5}})\s*\}}|\(\s*(?P<exp3>[-+]?[0-9]{{1,5}})\s*\)|(?P<exp2>[-+]?[0-9]{{1,5}}))"
    rf"|(?P<decimal>{_DECIMAL})(?:[eE](?P<e>[-+]?[0-9]{{1,5}})(?![0-9]))?"
    rf")"
)
_LIST_LIKE_THOUSANDS = re.compile(rf"{_THOUSANDS}")


def _decimal(text):
    """Exact value and significant digits (None for a whole number) of a decimal."""
    text = text.replace(",", "").replace(" ", "")
    if len(text) > MAX_DIGITS:
        return None
    if "." not in text:
        return Fraction(int(text)), None
    whole, _, part = text.partition(".")
    sign = -1 if whole.startswith("-") else 1
    whole = whole.lstrip("+-")
    value = Fraction(int((whole or "0") + part), 10 ** len(part)) * sign
    return value, max(len((whole + part).lstrip("0")), 1)


def _number_value(m):
    """Value and significant digits of a match of `_NUMBER`, or None where it is not a number after all."""
    if m["whole"] or m["whole2"]:
        whole, top, bottom = (int(m[a] or m[b]) for a, b in (("whole", "whole2"), ("mtop", "mtop2"), ("mbottom", "mbottom2")))
        return (Fraction(whole) + Fraction(top, bottom), None) if bottom else None
    if m["top"] or m["stop"]:
        top, bottom = _decimal(m["top"] or m["stop"]), _decimal(m["bottom"] or m["sbottom"])
        if top is None or bottom is None or bottom[0] == 0:
            return None
        return top[0] / bottom[0], None
    power = m["exp"] or m["exp2"] or m["exp3"] or m["e"]
    mantissa = _decimal(m["plain"] or m["decimal"] or "1")
    if mantissa is None:
        return None
    value, digits = mantissa
    if power is None:
        return value, digits
    power = int(power.replace(" ", ""))
    if abs(power) > MAX_DIGITS:
        return None
    written = (m["plain"] or m["decimal"] or "").replace(",", "").replace(".", "").lstrip("0")
    return value * Fraction(10) ** power, (len(written) or None) if (m["plain"] or m["decimal"]) else None


_PERCENT = re.compile(
    r"^\s*(?:\\?%|\\text\s*\{\s*(?:percent|per cent|pct|\\?%)\s*\}|(?:percent(?:age)?|per cent|pct)\b)\s*(.*)$", re.DOTALL
)
_REPEATING = re.compile(
    r"([-+]?)\s*([0-9]*)\.([0-9]{0,50})(?:\\overline\s*\{?\s*([0-9]{1,50})\s*\}?|\\dot\s*\{?([0-9])\}?|\(([0-9]{1,50})\))"
)
_BINOMIAL = re.compile(
    r"([-+]?)\s*(?:\\binom\s*\{\s*([0-9]{1,4})\s*\}\s*\{\s*([0-9]{1,4})\s*\}"
    r"|C\s*\(\s*([0-9]{1,4})\s*,\s*([0-9]{1,4})\s*\)|(?:\{\})?[_^]\s*\{?([0-9]{1,4})\}?\s*C\s*_\s*\{?([0-9]{1,4})\}?)"
)


def _repeating(text):
    """The exact value of 0.1\\overline{6}, or None."""
    match = _REPEATING.fullmatch(text)
    if not match:
        return None
    once, again = match[3], match[4] or match[5] or match[6]
    value = Fraction(int((match[2] or "0") + once), 10 ** len(once))
    value += Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(once))
    return -value if match[1] == "-" else value


def _binomial(text):
    """The exact value of \\binom{5}{2} or C(5,2), or None."""
    match = _BINOMIAL.fullmatch(text)
    if not match:
        return None
    n, k = (int(digits) for digits in match.groups()[1:] if digits)
    return (-1 if match[1] == "-" else 1) * Fraction(math.comb(n, k))


_INTEGER = re.compile(r"[-+]?[0-9]{1,3000}")


def read_number(text: str) -> Number | None:
    """The number that `text` (already tidy) writes plainly, with its unit, or None."""
    if _INTEGER.fullmatch(text):
        return Number(Fraction(int(text)), text)
    special = _repeating(text) or _binomial(text)
    if special is not None:
        return Number(special, text)
    match = _NUMBER.match(text)
    if match is None or match.end() == 0:
        return None
    found = _number_value(match)
    if found is None:
        return None
    value, digits = found
    if (match["sign"] == "-") != (match["sign2"] == "-"):
        value = -value
    rest = text[match.end() :]
    percent = _PERCENT.match(rest)
    if percent:
        rest = percent[1]
    unit = "dollar" if match["currency"] else ""
    if rest.strip():
        words = read_unit(rest)
        if words is None or (percent and words[0] != 1):
            return None
        value, unit = value * words[0], words[1] or unit
    return Number(value / 100 if percent else value, text, digits, bool(percent), unit)


def number_alone(number: Number) -> str:
    """The text of a number without its currency and unit; a percentage divided by 100."""
    match = _NUMBER.match(number.text)
    if number.percent:
        return f"({match.group()})/100".replace("\\$", "")
    words = read_unit(number.text[match.end() :])
    factor = words[0] if words else 1
    return match.group().replace("\\$", "") + (f"\\cdot {factor}" if factor != 1 else "")


# ------------------------------------------------------------------ words and letters

_SEPARATED_CHOICES = re.compile(r"\(?[A-J]\)?(?:\W*(?:,|;|\band\b|\bor\b)\W*\(?[A-J]\)?)+")
_TEXT_ONLY = re.compile(r"^\\text\s*\{([^{}]*)\}\.?$")
_CHOICE = re.compile(r"^(?:\\text\s*\{)?\s*\(?\s*(?:\\text\s*\{)?\s*\(?\s*([A-J])\s*\)?\s*\}?\s*\)?\s*[.:]?\s*\}?$")
_LABELLED = re.compile(
    r"^(?:\\text\s*\{\s*(?:\(([A-J])\)[.:]?|([A-J])[.:)])\s*\}|\(([A-J])\)|([A-J])[).:])\s*[:.]?\s*(\S.*)$", re.DOTALL
)
# Behind a choice, what names another one or takes it back: then nothing has been chosen.
_UNCHOSEN = re.compile(
    r"^\W*(?i:\\text\s*\{\s*)?(?i:and|or|not|nor|but|to)\b|^\s*[,/&|?]|\([A-J]\)|(?<![A-Za-z\\])[A-J][).:](?!\d)"
    r"|(?:\b(?i:and|or|nor|not|maybe)|[,/&])\W*\(?[A-J]\)?\W*$|\\text\s*\{\W*[A-J]\W*\}|^(?:\\text)?\W*[A-J]\W*$"
    r"|\b(?i:is)\W+(?i:wrong|incorrect|false|not)\b|n't\b"
)
_WORDS = re.compile(r"^[A-Za-z][A-Za-z0-9 .,:;'\"!\-/&]*$")
_NUMBER_WORDS = {
    w: i
    for i, w in enumerate(
        (
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen twenty"
        ).split()
    )
}
_BASES = {w: i for w, i in _NUMBER_WORDS.items() if 2 <= i <= 20}


def words_key(text: str) -> str:
    """What remains of a text answer when case, articles, punctuation and blanks are dropped."""
    text = re.sub(r"\\text\s*", " ", text.lower())
    text = re.sub(r"\b(?:the|a|an)\b(?=\s*\w)", " ", text) if len(text) > 3 else text
    return "".join(ch for ch in text if ch.isalnum() or ch in "+-/:=<>?")


def read_choice(text: str) -> Choice | None:
    """The choice letter that `text` (already tidy) is, or starts with as in "(C) 12"."""
    match = _CHOICE.match(text)
    if match:
        return Choice(match[1], text)
    match = _LABELLED.match(text)
    if match:
        return None if _UNCHOSEN.search(match[5]) else Choice(next(filter(None, match.groups())), text, read(match[5]))
    match = re.match(
        r"^\(([a-j])\)$|^(?:\\text\s*\{\s*)?(?:option|choice|answer)\s*:?\s*\(?([A-Ja-j])\)?\s*\}?$",
        text,
        re.IGNORECASE,
    )
    return Choice((match[1] or match[2]).upper(), text) if match else None


def labelled_choice(text: str) -> Choice | None:
    """`\\text{E} anything` as a choice: how a choice with its content is also set. Only where a choice is asked for."""
    match = re.match(r"^\\text\s*\{\s*([A-J])\s*\}\s*((?![*+/^=<>_!]|-\s)\S.*)$", text, re.DOTALL)
    return Choice(match[1], text) if match and not _UNCHOSEN.search(match[2]) else None


_BASED = re.compile(
    r"^([0-9A-Za-z]+)\s*_\s*(?:\{\s*(?:\\text\s*\{)?\s*\(?\s*([0-9]{1,2}|[a-z]+)\s*\)?\s*\}?\s*\}|\(([0-9]{1,2})\)|([0-9]))$"
    r"|^([0-9A-Z]+)\s*\(?\s*(?:\\text\s*\{)?\s*\(?\s*(?:in )?base[\s-]*([0-9]{1,2}|[a-z]+)\s*\)?\s*\}?\s*\)?$"
)


def _read_based(text):
    match = _BASED.match(text)
    if not match:
        return None
    digits = (match[1] or match[5]).upper().lstrip("0") or "0"
    base = match[2] or match[3] or match[4] or match[6]
    base = int(base) if base.isdigit() else _BASES.get(base, 0)
    if not 2 <= base <= 36 or not digits[0].isdigit() and base <= 10:
        return None
    return Based(digits, base, text) if all(int(ch, 36) < base for ch in digits) else None


# ------------------------------------------------------------------ structure

_SEPARATORS = re.compile(r"\\text\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])|;")
_MATRIX = re.compile(r"^\\begin\s*\{([pbvBV]?matrix|array)\}\s*(?:\{[clr|\s]*\})?(.*)\\end\s*\{\1\}$", re.DOTALL)
_FUNCTION = r"\s*(?:\^\s*\{?-1\}?)?\s*\([^()=]{1,20}\)"
_SUBSCRIPT = r"(?:\s*_\s*(?:\{[^{}]*\}|\w))?"
_NAME = re.compile(
    rf"^(?P<name>\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\)"  # (x, y)
    # x, AB, \angle ABC, S_{10}, f(x)
    rf"|(?:\\(?:angle|triangle|overline|text|vec|hat|bar)\s*)?\{{?[A-Za-z]{{1,4}}'?\}}?{_SUBSCRIPT}(?:{_FUNCTION})?"
    rf"|\\[a-zA-Z]+{_SUBSCRIPT}(?:{_FUNCTION})?"  # \theta_1, \Phi(s)
    rf"|[a-zA-Z](?:\s*[+]\s*[a-zA-Z])+"  # m + n + p
    rf"|[A-Za-z][A-Za-z ]{{2,30}})"  # area of the square
    rf"\s*(?:=|\\in(?![a-z])|(?<=[A-Za-z]{{3}})\s*:)\s*"
)
_RELATION = re.compile(r"(?<![<>!:\\])=|\\le(?![a-z])|\\ge(?![a-z])|<|>|\\ne(?![a-z])")


_BRACKET = re.compile(r"\\.|[()\[\]{}]|[^\\()\[\]{}]", re.DOTALL)


def _pieces(text):
    """Characters, commands' first two characters and brackets of a text, each with its place and the depth around it."""
    depth = 0
    for piece in _BRACKET.finditer(text):
        closes = piece.group() in (")", "]", "}", "\\}")
        depth -= closes
        yield piece.start(), piece.group(), depth
        depth += piece.group() in ("(", "[", "{", "\\{")


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at `separator` outside all brackets. An interval like [1,2) closes what it opened."""
    parts, start = [], 0
    for at, _piece, depth in _pieces(text):
        if depth == 0 and at >= start and text.startswith(separator, at):
            parts.append(text[start:at])
            start = at + len(separator)
    return [*parts, text[start:]]


_ENCLOSING = {"\\{": ("\\}",), "(": (")", "]"), "[": (")", "]"), "{": ("}",)}


def _enclosed(text):
    """Opening bracket, inside, closing bracket, when one pair encloses the whole text."""
    opening = text[:2] if text.startswith("\\{") else text[:1]
    if opening not in _ENCLOSING:
        return None
    at, closing = next(((at, piece) for at, piece, depth in _pieces(text) if at and depth == 0), (0, ""))
    if at + len(closing) != len(text) or closing not in _ENCLOSING[opening]:
        return None
    return opening, text[len(opening) : at].strip(), closing


def read(text: str, depth: int = 0) -> Node:
    """The tree of an answer. Never fails: what it cannot read plainly is a `Formula`."""
    return _read(tidy(text), depth)


@lru_cache(maxsize=8192)
def _read(text, depth):
    number = read_number(text)
    if number is not None:
        return number
    if depth > MAX_DEPTH or not text:
        return Formula(text)
    return _read_text(text) or _read_structure(text, depth) or _read_formula(text)


def _read_text(text):
    if len(text) <= 60:
        found = read_choice(text) or _read_based(text)
        if found:
            return found
    only = _TEXT_ONLY.match(text)
    if only:
        inner = only[1].strip().rstrip(".")
        found = read_number(inner) or _number_word(inner) or _read_text(inner)
        if not found and _SEPARATED_CHOICES.fullmatch(inner):
            return _read_structure(inner, 0)
        return found or (Words(words_key(inner), text) if _WORDS.match(inner) else None)
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    if _number_word(plain):
        return _number_word(plain)
    clock = re.fullmatch(r"\d{1,2}:\d\d(?:\s*[ap]\.?m\.?)?", plain, re.IGNORECASE)
    has_word = re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{4,}", plain) or plain.lower() in ("yes", "no")
    if clock or (has_word and "\\" not in plain and _WORDS.match(plain) and not re.search(r"=|\band\b|\bor\b|,", plain)):
        return Words(words_key(plain), text)
    return None


def _number_word(text):
    value = _NUMBER_WORDS.get(text.strip().lower())
    return None if value is None else Number(Fraction(value), text)


def _read_structure(text, depth):
    either = _either_inequality(text, depth)
    if either:
        return either
    text = _SEPARATORS.sub(",", text)
    text = re.sub(r",(?:\s*,)+", ",", text).strip().strip(",").strip()
    parts = split_top(text)
    if len(parts) > 1:
        return _several([p for p in parts if p.strip()], text, depth)
    matrix = _MATRIX.match(text)
    if matrix:
        return _read_matrix(matrix, text, depth)
    if "\\cup" in text:
        pieces = split_top(text, "\\cup")
        if len(pieces) > 1:
            return Several(tuple(_read(p.strip(), depth + 1) for p in pieces[:MAX_ITEMS]), text, "union")
    enclosed = _enclosed(text)
    if enclosed:
        return _read_enclosed(*enclosed, text, depth)
    return _read_relation(text, depth) or (_plus_minus(text, depth) if "\\pm" in text else None)


_GREEK = re.compile(
    r"\\(?:alpha|beta|gamma|delta|(?:var)?theta|(?:var)?phi|omega|lambda|mu|sigma|tau|rho|(?:var)?epsilon)(?![a-z])"
)
_LETTER = re.compile(r"(?<![a-zA-Z])(?![ei](?![a-zA-Z]))[a-zA-Z]")


def has_letters(text: str) -> bool:
    """Whether a side of an equation holds names of numbers; words, units, functions, pi, e and i are none."""
    if read_number(text) is not None:
        return False
    if re.search(r"\\(?:lim|sum|int|prod)(?![a-z])", text):
        return False  # its letters are bound
    text = _GREEK.sub(" x ", re.sub(r"\\(?:text|begin|end)\s*\{[^{}]*\}", "", text))
    return bool(_LETTER.search(re.sub(r"\\[a-zA-Z]+", " ", text)))


def _read_relation(text, depth):
    """A named value, a worked-out chain such as 3+2=5, an inequality as an interval; other relations stay formulas."""
    before, approximately, after = text.partition("\\approx")
    if has_letters(before.rpartition("=")[2]) and not has_letters(after):
        approximately = ""  # x + 1 \approx 3 is no value of x + 1
    if approximately and before.strip() and not re.fullmatch(r"[\sa-zA-Z]*", before):
        value, rounded = _read(before.strip().rstrip("="), depth + 1), _read(after.strip(), depth + 1)
        exact = value.value if isinstance(value, Named) else value
        far = isinstance(exact, Number) and isinstance(rounded, Number) and not _about(exact.value, rounded.value)
        return Chain((value, rounded), text) if far else value
    name = _NAME.match(text.replace("\\approx", "="))
    name = None if name and _NO_NAME.match(name["name"]) else name
    signs = _RELATION.findall(text)
    sides = [side.strip() for side in _RELATION.split(text)]
    if name and name.end() < len(text) + 1 and len(sides) <= 2 and not _RELATION.search(text[name.end() :]):
        rest = text.replace("\\approx", "=")[name.end() :].strip()
        return Named(_name_key(name["name"]), _read(rest, depth + 1), text) if rest else None
    if len(sides) < 2 or not all(sides):
        return None
    if any(sign != "=" for sign in signs):
        return _read_inequality(sides, signs, text, depth)
    return _read_chain(sides, name, text, depth)


# ln(x) = 5 and "half of x = 5" say what 5 is, but not that the answer is 5.
_NO_NAME = re.compile(
    r"\s*(?:\\(?:pi|infty|emptyset)(?![a-z])\s*$|\\?(?:ln|log|lg|exp|sin|cos|tan|cot|sec|csc|sqrt|abs|min|max|gcd|lcm)(?![a-z])[^a-z]*\("
    r"|.*\b(?:half|twice|double|triple|minus|negative|root|square of|cube of|inverse|reciprocal|opposite|not|no)\b)"
)


def _about(a, b):
    return abs(a - b) * 20 <= max(abs(a), abs(b))


def _name_key(name):
    return re.sub(r"\s|\\text|[{}]", "", name)


_BARE_NAME = re.compile(rf"(?:[a-zA-Z]|\\[a-z]+){_SUBSCRIPT}(?:{_FUNCTION})?")


def _read_chain(sides, name, text, depth):
    """Sides joined by "=". One with letters on its last side is no value, unless it is a name: 5 = x."""
    named = _name_key(name["name"]) if name and _NAME.match(sides[0] + "=") else None
    if has_letters(sides[-1]):
        if not has_letters(sides[0]) and _BARE_NAME.fullmatch(sides[-1]):
            return Named(_name_key(sides[-1]), _chain_of(sides[:-1], text, depth), text)
        if named is None:
            return None
        return Named(named, _chain_of(sides[1:], text, depth), text)
    if len(sides) == 2 and has_letters(sides[0]):
        return None
    value = _chain_of([side for side in sides if not has_letters(side)], text, depth)
    return Named(named, value, text) if named and has_letters(sides[0]) else value


def _chain_of(sides, text, depth):
    nodes = tuple(_read(side, depth + 1) for side in sides[:MAX_ITEMS])
    return nodes[0] if len(nodes) == 1 else Chain(nodes, text)


_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


def _read_inequality(sides, signs, text, depth):
    """x > 3 as the interval (3, oo) named x, -1 < x \\le 2 as (-1, 2]; None where the ends are no plain values."""
    if len(sides) == 2 and not _BARE_NAME.fullmatch(sides[0]):
        sides, signs = sides[::-1], [_FLIPPED.get(signs[0], "")]
    if len(sides) == 3 and signs[0] in (">", "\\ge"):
        sides, signs = sides[::-1], [_FLIPPED.get(sign, "") for sign in signs[::-1]]
    if not set(signs) <= set(_FLIPPED) or len(sides) > 3:
        return None
    variable, ends = sides[len(sides) - 2], [side for i, side in enumerate(sides) if i != len(sides) - 2]
    if not _BARE_NAME.fullmatch(variable) or any(has_letters(end) for end in ends):
        return None
    if len(sides) == 3:
        if not set(signs) <= {"<", "\\le"}:
            return None
        low, high, brackets = *ends, {"<": "(", "\\le": "["}[signs[0]] + {"<": ")", "\\le": "]"}[signs[1]]
        limits = [_read(end, depth + 1) for end in ends]
        if all(isinstance(end, Number) for end in limits) and limits[0].value >= limits[1].value:
            return None  # 2 < x < 1 holds for no x: it is not the point (2, 1)
    elif signs[0] in ("<", "\\le"):
        low, high, brackets = "-\\infty", ends[0], "(" + {"<": ")", "\\le": "]"}[signs[0]]
    else:
        low, high, brackets = ends[0], "\\infty", {">": "(", "\\ge": "["}[signs[0]] + ")"
    interval = Ordered(brackets, (_read(low, depth + 1), _read(high, depth + 1)), f"{brackets[0]}{low},{high}{brackets[1]}")
    return Named(_name_key(variable), interval, text)


_BUILT = re.compile(r"^([a-zA-Z])(?:\s*\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|R))?\s*(?:\||\\mid|:|\\vert)\s*(.*)$", re.DOTALL)


def _read_built_set(inner, depth):
    """The set {x | x > 3} as what its condition says, where that is about x."""
    match = _BUILT.match(inner)
    condition = _read(match[2].strip(), depth + 1) if match else None
    is_set = isinstance(condition, Named) and condition.name == match[1] and isinstance(condition.value, Ordered | Several)
    return condition.value if is_set else None


_OR = re.compile(r"\\text\s*\{\s*,?\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\lor(?![a-z])")


def _either_inequality(text, depth):
    """x < -1 or x > 4 as the union of two intervals named x."""
    pieces = [piece.strip() for piece in _OR.split(text)]
    if len(pieces) < 2 or not all(re.search(r"[<>]|\\[lg]e", piece) for piece in pieces):
        return None
    nodes = [_read(piece.strip(" ,"), depth + 1) for piece in pieces[:MAX_ITEMS]]
    if not all(isinstance(node, Named) and isinstance(node.value, Ordered) and node.name == nodes[0].name for node in nodes):
        return None
    union = Several(tuple(node.value for node in nodes), "\\cup ".join(node.value.text for node in nodes), "union")
    return Named(nodes[0].name, union, text)


def _several(parts, text, depth):
    if len(parts) > MAX_ITEMS:
        return Formula(text)
    items = []
    for part in parts:
        item = _read(part.strip(), depth + 1)
        items.extend(item.items if isinstance(item, Several) and item.kind == "list" else [item])
    return Several(tuple(items), text)


def _plus_minus(text, depth):
    """`a \\pm b` stands for two values. With two signs the reading is unclear: left to the formula."""
    if text.count("\\pm") != 1:
        return None
    return Several((_read(text.replace("\\pm", "+").lstrip("+ "), depth + 1), _read(text.replace("\\pm", "-"), depth + 1)), text)


def _read_matrix(matrix, text, depth):
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix[2]) if row.strip()]
    if len(rows) > MAX_ITEMS:
        return Formula(text)
    cells = tuple(tuple(_read(cell.strip(), depth + 1) for cell in row.split("&")) for row in rows)
    if matrix[1] in ("vmatrix", "Vmatrix") or not cells or len({len(row) for row in cells}) != 1:
        return Formula(text)
    if len(cells[0]) == 1:
        return Ordered("()", tuple(row[0] for row in cells), text)
    return Grid(cells, text)


def _read_enclosed(opening, inner, closing, text, depth):
    parts = [part.strip() for part in split_top(inner)]
    if opening == "\\{":
        built = _read_built_set(inner, depth)
        if built:
            return built
        return (
            _several([p for p in parts if p], text, depth)
            if len(parts) > 1 and "|" not in inner and "\\mid" not in inner and "..." not in inner
            else Formula(text)
        )
    if len(parts) == 1:
        return _read(inner, depth + 1) if opening + closing in ("()", "{}") else Formula(text)
    if opening == "{":
        return _several([p for p in parts if p], text, depth)
    if len(parts) > MAX_ITEMS or not all(parts):
        return Formula(text)
    return Ordered(opening + closing, tuple(_read(part, depth + 1) for part in parts), text)


_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")  # \\sin 60^\\circ: the degrees belong to the angle
_FORMULA_UNIT = re.compile(
    r"^(.*?[^\s\\])\s*((?:\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?[0-9]\}?)?(?:\s*(?:/|\\cdot))?\s*){1,4})$", re.DOTALL
)


def _read_formula(text):
    match = _FORMULA_UNIT.match(text)
    if match and not re.search(r"\\text|=|<|>|\\[lg]e", match[1]) and match[1].count("{") == match[1].count("}"):
        words = read_unit(match[2])
        if words is not None and words[0] == 1 and not (_ANGLE.search(match[1]) and "degree" in words[1]):
            return Formula(match[1].strip(), words[1])
    currency = re.match(r"^\\\$\s*(?=\S)", text)
    return Formula(text[currency.end() :], "dollar") if currency else Formula(text)


def as_list(text: str) -> Several | None:
    """The other reading of "1,234": a list without blanks. None where there is none."""
    text = tidy(text)
    if _LIST_LIKE_THOUSANDS.fullmatch(text.lstrip("+-")):
        return Several(tuple(_read(part, 1) for part in text.split(",")), text)
    return None
