r"""Which text of a response is its final answer.

A checker that compares perfectly but reads the wrong place flips polarities
all the same. These are the rules, in the order in which they act:

1. Thinking is not answering. Everything between thinking marks (`<think>`,
   `<|begin_of_thought|>`, ...) is dropped; a closing mark without an opening one drops
   all before it, an opening mark without a closing one drops all after it.
2. The answer ends where the turn ends, at the first end-of-turn token. What a base
   model writes on after its answer without ending the turn still counts: the last answer given wins.
3. What a reader cannot see is not an answer: `\phantom{...}`, comments.
4. The last box that is not empty wins (`\boxed`, `\fbox`, `<answer>`, a line
   starting with `####`). Boxes joined by blanks, commas, "and", "or", names with "="
   are one answer with several values, so a hedge is not accepted for one of its halves.
   A box behind "not" and one with a question mark are no answer. What changes the value of a box is read
   with it (`surroundings.py`).
5. A sentence after the last box that says "the correct answer is ..." (or
   "final", "corrected") and gives a value replaces it.
6. Without a box: the last "the answer is ...", "Answer: ...", "A: ...".
7. Without that: the value that ends the concluding sentence, if the response
   came to its end; a response that is one short line is its own answer.

A response that the sampler cut off (`truncated=True`) is judged by what it had
*completed* before the cut: a closed box, or an answer sentence that goes
on after its value. Otherwise it has no final answer.
"""

import re
from dataclasses import dataclass

from .notation import without_unseen
from .prose import NOT, chosen_letter, concluding_value, corrected_value, one_line, stated_value, without_delimiters
from .surroundings import BRACE, MAX_ANSWER_CHARACTERS, with_surroundings

