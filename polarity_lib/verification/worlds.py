"""Exact checkers for the tiny worlds, and step labels for chain.

Nothing in a response is ever executed: expressions are read by a small
parser with a length limit, so hostile text costs microseconds.
"""

import functools
import re
from typing import Callable

from polarity_lib.problems import Problem, any_world
from polarity_lib.problems.real import FAMILY as REAL
from polarity_lib.problems.chain import read_question
from polarity_lib.verification.verdicts import Verdict

MAX_CHARACTERS = 400  # longer responses of these worlds are not answers


class Unreadable(ValueError):
    """Text that is not an expression."""


def evaluate(text: str) -> int:
    """The value of an expression of digits, + - * and parentheses; * binds tighter.

    Every number is a single digit. Shunting-yard, so depth costs no recursion.

    Raises:
        Unreadable: with the position that could not be read.
    """
    rank = {"+": 1, "-": 1, "*": 2}
    values, operators, wants_value = [], [], True

    def reduce_top():
        right, left, op = values.pop(), values.pop(), operators.pop()
        values.append(left + right if op == "+" else left - right if op == "-" else left * right)

    for place, ch in enumerate(text):
        if wants_value and ch in "0123456789":
            values.append(int(ch))
            wants_value = False
        elif wants_value and ch == "(":
            operators.append(ch)
        elif not wants_value and ch in rank:
            while operators and operators[-1] != "(" and rank[operators[-1]] >= rank[ch]:
                reduce_top()
            operators.append(ch)
            wants_value = True
        elif not wants_value and ch == ")" and "(" in operators:
            while operators[-1] != "(":
                reduce_top()
            operators.pop()
        else:
            raise Unreadable(f"{ch!r} at position {place} cannot be read")
    if wants_value or "(" in operators:
        raise Unreadable("the expression is not complete")
    while operators:
        reduce_top()
    return values[0]


@functools.lru_cache(maxsize=1 << 17)
def check_countdown(prompt: str, text: str) -> Verdict:
    """Each digit of the prompt exactly once, and the value is the target."""
    digits, target = prompt.rstrip(":").split(">")
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        return Verdict("no_answer", None, target, "empty" if not text else "too long to be an answer")
    try:
        value = evaluate(text)
    except Unreadable as error:
        return Verdict("no_answer", None, target, f"not an expression: {error}")
    used = "".join(sorted(ch for ch in text if ch.isdigit()))
    if used != digits:
        return Verdict("wrong", text, target, f"uses the digits {used}, not {digits}")
    if value != int(target):
        return Verdict("wrong", text, target, f"equals {value}, not {target}")
    return Verdict("correct", text, target, f"equals {target} and uses each digit once")


@functools.lru_cache(maxsize=1 << 17)
def check_chain(prompt: str, text: str) -> Verdict:
    """The number after the last `#` is the value of the chain."""
    gold = str(sum(read_question(prompt)))
    if len(text) > MAX_CHARACTERS:
        return Verdict("no_answer", None, gold, "too long to be an answer")
    head, mark, answer = text.rpartition("#")
    answer = answer.strip()
    if not mark or not re.fullmatch(r"-?[0-9]{1,6}", answer):
        return Verdict("no_answer", None, gold, "no number after a final #")
    if int(answer) != int(gold):
        return Verdict("wrong", answer, gold, f"{answer} is not {gold}")
    return Verdict("correct", answer, gold, f"equals {gold}")


CHECKERS: dict[str, Callable[[str, str], Verdict]] = {
    "countdown": check_countdown,
    "chain": check_chain,
}


def verify(problems: list[Problem], texts: list[str], finished: list[bool]) -> list[Verdict]:
    """One verdict per response, in order.

    A response that the sampler cut off is `truncated`, whatever stands in it:
    it might have gone on. Later stages count it as wrong, but it stays a
    label of its own. Real mathematics has its own verifier (`verify_math`).
    """
    if problems and any_world(problems[0].world).family == REAL:
        from polarity_lib.verification.mathematics import verify_math

        return verify_math([p.gold for p in problems], texts, truncated=[not done for done in finished])
    verdicts = []
    for problem, text, done in zip(problems, texts, finished, strict=True):
        check = CHECKERS[any_world(problem.world).family]
        verdicts.append(
            check(problem.prompt, text) if done
            else Verdict("truncated", None, problem.gold, "cut off at the length limit")
        )
    return verdicts


def work_of(text: str) -> str:
    """The lines of a chain response: what stands before its last `#`; all of it where none was written."""
    head, mark, _ = text.rpartition("#")
    return head if mark else text


LINE = re.compile(r"(-?[0-9]{1,6})([+-][0-9]{1,6})=(-?[0-9]{1,6})")


def label_steps(prompt: str, text: str) -> list[tuple[str, str]]:
    """Each line of a chain response with its label; `place_steps` says where each stands.

    right      the line the chain asks for, worked out correctly
    wrong      an error made here (also a line nobody can read, as the `6+` of a response that was cut off)
    follows    correct arithmetic on a value that an earlier error left behind
    repaired   a re-check (`?`) that puts an earlier error right

    A last line without anything behind it is judged as it stands: right only if it is whole and true. Whether a response
    should have gone on is no property of its lines.

    Returns:
        [(line, label), ...] in order, of the lines that end within the first `MAX_CHARACTERS`; empty for an answer without work.
    """
    return [(text[start:end], label) for start, end, label in place_steps(prompt, text)]


def place_steps(prompt: str, text: str) -> list[tuple[int, int, str]]:
    """`label_steps` with positions: [(start, end, label), ...], so that `text[start:end]` is the line."""
    terms = read_question(prompt)
    truth = [sum(terms[: i + 1]) for i in range(len(terms))]
    placed, done, value = [], 0, terms[0]  # operations done, value the response carries on
    before = value  # what it carried before the latest operation
    for step in re.finditer(r"(^|[;?])([^;?]+)", work_of(text)):
        if step.end() > MAX_CHARACTERS:  # not the beginning of a line either: `5-4=1` may be that of `5-4=12`
            break
        recheck = step[1] == "?" and done > 0
        index = done if recheck else done + 1
        found = LINE.fullmatch(step[2].strip())
        start = before if recheck else value
        if not found or index >= len(terms):
            placed.append((*step.span(2), "wrong"))
            continue
        a, b, c = (int(x) for x in found.groups())
        sound = b == terms[index] and a + b == c
        if sound and a == truth[index - 1]:
            label = "repaired" if recheck and value != truth[index] else "right"
        else:
            label = "follows" if sound and a == start else "wrong"
        placed.append((*step.span(2), label))
        before, value, done = (before if recheck else value), c, index
    return placed
