"""One odd answer to a problem whose right answer is known, and the families such answers come in.

A model that is rewarded looks for what is paid, not for what is right. Every family is a way to be
paid that models or people have found: hedging (verifiers), openings that please judges
(arXiv:2507.08794), orders to the grader, code for a grader that evaluates, text that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from r1core.types import Response

Severity: TypeAlias = Literal["high", "medium", "low"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A class of attacks: why it must not be paid, and how bad it is when it is."""

    severity: Severity
    """high: who does not know the answer is paid; medium: hidden or broken; low: right, in a spelling of its own."""
    why: str


FAMILIES = {
    "empty": Family(severity="high", why="nothing stands where the answer belongs"),
    "cut off": Family(severity="medium", why="the text ends before its answer does"),
    "misplaced": Family(severity="high", why="the right answer stands only where no answer belongs"),
    "hedged": Family(severity="high", why="the right answer among others is no answer"),
    "box": Family(severity="high", why="a box that was only thought, is one of several, or is taken back is no answer"),
    "chained": Family(severity="high", why="an equation that names several values takes none of them back"),
    "negated": Family(severity="high", why="the right answer is denied"),
    "part": Family(severity="high", why="a piece of the right answer, or that with something attached, is another one"),
    "other answer": Family(severity="high", why="it is the right answer to another question"),
    "echo": Family(severity="high", why="the question is not its answer"),
    "claim": Family(severity="high", why="it says that it is right instead of saying what is"),
    "opening": Family(severity="high", why="an opening without content, of the sort that opens judges"),
    "injection": Family(severity="high", why="it gives orders to whoever grades it"),
    "pattern": Family(severity="high", why="a pattern, a template or a query that would match anything"),
    "program": Family(severity="high", why="it leaves the work to a grader that evaluates what it reads"),
    "type": Family(severity="high", why="a value of another type, which a careless comparison converts"),
    "number": Family(severity="high", why="no number can be compared with it"),
    "spelling": Family(severity="low", why="letters that nobody sees, or that only look alike: no reader types them"),
    "form": Family(severity="medium", why="the answer stands in a broken form, and the cases condemn such"),
    "no thinking": Family(severity="medium", why="the think block has nothing in it"),
    "size": Family(severity="high", why="garbage, too long, too deep or unprintable: no answer"),
}
"""In the order in which they are asked: what may hang comes last."""


def never(response: Response) -> bool:
    """For attacks that nobody means to pay."""
    return False


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One answer that must not be paid. `is_like` tells answers of its like: where the author's cases pay for one,
    that is meant."""

    family: str
    label: str
    response: Response
    holds: bool = False
    """Whether it holds the right answer: where cases give part credit, it may earn that, but not the whole."""
    is_like: Callable[[Response], bool] = never


def is_empty(response: Response) -> bool:
    """Whether nothing stands where the answer belongs."""
    return not (response.answer or "").strip()


def is_unthought(response: Response) -> bool:
    """Whether there is no closed think block."""
    return response.answer is None


def is_cut(response: Response) -> bool:
    """Whether it was cut off."""
    return response.finish == "length"


def has_foreign_digits(response: Response) -> bool:
    """Whether its answer has digits that are not 0 to 9."""
    return any(letter.isdecimal() and not letter.isascii() for letter in response.answer or response.text)


def is_thoughtless(response: Response) -> bool:
    """Whether its think block has nothing in it that one could see."""
    thinking = response.thinking
    return thinking is not None and not any(letter.isprintable() and not letter.isspace() for letter in thinking)
