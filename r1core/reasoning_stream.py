"""Splits a stream of text into thinking and answer as it arrives, tags cut by chunk borders included.

`<think>` and `</think>` switch, `<answer>` and `</answer>` are dropped; every other character comes out exactly once,
in order, whatever the chunks. `Reasoning` leaves out the blank that stands around the tags, too: what it says of a
well-formed text is what `Response.parse` says of the whole. And the rule for later turns: old thinking is not sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from r1core.types import Message

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
Pieces = list[tuple[bool, str]]
"""(is thinking, text), in order."""


class Splitter:
    """Feeds on chunks; `thinking` says where the stream stands (True from the start after a prefilled tag)."""

    def __init__(self, *, thinking: bool = False) -> None:
        self.thinking = thinking
        self._held = ""

    def feed(self, chunk: str) -> Pieces:
        """(is thinking, text) of what is now certain; the start of what may be a tag is held back."""
        self._held += chunk
        pieces: Pieces = []
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

    def end(self) -> Pieces:
        """What was held back, once no more text comes."""
        pieces: Pieces = []
        self._emit(pieces, self._held)
        self._held = ""
        return pieces

    def _emit(self, pieces: Pieces, text: str) -> None:
        if text:
            pieces.append((self.thinking, text))


class Reasoning:
    """A splitter without the blank before and after the thinking, and before and after the answer."""

    def __init__(self, *, thinking: bool = False) -> None:
        self._splitter = Splitter(thinking=thinking)
        self._blank: dict[bool, str] = {}
        """Blank that is only shown when text of its kind follows; no entry before the first text."""

    @property
    def thinking(self) -> bool:
        """Where the stream stands."""
        return self._splitter.thinking

    def feed(self, chunk: str) -> Pieces:
        """What is now certain."""
        return self._trimmed(self._splitter.feed(chunk))

    def end(self) -> Pieces:
        """The rest, once no more text comes."""
        return self._trimmed(self._splitter.end())

    def _trimmed(self, pieces: Pieces) -> Pieces:
        shown = []
        for kind, piece in pieces:
            text = self._blank.get(kind, "") + (piece if kind in self._blank else piece.lstrip())
            body = text.rstrip()
            if body or kind in self._blank:
                self._blank[kind] = text[len(body) :]
            if body:
                shown.append((kind, body))
        return shown


def split(text: str, *, thinking: bool = False) -> tuple[str, str]:
    """(thinking, answer) of a whole text, as a stream of it would be split."""
    reasoning = Reasoning(thinking=thinking)
    pieces = reasoning.feed(text) + reasoning.end()
    said, answered = ("".join(piece for kind, piece in pieces if kind is which) for which in (True, False))
    return said, answered


def without_thinking(messages: Iterable[Message]) -> list[dict[str, str]]:
    """The turns as the next prompt has them: role and content, the assistant's thinking left out.

    The thinking may lie in the content, its opening tag written by the template and so missing, or in fields of its
    own (`reasoning_content`, `reasoning`), which are left out.
    """
    turns = []
    for message in messages:
        content = message["content"]
        if message["role"] == "assistant":
            tail = content.rpartition("</think>")[2]
            content = split(tail)[1] if any(tag in content for tag in TAGS) else content
        turns.append({"role": message["role"], "content": content})
    return turns
