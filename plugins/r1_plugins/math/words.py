"""Words that may stand beside a value without changing it: units, in one spelling; and words that join values.

A word that is in no list may still stand after a number when the question has it ("42 marbles"); one in CHANGES never.
"""

from __future__ import annotations

_UNITS = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "dm": "decimeter", "m": "meter metre",
    "km": "kilometer kilometre", "in": "inch inches", "ft": "foot feet", "yd": "yard", "mi": "mile", "mg": "milligram",
    "g": "gram gm", "kg": "kilogram kilo", "t": "ton tonne", "lb": "pound lbs", "oz": "ounce", "ml": "milliliter mL",
    "l": "liter litre L", "gal": "gallon", "s": "second sec", "min": "minute mins", "h": "hour hr hrs", "day": "",
    "week": "", "month": "", "year": "yr yrs", "dollar": "usd USD", "cent": "", "euro": "EUR", "rupee": "rs",
    "yen": "", "degree": "deg", "rad": "radian", "unit": "", "hz": "hertz Hz", "n": "newton N", "j": "joule J",
    "kj": "kilojoule kJ", "w": "watt W", "kw": "kilowatt kW", "v": "volt V", "a": "ampere amp A", "ohm": "",
    "pa": "pascal Pa", "kpa": "kPa", "atm": "", "k": "kelvin K", "mol": "mole", "mph": "", "kmh": "kmph kph",
    "people": "person persons", "student": "", "way": "", "time": "", "apple": "", "book": "", "coin": "",
    "inhabitant": "", "point": "", "piece": "", "box": "boxes", "child": "children", "man": "men", "woman": "women",
}  # fmt: skip
UNITS = {word: unit for unit, words in _UNITS.items() for word in (unit, *words.split())}
"""Spelling -> unit; plurals in -s are looked up without it."""
POWERS = {"square": "2", "sq": "2", "cubic": "3"}
SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_CHANGES = """
a an all and any approximately at base below billion but c cannot cubed dozen double either else equal equals even
exactly factorial fewer from greater half hundred i if is isn it less least long maybe million minus mod modulo more
most much near negative neither never no nor not of off or other over percent perhaps plus positive quarter roughly
score squared than that then third thousand times to trillion twice under unless up versus were with without wrong x y
zero
"""
CHANGES = frozenset(_CHANGES.split())
"""Words that make another answer of a number, whatever the question says."""
PERCENT = frozenset(("percent", "percentage", "pct"))


def unit_of(word: str) -> str | None:
    """The unit that a word names, None where it names none."""
    for spelled in (word, word.lower(), word.lower().removesuffix("s")):
        if spelled in UNITS:
            return UNITS[spelled]
    return None
