r"""What stands at a box and changes its value is read with it.

    -\boxed{5}   x > \boxed{5}   2\boxed{5}   \frac{1}{\boxed{5}}   \boxed{5}^2   the formula around it
    \boxed{5} million   \boxed{5}\%   \boxed{5}\text{ km}   \boxed{5} or more     a factor or a unit behind it
    \boxed{5} or 6      The answer is A. Or B.                                    a second value behind an answer

A box inside a formula takes everything up to the next `=`, comma or end of the formula, if an operator, a number or a
letter touches it. In prose it must touch (`-\boxed{5}`; a dash with a blank is a dash), and of the words before
it only "minus" and "negative" count: "at least \boxed{5}" is how people answer.
"""

import re

from .exact import Number, read
from .notation import tidy
from .units import MULTIPLIERS, read_unit

MAX_ANSWER_CHARACTERS = 2_000  # of a final answer: a longer one is none that a person would give
_NEAR = 200  # characters on either side of a box that are looked at
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_OPERATOR = r"[+*/^_<>\u00b1\u00d7\u00b7]|\\(?:pm|mp|cdot|times|div|leq?|geq?|lt|gt|ast)(?![a-z])"
_CONSTANT = r"\\(?:pi|sqrt|frac|alpha|beta|gamma|theta|lambda|phi|omega)(?![a-z])"
# Where the formula that holds a box begins and ends. In prose every word is such a place.
_CUT = (
    r"\\f?boxed(?:\s*\{(?:[^{}]|\{[^{}]*\})*\})?|=|[:,;&\n$]|\.(?!\d)|\\\\|\\[()\[\]]"
    r"|\\(?:approx|equiv|sim|cong|to|in|implies|iff|therefore|because|bmod|pmod|mod|[A-Za-z]*[Rr]ightarrow)(?![a-z])"
    r"|\\(?:begin|end|text[a-z]*|mbox|mathrm|hspace|color)\s*\{[^{}]*\}(?:\{[^{}]*\})?"
)
_FORMULA_CUT, _PROSE_CUT = re.compile(_CUT), re.compile(rf"{_CUT}|(?<![\\a-zA-Z])[A-Za-z]{{2,}}|[!?]")
_STYLE = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|large|Large|huge|bf|q?quad|[,;!:> ])(?![a-z])|(?<!\\)[ \t~]"
    r"|\\(?:textbf|mathbf|underline|boldsymbol)\s*(?=\{)"
)
_OPENS_DELIMITER = re.compile(r"(?:\$\$?|\\[(\[])\s*$")
# How a text before a box ends that belongs to it, and how one behind it begins; in a formula and in prose.
_ENDS_OPEN = re.compile(rf"(?:{_OPERATOR}|-|{_CONSTANT}|(?<![a-zA-Z\\])[a-zA-Z]|[0-9]\.?|[)}}])$")
_ENDS_OPEN_IN_PROSE = re.compile(
    rf"(?:(?<=\S)\s*(?<!\*)(?:{_OPERATOR})\s*|(?<![a-zA-Z]{{2}})[-\u2212]|(?<![\s(])[0-9.]*[0-9])$"
)
_GOES_ON = re.compile(
    rf"\s*(?:{_OPERATOR}|-|{_CONSTANT}|\\?%|\u00b0|!|\.?[0-9]|[a-zA-Z](?![a-zA-Z])|\((?!\\?[a-z]{{2}}))"
)
_GOES_ON_IN_PROSE = re.compile(
    rf"[0-9^]|\.[0-9]|\s*(?:\\?%|\u00b0|(?!\*\*)(?:{_OPERATOR})\s*[\w\\($]|{_CONSTANT})|\s?-[\w\\]|[a-zA-Z](?![a-zA-Z])"
)
_SIGN_WORD = re.compile(r"\b(?:minus|negative)\s+$", re.IGNORECASE)
# A word behind a number that changes it.
FACTOR = re.compile(
    rf"\s*(?:-\s*)?(?:{'|'.join(MULTIPLIERS)}|percent|per cent|pi|squared|cubed|factorial|halves|thirds|quarters|fourths|fifths"
    r"|or (?:more|less|so|fewer|greater|higher|lower|above|over)|and (?:a|one) (?:half|third|quarter)"
    r"|(?:plus|minus|times|over|divided by|multiplied by) [0-9]+)\b",
    re.IGNORECASE,
)
_UNIT_BEHIND = re.compile(r"\s*(?:\\(?:text|mathrm|mbox|textbf|textrm)\s*\{[^{}]*\}(?:\s*\^\s*\{?[0-9]\}?)?\s*)+(?!\s*\\f?boxed)")
_CHANGES = re.compile(r"\{\s*(?:or|and|to|plus|minus|times|half|squared|cubed|factorial)\b")
_VALUE = (
    r"(?P<value>[-+]?[0-9][0-9.,/]*|\(?[A-J]\)?(?![\w'])|[-+]?\\(?:sqrt|frac)\s*\{?[^\s$]{1,40}"
    r"|(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)\b)[\s$)}*]*(?:\\[)\]])?(?:[.,;!?\n]|$)"
)
_OTHER = r"or|no|nope|but|maybe|perhaps|possibly|otherwise|else|alternatively|actually|wait|also|\\lor|\\text\s*\{\s*or\s*\}"
_SECOND_VALUE = re.compile(
    rf"(?:[\s$)*]|\\[)\]])*(?:[,.;?!(\-\u2014]+\s*)?(?:\b(?:if|when|for)\b[^.;!?\n]{{0,60}}?(?=\b(?:otherwise|else|but)\b))?(?:(?:{_OTHER})\b(?:[\s,]*:)*"
    rf"(?:{_OTHER}|rather|even|it is|it's|it could be|it might be|it may be|the answer is"
    rf"|[a-z]\s*=|\\text(?:bf)?\s*\{{|[\s,$\\({{*])*"
    rf"|(?<=[\w)}}$]), ?|and )\$?{_VALUE}",
    re.IGNORECASE,
)


