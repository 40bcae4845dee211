"""Splits a stream of text into thinking and answer as it arrives, tags cut by chunk borders included.

`<think>` and `</think>` switch, `<answer>` and `</answer>` are dropped; every other character comes
out exactly once, in order, whatever the chunks.
"""

from __future__ import annotations

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


class Splitter:
    """Feeds on chunks; `thinking` says where the stream stands (True from the start after a prefilled tag)."""

    def __init__(self, *, thinking: bool = False) -> None:
        self.thinking = thinking
        self._held = ""

    def feed(self, chunk: str) -> list[tuple[bool, str]]:
        """(is thinking, text) of what is now certain; the start of what may be a tag is held back."""
        self._held += chunk
        pieces: list[tuple[bool, str]] = []
        while (place := self._held.find("<")) >= 0:
            self._emit(pieces, self._held[:place])
            self._held = self._held[place:]
            tag = next((tag for tag in TAGS if self._held.startswith(tag)), None)
            if tag is not None:
                self.thinking = self.thinking if "answer" in tag else tag == "<think>"
                self._held = self._held[len(tag) :]
            elif any(tag.startswith(self._held) for tag in TAGS):
                return pieces
            else:
                self._emit(pieces, "<")
                self._held = self._held[1:]
        return pieces + self.end()

    def end(self) -> list[tuple[bool, str]]:
        """What was held back, once no more text comes."""
        pieces: list[tuple[bool, str]] = []
        self._emit(pieces, self._held)
        self._held = ""
        return pieces

    def _emit(self, pieces: list[tuple[bool, str]], text: str) -> None:
        if text:
            pieces.append((self.thinking, text))
