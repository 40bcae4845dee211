"""The reward `math` under watch: what it opens, imports, compiles, executes, starts or connects to while it judges.

Every module that it needs is loaded, and every way to decide gone once, before the watch begins; after that, an event
of this list is the work of an answer. The reason of a score then names it.
"""

from __future__ import annotations

import sys
from typing import Any

from r1_plugins.math import Math
from r1core.components import Reward
from r1core.types import Problem, Response, Score

WATCHED = (
    "open",
    "exec",
    "compile",
    "import",
    "os.",
    "socket.",
    "subprocess.",
    "ctypes.",
    "shutil.",
    "pty.",
    "marshal.",
)


class Watched(Math):
    """The verdict of `math`, unless something happened beside it."""

    name = "watched"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for sentinel in self.sentinels():
            super().score(sentinel.problem, sentinel.response)
        self.seen: list[str] = []
        self.watching = False
        sys.addaudithook(self.note)

    def note(self, event: str, details: tuple[Any, ...]) -> None:
        """Called by the interpreter."""
        if self.watching and event.startswith(WATCHED):
            self.seen.append(f"{event} {str(details)[:80]}")

    def score(self, problem: Problem, response: Response) -> Score:
        """As `math`; "audit: ..." where an answer made something happen."""
        self.seen.clear()
        self.watching = True
        try:
            score = super().score(problem, response)
        finally:
            self.watching = False
        return Score(value=score.value, reason=f"audit: {self.seen}") if self.seen else score


class Opens(Reward):
    """A reward whose answers do make something happen: the watch must see it."""

    name = "opens"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.watched = Watched(Math.Config())

    def score(self, problem: Problem, response: Response) -> Score:
        """Evaluates the answer, as graders should not."""
        self.watched.seen.clear()
        self.watched.watching = True
        try:
            eval(response.answer or "0")
        finally:
            self.watched.watching = False
        return Score(value=0.0, reason=f"audit: {self.watched.seen}")
