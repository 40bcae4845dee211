"""A call's way to the judge: one of the places, the caps, the breaker; for each attempt anew.

A place is an attempt under way. A call that waits to be tried again has none, and goes before those that were not made
yet: a share of failures costs the calls that failed, and not the time between. While nothing comes back, nothing new is
begun; only what was begun is tried again. An attempt that is lost was sent, so it is put down as paid for.

    python tests/benchmarks/bench_judge.py
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from r1_plugins.judge.breaker import LEAST_FAILURES, Breaker, CircuitOpen
from r1core.endpoints import Budget, End


class Room:
    """The places of one session. Lives in one event loop."""

    def __init__(self, places: int) -> None:
        self.begun = 0
        """Calls that have got a place and are not at their end."""
        self._places = self._free = places
        self._fruitless = 0
        """Attempts in a row that brought no answer."""
        self._again = deque[asyncio.Future[None]]()
        self._new = deque[asyncio.Future[None]]()

    async def take(self, *, new: bool) -> None:
        """Wait for a place; behind all others where the call is new."""
        place = asyncio.get_running_loop().create_future()
        (self._new if new else self._again).append(place)
        self.admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given in the same instant
                self.give()
            raise

    def give(self) -> None:
        """Give a place back."""
        self._free += 1
        self.admit()

    def count(self, *, answered: bool) -> None:
        """Count an attempt."""
        self._fruitless = 0 if answered else self._fruitless + 1

    def admit(self) -> None:
        """Let those in that may be."""
        while self._free and (queue := self._again or (self._new if self._begins else None)):
            place = queue.popleft()
            if not place.done():
                place.set_result(None)
                self._free -= 1

    @property
    def _begins(self) -> bool:
        """Whether new calls may be made: while others bring no answer, only where there are no others."""
        return self._fruitless < LEAST_FAILURES or (self.begun == 0 and self._free == self._places)


class Turn:
    """One call's turn (`r1core.endpoints.Gate`). Entered, it has a place, and what it can cost fits."""

    def __init__(
        self, room: Room, budget: Budget, breaker: Breaker | None, *, usd: float, lost: Callable[[], None], new: bool
    ) -> None:
        """`usd`: the most that an attempt can cost; `lost` puts one down; without a breaker it goes past it."""
        self._room = room
        self._budget = budget
        self._breaker = breaker
        self._usd = usd
        self._lost = lost
        self._new = new
        self._has_place = self._is_booked = False
        self._tried = 0

    async def __aenter__(self) -> Self:
        """Raises RefusedError where a cap does not leave room for it."""
        await self._ready()
        self._room.begun += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._room.begun -= 1
        if self._is_booked:
            self._budget.settle(self._usd)
        if self._has_place:
            self._room.give()
        self._room.admit()

    async def enter(self) -> None:
        """Before an attempt. Raises CircuitOpen; RefusedError where a cap does not leave room for it."""
        await self._ready()
        if self._breaker is not None:
            await self._breaker.pace()
            if self._breaker.is_open:
                raise CircuitOpen(begun=self._tried > 0)
        self._tried += 1

    def left(self, end: End) -> None:
        """After an attempt."""
        if self._breaker is not None:
            self._breaker.left(ok=end in ("answered", "busy"))
        if end == "lost":
            self._lost()
            self._is_booked = False
            self._budget.settle(self._usd)
        self._room.count(answered=end == "answered")
        self._has_place = False
        self._room.give()

    async def _ready(self) -> None:
        """A place, and the attempt booked; whoever waits for the bills of others holds no place."""
        while not (self._has_place and self._is_booked):
            if not self._has_place:
                await self._room.take(new=self._new and not self._tried)
                self._has_place = True
            if not self._is_booked:
                self._is_booked = self._budget.book(self._usd)
            if not self._is_booked:
                self._has_place = False
                self._room.give()
                await self._budget.others(self._usd)