def with_surroundings(text: str, start: int, end: int, value: str) -> str:
    """What a box (or a formula in a sentence) at `text[start:end]` says, together with what stands at it."""
    formula, value = _in_formula(text, start), value.strip()
    before, after = (_STYLE.sub(" ", part) for part in (text[max(0, start - _NEAR) : start], text[end : end + _NEAR]))
    prefix = _before(before, formula)
    suffix = _behind(after, formula, missing=prefix.count("{") - prefix.count("}"))
    if _SIGN_WORD.search(_OPENS_DELIMITER.sub("", before)):
        prefix = "-" + prefix
    prefix += " " if re.search(r"\\[a-z]+$", prefix) else ""
    if prefix or suffix:
        touched = re.search(r"\d$", prefix) or re.match(r"\.?\d", suffix)  # 2\boxed{5} is not 25
        is_plain = re.fullmatch(r"[\w.,/]+|\\frac\{\d+\}\{\d+\}", value)
        apart = " " if touched and re.fullmatch(r"[\d.,]+", value) else ""
        value = value if apart or is_plain and not touched else f"({value})"
        value = f"{prefix}{apart}{value}{apart}{suffix}"
    return with_second_value(text, end, value)


def with_second_value(text: str, end: int, value: str) -> str:
    """`5` as "5 or 6" where the text goes on with "or 6"; a value that repeats it within two per cent says nothing new."""
    second = _SECOND_VALUE.match(text, end, min(len(text), end + _NEAR))
    if second is None:
        return value
    other = second["value"].rstrip(".,")
    if len(value) > MAX_ANSWER_CHARACTERS:  # no answer; reading it may take the square of its length
        return f"{value} \\text{{ or }} {other}"
    one, two = (read(part) for part in (value, other))
    numbers = isinstance(one, Number) and isinstance(two, Number)
    repeats = abs(one.value - two.value) * 50 <= abs(one.value) if numbers else tidy(value) == tidy(other)
    return value if repeats else f"{value} \\text{{ or }} {other}"


def _in_formula(text, at):
    """Whether a position is inside a formula: dollars, brackets, braces or an environment are still open there."""
    before = text[max(0, at - 2_000) : at]
    pairs = (("\\[", "\\]"), ("\\(", "\\)"), ("\\begin{", "\\end{"))
    if any(before.rfind(opening) > before.rfind(closing) for opening, closing in pairs) or before.count("$$") % 2:
        return True
    line = before[before.rfind("\n") + 1 :].replace("$$", "")
    return (line.count("$") - line.count("\\$")) % 2 == 1 or line.count("{") > line.count("}")


def _before(before, formula):
    """The part of a formula that stands before a box and changes its value; "" where nothing does."""
    if not formula or _OPENS_DELIMITER.search(before):  # -$\boxed{5}$
        before, formula = _OPENS_DELIMITER.sub("", before), False
        if not _ENDS_OPEN_IN_PROSE.search(before):
            return ""
    *_others, cut = (None, *(_FORMULA_CUT if formula else _PROSE_CUT).finditer(before))
    if cut and "boxed" in cut.group():
        return ""  # between two boxes: they are joined or apart
    part = before[cut.end() if cut else 0 :].strip()
    part = re.sub(r"(?<=[-+*/\d])\s*\($", "", part)  # -(\boxed{5}): the bracket only groups
    return part if part.count("{") > part.count("}") or not formula or _ENDS_OPEN.search(part) else ""


def _behind(after, formula, missing):
    """What stands behind a box and changes its value; `missing` braces of the part before it end there in any case."""
    rest, depth = after, missing
    for brace in BRACE.finditer(after):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth < 0:
            rest = after[: brace.start()]
            break
    cut = (_FORMULA_CUT if formula else _PROSE_CUT).search(rest)
    rest = rest[: cut.start() if cut else None]
    if missing > 0 or (_GOES_ON if formula else _GOES_ON_IN_PROSE).match(rest):
        return rest.rstrip()
    unit = _UNIT_BEHIND.match(after)
    if unit and (_CHANGES.search(unit.group()) or read_unit(unit.group()) is not None):
        return unit.group().rstrip()
    word = FACTOR.match(re.sub(r"^(?:[\s$]|\\[)\]]|\*\*)+", " ", after))
    return word.group() if word else ""
