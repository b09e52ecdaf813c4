r"""Cutting a reasoning text into steps, and putting it together again exactly.

    steps = split_steps(text)
    "".join(steps) == text        # always, for any text

Step labels, segment advantages and figures need pieces that a reader would call a step, and
positions that still fit the tokens of the text: so nothing is stripped, added or
reordered, and every character belongs to exactly one step.

A step ends

    after a blank line (the usual end of a paragraph of reasoning),
    after a line that ends a thinking part or a solution part,
    before a line that starts a numbered or headed step ("Step 3", "2.", "###", "**Case 1"),
    before a sentence that turns round ("Wait", "But wait", "Alternatively", "Hmm", "Let me check"),

but never inside a code fence, a display formula or a LaTeX environment: they are one piece of
work. Pieces without a letter or digit, and pieces shorter than `min_characters`, join the step before
them (the first joins the one after it).
"""

import re
from dataclasses import dataclass

_TURN = (
    r"(?:But |So |Oh |Hmm,? |No,? )?[Ww]ait\b|Alternatively\b|Hmm\b|"
    r"Let me (?:re)?-?(?:check|verify|think again|double-check|try|reconsider|re-examine)|"
    r"Let's (?:verify|check|confirm|double-check)|Actually,|However, |On second thought|Now,? (?:let|I)|"
    r"Therefore, the (?:final )?answer|(?:\*\*)?Final [Aa]nswer"
)
_BREAK = re.compile(
    r"(?P<paragraph>\n[ \t]*(?:\n[ \t]*)+)"
    r"|(?P<mark></?think(?:ing)?>|<\|(?:begin|end)_of_(?:thought|solution)\|>)"
    rf"|(?P<headed>(?<=\n)(?=[ \t]*(?:#{{1,6}} |\*\*(?:Step|Case)\b|Step \d|Case \d|\d{{1,2}}[.)] )))"
    rf"|(?P<turn>(?:(?<=[.!?] )|(?<=\n))(?={_TURN}))"
)
_PROTECTED_OPEN = re.compile(r"```|\\\[|\$\$|\\begin\{(?P<name>[a-zA-Z*]{1,20})\}")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its text and where it stands, so that `text[start:end]` of the whole is this step."""

    text: str
    start: int
    end: int


def _protected(text):
    """Spans that are not cut: code fences, display formulas, environments. An unclosed one protects nothing."""
    spans, at = [], 0
    missing = set()
    while (opening := _PROTECTED_OPEN.search(text, at)) is not None:
        closing = {"```": "```", "\\[": "\\]", "$$": "$$"}.get(opening.group(), f"\\end{{{opening['name']}}}")
        end = -1 if closing in missing else text.find(closing, opening.end())
        if end < 0:
            missing.add(closing)
            at = opening.end()
            continue
        at = end + len(closing)
        spans.append((opening.start(), at))
    return spans


def _cuts(text):
    """Positions at which a step may end, in order."""
    spans = iter([*_protected(text), (len(text), len(text))])
    start, end = next(spans)
    for found in _BREAK.finditer(text):
        position = (
            found.end()
            if found["paragraph"] or (found["mark"] and ("/" in found["mark"] or "end_" in found["mark"]))
            else found.start()
        )
        while end <= position and end < len(text):
            start, end = next(spans)
        if not start < position < end and 0 < position < len(text):
            yield position


def locate_steps(text: str, min_characters: int = 20) -> list[Step]:
    """The steps of `text` with their positions; see the head of this module for what a step is.

    Args:
        text: any text; the empty text has no steps.
        min_characters: shorter pieces join the step before them. 0 keeps every piece that has a letter or digit.

    Raises:
        ValueError: `min_characters` is negative.
    """
    if min_characters < 0:
        raise ValueError(f"min_characters must not be negative, got {min_characters}")
    edges = [0, *_cuts(text), len(text)]
    steps = []
    for start, end in zip(edges, edges[1:]):
        piece = text[start:end]
        if not piece:
            continue
        small = len(piece.strip()) < max(min_characters, 1) or not _WORD.search(piece)
        if steps and (small or steps[-1][2]):
            steps[-1] = (steps[-1][0], end, steps[-1][2] and small)
        else:
            steps.append((start, end, small))
    return [Step(text[start:end], start, end) for start, end, _small in steps]


def split_steps(text: str, min_characters: int = 20) -> list[str]:
    """The texts of the steps; joining them gives `text` back exactly."""
    return [step.text for step in locate_steps(text, min_characters)]
