"""Numbers as people and models write them, read exactly: no float, no expression that would have to be computed.

    1,234.5   1 234.5   -3.0e8   3 \\times 10^{8}   10⁻³   3/4   1 3/4   1½   \\frac{3}{4}   x = 42   ≈ 3.14

`read_quantity` gives the number as a fraction, and the text behind it, where a unit may stand. What is
not literally a number ("1+1", "5!", "2^10", "41 or 42", "x = 41 = 42") is none.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

MAX_CHARACTERS = 200
"""A number and its unit; a text of a hundred thousand digits is neither."""
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_UNWRAP = re.compile(r"\\(?:text|textbf|mathrm|mathbf|operatorname|rm|boxed|mbox)\s?\{([^{}]*)\}")
_FRAC = re.compile(r"\\[dt]?frac\s?\{\s?(\d{1,15})\s?\}\s?\{\s?(\d{1,15})\s?\}", re.ASCII)
_POWER = re.compile(r"\^\s?\{\s?([+-]?\d{1,3})\s?\}", re.ASCII)
_REPLACED = {
    "{,}": ",", r"\,": " ", r"\;": " ", r"\:": " ", r"\!": "", r"\ ": " ", "~": " ", r"\%": "%", r"\$": " ", "$": " ",
    r"\(": " ", r"\)": " ", r"\[": " ", r"\]": " ", "`": " ", "\u2212": "-", "\u2013": "-", "\u00d7": "*", "·": "*",
    "⋅": "*", "∙": "*", r"\times": "*", r"\cdot": "*", r"{\circ}": "°", r"\circ": "°", "^°": "°", "\u2044": "/",
    "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "**": "^",
}  # fmt: skip
"""Nothing is taken out between two digits: "4$2" is not 42, nor is "9**9" 99."""
_NAMED = re.compile(r"[A-Za-z\u0391-\u03c9](?:_?\w{1,8})?\s?[=≈]\s?|[=≈]\s?")
_MIXED = re.compile(r"([+-]?)\s?(\d{1,15}) (\d{1,15})\s?/\s?(\d{1,15})(?![\d.,])", re.ASCII)
_RATIO = re.compile(r"([+-]?)\s?\(?(\d{1,15})\)?\s?/\s?\(?(\d{1,15})\)?(?![\d.,])", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}([, '_.])\d{3}(?:\1\d{3}){0,20}(?!\d)", re.ASCII)
_PLAIN = re.compile(r"\d{1,100}|(?=[.,]\d)", re.ASCII)
_DECIMALS = {mark: re.compile(rf"[{mark}](\d{{1,100}})", re.ASCII) for mark in ".,"}
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,3})(?!\w)|\s?[*x]\s?10\s?\^\s?([+-]?\d{1,3})(?!\d)", re.ASCII)
_POWER_OF_TEN = re.compile(r"([+-]?)10\s?\^\s?([+-]?\d{1,3})(?!\d)", re.ASCII)
_SIGN = re.compile(r"[+-]\s?")


def read_quantity(text: str, *, decimal_comma: bool = False) -> tuple[Fraction, str] | None:
    """(number, what stands behind it) of a text that begins with a number; None for every other."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = plain(text)
    named = _NAMED.match(text)
    text = text[named.end() :] if named else text
    found = _fraction(text) or _decimal(text, "," if decimal_comma else ".")
    if found is None:
        return None
    value, end = found
    return value, text[end:].strip()


def plain(text: str) -> str:
    """One sort of white space, no wrapping; powers as `^`, products as `*`. Other scripts' digits stay as they are."""
    text = _RAISED.sub(lambda raised: "^" + raised[0].translate(_SUPERSCRIPTS), text.strip().strip("*"))
    text = "".join(map(_plain_character, text))
    for written, simple in _REPLACED.items():
        text = text.replace(written, simple)
    for _ in range(2):
        text = _FRAC.sub(r" \1/\2", _UNWRAP.sub(r" \1 ", _POWER.sub(r"^\1", text)))
    return " ".join(text.split()).removesuffix(".").strip()


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if unicodedata.category(character) == "No" and "VULGAR FRACTION" in unicodedata.name(character, ""):
        return " " + unicodedata.normalize("NFKC", character)  # "1½" is 1 1/2, never 11/2
    return character


def _fraction(text: str) -> tuple[Fraction, int] | None:
    mixed, ratio = _MIXED.match(text), _RATIO.match(text)
    if mixed and int(mixed[4]) > int(mixed[3]):
        value = int(mixed[2]) + Fraction(int(mixed[3]), int(mixed[4]))
        return (-value if mixed[1] == "-" else value), mixed.end()
    if ratio and int(ratio[3]):
        value = Fraction(int(ratio[2]), int(ratio[3]))
        return (-value if ratio[1] == "-" else value), ratio.end()
    return None


def _decimal(text: str, point: str) -> tuple[Fraction, int] | None:
    power = _POWER_OF_TEN.match(text)
    if power:
        return (-1 if power[1] == "-" else 1) * Fraction(10) ** int(power[2]), power.end()
    sign = _SIGN.match(text)
    at = sign.end() if sign else 0
    grouped = _GROUPED.match(text, at)
    whole = grouped if grouped and grouped[1] != point else _PLAIN.match(text, at)
    if whole is None:
        return None
    decimals = _DECIMALS[point].match(text, whole.end())
    end = decimals.end() if decimals else whole.end()
    if end < len(text) and text[end].isdigit():
        return None
    digits = "".join(filter(str.isdigit, whole[0])) + "." + (decimals[1] if decimals else "0")
    exponent = _EXPONENT.match(text, end)
    value = Fraction(digits if digits[0] != "." else "0" + digits)
    if exponent:
        value *= Fraction(10) ** int(exponent[1] or exponent[2])
        end = exponent.end()
    return (-value if sign and sign[0][0] == "-" else value), end
