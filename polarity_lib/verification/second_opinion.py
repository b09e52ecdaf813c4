r"""A second checker that shares nothing with the first, and where the two differ.

A single checker cannot tell how often it is wrong. This one follows the older tradition of
grading mathematics (the string rules of the MATH data set, the normalisation and sympy step
of the Minerva evaluations), written anew: other rules for finding the answer, other
normalisation, its own reader of LaTeX. What both accept is trustworthy; what one of them accepts
deserves a look. It is a witness, not a judge: rewards come from `verify_math`.

    take       the last box, also inside the thinking if there is nothing after it; else the
               last "answer is ..." or ####; else the last number of the text
    normalise  drop units, degree and percent signs, dollars, blanks, "x=";  a/b becomes \frac{a}{b}
    compare    the same string; numbers within a relative 1e-6; else sympy: simplify(a - b) == 0
"""

import math
import re
from collections.abc import Sequence

from .answers import MAX_ANSWER_CHARACTERS
from .exact import Choice, Named, Number, Ordered, Several, Words, read
from .mathematics import MathVerifier, shared_verifier
from .verdicts import Verdict

# ------------------------------------------------------------------ finding the answer


def _last_box(text):
    openings = [match.end() for match in re.finditer(r"\\(?:boxed|fbox)\{", text)]
    for start in reversed(openings[-500:]):
        depth = 1
        for index in range(start, min(len(text), start + 2 * MAX_ANSWER_CHARACTERS)):
            depth += (text[index] == "{") - (text[index] == "}")
            if depth == 0:
                if text[start:index].strip():
                    return text[start:index]
                break
    return None


def second_answer(response: str) -> str | None:
    """The answer the second checker takes, or None."""
    response = response[-100_000:]
    after = re.split(r"</think>|<\|end_of_thought\|>", response)[-1]
    box = _last_box(after) or _last_box(response)
    if box is not None:
        return box
    text = after if after.strip() else response
    stated = re.findall(r"(?:answer is|answer:|####|^A:)\s*(.+?)(?:\.\s|\.$|\n|$)", text, re.IGNORECASE | re.MULTILINE)
    if stated:
        return stated[-1]
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?", text)
    return numbers[-1].rstrip(",") if numbers else None


# ------------------------------------------------------------------ normalising

_DROP = (
    "\\!",
    "\\,",
    "\\;",
    "\\:",
    "\\ ",
    "\\left",
    "\\right",
    "\\$",
    "$",
    "\\%",
    "%",
    "^\\circ",
    "^{\\circ}",
    "\\displaystyle",
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "\\quad",
)
_UNITS = re.compile(
    r"(?<=.)(?:\\text|\\mbox|\\mathrm)\{\s*(?:[a-z.]+\s*)+\}(?:\^\{?\d\}?)?$|(?<=\d)\s*(?:degrees?|dollars?|cents?|units?|cm|km|mm|inches|feet|meters?|percent|hours?|minutes?|seconds?)$"
)


def normalised(answer: str) -> str:
    """The string that is compared."""
    text = answer.strip().rstrip(".").replace("\u2212", "-").replace("\n", " ")
    text = text.replace("dfrac", "frac").replace("tfrac", "frac").replace("{,}", "")
    text = re.sub(r"^[a-zA-Z](?:\([a-zA-Z]\))?\s*(?:=|\\in)\s*(?=.)", "", text)
    text = _UNITS.sub("", text)
    text = re.sub(r"\\(?:text|mbox|mathrm|textbf)\{([^{}]*)\}", r"\1", text)
    for piece in _DROP:
        text = text.replace(piece, "")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))(?![^(\[]*[)\]])", "", text)
    text = re.sub(r"\s+", "", text)
    text = re.sub(r"frac(\d)(\d)", r"frac{\1}{\2}", text)
    text = re.sub(r"frac(\d)\{", r"frac{\1}{", text)
    text = re.sub(r"frac\{([^{}]*)\}(\d)", r"frac{\1}{\2}", text)
    text = re.sub(r"sqrt(\w)", r"sqrt{\1}", text)
    text = re.sub(r"^(-?\d+)/(\d+)$", r"\\frac{\1}{\2}", text)
    text = re.sub(r"^\((.)\)$", r"\1", text)
    text = re.sub(r"\{\+", "{", text).lstrip("+")
    return re.sub(r"^(-?)\.", r"\g<1>0.", text)


