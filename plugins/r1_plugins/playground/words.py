"""Words that exist in both languages, and how a text made of them is written.

A text is a sequence of pieces: a plain string (a digit, a letter, an operator) is the same in both
languages, a `Word` is written in the language that a `Pick` chooses for it. Pieces are joined by one
space in Chinese too, so that every piece is one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

Language: TypeAlias = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Word(NamedTuple):
    """One word in both languages."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """The word in `language`."""
        return self.en if language == "en" else self.zh


Piece: TypeAlias = str | Word
Pick: TypeAlias = Callable[[], Language]
"""Called once for each word: the language that it is written in."""

COMPUTE = Word("compute", "计算")
MODULO = Word("mod", "模")
LET = Word("let", "设")
FIND = Word("find", "求")
SORT = Word("sort", "排序")
FIRST = Word("first", "首先")
THEN = Word("then", "然后")
IS = Word("is", "得")
SMALLEST = Word("smallest", "最小")
NEXT = Word("next", "接着")
STOP = Word(".", "。")
WORDS = (COMPUTE, MODULO, LET, FIND, SORT, FIRST, THEN, IS, SMALLEST, NEXT, STOP)
DIGITS = "0123456789"
LETTERS = "abcdefghijklmnop"
SYMBOLS = ("+", "-", "=", ",", ":")


def only(language: Language) -> Pick:
    """Every word in `language`."""
    return lambda: language


def other(language: Language) -> Language:
    """The language that is not `language`."""
    return "zh" if language == "en" else "en"


def write(pieces: Iterable[Piece], pick: Pick) -> str:
    """The pieces as text, separated by single spaces."""
    return " ".join(piece.of(pick()) if isinstance(piece, Word) else piece for piece in pieces)
