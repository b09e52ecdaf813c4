r"""Reading an answer exactly, without sympy.

`read` turns the text of an answer into a small tree whose leaves are exact where the notation is plain: a
fraction of whole numbers, a choice letter, words. What is not plain becomes a `Formula`, which only a
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
    x>3  -1<x\le2  \{x|x>3\}       an interval with a name
    3+2=5                          a chain: its last side, if its sides are equal
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from .notation import tidy
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
    bare: str = ""  # the text without currency, unit and percent sign, where it has one of these


@dataclass(frozen=True, slots=True)
class Words:
    """Words, a time of day, a numeral in a base: equal where `key` is."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    letter: str
    text: str
    content: "Node | None" = None


@dataclass(frozen=True, slots=True)
class Several:
    """Values without order: a list or a set."""

    items: tuple
    text: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """Values in order between brackets: a point, an interval, a column (brackets "()"), a matrix or a row of one ("|")."""

    brackets: str
    items: tuple
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


Node = Number | Words | Choice | Several | Ordered | Named | Chain | Formula


# ------------------------------------------------------------------ numbers

_DECIMAL = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_FRACTION = re.compile(rf"\\frac\s*\{{\s*([-+]?\s*{_DECIMAL})\s*\}}\s*\{{\s*([-+]?\s*{_DECIMAL})\s*\}}")
_EXPONENT = r"\^\s*(?:\{{\s*(?P<{0}>[-+]?\s*[0-9]{{1,5}})\s*\}}|\(?\s*(?P<{0}_>[-+]?[0-9]{{1,5}})\)?)"
_NUMBER = re.compile(
    rf"""(?P<sign>[-+]?)\s*(?:(?P<currency>\\\$)\s*)?(?:(?P<sign2>[-+])\s*)?(?:
        (?:(?P<whole>[0-9]+)\s+(?=[0-9]+\s*/\s*[0-9]+(?![.,]?[0-9])))?
            (?P<top>{_DECIMAL})\s*/\s*\(?\s*(?P<bottom>[-+]?\s*{_DECIMAL})\s*\)?
        |10\s*{_EXPONENT.format("tens")}
        |(?P<decimal>{_DECIMAL})(?:\s*(?:\\times|\\cdot|\*|x)\s*10\s*{_EXPONENT.format("power")}|[eE](?P<e>[-+]?[0-9]{{1,5}})(?![0-9]))?
    )""",
    re.VERBOSE,
)
_PERCENT = re.compile(
    r"^\s*(?:\\?%|\\text\s*\{\s*(?:percent|per cent|pct|\\?%)\s*\}|(?:percent(?:age)?|per cent|pct)\b)\s*(.*)$", re.DOTALL
)
_REPEATING = re.compile(
    r"([-+]?)\s*([0-9]*)\.([0-9]{0,50})(?:\\overline\s*\{?\s*([0-9]{1,50})\s*\}?|\\dot\s*\{?([0-9])\}?|\(([0-9]{1,50})\))"
)


def _decimal(text):
    """Exact value and significant digits (None for a whole number) of a decimal; None where it is too long."""
    text = re.sub(r"[,\s]", "", text)
    if len(text) > MAX_DIGITS:
        return None
    return Fraction(text), max(len(re.sub(r"[-+.]", "", text).lstrip("0")), 1) if "." in text else None


def _value(m):
    """Value and significant digits of a match of `_NUMBER`, or None where it is not a number after all."""
    if m["top"]:
        top, bottom = _decimal(m["top"]), _decimal(m["bottom"])
        return (int(m["whole"] or 0) + top[0] / bottom[0], None) if top and bottom and bottom[0] else None
    power = int((m["tens"] or m["tens_"] or m["power"] or m["power_"] or m["e"] or "0").replace(" ", ""))
    found = _decimal(m["decimal"] or "1")
    if found is None or abs(power) > MAX_DIGITS:
        return None
    value, digits = found
    if m["power"] or m["power_"] or m["e"]:  # all digits of a mantissa are meant
        digits = len(re.sub(r"[,.]", "", m["decimal"]).lstrip("0")) or None
    return value * Fraction(10) ** power, digits


