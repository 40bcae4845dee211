"""Values on their way between a cell and the scoring worker, as JSON lines that mean one thing only.

A value is null, true, false, a number, a string, ["list", ...], ["dict", [key, value], ...], ["int", hexadecimal] (too
long for decimal digits), ["float", "nan"]. All else has no worth: no object comes out of a cell, only what it says.
"""

from __future__ import annotations

import math
from typing import Any

_DECIMAL = 1 << 4000
"""Integers from here on travel in hexadecimal: Python refuses to read more than 4,300 decimal digits."""


class UnsupportedError(Exception):
    """A value of a type that no test can expect."""


def encode(value: Any) -> Any:
    """A value of plain types: JSON's, and tuples. Raises UnsupportedError for others, RecursionError for cycles."""
    kind = type(value)  # not isinstance: a subclass may lie about itself
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_DECIMAL < value < _DECIMAL else ["int", hex(value)]
    if kind is float:
        return value if math.isfinite(value) else ["float", repr(value)]
    if kind is list or kind is tuple:
        return ["list", *map(encode, value)]
    if kind is dict:
        return ["dict", *([encode(key), encode(item)] for key, item in value.items())]
    raise UnsupportedError(kind.__name__)


def decode(value: Any) -> Any:
    """What `encode` was given; tuples have become lists. Raises ValueError for what it never gives."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if not isinstance(value, list) or not value:
        raise ValueError("no value")
    kind, *rest = value
    if kind == "list":
        return [decode(item) for item in rest]
    if kind == "dict":
        return _mapping(rest)
    if kind in ("int", "float") and len(rest) == 1 and isinstance(rest[0], str):
        return int(rest[0], 16) if kind == "int" else float(rest[0])
    raise ValueError(f"no value of the kind {str(kind)[:20]!r}")


def _mapping(pairs: list[Any]) -> dict[str, Any]:
    """Keys as JSON writes them: 1 is "1". Two that become one are a fault."""
    found: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("no pair")
        key = pair[0]
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError("a key is neither a string nor a whole number")
        if str(key) in found:
            raise ValueError("two keys are the same")
        found[str(key)] = decode(pair[1])
    return found
