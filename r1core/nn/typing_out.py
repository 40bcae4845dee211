"""Tokens to text as they come: never half a character, and never the start of what may be a stop string.

The pieces, joined, are the text of all tokens decoded at once. Byte-level tokens may end inside a character; a run of
single bytes (`<0x0A>`, byte fallback) is decoded as a whole, and one wrong byte turns all of it into marks, those
before it too: what is not sure yet is held back, of a run no more than `MOST_BYTES`. Some decoders write a token
otherwise at the beginning than after another, so each is decoded after the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

UNKNOWN = "\ufffd"
MOST_HALVES = 8
"""Tokens that may end in half a character before those are given out that it is no part of; it has four bytes."""
MOST_BYTES = 32
"""Tokens of a run of single bytes that are held back; of a longer one, what is whole by then is given out."""
_LONGEST = 4
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


class Writer:
    """The text of one answer, token by token."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []
        """The last token that was given out and is no single byte."""
        self._before = 0
        """Characters of its text."""
        self._held: list[int] = []

    def add(self, token: int) -> str:
        """The characters that are certain now."""
        name: str | None = self._tokenizer.convert_ids_to_tokens(token)
        if name is None:  # a head may have more rows than there are tokens
            return ""
        self._held.append(token)
        is_byte = _BYTE.fullmatch(name) is not None
        if is_byte and len(self._held) < MOST_BYTES:
            return ""
        text = self._text(self._held)
        if not text.endswith(UNKNOWN) or len(self._held) >= MOST_BYTES + _LONGEST:
            return self._give(len(self._held), text)
        return self._cut(text) if not is_byte and len(self._held) >= MOST_HALVES else ""

    def end(self) -> str:
        """What was held back: a character that never became whole, a run of bytes."""
        return self._text(self._held)

    def _cut(self, text: str) -> str:
        """Give out the most tokens that none can change any more: their text and that of the rest are the whole."""
        for count in range(len(self._held) - 1, 0, -1):
            sure = self._text(self._held[:count])
            if sure + self._decode(self._held[count:]) == text:
                return self._give(count, sure)
        return ""

    def _give(self, count: int, text: str) -> str:
        given, self._held = self._held[:count], self._held[count:]
        names = self._tokenizer.convert_ids_to_tokens(given)
        closed = [token for token, name in zip(given, names, strict=True) if not _BYTE.fullmatch(name)]
        if closed:
            self._context = closed[-1:]
            self._before = len(self._decode(self._context))
        return text

    def _text(self, ids: Sequence[int]) -> str:
        """What these tokens add to what stands before them."""
        return self._decode([*self._context, *ids])[self._before :]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


class Stops:
    """Cuts a stream before the first of some strings; `found` says that it came."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def feed(self, chunk: str) -> str:
        """What surely stands before any of them."""
        if self.found:
            return ""
        self._held += chunk
        places = [place for stop in self._strings if (place := self._held.find(stop)) >= 0]
        self.found = bool(places)
        cut = min(places) if places else len(self._held) - self._unsure()
        given, self._held = self._held[:cut], "" if self.found else self._held[cut:]
        return given

    def end(self) -> str:
        """What was held back, once no more text comes."""
        given, self._held = self._held, ""
        return given

    def _unsure(self) -> int:
        """Characters at the end that may begin a stop string."""
        longest = max((len(stop) - 1 for stop in self._strings), default=0)
        lengths = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(self._held[-n:]) for stop in self._strings)), 0)
