r"""One notation for the many ways of writing the same thing.

`tidy` changes no meaning, and nothing when done twice: Unicode signs become LaTeX commands, commands that
set the same thing become one, what only sets (sizes, blanks, dollars) goes, `\frac12` gets its braces.
"""

import re
import unicodedata
from functools import lru_cache

_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉₊₋"
# What NFKC does not bring into ASCII by itself.
_SYMBOLS = dict(zip(*[iter(r"""
    × \times   · \cdot   ⋅ \cdot    ÷ /      ∕ /     ∞ \infty        ° ^\circ          ∪ \cup    ∩ \cap     ∈ \in
    ≤ \le      ≥ \ge     ≠ \ne      ± \pm    ∓ \mp   ≈ \approx       ∑ \sum            ∠ \angle  ∅ \emptyset
    、 ,       ⟨ (       〈 (       ⟩ )      〉 )    € \text{euros}  £ \text{pounds}   ℝ \mathbb{R}
""".split())] * 2))  # fmt: skip
_SYMBOLS |= dict.fromkeys("\u2212\u2013\u2010\u2011", "-") | dict.fromkeys("′’‘", "'") | dict.fromkeys("“”", '"')
_SYMBOLS |= {letter: "\\" + unicodedata.name(letter).split()[-1].lower() for letter in "αβγδεζηθικμνξπρστυφχψω"}
_SYMBOLS["λ"] = "\\lambda"  # "lamda" in Unicode
_VULGAR = {c: unicodedata.normalize("NFKD", c).split("\u2044") for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒"}
_UNICODE = re.compile(
    "|".join([*map(re.escape, [*_SYMBOLS, *_VULGAR]), f"[{_RAISED}]+", f"[{_LOWERED}]+", "√\\(([^()]*)\\)", "√([0-9]+|[a-zA-Z])"])
)
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200d\u2060\ufeff\u00ad]")