MAX_CHARACTERS = 100_000  # of the end of a response that is looked at; recorded responses stay below a third of this


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The final answer of a response (`text` is None where there is none) and how it was found."""

    text: str | None
    how: str


# ------------------------------------------------------------------ what is meant to be read

_THINKING = re.compile(
    r"(?P<open><think(?:ing)?>|<\|begin_of_thought\|>|<thought>|<reasoning>|<scratchpad>|\[THINK\])"
    r"|</think(?:ing)?>|<\|end_of_thought\|>|</thought>|</reasoning>|</scratchpad>|\[/THINK\]",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(r"<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>")
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|endoftext|eot_id|end_of_text|end_of_solution|im_start)\|>|</s>|<\uff5cend\u2581of\u2581sentence\uff5c>"
)
_INVISIBLE = re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}|(?m:^[ \t]*%[^\n]*)|<<[^<>\n]*>>")  # the last: calculator marks of GSM8K


def visible_part(response: str) -> tuple[str, bool]:
    """The part of a response that is meant as the answer, and whether thinking was left open."""
    kept, depth, start = [], 0, 0
    for mark in _THINKING.finditer(response):
        if depth == 0 and mark["open"]:
            kept.append(response[start : mark.start()])
        elif depth == 0:
            kept.clear()  # a closing mark without an opening one
        depth = max(depth + (1 if mark["open"] else -1), 0)
        start = mark.end()
    text = _ASSISTANT.split("".join(kept) + (response[start:] if depth == 0 else ""))[-1]
    return text[:1] + _END_OF_TURN.split(text[1:], maxsplit=1)[0], depth > 0


def _without_invisible(text):
    text = without_unseen(text)
    first, *others = text.split("<!--")  # by hand: a pattern would search to the end for every opening without a closing
    if others and "-->" in text:
        text = first + "".join(piece.partition("-->")[2] for piece in others)
    return _INVISIBLE.sub(" ", text)


# ------------------------------------------------------------------ boxes

_BOX = re.compile(
    r"\\(?:boxed|fbox|framebox)\s*(?:(?P<brace>\{)|(?P<word>[0-9.,]*[0-9]|[A-Za-z](?![A-Za-z])))"
    r"|(?P<tag><answer>)|(?m:^[ \t]*####[ \t]*(?P<line>[^\n]*))"
)
_EMPTY = re.compile(r"\\(?:boxed|fbox|quad|qquad|text)(?![a-z])|(?!\\\{\s*\\\})[\s{}\\$.,;~]")
_JOINING = "and|or|either|both|maybe|possibly|perhaps|even|else|also|nor|alternatively|versus|vs|as well as|then"
# Between two boxes of one answer: blanks, delimiters, commas, joining words (also in \text), names with "=", labels.
# No text has two readings here ("1." is a label, never the number of a case with a stop behind it): trying them all would
# double the time with every label.
_JOINT = re.compile(
    rf"(?:[\s~$,;.:&/|+\-<>]|\d+[.)]|\b[a-e][.):]|[\\()\[\]{{}}*]|\\(?:quad|qquad|hspace\{{[^{{}}]*\}})(?![a-z])|\\(?:text|mathrm|mbox|textbf)(?=\s*\{{)"
    rf"|\b(?:{_JOINING}|(?:option|guess|case|answer|value)(?: \d+(?![\d.)]))?)\b|\\(?:lor|land|vee|wedge|cup|mid|hfill)(?![a-z])"
    rf"|[a-zA-Z](?:_\{{?\w+\}}?)?\s*(?:\([a-z]\)\s*)?=)*",
    re.IGNORECASE,
)
_APART = re.compile(r"\n\s*\n")  # a new paragraph, with nothing that joins, begins a new answer
_JOINS = re.compile(rf"[,;]|\b(?:{_JOINING})\b", re.IGNORECASE)
_HEDGES = re.compile(r"\b(?:or|otherwise|else|alternatively|maybe|possibly|perhaps)\b(?! rather)", re.IGNORECASE)
_INFERS = re.compile(  # a new answer takes the place of the one before
    r"[.!?]\s|\n\s*\n|\b(?:so|thus|hence|therefore|but|not|instead|wrong|wait|actually|gives?|get|equals?|answer|correct|result"
    r"|final(?:ly)?)\b",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(r"[\s$\\)\].,*]{0,9}(?:\?|(?:is|would be|was)\s+(?:wrong|incorrect|not|false)\b)")


@dataclass(frozen=True, slots=True)
class _Box:
    text: str
    start: int
    end: int


def _box_at(text, mark):
    """The box that a match of `_BOX` opens, or None where nothing closes it."""
    if mark["tag"]:
        end = text.find("</answer>", mark.end())
        return None if end < 0 else _Box(text[mark.end() : end], mark.start(), end + len("</answer>"))
    if not mark["brace"]:
        return _Box(mark["word"] or mark["line"], mark.start(), mark.end())
    depth = 0
    for brace in BRACE.finditer(text, mark.end() - 1):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return _Box(text[mark.end() : brace.start()], mark.start(), brace.end())
    return None


def _boxes_from_the_end(text):
    """Boxes that hold something, last one first. Bounded: a response made of boxes costs no more than a few scans."""
    budget = 20 * MAX_CHARACTERS
    for mark in reversed(list(_BOX.finditer(text))[-2_000:]):
        box = _box_at(text, mark)
        budget -= (box.end if box else len(text)) - mark.start()
        if budget < 0:
            return
        if box is None or not _EMPTY.sub("", box.text) or _TAKEN_BACK.match(text, box.end):
            continue
        if not NOT.search(text, max(0, box.start - 40), box.start):
            yield box


def _joined(gap):
    """Whether the text between two boxes makes them one answer."""
    if len(gap) > 120:
        return False
    if _JOINT.fullmatch(gap):
        return bool(not _APART.search(gap) or _JOINS.search(gap))
    words = re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}", gap)  # "resp.", "oder", "if even, ... if odd", "for x > 0 and"
    return not _INFERS.search(gap) and bool(_HEDGES.search(gap) or re.search(r"\b(?:if|for|when)\b", gap) or len(words) == 1)


def _last_boxed(text):
    """The last box with the boxes that are joined to it, as one text, and its end; None where there is none."""
    boxes = _boxes_from_the_end(text)
    last = next(boxes, None)
    if last is None:
        return None
    values, first = [with_surroundings(text, last.start, last.end, last.text)], last
    for box in boxes:
        if box.end >= last.end and first is last and len(box.text) <= MAX_ANSWER_CHARACTERS:  # a box around the box
            values, first, last = [re.sub(r"\\(?:boxed|fbox)\s*(?=\{)", "", box.text)], box, box
            continue
        if box.end > first.start or not _joined(text[box.end : first.start]):
            break
        first = box
        value = with_surroundings(text, box.start, box.end, box.text)
        if value not in values:
            values.insert(0, value)
    value = ", ".join(values)
    if text.startswith("<answer>", last.start) and "\\boxed" not in value:
        return stated_value(value, complete=True) or without_delimiters(value), None
    return value, last.end


# ------------------------------------------------------------------ the rule

# The plainest ending, found without the rest: prose without marks, one box with simple content, nothing after it.
_PLAIN = re.compile(
    r"^[^<\\%$]*(?:[=:]|(?!minus|negative)\b[a-z]{2,})\s+(?:\$|\\[(\[])?\s*\\boxed\{([^{}\\]+)\}(?:\$|\\[)\]])?[\s.]*$"
)


def find_answer(response: str, truncated: bool | None = None) -> FinalAnswer:
    """The final answer of a response by the rules at the head of this module.

    Args:
        response: any text; only its last 100,000 characters are looked at, after thinking is dropped.
        truncated: True where the sampler hit its limit; None where that is not known.
    """
    if "\\boxed{" in response and len(response) < 400:
        plain = _PLAIN.search(response)
        before = " ".join(response[: response.index("\\boxed")].split()[-12:])  # the few words that a negation could be among
        if plain and plain[1].strip(" .,;~$") and not NOT.search(before):
            return FinalAnswer(plain[1].strip(), "the last box")
    text, open_thinking = visible_part(response)
    text = _without_invisible(text[-MAX_CHARACTERS:])
    if not text.strip():
        empty = "nothing outside the thinking part" if response.strip() else "the response is empty"
        return FinalAnswer(None, "the thinking part never ended" if open_thinking else empty)
    boxed = _last_boxed(text)
    if boxed:
        value, end = boxed
        corrected = None if end is None else corrected_value(text, end, complete=not truncated)
        if corrected is not None:
            return FinalAnswer(corrected, "a correction after the last box")
        return FinalAnswer(value.strip(), "the answer tag" if end is None else "the last box")
    stated = stated_value(text, complete=not truncated)
    if stated:
        return FinalAnswer(stated, "the last sentence that states an answer")
    if truncated or open_thinking:
        return FinalAnswer(None, "cut off before a final answer" if truncated else "the thinking part never ended")
    for value, how in (
        (chosen_letter(text), "the sentence that calls a choice right"),
        (one_line(text), "the response is one line"),
        (concluding_value(text, ended=truncated is False), "the value that ends the concluding sentence"),
    ):
        if value:
            return FinalAnswer(value, how)
    return FinalAnswer(None, "no box, no stated answer and no concluding value")