def _number(text):
    fraction = re.fullmatch(r"(-?)\\frac\{(-?\d{1,15})\}\{(\d{1,15})\}", text)
    if fraction and int(fraction[3]):
        return (-1 if fraction[1] else 1) * int(fraction[2]) / int(fraction[3])
    text = re.sub(r"(?:\\times|\\cdot|\*)10\^\{?(-?\d{1,3})\}?$", r"e\1", text)
    return float(text) if re.fullmatch(r"-?\d{1,300}(?:\.\d*)?(?:e-?\d{1,3})?", text) else None


def _as_strings(gold, answer):
    """True or False where strings and numbers decide, None where sympy must."""
    if gold == answer:
        return True
    a, b = _number(gold), _number(answer)
    if a is not None and b is not None:
        whole = re.fullmatch(r"-?\d+", gold) and re.fullmatch(r"-?\d+", answer)
        return int(gold) == int(answer) if whole else math.isclose(a, b, rel_tol=1e-6)
    if re.fullmatch(r"[A-Za-z]{2,}", gold) or re.fullmatch(r"[A-Za-z]{2,}", answer):
        return gold.lower() == answer.lower()
    return None


# ------------------------------------------------------------------ its own reader of LaTeX

_TOKEN = re.compile(r"\\[a-zA-Z]+|\d+\.?\d*|\.\d+|[a-zA-Z]|[-+*/^_!(){}\[\],|]|\\[{}]")