def _repeating(text):
    """The exact value of 0.1\\overline{6}, or None."""
    match = _REPEATING.fullmatch(text)
    if not match:
        return None
    once, again = match[3], match[4] or match[5] or match[6]
    value = Fraction(int((match[2] or "0") + once), 10 ** len(once))
    value += Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(once))
    return -value if match[1] == "-" else value


def read_number(text: str) -> Number | None:
    """The number that `text` (already tidy) writes plainly, with its unit, or None."""
    repeating = _repeating(text)
    if repeating is not None:
        return Number(repeating, text)
    plain = _FRACTION.sub(r" \1/\2", text, count=1)
    match = _NUMBER.match(plain.lstrip())
    found = _value(match) if match else None
    if found is None:
        return None
    value, digits = found
    if (match["sign"] == "-") != (match["sign2"] == "-"):
        value = -value
    rest = plain.lstrip()[match.end() :]
    percent = _PERCENT.match(rest)
    if percent:
        rest = percent[1]
    factor, unit = 1, "dollar" if match["currency"] else ""
    if rest.strip():
        words = read_unit(rest)
        if words is None or (percent and words[0] != 1):
            return None
        factor, unit = words[0], words[1] or unit
    factor = Fraction(1, 100) if percent else factor
    if not (unit or percent or factor != 1):
        return Number(value, text, digits)
    value *= factor
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_DIGITS * math.log2(10):
        return None
    bare = f"({match.group()})\\cdot {factor}".replace("\\$", "") if digits else f"{value}"
    return Number(value, text, digits, bool(percent), unit, bare)


# ------------------------------------------------------------------ words and letters

