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

from .exact import read_number
from .notation import tidy, without_unseen
from .surroundings import BRACE, with_second_value, with_surroundings
from .units import MULTIPLIERS, read_unit

# Only the end of a very long response is looked at; recorded responses stay below a third of this.
MAX_CHARACTERS = 100_000
# A final answer longer than this is no answer a person would give.
MAX_ANSWER_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The final answer of a response (`text` is None where there is none) and how it was found."""

    text: str | None
    how: str


_THINKING = re.compile(
    r"(?P<open><think(?:ing)?>|<\|begin_of_thought\|>|<thought>|<reasoning>|<scratchpad>|\[THINK\])"
    r"|(?P<close></think(?:ing)?>|<\|end_of_thought\|>|</thought>|</reasoning>|</scratchpad>|\[/THINK\])",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(r"<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>")
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|endoftext|eot_id|end_of_text|end_of_solution|im_start)\|>|</s>|<\uff5cend\u2581of\u2581sentence\uff5c>"
)
_INVISIBLE = re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}|(?m:^[ \t]*%[^\n]*)|<<[^<>\n]*>>")  # the last: calculator marks of GSM8K


def _without_invisible(text):
    text = without_unseen(text)
    pieces = text.split("<!--")  # by hand: a pattern would search to the end for every opening without a closing
    text = pieces[0] + "".join(piece.partition("-->")[2] for piece in pieces[1:]) if len(pieces) > 1 and "-->" in text else text
    return _INVISIBLE.sub(" ", text)


def visible_part(response: str) -> tuple[str, bool]:
    """The part of a response that is meant as the answer, and whether thinking was left open."""
    kept, depth, start = [], 0, 0
    for mark in _THINKING.finditer(response):
        if mark["open"]:
            if depth == 0:
                kept.append(response[start : mark.start()])
            depth += 1
        else:
            if depth == 0:
                kept = []
            depth = max(depth - 1, 0)
        start = mark.end()
    if depth == 0:
        kept.append(response[start:])
    text = "".join(kept)
    turns = list(_ASSISTANT.finditer(text))
    if turns:
        text = text[turns[-1].end() :]
    end = _END_OF_TURN.search(text, pos=min(len(text), 1))
    if end:
        text = text[: end.start()]
    return text, depth > 0


# ------------------------------------------------------------------ boxes

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=\{|[0-9A-Za-z])|<answer>|(?m:^[ \t]*####[ \t]*)")


@dataclass(frozen=True, slots=True)
class _Box:
    text: str
    start: int
    end: int


def _closing_brace(text, start):
    """Index after the brace that closes the one at `start`, or None."""
    depth = 0
    for brace in BRACE.finditer(text, start):
        if brace.group() == "{":
            depth += 1
        elif brace.group() == "}":
            depth -= 1
            if depth == 0:
                return brace.end()
    return None


def _box_at(text, mark):
    opening = mark.group().strip()
    if opening == "<answer>":
        end = text.find("</answer>", mark.end())
        return None if end < 0 else _Box(text[mark.end() : end], mark.start(), end + 9)
    if opening == "####":
        end = text.find("\n", mark.end())
        return _Box(text[mark.end() : end if end >= 0 else len(text)], mark.start(), end if end >= 0 else len(text))
    if mark.end() < len(text) and text[mark.end()] == "{":
        end = _closing_brace(text, mark.end())
        return None if end is None else _Box(text[mark.end() + 1 : end - 1], mark.start(), end)
    word = re.compile(r"\s*([0-9.,]*[0-9]|[A-Za-z](?![A-Za-z]))").match(text, mark.end())
    return _Box(word.group(1), mark.start(), word.end()) if word else None


def _boxes_from_the_end(text):
    """Non-empty boxes, last one first. Bounded: a response made of boxes costs no more than a few scans."""
    budget = 20 * MAX_CHARACTERS
    for mark in reversed(list(_BOX.finditer(text))[-2_000:]):
        box = _box_at(text, mark)
        budget -= (box.end if box else len(text)) - mark.start()
        if budget < 0:
            return
        is_empty = box is None or not (_EMPTY.sub("", box.text) or _EMPTY_SET.search(box.text))
        if not is_empty and not _TAKEN_BACK.match(text, box.end) and not _NOT.search(text, max(0, box.start - 40), box.start):
            yield box


_EMPTY_SET = re.compile(r"\\\{\s*\\\}")
_EMPTY = re.compile(r"\\(?:boxed|fbox|quad|qquad|text)(?![a-z])|[\s{}\\$.,;~]")
_JOINING = "and|or|either|both|maybe|possibly|perhaps|even|else|also|nor|alternatively|versus|vs|as well as|then"
# Between two boxes of one answer: blanks, delimiters, commas, joining words (also in \text), names with "=".
_JOINT = re.compile(
    rf"(?:[\s~$,;.:&/|+\-]|\d+[.)]|[\\()\[\]{{}}*]|\\(?:quad|qquad|hspace\{{[^{{}}]*\}})(?![a-z])|\\(?:text|mathrm|mbox|textbf)(?=\s*\{{)"
    rf"|\b(?:{_JOINING})\b|\\(?:lor|land|vee|wedge|cup)(?![a-z])"
    rf"|[a-zA-Z](?:_\{{?\w+\}}?)?\s*(?:\([a-z]\)\s*)?=)*",
    re.IGNORECASE,
)
_APART = re.compile(r"\n\s*\n")  # a new paragraph, with nothing that joins, begins a new answer
_NOT = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor|\\neq?)(?:\s+(?:be|equal\s+to|equal))?[\s:$\\(\[{]*$", re.IGNORECASE)

_TAKEN_BACK = re.compile(r"[\s$\\)\].,*]{0,9}(?:\?|(?:is|would be|was)\s+(?:wrong|incorrect|not|false)\b)")


def _joined(gap):
    """Whether the text between two boxes makes them one answer."""
    if len(gap) > 120 or not _JOINT.fullmatch(gap):
        return False
    return not _APART.search(gap) or bool(re.search(rf"[,;]|\b(?:{_JOINING})\b", gap, re.IGNORECASE))


def _last_boxed(text):
    """The last box with the boxes that are joined to it, as one text; its end; whether it was a box of its own."""
    boxes = _boxes_from_the_end(text)
    last = next(boxes, None)
    if last is None:
        return None
    values, first = [with_surroundings(text, last.start, last.end, last.text)], last
    for box in boxes:
        if box.end >= last.end and first is last and len(box.text) <= MAX_ANSWER_CHARACTERS:  # a box around the box
            values, first, last = [re.sub(r"\\(?:boxed|fbox)\s*(?=\{)", "", box.text)], box, box
            continue
        gap = text[box.end : first.start]
        if box.end > first.start or not _joined(gap):
            break
        first = box
        value = with_surroundings(text, box.start, box.end, box.text)
        if value not in values:
            values.insert(0, value)
    return ", ".join(values), last.end, text[last.start : last.end].startswith("<answer>")


# ------------------------------------------------------------------ answers in prose

_STATEMENT = re.compile(
    r"(?P<strong>(?:correct(?:ed)?|final|actual|right)\s+answer|correction"
    r"|\b(?:wait|actually|sorry|oops|hmm|mistake)\b[^\n]{0,80}?\b(?:answer(?=\s+(?:is|should|must))|it(?=\s+(?:should|must)\s+be)))"
    r"[\s*_]*(?:is|should\s+be|must\s+be|:|=)[\s*_]*"
    r"|(?:\banswer|(?m:^[ \t]*(?:\*\*)?A(?=[ \t]*:)))[\s*_]*(?:is|should\s+be|must\s+be|:|=|\n)[\s*_:]*"
    r"|\bit(?:'s|\s+is)\s+(?=\(?[A-J]\)?[.!*\s]*\Z)",
    re.IGNORECASE,
)
_CLAUSE = 400  # characters of a sentence that are looked at
_STATEMENTS = 40  # from the end of the response
_HEDGE = re.compile(
    r"^(?:\s|therefore|thus|simply|just|for sure|definitely|certainly|exactly|approximately|about|indeed|still|now|then"
    r"|equal to|given by|option|choice|the (?:final |correct )?answer is|is|:|\*|_|,)+",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<![0-9])[.!?](?=\s|$|\*)(?<!p\.m\.)(?<!a\.m\.)|(?<=[0-9])[.!?](?=\s|$|\*)|\n\s*\n|\n(?=\S)")
_ASIDE = re.compile(
    r",?\s+\b(?:because|since|which|where|as|when|by|for|after|so|but|if|I hope|assuming|using|per the|in total)\b.*$"
    r"|,\s+(?=[a-z]{2,}\s+[a-z]{2,}).*$",
    re.DOTALL,
)
# An aside that names another value.
_ANOTHER = re.compile(r"^(?!.*(?:n't|\bnot\b)).*\b(?:otherwise|else|also|could|might|may|or)\b.*(?:\d|\b[A-J]\b)", re.DOTALL)
_DELIMITERS = re.compile(r"\\\(|\\\)|\\\[|\\\]|\$\$|(?<!\\)\$(?!\d[\d,.]*(?:\s|$|\.))")
_MATH_SPAN = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$([^$]+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_NUMBER = re.compile(
    r"[-+\u2212]?\\?\$?\s?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?(?:/\d+)?(?:\s*\\?%|\s*°)?"
)


def _clause(text, start):
    """The rest of the sentence that begins at `start`, and where it ends."""
    end_of_blanks = min(len(text), start + _CLAUSE)
    while start < end_of_blanks and text[start] in " \t\n*_":
        start += 1
    if text.startswith(("\\[", "$$"), start):
        close = text.find("\\]" if text[start] == "\\" else "$$", start + 2, start + _CLAUSE)
        if close >= 0:
            return text[start : close + 2], close + 2
    limit = min(len(text), start + _CLAUSE)
    end = _SENTENCE_END.search(text[start:limit])
    return (text[start : start + end.start()], start + end.end()) if end else (text[start:limit], limit)


def _value_of_clause(clause):
    """The value a clause names: its one mathematical span, or its words without delimiters and asides."""
    clause = _HEDGE.sub("", clause).strip().strip("*_`\"' ").replace("\\$", "\\DOLLAR")
    if re.match(r"(?:not|never|n't|neither|nor)\b", clause, re.IGNORECASE):
        return ""
    spans = list(_MATH_SPAN.finditer(clause))
    if len(spans) == 1 and not re.match(r"[\w.]", clause):
        value = with_surroundings(clause, *spans[0].span(), _inside(spans[0]))
        return value.replace("\\DOLLAR", "\\$")
    aside = _ASIDE.search(clause)
    clause = (clause if aside and _ANOTHER.search(aside.group()) else _ASIDE.sub("", clause)).replace("\\DOLLAR", "\\$")
    clause = re.sub(r"^(?:[A-Za-z][\w',-]*\s+).*?\b(?:is|are|equals)\s+(?=\S*[0-9\\$(])", "", clause, flags=re.DOTALL)
    value = _unstopped(_DELIMITERS.sub(" ", clause))
    return (_only_value(value) or value) if len(_PROSE.findall(value)) > 3 else value


def _unstopped(text):
    """Without the punctuation that ends a sentence; an ellipsis stays."""
    text = text.strip()
    return text if re.search(r"\.\.\.$|\\[lc]?dots$", text) else text.rstrip(".,;:*! ").strip()


def _inside(span):
    """What a match of `_MATH_SPAN` holds between its delimiters."""
    return _unstopped(next(part for part in span.groups() if part is not None))


def _statements(text, start=0):
    for match in list(_STATEMENT.finditer(text, start))[-_STATEMENTS:]:
        clause, end = _clause(text, match.end())
        value = _value_of_clause(clause)
        if value and len(value) <= 300:
            yield match, value, end


def _looks_like_a_value(value):
    return bool(re.search(r"[0-9\\]", value)) or bool(re.fullmatch(r"\(?[A-J]\)?|[-+\u2212]?[a-zA-Z]", value))


def _stated(text, complete):
    """The last "the answer is ..." with a value; in a cut response only if the text goes on after it."""
    found = None
    for _match, value, end in _statements(text):
        if not complete and end >= len(text):
            continue
        if "\\boxed" in value or value.lower().startswith("the same"):
            continue
        if _looks_like_a_value(value) or len(value.split()) <= 4:
            found = with_second_value(text, end, value), end
    return found


# ------------------------------------------------------------------ conclusions

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|is|are|was|has|have|had|get|gets|gives|equals?|by|with|in total"
    r"|total|will|would|costs?|needs?|earns?|makes?|must)\b|=",
    re.IGNORECASE,
)


def _concluding_value(text):
    """The value that ends the last sentence which has one; None where the text does not come to an end."""
    text = _CODE.sub(" ", text).strip()
    if not text or text[-1] not in ".!?])}$*\u3002":
        return None
    for block in reversed([part for part in re.split(r"\n\s*\n", text[-2_000:]) if part.strip()][-4:]):
        sentences = [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z*])", block.strip()) if s.strip()]
        for sentence in reversed(sentences):
            if not re.search(r"\d|\$|\\\(", sentence):
                continue
            if "\\boxed" in sentence:
                return None  # a box that was no answer, behind "not"
            return _last_value(sentence) if _CONCLUDES.search(sentence) and not sentence.rstrip().endswith("?") else None
    return None


_FACTOR = re.compile(
    rf"\s*-?\s*(?:{'|'.join(MULTIPLIERS)}|pi|squared|cubed|factorial|halves|thirds|quarters|fourths|fifths)\b",
    re.IGNORECASE,
)


_GOES_ON = re.compile(
    r"\s*[\^_*+/<>\\]|\s+and\s+(?:an?|one|two|three|\d+/\d+)\b|\s*!(?=\S)|[a-zA-Z(\[{]|\s+-\s|:\d|\s*=\s*[^\s$]"
)
_BEGAN_BEFORE = re.compile(r"[\^_*+/<>\u00d7]\s*$|[a-zA-Z\\]$|\\[a-z]+\s*$")


def _free_numbers(text):
    """Numbers that stand alone in prose, with a factor behind them; None for one inside a formula (12x) or behind "not"."""
    found = []
    for match in _NUMBER.finditer(text):
        if not match.group().strip():
            continue
        factor = _FACTOR.match(text, match.end())
        number = match.group() + (factor.group() if factor else "")
        before = text[: match.end() - len(match.group().lstrip())]
        after = text[match.start() + len(number) :]
        inside = _GOES_ON.match(after) or _BEGAN_BEFORE.search(before)
        found.append(None if inside or _NOT.search(before) else number.strip())
    return found


def _last_value(sentence):
    spans = list(_MATH_SPAN.finditer(sentence))
    tail = sentence[spans[-1].end() :] if spans else sentence
    numbers = _free_numbers(tail)
    if numbers:
        return numbers[-1]
    if not spans or _NOT.search(sentence[: spans[-1].start()]):
        return None
    return re.split(r"(?<![<>!\\])=|\\approx|\\implies", _inside(spans[-1]))[-1].strip()


_DOUBT = re.compile(
    r"\b(?:not|never|or|nor|maybe|perhaps|possibly|wrong|incorrect|false|cannot|unless|if|between|either|neither|than|least|most"
    r"|approximately|about|around|over|under|above|below|except|but|and|up to|to|half|halved|twice"
    r"|doubled?|tripled?|squared?|cubed?|root|power|minus|negative|exceeds?)\b|n't|\?",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^.*\b(?:is|are|was|be|get|gets|equals?|gives?|have|has|answer|result|solution|so|thus|hence|therefore)\b[\s:]*"
    r"|^.*:\s",
    re.IGNORECASE | re.DOTALL,
)
_PROSE = re.compile(r"(?<![\\a-zA-Z])[A-Za-z]{3,}")


def _one_line(text):
    """A response that is one short line is its own answer; prose around one value yields the value."""
    line = re.sub(r"(\\\[|\$\$)\s+|\s+(?=\\\]|\$\$)", r"\1", text.strip())  # a display on lines of its own
    if not line or "\n" in line or len(line) > 200 or not re.search(r"\w", line):
        return None
    if re.search(r"\\(?:boxed|fbox)", line):
        return None
    span = _MATH_SPAN.fullmatch(line.rstrip("."))
    plain = _inside(span) if span else _unstopped(_DELIMITERS.sub(" ", line))
    if read_number(tidy(plain)):
        return plain
    words = _PROSE.findall(re.sub(r"\\text\s*\{[^{}]*\}", "", plain))
    if len(words) > 1 or (words and re.search(r"[0-9\\]", plain)):
        return _only_value(line)
    plain = plain.lstrip("= ")
    return plain if len(line.split()) <= 3 or re.search(r"[0-9\\]", line) else None


def _only_value(line):
    """The value in a line of prose, where there is exactly one and nothing doubts it."""
    if _DOUBT.search(re.sub(r"\\[a-zA-Z]+", "", line)):
        return None
    spans = list(_MATH_SPAN.finditer(line))
    around = _MATH_SPAN.sub(" ", line)
    if spans:
        return _inside(spans[0]) if len(spans) == 1 and not re.search(r"\d", around) else None
    tail = _DELIMITERS.sub(" ", _LEAD.sub("", line)).strip(" .*")
    words = re.match(r"[-+]?[\d.,/]+(?=\s*[a-zA-Z])", tail)
    if re.search(r"[0-9\\]", tail) and (not _PROSE.search(tail) or words and read_unit(tail[words.end() :])):
        return tail if not re.search(r"\d", line[: len(line) - len(_LEAD.sub("", line))]) else None
    numbers = _free_numbers(line)
    return numbers[0] if len(numbers) == 1 and "\\" not in line else None


# ------------------------------------------------------------------ the rule


def find_answer(response: str, truncated: bool | None = None) -> FinalAnswer:
    """The final answer of a response by the rules at the head of this module.

    Args:
        response: any text; only its last 100,000 characters are looked at, after thinking is dropped.
        truncated: True where the sampler hit its limit; None where that is not known.
    """
    if "\\boxed{" in response and len(response) < 400:
        plain = _PLAIN.search(response)
        if plain and plain[1].strip(" .,;~$") and not _NOT.search(response[: response.index("\\boxed")]):
            return FinalAnswer(plain[1].strip(), "the last box")
    text, open_thinking = visible_part(response)
    text = _without_invisible(text[-MAX_CHARACTERS:])
    if not text.strip():
        empty = "nothing outside the thinking part" if response.strip() else "the response is empty"
        return FinalAnswer(None, "the thinking part never ended" if open_thinking else empty)
    boxed = _last_boxed(text)
    if boxed:
        return _boxed_or_corrected(text, *boxed, complete=not truncated)
    stated = _stated(text, complete=not truncated)
    if stated:
        return FinalAnswer(stated[0], "the last sentence that states an answer")
    if truncated or open_thinking:
        return FinalAnswer(None, "cut off before a final answer" if truncated else "the thinking part never ended")
    line = _one_line(text)
    if line:
        return FinalAnswer(line, "the response is one line")
    value = _concluding_value(text)
    if value:
        return FinalAnswer(value, "the value that ends the concluding sentence")
    return FinalAnswer(None, "no box, no stated answer and no concluding value")


# The plainest ending, found without the rest: prose without marks, one box with simple content, nothing after it.
_PLAIN = re.compile(
    r"^[^<\\%$]*(?:[=:]|(?!minus|negative)\b[a-z]{2,})\s+(?:\$|\\[(\[])?\s*\\boxed\{([^{}\\]+)\}(?:\$|\\[)\]])?[\s.]*$"
)


def _boxed_or_corrected(text, value, end, is_tag, complete):
    if is_tag and "\\boxed" not in value:
        stated = _stated(value, complete=True)
        value = stated[0] if stated else _DELIMITERS.sub(" ", value)
        return FinalAnswer(value.strip(), "the answer tag")
    corrected = None
    for match, other, stop in _statements(text, end):
        if match["strong"] and (complete or stop < len(text)) and _looks_like_a_value(other):
            corrected = other
    if corrected is not None:
        return FinalAnswer(corrected, "a correction after the last box")
    return FinalAnswer(value.strip(), "the last box")