class _Reader:
    """Recursive descent over tokens; builds sympy objects, evaluates nothing. Unknown notation: ValueError."""

    FUNCTIONS = (
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "ln",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "exp",
    )

    def __init__(self, text):
        import sympy

        self.sympy = sympy
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != text or len(self.tokens) > 400:
            raise ValueError("notation not known")
        self.at = 0

    def whole(self):
        value = self.sum()
        if self.at != len(self.tokens):
            raise ValueError("text left over")
        return value

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, expected=None):
        token = self.peek()
        if token is None or (expected is not None and token != expected):
            raise ValueError(f"expected {expected}")
        self.at += 1
        return token

    def sum(self):
        sign = {"-": -1, "+": 1}.get(self.peek())
        if sign is not None:
            self.take()
        value = (sign or 1) * self.product()
        while self.peek() in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self):
        value = self.power()
        while (token := self.peek()) is not None and token not in "+-)}],|" and token not in ("\\}",):
            if token in ("*", "\\cdot", "\\times"):
                self.take()
                value = value * self.power()
            elif token == "/":
                self.take()
                value = value / self.power()
            else:
                value = value * self.power()
        return value

    def power(self):
        base = self.atom()
        while self.peek() in ("^", "!"):
            if self.take() == "!":
                if not (base.is_Integer and 0 <= base <= 500):
                    raise ValueError("factorial out of range")
                base = self.sympy.factorial(base)
            else:
                exponent = self.group() if self.peek() == "{" else self.atom()
                if exponent.is_number and abs(exponent.evalf(5)) > 3_000:
                    raise ValueError("exponent out of range")
                base = base**exponent
        return base

    def group(self):
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def argument(self):
        return self.group() if self.peek() == "{" else self.sympy.Integer(self.digit())

    def digit(self):
        token = self.take()
        if not token.isdigit():
            raise ValueError("a digit or a group was expected")
        return token

    def atom(self):
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if len(token) > 1_000:
                raise ValueError("numeral out of range")
            return self.sympy.Rational(token.rstrip("."))
        if token in "([":
            value = self.sum()
            if self.take() not in ")]":
                raise ValueError("brackets do not match")
            return value
        if token == "{":
            self.at -= 1
            return self.group()
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isalpha():
            return {"i": self.sympy.I, "e": self.sympy.E}.get(token) or self.subscripted(token)
        raise ValueError(f"unexpected {token}")

    def subscripted(self, name):
        if self.peek() == "_":
            self.take()
            start = self.at
            if self.peek() == "{":
                while self.take() != "}":
                    pass
            else:
                self.take()
            name += "_" + "".join(self.tokens[start : self.at]).strip("{}")
        return self.sympy.Symbol(name)

    def command(self, name):
        s = self.sympy
        if name == "frac":
            top = self.argument()
            return top / self.argument()
        if name == "sqrt":
            root = s.Integer(2)
            if self.peek() == "[":
                self.take()
                root = self.sum()
                self.take("]")
            return self.argument() ** (1 / root)
        if name == "pi":
            return s.pi
        if name in self.FUNCTIONS:
            function = getattr(s, {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log"}.get(name, name))
            return function(self.power())
        if name in ("infty",):
            return s.oo
        if name in (
            "alpha",
            "beta",
            "gamma",
            "theta",
            "phi",
            "omega",
            "lambda",
            "mu",
            "sigma",
            "tau",
            "rho",
            "hbar",
            "delta",
        ):
            return self.subscripted(name)
        raise ValueError(f"unknown command {name}")


def symbolically_equal(gold: str, answer: str) -> bool:
    """simplify(gold - answer) == 0, entry by entry for tuples and lists. Runs in a guarded process."""
    left, right = _entries(gold), _entries(answer)
    if len(left[1]) != len(right[1]) or left[0] != right[0]:
        return False
    import sympy

    for a, b in zip(left[1], right[1]):
        if a == b:
            continue
        try:
            difference = _Reader(a).whole() - _Reader(b).whole()
        except (ValueError, ZeroDivisionError, TypeError):
            return False
        if sympy.simplify(difference) != 0:
            return False
    return True


def _entries(text):
    """Brackets and entries; a bare list is sorted as text, the tradition's way with order."""
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and "," in text:
        return text[0] + text[-1], text[1:-1].split(",")
    text = (
        text.replace("\\{", "").replace("\\}", "").replace("and", ",").replace("or", ",")
        if "," in text or "and" in text
        else text
    )
    return "", sorted(text.split(",")) if "," in text else [text]


# ------------------------------------------------------------------ verdicts and the report


def second_verdicts(
    golds: Sequence,
    responses: Sequence[str],
    *,
    truncated: Sequence | None = None,
    verifier: MathVerifier | None = None,
) -> list[Verdict]:
    """The second checker's verdicts, in order: labels as in `verify_math`, sympy in the same guarded processes."""
    verifier = verifier or shared_verifier()
    truncated = [False] * len(golds) if truncated is None else truncated
    cases, pairs = [], set()
    for gold, response, cut in zip(golds, responses, truncated, strict=True):
        gold, response = str(gold), str(response)
        answer = second_answer(response)
        if answer is None or (cut and "\\boxed" not in response):
            cases.append((gold, None, "truncated" if cut else "no_answer"))
            continue
        pair = normalised(gold[:MAX_ANSWER_CHARACTERS]), normalised(answer[:MAX_ANSWER_CHARACTERS])
        decided = _as_strings(*pair) if len(answer) <= MAX_ANSWER_CHARACTERS else False
        if decided is None:
            pairs.add(pair)
        cases.append((gold, answer, pair if decided is None else decided))
    replies = verifier.decide("second", pairs)
    return [_verdict(gold, answer, found, replies) for gold, answer, found in cases]


def _verdict(gold, answer, found, replies):
    if answer is None:
        return Verdict(found, None, gold, "no box, no stated answer, no number")
    if isinstance(found, bool):
        return Verdict("correct" if found else "wrong", answer, gold, "compared as strings and numbers")
    reply = replies[found]
    if "limit" in reply:
        return Verdict("timed_out", answer, gold, reply["limit"])
    return Verdict("correct" if reply["result"] else "wrong", answer, gold, "compared by simplify(a - b)")


def math_verify_alone(
    golds: Sequence, responses: Sequence[str], *, verifier: MathVerifier | None = None
) -> list[Verdict]:
    """Math-Verify as it comes, on the whole response: the baseline that both checkers are measured against.

    Its only help is our guard of time and memory. It reads plain expressions with sympy's `parse_expr`: use it on
    texts you know, not on whatever a policy writes.
    """
    verifier = verifier or shared_verifier()
    pairs = list(zip(map(str, golds), map(str, responses), strict=True))
    replies = verifier.decide("alone", set(pairs))
    verdicts = []
    for gold, response in pairs:
        reply = replies[gold, response]
        label = (
            "timed_out"
            if "limit" in reply
            else "correct"
            if reply["result"]
            else "no_answer"
            if reply.get("empty")
            else "wrong"
        )
        verdicts.append(Verdict(label, None, gold, reply.get("limit", "Math-Verify on the whole response")))
    return verdicts


def answer_kind(gold) -> str:
    """What kind of answer a gold is: the rows of the disagreement report."""
    node = read(str(gold)[:MAX_ANSWER_CHARACTERS])
    while isinstance(node, Named):
        node = node.value
    if isinstance(node, Number):
        if node.percent or node.unit:
            return "number with unit or percent"
        return (
            "whole number"
            if node.value.denominator == 1 and node.digits is None
            else "decimal"
            if node.digits
            else "fraction"
        )
    names = {Choice: "choice", Words: "words", Several: "several values", Ordered: "point or interval"}
    return names.get(type(node), "formula")


def disagreement(
    golds: Sequence,
    responses: Sequence[str],
    *,
    truncated: Sequence | None = None,
    verifier: MathVerifier | None = None,
):
    """Both checkers side by side, one row per response.

    It needs no model, so stored rollouts can be scored again at any time.

    Args:
        golds, responses, truncated: as for `verify_math`.
        verifier: a verifier to use; None for the shared one.

    Returns:
        pandas.DataFrame with `kind` (of the gold), `gold`, `label`, `answer`, `reason`, `second_label`,
        `second_answer`, `second_reason`, `agree` (both correct or neither) and `difference`: "" where they
        agree, else "only first accepts" or "only second accepts". `attrs["rate"]` is the share of rows that differ.
    """
    import pandas as pd

    verifier = verifier or shared_verifier()
    first = verifier.verify(golds, responses, truncated=truncated)
    second = second_verdicts(golds, responses, truncated=truncated, verifier=verifier)
    rows = []
    for gold, one, two in zip(golds, first, second):
        agree = one.is_correct == two.is_correct
        rows.append(
            {
                "kind": answer_kind(gold),
                "gold": str(gold),
                "label": one.label,
                "answer": one.answer,
                "reason": one.reason,
                "second_label": two.label,
                "second_answer": two.answer,
                "second_reason": two.reason,
                "agree": agree,
                "difference": "" if agree else "only first accepts" if one.is_correct else "only second accepts",
            }
        )
    columns = [
        "kind",
        "gold",
        "label",
        "answer",
        "reason",
        "second_label",
        "second_answer",
        "second_reason",
        "agree",
        "difference",
    ]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["rate"] = float((~table["agree"].astype(bool)).mean()) if len(table) else float("nan")
    return table


def disagreement_by_kind(table):
    """How often the checkers differ, by kind of gold answer, with who accepts; last row: all."""
    import pandas as pd

    def row(part):
        return {
            "rows": len(part),
            "only first accepts": int((part["difference"] == "only first accepts").sum()),
            "only second accepts": int((part["difference"] == "only second accepts").sum()),
            "rate": float((~part["agree"].astype(bool)).mean()) if len(part) else float("nan"),
        }

    rows = {kind: row(part) for kind, part in table.groupby("kind", sort=True)}
    return pd.DataFrame({**rows, "all": row(table)}).T