_UPRIGHT = re.compile(r"\\text\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"(?:[(\[]*\s*([A-J])\s*[)\]]*\s*[.:]?|\(([a-j])\)|(?i:option|choice|answer)\s*:?\s*\(?([A-Ja-j])\)?)\s*")
_LABELLED = re.compile(
    r"(?:\\text\s*\{\s*(?:\(([A-J])\)[.:]?|([A-J])[.:)])\s*\}|\(([A-J])\)|([A-J])[).:])\s*[:.]?\s*(\S.*)", re.DOTALL
)
# A separator is looked for ahead and then read over as a whole, so that a run of them is read in one way only.
_SEPARATED_CHOICES = re.compile(r"\(?[A-J](?:(?=\W*[,;]|\W+(?:and|or)\b)\W+(?:(?:and|or)\W+)?[A-J])+\)?")
# Behind a choice, what names another one or takes it back: then nothing has been chosen.
_UNCHOSEN = re.compile(
    r"^\W*(?i:\\text\s*\{\s*)?(?i:and|or|not|nor|but|to)\b|^\s*[,/&|?]|\([A-J]\)|(?<![A-Za-z\\])[A-J][).:](?!\d)"
    r"|(?:\b(?i:and|or|nor|not|maybe)|[,/&])\W*\(?[A-J]\)?\W*$"
    r"|(?:\b(?i:or|maybe)\b|,)[\s}]*[A-J] [-+\d\\]|\\text\s*\{\W*[A-J]\W*\}|^(?:\\text)?\W*[A-J]\W*$"
    r"|\b(?i:is)\W+(?i:wrong|incorrect|false|not)\b|n't\b"
)
_BASED = re.compile(  # 52_8, 52_{\text{eight}}, 52 (base 8)
    r"([0-9A-Za-z]+)\s*(?:_|[(\s]*(?:\\text)?[{(\s]*(?:in )?base[\s-])[{(\s]*(?:\\text)?[{(\s]*([0-9]{1,2}|[a-z]+)[)}\s]*"
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 .,:;'\"!\-/&]*")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?:\s*[ap]\.?m\.?)?", re.IGNORECASE)
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()


def words_key(text: str) -> str:
    """What remains of a text answer when case, articles, punctuation and blanks are dropped."""
    text = re.sub(r"^there (?:is|are) (?=no )|(?<=solution)s$", "", re.sub(r"[{}\\.]|\\text\s*", " ", text.lower()).strip())
    text = re.sub(r"\b(?:the|a|an)\b(?=\s*\w)", " ", text) if len(text) > 3 else text
    return "".join(ch for ch in text if ch.isalnum() or ch in "+-/:=<>?")


def _read_choice(text, plain):
    """The choice letter that a text is, or starts with as in "(C) 12"."""
    match = _CHOICE.fullmatch(plain)
    if match:
        return Choice(next(filter(None, match.groups())).upper(), text)
    match = _LABELLED.match(text) or _LABELLED.match(plain)
    if not match or _UNCHOSEN.search(match[5]):
        return None
    return Choice(next(filter(None, match.groups())), text, read(match[5]))


def labelled_choice(text: str) -> Choice | None:
    """`\\text{E} anything` or `e` as a choice: how a choice is also set. Only where a choice is asked for."""
    if re.fullmatch("[a-j]", text):
        return Choice(text.upper(), text)
    match = re.match(r"^\\text\s*\{\s*([A-J])\s*\}\s*((?![*+/^=<>_!]|-\s)\S.*)$", text, re.DOTALL)
    return Choice(match[1], text) if match and not _UNCHOSEN.search(match[2]) else None


def _read_based(text):
    match = _BASED.fullmatch(text)
    if not match:
        return None
    digits, base = match[1].upper().lstrip("0") or "0", match[2]
    base = int(base) if base.isdigit() else _NUMBER_WORDS.index(base) if base in _NUMBER_WORDS else 0
    is_numeral = 2 <= base <= 36 and all(int(digit, 36) < base for digit in digits)
    return Words(f"{digits} in base {base}", text) if is_numeral else None


def _read_words(text, depth):
    """Choices, numerals in a base, words; None where the text is mathematics."""
    plain = _UPRIGHT.sub(r"\1", text).strip()
    if plain.lower() in _NUMBER_WORDS:
        return Number(Fraction(_NUMBER_WORDS.index(plain.lower())), text)
    found = (_read_choice(text, plain) or _read_based(text)) if len(text) <= 60 else None
    if found:
        return found
    upright = _UPRIGHT.fullmatch(text.removesuffix("."))
    if upright:
        plain = plain.rstrip(".")
        if _SEPARATED_CHOICES.fullmatch(plain):
            return _read_structure(plain, depth)
        is_words = _WORDS.fullmatch(plain) or _CLOCK.fullmatch(plain)
        return read_number(plain) or (Words(words_key(plain), text) if is_words else None)
    has_word = re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{4,}", plain) or plain.lower() in ("yes", "no")
    is_words = has_word and _WORDS.fullmatch(plain) and not re.search(r"\\|=|\band\b|\bor\b|,", plain)
    return Words(words_key(plain), text) if is_words or _CLOCK.fullmatch(plain) else None


# ------------------------------------------------------------------ structure

_SEPARATORS = re.compile(
    r"\\text\s*\{\s*(?:,?\s*(?:and|or|\\?&)\s*,?|,)\s*\}|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])|;|\\&|\\lor(?![a-z])"
)
_OR = re.compile(r"\\text\s*\{\s*,?\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\lor(?![a-z])")
_MATRIX = re.compile(r"\\begin\s*\{([pbvBV]?matrix|array)\}\s*(?:\{[clr|\s]*\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_BUILT = re.compile(r"([a-zA-Z])(?:\s*\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|R))?\s*(?:\||\\mid|:|\\vert)\s*(.*)", re.DOTALL)
_BRACKET = re.compile(r"\\.|[()\[\]{}]|[^\\()\[\]{}]", re.DOTALL)
_ENCLOSING = {"\\{": ("\\}",), "(": (")", "]"), "[": (")", "]"), "{": ("}",)}


def _pieces(text):
    """Characters, commands' first two characters and brackets of a text, each with its place and the depth around it."""
    depth = 0
    for piece in _BRACKET.finditer(text):
        depth -= piece.group() in (")", "]", "}", "\\}")
        yield piece.start(), piece.group(), depth
        depth += piece.group() in _ENCLOSING


def _split_top(text, separator=","):
    """Split at `separator` outside all brackets. An interval like [1,2) closes what it opened."""
    parts, start = [], 0
    for at, _piece, depth in _pieces(text):
        if depth == 0 and at >= start and text.startswith(separator, at):
            parts.append(text[start:at].strip())
            start = at + len(separator)
    return [*parts, text[start:].strip()]


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
    return _read_words(text, depth) or _read_structure(text, depth) or _read_formula(text)


def _read_all(texts, depth):
    return tuple(_read(text.strip(), depth + 1) for text in texts[:MAX_ITEMS])


def _read_structure(text, depth):
    pieces = [piece.strip(" ,") for piece in _OR.split(text)]
    if len(pieces) > 1 and all(re.search(r"[<>]|\\[lg]e", piece) for piece in pieces):
        nodes = _read_all(pieces, depth)  # x < -1 or x > 4 as the union of two intervals named x
        if all(isinstance(node, Named) and isinstance(node.value, Ordered) and node.name == nodes[0].name for node in nodes):
            return Named(nodes[0].name, Formula("\\cup ".join(node.value.text for node in nodes)), text)
    text = re.sub(r",(?:\s*,)+", ",", _SEPARATORS.sub(",", text)).strip(" ,")
    parts = _split_top(text)
    if len(parts) > 1:
        return _several(parts, text, depth)
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return _read_matrix(matrix, text, depth)
    if len(_split_top(text, "\\cup")) > 1:
        return Formula(text)
    return _read_enclosed(text, depth) or _read_relation(text, depth) or _plus_minus(text, depth)


def _several(parts, text, depth):
    parts = [part for part in parts if part]
    if len(parts) > MAX_ITEMS:
        return Formula(text)
    items = []
    for item in _read_all(parts, depth):
        items.extend(item.items if isinstance(item, Several) else [item])
    return Several(tuple(items), text)


def _plus_minus(text, depth):
    """`a \\pm b` stands for two values. With two signs the reading is unclear: left to the formula."""
    if text.count("\\pm") != 1:
        return None
    return Several(_read_all([text.replace("\\pm", "+").lstrip("+ "), text.replace("\\pm", "-")], depth), text)


def _read_matrix(matrix, text, depth):
    rows = [row.split("&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix[2]) if row.strip()]
    if not 0 < len(rows) <= MAX_ITEMS or matrix[1] in ("vmatrix", "Vmatrix") or len({len(row) for row in rows}) != 1:
        return Formula(text)
    if len(rows[0]) == 1:
        return Ordered("()", _read_all([row[0] for row in rows], depth), text)
    return Ordered("|", tuple(Ordered("|", _read_all(row, depth), "&".join(row)) for row in rows), text)


def _read_enclosed(text, depth):
    """What stands between one pair of brackets around the whole text, if there is one."""
    opening = text[:2] if text.startswith("\\{") else text[:1]
    at, closing = next(((at, piece) for at, piece, depth_ in _pieces(text) if at and depth_ == 0), (0, ""))
    if at + len(closing) != len(text) or closing not in _ENCLOSING.get(opening, ()):
        return None
    inner = text[len(opening) : at].strip()
    parts, brackets = _split_top(inner), opening + closing
    if opening == "\\{":
        built = _BUILT.fullmatch(inner)
        says = _read(built[2].strip(), depth + 1) if built else None  # {x | x > 3} is what its condition says of x
        if isinstance(says, Named) and says.name == built[1]:
            if isinstance(says.value, Ordered) or "\\cup" in says.value.text:
                return says.value
        return _several(parts, text, depth) if len(parts) > 1 and not re.search(r"\||\\mid|\.\.\.", inner) else Formula(text)
    if len(parts) == 1:
        return _read(inner, depth + 1) if brackets in ("()", "{}") else Formula(text)
    if opening == "{":
        return _several(parts, text, depth)
    return Ordered(brackets, _read_all(parts, depth), text) if all(parts) and len(parts) <= MAX_ITEMS else Formula(text)


# ------------------------------------------------------------------ relations

_SUBSCRIPT = r"(?:\s*_\s*(?:\{[^{}]*\}|\w))?"
_FUNCTION = r"(?:\s*(?:\^\s*\{?-1\}?)?\s*\([^()=]{1,20}\))?"
_NAME = re.compile(
    rf"(?P<name>\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\)"  # (x, y)
    # x, AB, \angle ABC, S_{10}, f(x)
    rf"|\|[A-Z]\||(?:m\s*(?=\\angle))?(?:\\(?:angle|triangle|overline|text|vec|hat|bar)\s*)?\{{?[A-Za-z]{{1,4}}'?\}}?{_SUBSCRIPT}{_FUNCTION}"
    rf"|\\[a-zA-Z]+{_SUBSCRIPT}{_FUNCTION}"  # \theta_1, \Phi(s)
    rf"|[a-zA-Z](?:\s*[+]\s*[a-zA-Z])+"  # m + n + p
    rf"|[A-Za-z][A-Za-z ]{{2,30}})"  # area of the square
    rf"\s*(?:=|\\in(?![a-z])|(?<=[A-Za-z]{{3}})\s*:)\s*"
)
# ln(x) = 5 and "half of x = 5" say what 5 is, but not that the answer is 5.
_NO_NAME = re.compile(
    r"\s*(?:\\(?:pi|infty|emptyset)(?![a-z])\s*$|\\?(?:ln|log|lg|exp|sin|cos|tan|cot|sec|csc|sqrt|abs|min|max|gcd|lcm)(?![a-z])[^a-z]*\("
    r"|.*\b(?:half|twice|double|triple|minus|negative|root|square of|cube of|inverse|reciprocal|opposite|not|no)\b)"
)
_BARE_NAME = re.compile(rf"(?:[a-zA-Z]|\\[a-z]+){_SUBSCRIPT}{_FUNCTION}")
_RELATION = re.compile(r"(?<![<>!:\\])=|\\le(?![a-z])|\\ge(?![a-z])|<|>|\\ne(?![a-z])")
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_GREEK = re.compile(
    r"\\(?:alpha|beta|gamma|delta|(?:var)?theta|(?:var)?phi|omega|lambda|mu|sigma|tau|rho|(?:var)?epsilon)(?![a-z])"
)
_LETTER = re.compile(r"(?<![a-zA-Z])(?![ei](?![a-zA-Z]))[a-zA-Z]")


def _has_letters(text):
    """Whether a side of an equation holds names of numbers; words, units, functions, pi, e, i and bound letters are none."""
    if read_number(text) is not None or re.search(r"\\(?:lim|sum|int|prod)(?![a-z])", text):
        return False
    text = _GREEK.sub(" x ", re.sub(r"\\(?:text|begin|end)\s*\{[^{}]*\}", "", text))
    return bool(_LETTER.search(re.sub(r"\\[a-zA-Z]+", " ", text)))


def _read_relation(text, depth):
    """A named value, a worked-out chain such as 3+2=5, an inequality as an interval; other relations stay formulas."""
    before, rounds, after = text.partition("\\approx")
    is_value = _has_letters(after) or not _has_letters(before.rpartition("=")[2])
    if rounds and is_value and not re.fullmatch(r"[\sa-zA-Z]*", before):
        return _read_rounded(before, after, text, depth)
    plain = text.replace("\\approx", "=")
    signs, sides = _RELATION.findall(plain), [side.strip() for side in _RELATION.split(plain)]
    match = _NAME.match(plain)
    name = _name_key(match["name"]) if match and not _NO_NAME.match(match["name"]) else None
    if name and len(sides) <= 2 and not _RELATION.search(plain, match.end()):
        rest = plain[match.end() :].strip()
        return Named(name, _read(rest, depth + 1), text) if rest else None
    if len(sides) < 2 or not all(sides) or (rounds and len(sides) == 2):  # x + 1 \approx 3 is no value of x + 1
        return None
    if any(sign != "=" for sign in signs):
        return _read_inequality(sides, signs, text, depth)
    return _read_chain(sides, name if name and _NAME.match(sides[0] + "=") else None, text, depth)


def _read_rounded(before, after, text, depth):
    """12/7 \\approx 1.714 is 12/7, unless the numbers are further apart than any rounding."""
    value, rounded = _read_all([before.strip().rstrip("="), after], depth)
    exact = value.value if isinstance(value, Named) else value
    both = isinstance(exact, Number) and isinstance(rounded, Number)
    far = both and abs(exact.value - rounded.value) * 20 > max(abs(exact.value), abs(rounded.value))
    return Chain((value, rounded), text) if far else value


def _name_key(name):
    return re.sub(r"\s|\\text|[{}]", "", name)


def _read_chain(sides, name, text, depth):
    """Sides joined by "=". One with letters on its last side is no value, unless it is a name: 5 = x."""

    def chain_of(sides):
        nodes = _read_all(sides, depth)
        return nodes[0] if len(nodes) == 1 else Chain(nodes, text)

    if _has_letters(sides[-1]):
        if not _has_letters(sides[0]) and _BARE_NAME.fullmatch(sides[-1]):
            return Named(_name_key(sides[-1]), chain_of(sides[:-1]), text)
        return Named(name, chain_of(sides[1:]), text) if name else None
    if len(sides) == 2 and _has_letters(sides[0]):
        return None
    value = chain_of([side for side in sides if not _has_letters(side)])
    return Named(name, value, text) if name and _has_letters(sides[0]) else value


def _read_inequality(sides, signs, text, depth):
    """x > 3 as the interval (3, oo) named x, -1 < x \\le 2 as (-1, 2]; None where the ends are no plain values."""
    if signs[0] in (">", "\\ge"):
        sides, signs = sides[::-1], [_FLIPPED.get(sign, "") for sign in reversed(signs)]
    if len(sides) == 2:
        name_first = _BARE_NAME.fullmatch(sides[0])
        sides, signs = (["-\\infty", *sides], ["<", *signs]) if name_first else ([*sides, "\\infty"], [*signs, "<"])
    low, variable, high = sides if len(sides) == 3 else ("", "", "")
    if not set(signs) <= {"<", "\\le"} or not _BARE_NAME.fullmatch(variable) or _has_letters(low) or _has_letters(high):
        return None
    ends = _read_all([low, high], depth)
    if all(isinstance(end, Number) for end in ends) and ends[0].value >= ends[1].value:
        return None  # 2 < x < 1 holds for no x: it is not the point (2, 1)
    brackets = "(["[signs[0] == "\\le"] + ")]"[signs[1] == "\\le"]
    return Named(_name_key(variable), Ordered(brackets, ends, f"{brackets[0]}{low},{high}{brackets[1]}"), text)


# ------------------------------------------------------------------ formulas

_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")  # \\sin 60^\\circ: the degrees belong to the angle
_FORMULA_UNIT = re.compile(
    r"(.*?[^\s\\])\s*((?:\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?[0-9]\}?)?(?:\s*(?:/|\\cdot))?\s*){1,4})", re.DOTALL
)


def _read_formula(text):
    match = _FORMULA_UNIT.fullmatch(text)
    if match and not re.search(r"\\text|=|<|>|\\[lg]e", match[1]) and match[1].count("{") == match[1].count("}"):
        words = read_unit(match[2])
        if words is not None and words[0] == 1 and not (_ANGLE.search(match[1]) and "degree" in words[1]):
            return Formula(match[1].strip(), words[1])
    currency = re.match(r"\\\$\s*(?=\S)", text)
    return Formula(text[currency.end() :], "dollar") if currency else Formula(text)


def as_list(text: str) -> Several | None:
    """The other reading of "1,234": a list without blanks. None where there is none."""
    text = tidy(text)
    is_list = re.fullmatch(r"[-+]?[0-9]{1,3}(?:,[1-9][0-9]{2})+", text)  # 1,000 is no list of 1 and 0
    return Several(_read_all(text.split(","), 0), text) if is_list else None
