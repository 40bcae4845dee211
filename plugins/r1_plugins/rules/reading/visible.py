"""Which characters a reader would see: zero-width and other invisible ones are no thinking and no answer."""

from __future__ import annotations

import unicodedata
from itertools import islice

_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")
"""Fillers and blanks that Unicode calls letters and symbols."""


def has_visible(text: str, count: int = 1) -> bool:
    """Whether at least `count` characters can be seen: letters, digits, punctuation, symbols. Marks alone cannot."""
    seen = (True for character in text if unicodedata.category(character)[0] in "LNPS" and character not in _BLANK)
    return sum(islice(seen, count)) == count
