r"""Which value a sentence names.

    the answer is $\frac{1}{2}$ because ...       a statement: the last one that gives a value
    It costs 5 dollars. So she pays 15 dollars.   a conclusion: the value that ends the last sentence that has one
    The result is -3.5                            a short line: its only value, where nothing doubts it
"""

import re

from .exact import read_number
from .notation import tidy
from .surroundings import FACTOR, with_second_value, with_surroundings
from .units import read_unit

_CLAUSE = 400  # characters of a sentence that are looked at
_STATEMENTS = 40  # from the end of the response

NOT = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor|\\neq?)(?:\s+(?:be|equal\s+to|equal))?[\s:$\\(\[{]*$", re.IGNORECASE)
_DELIMITERS = re.compile(r"\\\(|\\\)|\\\[|\\\]|\$\$|(?<!\\)\$(?!\d[\d,.]*(?:\s|$|\.))")
_SPAN = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\.|[^$\\])+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_NUMBER = re.compile(
    r"[-+\u2212]?\\?\$?\s?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?(?:/\d+)?(?:\s*\\?%|\s*°)?"
)
# How a text goes on, or began, where the number in it is a part of something: 12x, 3 + 5, 2^5, 5 and a half.
_GOES_ON = re.compile(
    r"\s*[\^_*+/<>\\]|\s+and\s+(?:an?|one|two|three|\d+/\d+)\b|\s*!(?=\S)|[a-zA-Z(\[{]|\s+-\s|:\d|\s*=\s*[^\s$]"
)
_BEGAN = re.compile(r"[\^_*+/<>\u00d7]\s*$|[a-zA-Z\\]$|\\[a-z]+\s*$")
_PROSE = re.compile(r"(?<![\\a-zA-Z])[A-Za-z]{3,}")


def without_delimiters(text: str) -> str:
    """A text without dollars and brackets of formulas, and without the punctuation that ends a sentence."""
    return _unstopped(re.sub(r"(?<![\d!)}])!+\s*$", "", _DELIMITERS.sub(" ", text)))


def _unstopped(text, marks=".,;:* "):
    text = text.strip()
    return text if re.search(r"\.\.\.$|\\[lc]?dots$", text) else text.rstrip(marks).strip()  # an ellipsis stays


def _inside(span):
    return _unstopped(next(part for part in span.groups() if part is not None))  # here "!" is a factorial


def _free_numbers(text):
    """Numbers that stand alone in prose, with a factor behind them; None for one inside a formula or behind "not"."""
    found = []
    for match in _NUMBER.finditer(text):
        if not match.group().strip():
            continue
        factor = FACTOR.match(text, match.end())
        end = factor.end() if factor else match.end()
        before = text[: match.end() - len(match.group().lstrip())]
        is_part = _GOES_ON.match(text, end) or _BEGAN.search(before) or NOT.search(before)
        found.append(None if is_part else text[match.start() : end].strip())
    return found


def looks_like_a_value(value: str) -> bool:
    """Whether a text holds a digit or a command, or is one letter."""
    return bool(re.search(r"[0-9\\]", value) or re.fullmatch(r"\(?[A-J]\)?|[-+\u2212]?[a-zA-Z]", value))


# ------------------------------------------------------------------ statements

_STATEMENT = re.compile(
    r"(?P<strong>(?:correct(?:ed)?|final|actual|right)\s+answer|correction"
    r"|\b(?:wait|actually|sorry|oops|hmm|mistake)\b[^\n]{0,80}?\b(?:answer(?=\s+(?:is|should|must))|it(?=\s+(?:should|must)\s+be)))"
    r"[\s*_]*(?:is|should\s+be|must\s+be|:|=)[\s*_]*"
    r"|(?:\b(?:answer|(?:correct|right|best)\s+(?:option|choice))|(?m:^[ \t]*(?:\*\*)?A(?=[ \t]*:)))[\s*_]*"
    r"(?:is|(?:should|must|would|turns out to)\s+be|comes out to|:|=|\n)[\s*_:]*"
    r"|\bit(?:'s|\s+is)\s+(?=\(?[A-J]\)?[.!*\s]*\Z)",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"^(?:\s|therefore|thus|simply|just|for sure|definitely|certainly|exactly|approximately|about|indeed|still|now|then"
    r"|equal to|given by|option|choice|the (?:final |correct )?answer is|is|:|\*|_|,)+",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$|\*)(?<!p\.m\.)(?<!a\.m\.)|\n\s*\n|\n(?=\S)")
_ASIDE = re.compile(
    r",?\s+\b(?:because|since|which|where|as|when|by|for|after|so|but|if|I hope|assuming|using|per the|in total)\b.*$"
    r"|,\s+(?=[a-z]{2,}\s+[a-z]{2,}).*$",
    re.DOTALL,
)
# An aside that names another value.
_ANOTHER = re.compile(r"^(?!.*(?:n't|\bnot\b)).*\b(?:otherwise|else|also|could|might|may|or)\b.*(?:\d|\b[A-J]\b)", re.DOTALL)


def _clause(text, start):
    """The rest of the sentence that begins at `start`, and where it ends."""
    limit = min(len(text), start + _CLAUSE)
    start += re.match(r"[ \t\n*_]*", text[start:limit]).end()
    if text.startswith(("\\[", "$$"), start):
        close = text.find("\\]" if text[start] == "\\" else "$$", start + 2, start + _CLAUSE)
        if close >= 0:
            return text[start : close + 2], close + 2
    limit = min(len(text), start + _CLAUSE)
    end = _SENTENCE_END.search(text[start:limit])
    return (text[start : start + end.start()], start + end.end()) if end else (text[start:limit], limit)


def _value_of_clause(clause):
    """The value a clause names: its one mathematical span, or its words without delimiters and asides."""
    clause = _HEDGE.sub("", clause).strip().strip("*_`\"' ")
    if re.match(r"(?:not|never|n't|neither|nor)\b", clause, re.IGNORECASE):
        return ""
    spans = list(_SPAN.finditer(clause))
    if len(spans) == 1 and not re.match(r"[\w.]", clause):
        return with_surroundings(clause, *spans[0].span(), _inside(spans[0]))
    aside = _ASIDE.search(clause)
    if aside and not _ANOTHER.search(aside.group()):
        clause = clause[: aside.start()]
    clause = re.sub(r"^(?:[A-Za-z][\w',-]*\s+).*?\b(?:is|are|equals)\s+(?=\S*[0-9\\$(])", "", clause, flags=re.DOTALL)
    value = without_delimiters(clause)
    return (_only_value(value) or value) if len(_PROSE.findall(value)) > 3 else value


def _statements(text, complete, start=0):
    """Statements that give a value; in a cut response only those behind which the text goes on."""
    for match in list(_STATEMENT.finditer(text, start))[-_STATEMENTS:]:
        clause, end = _clause(text, match.end())
        value = _value_of_clause(clause)
        if value and len(value) <= 300 and (complete or end < len(text)):
            yield match["strong"], value, end


def stated_value(text: str, complete: bool) -> str | None:
    """The last "the answer is ..." with a value; in a cut response only if the text goes on after it."""
    for _strong, value, end in reversed(list(_statements(text, complete))):
        is_value = (looks_like_a_value(value) or len(value.split()) <= 4) and not text[:end].rstrip().endswith("?")
        if is_value and "\\boxed" not in value and not value.lower().startswith("the same"):
            return with_second_value(text, end, value)
    return None


def corrected_value(text: str, start: int, complete: bool) -> str | None:
    """The last "the correct answer is ..." behind `start` with a value."""
    values = [value for strong, value, _end in _statements(text, complete, start) if strong and looks_like_a_value(value)]
    return values[-1] if values else None


# ------------------------------------------------------------------ conclusions and short lines

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|is|are|was|has|have|had|get|gets|gives|equals?|by|with|in total"
    r"|total|will|would|costs?|needs?|earns?|makes?|must)\b|=",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:not|never|or|nor|maybe|perhaps|possibly|wrong|incorrect|false|cannot|unless|if|between|either|neither|than|least|most"
    r"|approximately|about|around|over|under|above|below|except|but|and|half|halved|twice|guess|many"
    r"|doubled?|tripled?|squared|cubed|(?:square|cube)(?= (?:of|root))|root|power|minus|negative|exceeds?"
    r"|(?:page|figure|equation) \(?\d"
    r"|(?<!equal )(?<!has )(?<!have )(?<!out )to)\b|n't|\?"
    # a place in a text
    r"|^\W*(?:try|check|see|step|part|question|problem|example|exercise|case|chapter|section"
    r"|equation)\b",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(r"\W*(?:let(?! me| us)|suppose|assume|if)\b", re.IGNORECASE)
# In a concluding sentence, close to its last number: what makes it one of two values or none, and what changes it.
_UNSETTLED = re.compile(
    r"\b(?:or|nor|maybe|perhaps|possibly|wrong|incorrect|false|impossible|between|either|neither|no solution)\b", re.IGNORECASE
)
_CHANGED = re.compile(r"\b(?:more than|less than|half of|twice|times|minus|negative|root of|square of|step)\W*$", re.IGNORECASE)
# Words a short line opens with that say nothing: so, it's, x is, x ->.
_OPENING = re.compile(
    r"^(?:(?:so|thus|hence|therefore|it's|it is|i choose|i pick|equal to|equals)\b[\s,:]*)+"
    r"|^(?-i:[a-z])\s*(?:is\b|:|->|\u2192)\s*(?=[-+$\\\d])",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^.*\b(?:is|are|was|be|get|gets|equals?|gives?|have|has|answer|result|solution|so|thus|hence|therefore)\b[\s:]*"
    r"|^.*:\s",
    re.IGNORECASE | re.DOTALL,
)


def chosen_letter(text: str) -> str | None:
    """The letter in a last sentence such as "Choice C is correct.", where it names no other."""
    last = re.split(r"[.!?\n]\s", text.strip())[-1]
    match = re.fullmatch(
        r"\W*(?:(?:so|thus|hence|therefore|the|option|choice|answer|i (?:choose|pick))\b\W*)*(?-i:([A-J]))\W*"
        r"(?:is (?:the )?(?:correct|right|best)(?: (?:answer|option|choice))?\W*)?",
        last,
        re.IGNORECASE,
    )
    return match[1] if match and not last.rstrip().endswith("?") else None


def concluding_value(text: str, ended: bool = False) -> str | None:
    """The value that ends the last sentence which has one; None where the text does not come to an end.

    Without a full stop it comes to an end where it is known to have `ended` and a digit stands last.
    """
    text = _CODE.sub(" ", text).strip()
    if not text or not (ended and text[-1].isdigit()) and text[-1] not in ".!?])}$*\u3002":
        return None
    for block in reversed([part.strip() for part in re.split(r"\n\s*\n", text[-2_000:]) if part.strip()][-4:]):
        for sentence in reversed(re.split(r"(?<=[.!?])\s+(?=[A-Z*])", block)):
            if re.search(r"\d|\$|\\\(", sentence):
                concludes = _CONCLUDES.search(sentence) and not sentence.rstrip().endswith("?")
                value = _last_value(sentence) if concludes and "\\boxed" not in sentence else None
                return value if value and not _unsettled(sentence, value) else None
    return None


def _unsettled(sentence, value):
    """Whether words close to the last value of a sentence make it one of two, none, or a part of another."""
    before, _value, behind = sentence.rpartition(value)
    before = re.split(r"[;:]|,(?! or\b)", before)[-1]
    near = before[-30:] + " . " + behind
    return bool(_SUPPOSES.match(sentence) or _UNSETTLED.search(near) or _CHANGED.search(before))


def _last_value(sentence):
    spans = list(_SPAN.finditer(sentence))
    numbers = _free_numbers(sentence[spans[-1].end() :] if spans else sentence)
    if numbers:
        return numbers[-1]
    if not spans or NOT.search(sentence[: spans[-1].start()]):
        return None
    return re.split(r"(?<![<>!\\])=|\\approx|\\implies", _inside(spans[-1]))[-1].strip()


def one_line(text: str) -> str | None:
    """A response that is one short line is its own answer; prose around one value yields the value."""
    # A display on lines of its own. Blanks are read from their first on: from each one anew, a long run would take its square.
    line = re.sub(r"(\\\[|\$\$)\s+|(?<!\s)\s+(?=\\\]|\$\$)", r"\1", text.strip())
    line = re.sub(r"^([*_`]{1,2})(.*)\1$", r"\2", line)  # set in bold, in italics or as code
    line = _OPENING.sub("", line) if re.search(r"\w", _OPENING.sub("", line)) else line
    if "\n" in line or len(line) > 200 or not re.search(r"\w", line) or re.search(r"\\f?box", line) or _SUPPOSES.match(line):
        return None
    span = _SPAN.fullmatch(line.rstrip("."))
    plain = _inside(span) if span else without_delimiters(line)
    words = _PROSE.findall(re.sub(r"\\text\s*\{[^{}]*\}", "", plain))
    if (len(words) > 1 or (words and re.search(r"[0-9\\]", plain))) and not read_number(tidy(plain)):
        return _only_value(line)
    return plain.lstrip("= ") if len(line.split()) <= 3 or re.search(r"[0-9\\]", line) else None


def _only_value(line):
    """The value in a line of prose, where there is exactly one and nothing doubts it."""
    if _DOUBT.search(re.sub(r"\\[a-zA-Z]+", "", line)):
        return None
    spans = list(_SPAN.finditer(line))
    if spans:
        return _inside(spans[0]) if len(spans) == 1 and not re.search(r"\d", _SPAN.sub(" ", line)) else None
    behind = _LEAD.sub("", line)
    tail = _DELIMITERS.sub(" ", behind).strip(" .*")
    number = re.match(r"[-+]?[\d.,/]+(?=\s*[a-zA-Z])", tail)
    if re.search(r"[0-9\\]", tail) and (not _PROSE.search(tail) or number and read_unit(tail[number.end() :])):
        return tail if not re.search(r"\d", line.removesuffix(behind)) else None
    numbers = _free_numbers(line)
    return numbers[0] if len(numbers) == 1 and "\\" not in line else None
