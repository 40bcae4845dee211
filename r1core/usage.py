"""What a stage's work has cost, over all the processes that it took: one that was killed counts up to its last save."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Seconds on the clock, and seconds of processors (own and of children that have ended)."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(wall_s=self.wall_s + other.wall_s, cpu_s=self.cpu_s + other.cpu_s)


class Meter:
    """Counts what this process uses from now on, after what `earlier` processes used."""

    def __init__(self) -> None:
        self.earlier = Usage()
        self._begun = self._clock()

    def now(self) -> Usage:
        """All that was used so far."""
        clock = self._clock()
        own = Usage(wall_s=clock.wall_s - self._begun.wall_s, cpu_s=clock.cpu_s - self._begun.cpu_s)
        return self.earlier + own

    @staticmethod
    def _clock() -> Usage:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return Usage(wall_s=time.monotonic(), cpu_s=sum(usage.ru_utime + usage.ru_stime for usage in used))
