"""What talk is about: ways to ask that mean the same, and the replies that people give, good and bad.

The base's corpus and unguarded supervised data show the manners of a topic in its shares; which of
them is best is what the people of this world prefer (`preference`).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from r1_plugins.playground.words import Language, Piece, Word


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is thought and what is said."""

    thinking: tuple[Piece, ...] = ()
    answer: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Topic(abc.ABC):
    """One thing to talk about; `ways` to ask are pairs of translations."""

    manners: ClassVar[Mapping[str, float]]
    """Shares of the manners of replying, where they are mixed."""
    best: ClassVar[str]
    """The manner that people prefer."""

    name: str
    ways: tuple[Word, ...]

    @abc.abstractmethod
    def reply(self, manner: str) -> Reply:
        """The reply in one of `manners`."""

    @abc.abstractmethod
    def reference(self, language: Language) -> str | list[str]:
        """The right answer, or all of them."""

    @abc.abstractmethod
    def phrases(self) -> tuple[Word, ...]:
        """All that is said in replies, for the tokenizer."""
