"""Texts as words, and words in a row as hashes: what finds an evaluation set in training data, and texts that are
nearly the same.

Text is normalised (Unicode NFKC, case folded), a word is a run of letters and digits; where words are not spaced (Han,
kana, Hangul, Thai) each character is one. A hash is a polynomial of the words' own modulo 2^64: their order counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def words_of(text: str) -> list[str]:
    """The words that are compared."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def hashes_of(words: Sequence[str], n: int) -> Hashes:
    """A hash of each `n` words in a row; of all of them where there are fewer, and none of no words."""
    if not words:
        return np.zeros(0, dtype=np.uint64)
    each = np.array([_word_hash(word) for word in words], dtype=np.uint64)
    width = min(n, len(words))
    found = np.zeros(len(words) - width + 1, dtype=np.uint64)
    for place in range(width):
        found = found * _PRIME + each[place : place + len(found)]
    return found if width == n else found * _PRIME + np.uint64(width)  # a short text is no n-gram of a long one


def hash_of(text: str) -> int:
    """64 bits, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_word_hash = lru_cache(maxsize=1 << 16)(hash_of)
