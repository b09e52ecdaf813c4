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

# Spellings of one unit stand together; the first is the one that is compared.
_SPELLINGS = """
m meter meters metre metres | cm centimeter centimeters centimetre centimetres | mm millimeter millimeters
millimetre millimetres | km kilometer kilometers kilometre kilometres kms | nm nanometer nanometers | um micrometer
micrometers | angstrom angstroms | in inch inches | ft foot feet | yd yard yards yds | mi mile miles | parsec parsecs pc
| kpc | mpc | au | lightyear lightyears ly | g gram grams | kg kilogram kilograms kgs | mg milligram milligrams
| lb lbs | oz ounce ounces | ton tons tonne tonnes | l liter liters litre litres | ml milliliter
milliliters millilitre millilitres | gal gallon gallons | quart quarts | pint pints | cup cups | s sec secs second
seconds | ms millisecond milliseconds | ns nanosecond nanoseconds | min mins minute minutes | h hr hrs hour hours
| day days | week weeks | month months | year years yr yrs | decade decades | century centuries | degree degrees deg
| rad radian radians | sr steradian steradians | hz hertz | khz | mhz | ghz | n newton newtons | kn | j joule
joules | kj kilojoule kilojoules | cal calorie calories | kcal | ev | kev | mev | gev | erg ergs | dyn dyne dynes | w watt
watts | kw kilowatt kilowatts | mw | pa pascal pascals | kpa | mpa | atm | bar | torr | mmhg | k kelvin kelvins
| c celsius | f fahrenheit | a amp amps ampere amperes | ma | v volt volts | kv | mv | ohm ohms | coulomb coulombs
| farad farads | henry | t tesla | gauss | weber | mol mole moles | molar | mph | kmh kph | bit bits | byte bytes
| lumen lumens | decibel decibels db | acre acres | hectare hectares
| dollar dollars usd | cent cents | euro euros eur | pound pounds | yen | yuan | rupee rupees | peso pesos | franc
francs | unit units | square sq | cubic cu | person persons people | man men | woman women | child children
| sheep | fish | deer | time times | way ways | point points pt pts | gb | mb | kb
"""
_SPELLINGS = [group.split() for group in _SPELLINGS.split("|")]
_UNITS = {spelling: group[0] for group in _SPELLINGS for spelling in group}
# One letter is a unit only inside \text: "5m" may be a product.
_LETTERS = frozenset("mgslLhtTNJKWVACF")
# Words that say nothing about the value; those of the second list only beside a unit: `5 a` may be a product.
_ALONE = frozenset("total exactly long wide tall high old each different distinct".split())
_FILLERS = _ALONE | frozenset("of the in per a an every and".split())
# Plural in form, yet no counted thing: they change the value, or take it back.
_NO_THING = frozenset(
    """
    minus plus less always perhaps is was has does this thus unless besides guess guesses halves thirds quarters
    fourths fifths sixths sevenths eighths ninths tenths hundredths thousandths millionths hundreds thousands millions
    billions trillions quadrillions lakhs crores zillions googols dozens tens scores ones twos threes fours fives
    sixes sevens eights nines zeros pis cos sins plusminus as us its yes modulus radius class across towards sometimes
    others else mistakes errors multiples powers versus approximates equals exceeds radicals roots logs logarithms
    sines cosines tangents factorials inverses reciprocals doubles triples negatives minuses infinities grosses lots
    opposites exponents conjugates derivatives integrals complements
    """.split()
)

_THOUSANDS = re.compile(r"\\text\s*\{[KT]\}")  # 5\text{K} without a blank may be five thousand; 5\text{ K} is kelvin
_ORDINALS = re.compile(r"(?:teenths|tieths|elevenths|twelfths|nths|dredths|sandths|lionths)$")
_PIECE = re.compile(
    r"\s*(?:\\text\s*\{(?P<text>[^{}]*)\}|(?P<word>[A-Za-z]+\.?)|(?P<mark>[/\-()]|\\cdot|\^\s*\{?\s*-?[0-9]\s*\}?))"
)
_INSIDE = re.compile(r"\s*(?:(?P<word>[A-Za-z]+\.?)|(?P<mark>[/\-(),]|\^?\s*-?[0-9]|\u00b7))")


def _tokens(text, pattern, in_text=False):
    """Words and marks with whether they stand inside \\text; None where something else is there."""
    at, found = 0, []
    text = text.strip()
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:
            return None
        at = match.end()
        inner = match.groupdict().get("text")
        if inner is not None:
            inside = _tokens(inner, _INSIDE, True)
            if inside is None:
                return None
            found += inside
        elif match["word"]:
            word = match["word"].rstrip(".")
            found.append((word if len(word) == 1 else word.lower(), in_text))
        else:
            found.append((re.sub(r"[\s{}]", "", match["mark"]), None))
    return found


def _unit_of(word, in_text):
    """The unit or counted thing that a word names, or None."""
    if len(word) == 1:
        return _UNITS.get(word.lower()) if in_text and word in _LETTERS else None
    if word in _UNITS:
        return _UNITS[word]
    if len(word) > 3 and re.search(r"[^sui]s$", word) and word not in _NO_THING and not _ORDINALS.search(word):
        return word[:-1]
    return None


@lru_cache(maxsize=4096)
def read_unit(text: str) -> tuple[Fraction, str] | None:
    """What the words behind a number do: the factor they multiply it by, and one spelling of the unit.

    "million dollars" is (1000000, "dollar"), `\\text{cm}^2` is (1, "cm 2"), "or more" is None.
    """
    tokens = None if _THOUSANDS.match(text) else _tokens(text, _PIECE)
    if tokens is None or len(tokens) > 24:
        return None
    factor, key, before = Fraction(1), [], None  # `before`: what the last piece was
    for word, in_text in tokens:
        if in_text is None:
            if word[0] == "^" or word.lstrip("-").isdigit():
                if before != "unit":
                    return None  # a power of the number itself
                key.append(word.strip("^"))
                before = "power"
            elif word == "/":
                key.append("/")
            if word in ("/", "-", "\\cdot"):
                before = "mark"
            continue
        if before is None and (word in MULTIPLIERS or word.removesuffix("s") in MULTIPLIERS):
            factor *= MULTIPLIERS.get(word) or MULTIPLIERS[word.removesuffix("s")]
        elif word in _FILLERS:
            if word == "and" and before != "unit":
                return None
            if word == "per":
                key.append("/")
        elif word in ("squared", "cubed") and before == "unit":
            key.append({"squared": "2", "cubed": "3"}[word])
            before = "power"
        elif (unit := _unit_of(word, in_text)) is not None:
            key.append(unit)
            before = "half" if unit in ("square", "cubic") else "unit"
        else:
            return None
    nothing = not key and factor == 1 and not _ALONE & {word for word, _in_text in tokens}
    if before in ("half", "mark") or nothing or text[:1].isalpha() and not key:  # 33a is no number of things
        return None
    return factor, _in_order(key)


def _in_order(key):
    """ "square cm" is "cm 2"; a bare "unit" says nothing."""
    words, power = [], None
    for word in key:
        if word in ("square", "cubic"):
            power = {"square": "2", "cubic": "3"}[word]
            continue
        words.append(word)
        if power:
            words.append(power)
            power = None
    return "" if words[:1] == ["unit"] and "/" not in words else " ".join(words)