# What a command is replaced by, and the commands; "~" is a blank.
_COMMANDS = {
    command: line.split()[0]
    for line in r"""
    ~ left right displaystyle textstyle limits nolimits quad qquad hfill
    ~ big bigl bigr Big Bigl Bigr bigg biggl biggr Bigg Biggl Biggr
    ~ large Large LARGE huge small normalsize checkmark underline
    : colon
    \mathbb{R} R
    ( langle lparen
    ) rangle rparen
    [ lbrack
    ] rbrack
    \{ lbrace
    \} rbrace
    < lt
    > gt
    ... ldots dots cdots
    \le leq leqslant
    \ge geq geqslant
    \ne neq
    \frac dfrac tfrac cfrac
    \binom dbinom tbinom
    \emptyset varnothing
    \text{degrees} degree textdegree
    """.strip().splitlines()
    for command in line.split()[1:]
}
_COMMAND = re.compile(r"\\(?:\\|([a-zA-Z]+)|[,;!:>\s])")  # a double backslash ends a row of a matrix
_REPLACED = [(re.compile(pattern), replacement) for pattern, replacement in [
    (r"(?<=\d),\s*\\!\s*(?=\d{3}(?!\d))", ","),  # thousands: 10,\!080 and 10\,080
    (r"(?<=\d)(?:\\[,;! ]|~|\u2009|\u202f)+(?=\d{3}(?!\d))", ""),
    (r"\\text\s*\{\s*\\\$\s*\}", r"\\$"),
    (r"(\\\$)|\$|\\[()\[\]]", lambda m: m[1] or " "),
    (r"\\(?:left|right)\s*\.|\\(?:text)?color\s*\{[a-z]*\}", " "),
    (r"\\(?:mbox|text(?:rm|bf|it|sf|normal)|math(?:rm|bf|it|sf)|bf|rm|emph|bold|boldsymbol|operatorname)\s*(?=\{)", r"\\text"),
    (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?", r" \\text{degrees} "),
    (_COMMAND.pattern, lambda m: m[0] if m[0] == "\\\\" else _COMMANDS.get(m[1], m[0]) if m[1] else " "),
    (r"~", " "),
    (r"<=(?!=)", r"\\le "),
    (r">=(?!=)", r"\\ge "),
    (r"(?:^|(?<=\s))!=", r"\\ne "),  # n!=120 is about a factorial
    (r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)", ","),
    (r"\\(frac|binom|sqrt\s*\[[0-9a-z]\]|sqrt)\s*([0-9]|(?<=[\s\]])[a-zA-Z](?![a-zA-Z]))", r"\\\1{\2}"),
    (r"(\\(?:frac|binom)\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
    (r"\\exp\s*\{", "e^{"),
    (r"\*\*", "^"),
    (r"\\text\s*\{\s*[Ii]nfinity\s*\}", r"\\infty "),
    (r"(\\text\s*\{[^{}]*\})|(?<![a-zA-Z\\])(?:(pi)|[Ii]nfinity|inf|oo)(?![a-zA-Z])",
     lambda m: m[1] or ("\\pi " if m[2] else "\\infty ")),
    (r"(?<![a-zA-Z\\])(exp|sqrt|ln|log|sin|cos|tan)(?=\s*\()", r"\\\1"),
    (r"(?<![a-zA-Z\\])sqrt\s*([0-9]+)", r"\\sqrt{\1}"),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\mathbb\s*R(?![a-zA-Z])|^\\text\s*\{all real numbers\}$|^all real numbers$", r"\\mathbb{R}"),
    (r"^(\\text\s*\{(?:euros|pounds)\})\s*([0-9.,]*[0-9])$", r"\2\1"),
    (r"^(?:\\text\s*\{\s*)?Rs\.?\s*\}?\s*([0-9.,]*[0-9])$", r"\1\\text{rupees}"),
    (r"(?<=[0-9])\s*\\Omega(?![a-zA-Z])", r"\\text{ohm}"),
    (r"^\\text\s*\{\s*(?:[Tt]he )?(?:final )?[Aa]nswer\s*(?:is|:)\s*:?\s*\}", ""),
    (r"(?<![a-zA-Z\\])C\(\s*([0-9]{1,4})\s*,\s*([0-9]{1,4})\s*\)", r"\\binom{\1}{\2}"),
    (r"(?<![a-zA-Z0-9}])(?:\{\})?[_^]\{?([0-9]{1,4})\}?\s*C_\{?([0-9]{1,4})\}?", r"\\binom{\1}{\2}"),
    (r"\\\{\s*\\\}|\\text\s*\{\s*(?:the )?empty set\s*\}|^(?:the )?empty set$", r"\\emptyset "),
    (r"^\s*([0-9]{1,3}(?:\s[0-9]{3})+)(?=\s*$|\s+[0-9]+\s*/)", lambda m: re.sub(r"\s", "", m[1])),  # 1 000
    (r"([_^])\s*([0-9])\s+(?=[0-9])", r"\1{\2}"),  # 2^6 3^5
    (r"\\text\s*\{([a-zA-Z])\}(?=\s*[_^(]|\s*=)|\\text\s*\{([ied])\}", r"\1\2"),  # a name or a constant set upright
    (r"\s+", " "),
    (r"[,;\s]+$|(?<!\.)\.$|\\+\s*$", ""),
]]  # fmt: skip
_PLAIN = re.compile(r"[-+]?[0-9]+(?:/[0-9]+)?|(?!(?:pi|[Ii]nfinity|inf|oo)$)[a-zA-Z]+")


def without_unseen(text: str) -> str:
    """The text without characters of no width: between a minus sign and a number they would hide the sign."""
    return _UNSEEN.sub("", text)


def _from_unicode(match):
    text = match.group()
    if text[0] == "√":
        return "\\sqrt{" + (match[1] or match[2] or "") + "}"
    if text in _VULGAR:
        return "\\frac{%s}{%s}" % tuple(_VULGAR[text])
    if text in _SYMBOLS:
        return _SYMBOLS[text] + (" " if _SYMBOLS[text][-1].isalpha() else "")
    return ("^{" if text[0] in _RAISED else "_{") + text + "}"  # NFKC puts the digits on the line


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
        text = unicodedata.normalize("NFKC", _UNICODE.sub(_from_unicode, without_unseen(text)))
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return text
    text = without_unseen(text)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return text.strip()
