"""Whether a result is the expected one. Here, in the scoring worker; both are plain data by now, so neither can answer.

Values: text equals text, true and false equal themselves, lists and mappings what they hold. A whole number equals a
number of exactly that value; a decimal one a number within the tolerance. A tuple is a list, a key 1 is "1".
Printed text: line by line. Runs of white space within a line count as one, none counts at its ends, and empty lines at
the end of all do not count. Where the expected word is a decimal fraction, a number within the tolerance will do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

SMALLEST = 1e-12
"""What rounding leaves of a zero."""
_FRACTION = re.compile(r"[+-]?\d{1,40}\.\d{1,40}(?:[eE][+-]?\d{1,3})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,40}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)


def same_value(expected: Any, got: Any, tolerance: float) -> bool:
    """Whether a function returned the expected value; `tolerance` is relative."""
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(expected) is type(got) and bool(expected == got)
    if isinstance(expected, int | float):
        return _same_number(expected, got, tolerance)
    if isinstance(expected, Mapping):
        return (
            isinstance(got, dict)
            and expected.keys() == got.keys()
            and all(same_value(item, got[key], tolerance) for key, item in expected.items())
        )
    return (
        isinstance(got, list)
        and len(expected) == len(got)
        and all(same_value(one, other, tolerance) for one, other in zip(expected, got, strict=True))
    )


def _same_number(expected: float, got: Any, tolerance: float) -> bool:
    if isinstance(got, bool) or not isinstance(got, int | float):
        return False
    if isinstance(expected, int):
        return got == expected
    try:
        return math.isclose(expected, got, rel_tol=tolerance, abs_tol=SMALLEST)
    except OverflowError:  # a whole number beyond all floats
        return False


def same_text(expected: str, got: str, tolerance: float) -> bool:
    """Whether a program printed the expected text."""
    ours, theirs = _lines(expected), _lines(got)
    return len(ours) == len(theirs) and all(
        len(one) == len(other) and all(_same_word(*words, tolerance) for words in zip(one, other, strict=True))
        for one, other in zip(ours, theirs, strict=True)
    )


def _lines(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_word(expected: str, got: str, tolerance: float) -> bool:
    if expected == got:
        return True
    if not (_FRACTION.fullmatch(expected) and _NUMBER.fullmatch(got)):
        return False
    return math.isclose(float(expected), float(got), rel_tol=tolerance, abs_tol=SMALLEST)
