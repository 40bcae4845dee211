"""The processes that train one model together: a policy's `world`. One process alone is the rule.

Every rank runs the whole stage: same plan, same problems, same decisions. What takes time is shared out (each rank
samples and scores its part of a batch, a policy's `update` computes its part) and what came of it is gathered, so that
every rank knows the whole batch. What depends on the clock, the disk or a signal must be agreed on: `any`, `first`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class World(Protocol):
    """The ranks, from 0 to `size` - 1. Its methods are called by all of them, in the same order."""

    rank: int
    size: int

    def gather(self, mine: T) -> list[T]:
        """What every rank has, in order of rank; each rank gets all."""
        ...

    def first(self, mine: T) -> T:
        """What rank 0 has."""
        ...

    def any(self, mine: bool) -> bool:
        """Whether it is so on some rank."""
        ...


class Alone:
    """The world of a single process."""

    rank = 0
    size = 1

    def gather(self, mine: T) -> list[T]:
        """What it has."""
        return [mine]

    def first(self, mine: T) -> T:
        """What it has."""
        return mine

    def any(self, mine: bool) -> bool:
        """Whether it is so here."""
        return mine


def share(world: World, count: int) -> range:
    """The places, of `count`, that are this rank's: every `size`-th."""
    return range(world.rank, count, world.size)


def whole(shares: Sequence[Sequence[T]]) -> list[T]:
    """The opposite: what the ranks made of their shares, back in order."""
    size = len(shares)
    return [shares[place % size][place // size] for place in range(sum(map(len, shares)))]


def meet(world: World) -> None:
    """Wait until every rank has come this far: what it has written by then, the others can read."""
    world.any(False)
