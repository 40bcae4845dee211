r"""The shape of an answer: one value, several, a tuple, intervals, a matrix, an equation, words.

    1, 2 · \{1, 2\} · x = 1 or x = 2      Several        [1, 2) · 1 \le x < 2 · (0,9) \cup (9,36)    Intervals
    (3, 4) · (x,y) = (3,4)                 Tuple          y = 2x+3 · x = 41 = 42                       Equation

Found by brackets, separators and signs at the top level; what is left are expressions. (1, 2) stays open: a point or
an interval, as the reference needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from r1_plugins.math.token import Token
from r1_plugins.math.tree import Constant, Degrees, Negative, Tree

DEGREE = "degree"
INFINITE = (Constant("infinity"), Negative(Constant("infinity")))


@dataclass(frozen=True)
class Value:
    """An expression, the unit it stands in ("" for none), and whether it is a percentage."""

    tree: Tree
    unit: str = ""
    percent: bool = False

    @property
    def measure(self) -> Tree:
        """The tree, with the degree sign where that is the unit."""
        return Degrees(self.tree) if self.unit == DEGREE else self.tree


@dataclass(frozen=True)
class Words:
    """An answer in words: even, Monday, (C)."""

    text: str


@dataclass(frozen=True)
class Several:
    """Values in no order; `braced`: as a set."""

    items: tuple[Shape, ...]
    braced: bool = False


@dataclass(frozen=True)
class Tuple:
    """Values in order, in round or square brackets."""

    items: tuple[Shape, ...]
    square: bool = False


@dataclass(frozen=True)
class Interval:
    """One piece of a line; ends are trees."""

    low: Tree
    high: Tree
    low_open: bool
    high_open: bool


@dataclass(frozen=True)
class Intervals:
    """A union of intervals; `symbol` is the variable where one was named."""

    pieces: tuple[Interval, ...]
    symbol: str = ""


@dataclass(frozen=True)
class Matrix:
    """Rows of values."""

    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Equation:
    """Sides joined by `=`, or `\\approx` (then in `loose`)."""

    sides: tuple[tuple[Token, ...], ...]
    loose: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Ratio:
    """3 : 4 : 5, and times of day."""

    items: tuple[Value, ...]
    clock: bool = False
    """Whether it may be a time of day: 2:05, 12:30."""


@dataclass(frozen=True)
class Inequality:
    """Two sides with symbols on both, or in several variables; `sign` is one of <, <=, >, >= and !=."""

    left: Tree
    sign: str
    right: Tree


@dataclass(frozen=True)
class Nothing:
    """The empty set."""


Shape: TypeAlias = Words | Value | Several | Tuple | Intervals | Matrix | Ratio | Equation | Inequality | Nothing
Tokens: TypeAlias = Sequence[Token]


def intervals_of(shape: Shape) -> Intervals | None:
    """A pair in round or square brackets is an interval where one is wanted."""
    if isinstance(shape, Intervals):
        return shape
    if isinstance(shape, Tuple) and len(shape.items) == 2:
        low, high = shape.items
        if isinstance(low, Value) and isinstance(high, Value):
            return Intervals((Interval(low.measure, high.measure, not shape.square, not shape.square),))
    return None
