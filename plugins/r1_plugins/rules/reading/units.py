"""Units, read strictly and converted exactly. The names and their sizes are pint's; reading them is ours.

    m/s   kg·m/s^2   kg m s^-2   J/(kg K)   degrees Celsius   square meters   µg per liter   N-m   Nm   %

Nm is the newton metre, N m, as engineers write it: pint would read the count of a yarn (number_meter). What has the
same dimensions is the same to pint: 5 N m are 5 J. What a model wrote reaches pint as names and small powers only,
never as text to parse: pint's own parser would compute `9**9**9`. pint is imported when the first unit is read, so
numbers alone need no extra.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

from r1_plugins.rules.reading.numerals import plain

if TYPE_CHECKING:
    import pint

MISSING = "pint not installed: pip install 'r1core[train]'"
MAX_FACTORS = 12
_TOKEN = re.compile(
    r" ?\^ ?([+-]?[0-9])(?!\d)|([+-]?[0-9])(?!\d)"
    r"| ?(?:([*/()])|([^\W\d_]+(?:_[^\W\d_]+)*|°[CFK]?|[%℃℉Ω℧Å]))"
)
"""A power, which must not stand apart without a `^`; a mark; a name."""
_DEGREES = re.compile(r"(?:°|\bdegrees?)\s?(?:(celsius|C|℃)|(fahrenheit|F))\b|([℃])|([℉])", re.IGNORECASE)
_NEWTON_METRE = re.compile(r"([mckMGμµ]?N)m")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_AS_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_RAISED = {"squared": 2, "cubed": 3}
_OFFSET = {"degC": "delta_degC", "degF": "delta_degF", "celsius": "delta_degC", "fahrenheit": "delta_degF"}
Factors: TypeAlias = tuple[tuple[str, int], ...]
"""(name, power) of each unit of a product."""


def installed() -> bool:
    """Whether units can be read at all."""
    return importlib.util.find_spec("pint") is not None


@functools.cache
def registry() -> pint.UnitRegistry[Any]:
    """Every unit that pint knows, in exact numbers."""
    import pint

    return pint.UnitRegistry(non_int_type=Fraction, cache_folder=None)


@functools.lru_cache(maxsize=4096)
def factors(text: str) -> Factors | None:
    """The product that a unit's text says; None where it says none. Everything behind a `/` up to the next factor or
    the end of its brackets is inverted; `per` is `/`."""
    text = plain(text)
    text = "/" + text[2:] if text.startswith("1/") else text
    text = _DEGREES.sub(lambda found: " degC" if found[1] or found[3] else " degF", text)
    text = " ".join(_HYPHEN.sub(" ", text).split())
    found: list[tuple[str, int]] = []
    signs, inverted, awaited = [1], 1, 1
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or len(found) > MAX_FACTORS:
            return None
        at = token.end()
        raised, behind, mark, name = token.groups()
        power = raised or behind
        if name == "per" or mark == "/":
            inverted = -1
        elif mark == "(":
            signs.append(signs[-1] * inverted)
            inverted = 1
        elif mark == ")":
            if len(signs) == 1:
                return None
            signs.pop()
        elif name in _AS_POWERS:
            awaited = _AS_POWERS[name]
        elif power or name in _RAISED:
            if not found or (found[-1][1] not in (1, -1)):
                return None
            found[-1] = (found[-1][0], found[-1][1] * (_RAISED[name] if name else int(power)))
        elif name:
            torque = _NEWTON_METRE.fullmatch(name)
            parts = (torque[1], "m") if torque else (name,)
            found += [(part, signs[-1] * inverted * awaited) for part in parts]
            inverted, awaited = 1, 1
    return tuple(found) if found and len(signs) == 1 and inverted == 1 else None


def convert(value: Fraction, unit: str, to: str) -> Fraction | None:
    """The value in another unit; None where a unit is not known, or they do not measure the same."""
    import pint

    try:
        quantity = registry().Quantity(value, _unit(unit)).to(_unit(to))
        return Fraction(quantity.magnitude)
    except (pint.PintError, ArithmeticError, AssertionError, TypeError, ValueError):
        return None


@functools.lru_cache(maxsize=4096)
def _unit(text: str) -> pint.Unit:
    """The unit itself. Raises ValueError, or what pint raises for a name that it does not know."""
    product = factors(text)
    if product is None:
        raise ValueError(f"{text!r} is no unit")
    units = registry()
    if product != ((product[0][0], 1),):  # a temperature within a product is a difference
        product = tuple((_OFFSET.get(name, name), power) for name, power in product)
    found = units.Unit("")
    for name, power in product:
        found = found * units.parse_units("percent" if name == "%" else name) ** power
    return found
