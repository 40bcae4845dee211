"""Tokens to text as they come: never half a character, and never the start of what may be a stop string.

A byte-level token may end inside a character, and some decoders write a token otherwise at the beginning than after
another: so a short window of tokens is decoded again with each one, and what it adds is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

UNKNOWN = "\ufffd"
UNSURE = 4
"""As many bytes may a character have: so many marks at the end of a text may yet become one."""


class Writer:
    """The text of one answer, token by token."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []
        self._before = 0
        """How many tokens of the window were written out when it began."""
        self._shown = 0
        """Characters of the window's text that were given out."""

    def add(self, token: int) -> str:
        """The characters that are certain now."""
        self._window.append(token)
        text = self._decode(self._window)
        certain = len(text) - min(len(text) - len(text.rstrip(UNKNOWN)), UNSURE)
        new = text[self._shown : certain]
        if certain == len(text) and new:
            self._window = self._window[self._before :]
            self._before = len(self._window)
            self._shown = len(self._decode(self._window))
        else:
            self._shown = max(self._shown, certain)
        return new

    def end(self) -> str:
        """What was held back: a character that never became whole."""
        return self._decode(self._window)[self._shown :]

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
