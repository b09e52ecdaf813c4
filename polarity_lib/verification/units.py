r"""Which words behind a number are a unit, and which change its value.

A word that is neither is no unit, and then the text is no number: `5 \text{ or more}`
is not 5, `2 \text{ pi}` is not 2. The list of units is ours, written by hand and checked against no
registry; a plural noun counts as the name of counted things. Nothing is ever converted.
"""

import re
from fractions import Fraction
from functools import lru_cache

MULTIPLIERS = {
    "hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "quadrillion": 10**15,
    "lakh": 10**5, "crore": 10**7, "dozen": 12, "score": 20,
}  # fmt: skip

# Spellings of one unit stand together; the first is the one that is compared. Their plurals in s are spellings too.
_SPELLINGS = """
m meter metre | cm centimeter centimetre | mm millimeter millimetre | km kilometer kilometre | nm nanometer
| um micrometer | angstrom | in inch inches | ft foot feet | yd yard | mi mile | parsec pc | kpc | mpc | au
| lightyear ly | g gram | kg kilogram | mg milligram | lb | oz ounce | ton tonne | l liter litre
| ml milliliter millilitre | gal gallon | quart | pint | cup | s sec second | ms millisecond | ns nanosecond
| min minute | h hr hour | day | week | month | year yr | decade | century centuries | degree deg | rad radian
| sr steradian | hz hertz | khz | mhz | ghz | n newton | kn | j joule | kj kilojoule | cal calorie | kcal | ev | kev
| mev | gev | erg | dyn dyne | w watt | kw kilowatt | mw | pa pascal | kpa | mpa | atm | bar | torr | mmhg | k kelvin
| c celsius | f fahrenheit | a amp ampere | ma | v volt | kv | mv | ohm | coulomb | farad | henry | t tesla | gauss
| weber | mol mole | molar | mph | kmh kph | bit | byte | lumen | decibel db | acre | hectare | dollar usd | cent
| euro eur | pound | yen | yuan | rupee | peso | franc | unit | square sq | cubic cu | person people | man men
| woman women | child children | sheep | fish | deer | time | way | point pt | gb | mb | kb
"""
_UNITS = {spelling: group.split()[0] for group in _SPELLINGS.split("|") for spelling in group.split()}
# One letter is a unit only inside \text: "5m" may be a product.
_LETTERS = frozenset("mgslLhtTNJKWVACF")
# Words that say nothing about the value; those of the second list only beside a unit: `5 a` may be a product.
_ALONE = frozenset("total exactly long wide tall high old each different distinct".split())
_FILLERS = _ALONE | frozenset(
    "of the in per a an every and possible real positive negative integer complex prime even odd whole more left".split()
)
# Plural in form, yet no counted thing: they change the value, or take it back.
_NO_THING = frozenset(
    """
    minus plus less always perhaps is was has does this thus unless besides guess guesses halves thirds quarters
    fourths fifths sixths sevenths eighths ninths tenths hundredths thousandths millionths hundreds thousands millions
    billions trillions quadrillions lakhs crores zillions googols dozens tens scores ones twos threes fours fives
    sixes sevens eights nines zeros pis cos sins plusminus as us its yes modulus radius class across towards sometimes
    others else mistakes errors multiples powers versus approximates equals exceeds radicals roots logs logarithms
    sines cosines tangents factorials inverses reciprocals doubles triples negatives minuses infinities grosses lots
    opposites exponents conjugates derivatives integrals complements halfs myriads grands elevens twelves
    """.split()
)
# Plurals of numerals: 5 twentieths, 5 twenties, 5 decillions.
_NUMERALS = re.compile(
    r"(?:teenths|tieths|elevenths|twelfths|nths|dredths|sandths|lionths|illions|illiards"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ties|(?:thir|four|fif|six|seven|eigh|nine)teens)$"
)

# Words inside \text are told by a mark in front, for there a single letter may be a unit and a power needs no sign.
_TOKEN = re.compile(r"\s*(?:(?P<word>_?[A-Za-z]+)\.?|\^\s*\{?\s*(?P<power>-?[0-9])\s*\}?|(?P<mark>[/\-(),\u00b7]|\\cdot))")
_THOUSANDS = re.compile(r"\\text\s*\{[KT]\}")  # 5\text{K} without a blank may be five thousand; 5\text{ K} is kelvin


def _tokens(text):
    """Words, powers ("^2") and marks; None where something else is there."""

    def opened(match):
        return " " + re.sub(r"(?<![a-zA-Z])(?=[a-zA-Z])", "_", re.sub(r"(?<=[a-zA-Z])(?=[0-9])", "^", match[1])) + " "

    text = re.sub(r"\\text\s*\{([^{}]*)\}", opened, text).strip()
    at, found = 0, []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        at = match.end()
        found.append(match["word"] or match["mark"] or "^" + match["power"])
    return found


def _unit_of(word, in_text):
    """The unit or counted thing that a word names, or None."""
    if len(word) == 1:
        return _UNITS.get(word.lower()) if in_text and word in _LETTERS else None
    word = word.lower()
    if word in _UNITS or word in _NO_THING or word[-1] != "s" or len(word) < 3:
        return _UNITS.get(word)
    if word[:-1] in _UNITS:
        return _UNITS[word[:-1]]
    return word[:-1] if re.search(r"..[^sui]s$", word) and not _NUMERALS.search(word) else None


@lru_cache(maxsize=4096)
def read_unit(text: str) -> tuple[Fraction, str] | None:
    """What the words behind a number do: the factor they multiply it by, and one spelling of the unit.

    "million dollars" is (1000000, "dollar"), `\\text{cm}^2` is (1, "cm 2"), "or more" is None.
    """
    tokens = None if _THOUSANDS.match(text) else _tokens(text)
    if tokens is None or len(tokens) > 24:
        return None
    factor, key, before, standing, raised = Fraction(1), [], "", False, ""  # `before`: what the last piece was
    for token in tokens:
        word = token.lstrip("_").lower()
        if token[0] == "^" or word in ("squared", "cubed"):
            if before != "unit":
                return None  # a power of the number itself
            key.append({"squared": "2", "cubed": "3"}.get(word) or word[1:])
            before = "power"
        elif not word.isalpha():
            key += ["/"] if word == "/" else []
            before = before if word in "(),\u00b7" else "mark"
        elif not before and word.removesuffix("s") in MULTIPLIERS:
            factor *= MULTIPLIERS[word.removesuffix("s")]
        elif word in _FILLERS:
            if word == "and" and before != "unit":
                return None
            key += ["/"] if word == "per" else []
            standing = standing or word in _ALONE
        elif (unit := _unit_of(token.lstrip("_"), token[0] == "_" or key[-1:] == ["degree"])) in ("square", "cubic"):
            before, raised = "half", {"square": "2", "cubic": "3"}[unit]  # "square cm" is "cm 2"
        elif unit is not None:
            key += [unit, raised] if raised else [unit]
            before, raised = "unit", ""
        else:
            return None
    nothing = not key and factor == 1 and not standing
    if before in ("half", "mark") or nothing or text[:1].isalpha() and not key:  # 33a is no number of things
        return None
    return factor, "" if key[:1] == ["unit"] and "/" not in key else " ".join(key)  # a bare "unit" says nothing
