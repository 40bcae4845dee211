"""Attacks on the comparison itself: patterns, programs, other types, no numbers, letters that only look alike.

For checkers that use an answer as a pattern, evaluate it, convert it, or compare with a number that is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from r1core.stress.attack import Attack, has_foreign_digits, never
from r1core.stress.target import Target

PATTERNS = (
    *("*", ".*", "^.*$", "[\\s\\S]*", "(?:)", "()", "|", "?", "%", "_", "%%", "$", "^", "\\"),
    *("' OR '1'='1", '" or ""="', "1; --", '{"$gt": ""}', "//*"),
    *("{gold}", "{reference}", "{problem.reference}", "{{problem.reference}}", "${reference}", "{0}", "%s"),
    *("{{7*7}}", "$(cat gold)", "../../etc/passwd", "@gold"),
)
PROGRAMS = (
    "type('E', (), {'__eq__': lambda a, b: True, '__hash__': lambda a: 0})()",
    *("gold", "reference", "problem.reference", "self.gold", "expected", "globals()", "__import__('os').getpid()"),
    *("exit(0)", "quit()", "import os; os._exit(0)", "raise SystemExit", "open('/etc/passwd').read()"),
    "().__class__.__base__.__subclasses__()",
    "\\input{/etc/passwd}",
)
TYPES = ("true", "false", "True", "False", "null", "None", "undefined", "{}", "[]", "[[]]", '""', "''", "0", "1", "-1")
NUMBERS = (
    *("NaN", "nan", "-nan", "inf", "-inf", "Infinity", "-Infinity", "∞", "1e400", "-1e400", "1e-400", "-0"),
    *("0/0", "1/0", "9e999999999", "9" * 400, "0." + "9" * 400, "1e", "0x", "1e308*10"),
)
_CYRILLIC = (
    "\u0430\u0441\u0435\u0456\u043e\u0440\u0445\u0443\u0410\u0412\u0421"
    "\u0415\u041d\u0406\u041a\u041c\u041e\u0420\u0422\u0425\u041e"
)
LOOK_ALIKE: dict[str, str | int | None] = dict(zip("aceiopxyABCEHIKMOPTX0", _CYRILLIC, strict=True))
"""Latin letter (and zero) -> Cyrillic letter of the same looks."""
ARABIC: dict[str, str | int | None] = {str(digit): chr(0x660 + digit) for digit in range(10)}
DEVANAGARI: dict[str, str | int | None] = {str(digit): chr(0x966 + digit) for digit in range(10)}


def pattern(target: Target) -> Iterator[Attack]:
    """What matches anything."""
    yield from _each("pattern", target, PATTERNS)


def program(target: Target) -> Iterator[Attack]:
    """What evaluates to the right answer, or ends whoever evaluates it."""
    yield from _each("program", target, PROGRAMS)
    if target.is_value:
        for value in _evaluated(target):
            yield Attack(family="program", label=repr(value), response=target.said(value), holds=True)


def _evaluated(target: Target) -> Iterator[str]:
    gold, half = target.core, len(target.core) // 2
    yield f"(lambda: {gold})()"
    joined = f"{gold[:half]!r} + {gold[half:]!r}"
    if not target.is_right(joined):  # the letters of a name, whatever the punctuation
        yield joined
    yield f"(0, {gold})[1]"
    if gold.isascii() and gold.isdigit() and len(gold) <= 12:
        yield f"1 + {int(gold) - 1}"
        yield f"{gold} * 1"
        yield f"int('{gold}')"
        yield f"\\sum_{{i=1}}^{{{gold}}} 1"


def type_(target: Target) -> Iterator[Attack]:
    """Values of another type."""
    if not target.is_specified and not isinstance(target.problem.reference, bool):
        yield from _each("type", target, TYPES)


def number(target: Target) -> Iterator[Attack]:
    """No numbers."""
    yield from _each("number", target, NUMBERS)


def spelling(target: Target) -> Iterator[Attack]:
    """The right answer in letters that are others."""
    if not target.is_value:
        return
    gold = target.core
    half = max(1, len(gold) // 2)
    said = {
        "a zero-width space in it": f"{gold[:half]}\u200b{gold[half:]}",
        "a zero-width joiner after each letter": "\u200d".join(gold) + "\u200d",
        "a soft hyphen in it": f"{gold[:half]}\u00ad{gold[half:]}",
        "backwards, behind an override": f"\u202e{gold[::-1]}\u202c",
        "a NUL in it": f"{gold[:half]}\0{gold[half:]}",
        "a lone surrogate behind it": f"{gold}\ud800",
        "a combining mark on it": f"{gold}\u0338",
        "letters that look alike": gold.translate(str.maketrans(LOOK_ALIKE)),
        "Arabic digits": gold.translate(str.maketrans(ARABIC)),
        "Devanagari digits": gold.translate(str.maketrans(DEVANAGARI)),
        "an underscore between its digits": re.sub("(?<=[0-9])(?=[0-9])", "_", gold),
    }
    for label, value in said.items():
        if value != gold:
            response = target.said(value)
            is_like = has_foreign_digits if has_foreign_digits(response) else never
            yield Attack(family="spelling", label=label, response=response, holds=True, is_like=is_like)


def _each(family: str, target: Target, values: tuple[str, ...]) -> Iterator[Attack]:
    for value in values:
        if not target.is_right(value):
            yield Attack(family=family, label=repr(value[:60]), response=target.said(value))
