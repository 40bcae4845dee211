"""A call's way to the teacher: one of the places, room under the caps, a line in the record; for each attempt anew.

What was sent and brought nothing back is put down as paid for. When the session ends, what is under way comes to its
end, and nothing is begun or tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from r1core.contexts import SampleRecord
from r1core.endpoints import Budget, End


class Ended(Exception):
    """An attempt is not made: another call ended the session, or the run was asked to stop."""


class Turn:
    """One call's turn (`r1core.endpoints.Gate`): `async with` it, around the call and what is done with the reply."""

    def __init__(
        self,
        place: int,
        record: SampleRecord,
        budget: Budget,
        places: asyncio.Semaphore,
        *,
        usd: float,
        ended: Callable[[bool], bool],
    ) -> None:
        """`usd`: the most that an attempt can cost; `ended(is_begun)` whether none is made any more."""
        self._place = place
        self._record = record
        self._budget = budget
        self._places = places
        self._usd = usd
        self._ended = ended
        self._is_under_way = self._is_begun = False

    async def __aenter__(self) -> Self:
        """A call that waits to be tried again keeps its place: one that fails is not left behind by all others."""
        await self._places.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._is_under_way:
            self._budget.settle(self._usd)
        self._places.release()

    async def enter(self) -> None:
        """Before an attempt. Raises Ended; RefusedError where a cap leaves no room."""
        while not self._ended(self._is_begun):
            if self._budget.book(self._usd):
                self._is_under_way = self._is_begun = True  # booked: from here on `async with` settles it
                self._record.asking(self._place, usd=self._usd)
                return
            await self._budget.others(self._usd)
        raise Ended

    def left(self, end: End) -> None:
        """After an attempt. One that was answered is settled by its answer."""
        if end == "answered":
            return
        if end == "lost":
            self._record.lost(self._place)
        else:
            self._record.unbilled(self._place)
        self._is_under_way = False
        self._budget.settle(self._usd)
