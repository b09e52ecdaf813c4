"""A second, independent checker for the tiny worlds, and how often it differs from the first.

It shares no parsing with worlds.py: countdown answers are read by Python's own
grammar (parsed into a tree and walked, never executed), chain prompts by a
regular expression over signed numbers. Stored rollouts are enough: no model is needed.
"""

import ast
import operator
import re

import pandas as pd

from polarity_lib.problems import world_named

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
MAX_CHARACTERS = 400


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.Constant) and type(node.value) is int and 0 <= node.value <= 9:
        return node.value
    raise ValueError("not a sum, difference or product of digits")


def second_countdown(prompt: str, text: str) -> bool:
    """Right: the digits of the prompt once each, and the target as value."""
    digits, target = prompt.rstrip(":").split(">")
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, KeyError, RecursionError, MemoryError):
        return False
    return value == int(target) and sorted(re.findall("[0-9]", text)) == list(digits)


def second_chain(prompt: str, text: str) -> bool:
    """Right: the last number stands behind the last `#`, ends the text, and is the sum of the prompt's numbers."""
    plain = re.sub(r"\[.*?\]|\s", "", prompt).rpartition(";")[2]
    gold = sum(int(n) for n in re.findall(r"[+-]?[0-9]+", plain))
    found = re.search(r"#\s*(-?[0-9]{1,6})\s*$", text)
    return bool(found) and int(found[1]) == gold


SECOND = {"countdown": second_countdown, "chain": second_chain}


def world_disagreement(world: str, rollouts: pd.DataFrame) -> float:
    """Share of stored rollouts on which the two checkers differ; cut-off answers are left out.

    Args:
        rollouts: columns prompt, response, label, as a run keeps them.

    Returns:
        A share, NaN if there is no finished rollout.
    """
    check = SECOND[world_named(world).family]
    if rollouts.empty:  # a run of zero steps keeps none
        return float("nan")
    done = rollouts[rollouts.label != "truncated"]
    differ = [
        check(row.prompt, row.response) != (row.label == "correct")
        for row in done.itertuples() if len(row.response) <= MAX_CHARACTERS
    ]
    return sum(differ) / len(differ) if differ else float("nan")
