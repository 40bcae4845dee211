"""The circuit breaker: when nothing but failures comes back, the run pauses, and one call looks every so often.

A burst of errors is no outage: the circuit opens after `open_after_s` of failures without one success between them, and
five at least. While it is open no other call is made. Ctrl-C ends a pause; so does `max_s`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from r1_plugins.judge.config import Outage
from r1core.endpoints import EndpointError
from r1core.errors import Interrupted, RefusedError

LEAST_FAILURES = 5
TICK_S = 0.1
"""How soon a pause sees that it was asked to end."""


class CircuitOpen(Exception):
    """An attempt was not made because the judge is down. `begun`: whether the call had been tried before."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("the judge is down")
        self.begun = begun


class Breaker:
    """Counts attempts, and says when no more are made. Lives in one event loop."""

    def __init__(
        self,
        where: str,
        outage: Outage,
        *,
        per_minute: int | None,
        note: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.is_open = False
        self.failures = 0
        """In a row."""
        self._where = where
        self._outage = outage
        self._pause_s = 60.0 / per_minute if per_minute is not None else 0.0
        self._note = note
        self._stopping = stopping
        self._failing_since_s = 0.0
        self._next_s = 0.0
        self._one = asyncio.Lock()

    async def pace(self) -> None:
        """Wait until one more attempt of this minute is due."""
        if self._pause_s:
            self._next_s = max(self._next_s, time.monotonic()) + self._pause_s
            await asyncio.sleep(self._next_s - self._pause_s - time.monotonic())

    def left(self, *, ok: bool) -> None:
        """Count an attempt."""
        now_s = time.monotonic()
        if ok:
            self.failures = 0
            return
        self._failing_since_s = self._failing_since_s if self.failures else now_s
        self.failures += 1
        if self.failures >= LEAST_FAILURES and now_s - self._failing_since_s >= self._outage.open_after_s:
            self.trip()

    def trip(self) -> None:
        """Open the circuit."""
        self._failing_since_s = self._failing_since_s if self.failures else time.monotonic()
        self.is_open = True

    async def closed(self, look: Callable[[], Awaitable[None]]) -> None:
        """Wait until the judge answers again; `look` raises EndpointError while it does not.

        Raises RefusedError after the longest pause, Interrupted when the run is asked to stop.
        """
        async with self._one:  # the others find it closed, or look and give up in their turn
            last = "no answer"
            while self.is_open:
                await self._count_down(last)
                try:
                    await look()
                except EndpointError as error:
                    last = error.what
                else:
                    self.is_open, self.failures = False, 0
                    self._note(f"{self._where}: answers again after {self._down_s:.0f} s")

    @property
    def _down_s(self) -> float:
        return time.monotonic() - self._failing_since_s

    async def _count_down(self, last: str) -> None:
        """Until the next look."""
        left_s = self._outage.max_s - self._down_s
        if left_s <= 0:
            raise RefusedError(
                f"no answer for {self._down_s:.0f} s (at most {self._outage.max_s:g} s allowed), the last: {last}",
                where=self._where,
                fix="mend the server, or raise outage.max_s; every verdict is kept, the same command goes on",
            )
        wait_s = min(self._outage.look_every_s, left_s)
        self._note(f"{self._where}: {last}; paused, next look in {wait_s:.0f} s, giving up in {left_s:.0f} s")
        until_s = time.monotonic() + wait_s
        while (rest_s := until_s - time.monotonic()) > 0:
            if self._stopping():
                raise Interrupted(
                    "stopped on request while the judge was down", where=self._where, fix="the same command goes on"
                )
            await asyncio.sleep(min(TICK_S, rest_s))
