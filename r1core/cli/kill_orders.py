"""Which kill comes next in a resume test, drawn from one seed: 70 % at random times, 30 % in the writer.

A fifth of the times lie in the start of a launch, the others are uniform over its fair share of the
work that is left, so that a chain's kills are spread over its whole run. The writer's places
(store/kills.py) come in turn, in a shuffled order; one that a recipe never reaches is left out in the end.
"""

from __future__ import annotations

import random
from collections import Counter, deque

from r1core.store.kills import PLACES

AT_RANDOM = 0.7
"""Share of the kills that come at random times."""
IN_START = 0.2
"""Share of those that come before a stage is at work."""
LATEST = 0.9
"""The latest time of a kill, as a share of the work that is left: a run that has finished cannot be killed."""
SPREAD = 3.0
"""The same in fair shares of it: the next kills make up for a late one."""
MOST_ARRIVALS = {"artifact": 1, "artifact.done": 1, "file": 8}
"""The count of a place is drawn from 1 to this; others up to `ARRIVALS`. A stage's process leaves one artifact."""
ARRIVALS = 3
MAX_MISSED = 3
"""How often a place may not be reached before it is left out."""


class Orders:
    """The kills of one test that have not landed yet."""

    def __init__(self, kills: int, *, seed: int) -> None:
        self._random = random.Random(seed)
        at_random = round(AT_RANDOM * kills)
        self._in_writer = [number >= at_random for number in range(kills)]
        """One for each kill that has not landed; the last is the next."""
        self._random.shuffle(self._in_writer)
        places = sorted(PLACES)
        self._random.shuffle(places)
        self._places = deque(places)
        self._missed: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._in_writer)

    @property
    def in_writer(self) -> bool:
        """Whether the next kill is one in the writer, else it is one at a time."""
        return self._in_writer[-1] and bool(self._places)

    @property
    def left_out(self) -> list[str]:
        """The places that no launch came to."""
        return sorted(PLACES.keys() - set(self._places))

    def landed(self) -> None:
        """The kill that was tried has landed."""
        self._in_writer.pop()

    def missed(self, place: str) -> None:
        """A launch ended before it came to the place of a kill."""
        self._missed[place] += 1
        if self._missed[place] >= MAX_MISSED:
            self._places.remove(place)

    def place(self) -> tuple[str, int]:
        """Where in the writer the next kill is to land, and at which arrival there."""
        place = self._places[0]
        self._places.rotate(-1)
        most = 1 if self._missed[place] else MOST_ARRIVALS.get(place, ARRIVALS)
        return place, self._random.randint(1, most)

    def time_s(self, *, startup_s: float, work_s: float, kills: int) -> float:
        """Seconds after its start at which a launch is killed, with so much work and so many kills left to a chain."""
        if self._random.random() < IN_START:
            return self._random.uniform(0.0, startup_s)
        return startup_s + self._random.uniform(0.0, min(LATEST, SPREAD / (kills + 1)) * work_s)
