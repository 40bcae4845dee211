"""What is counted of scoring between two log lines: of all answers, and of each reward where there are several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from r1core.scoring.wire import Outcome
from r1core.types import Score
from r1core.world import Alone, World

_LATE = "verifier_timeout"


class Tally:
    """Counts since they were last taken. `names` are the parts', `remote` those that are asked elsewhere."""

    def __init__(self, names: Sequence[str], remote: Sequence[bool]) -> None:
        self._names = names
        self._remote = remote
        self.waited_s = 0.0
        """How long the stage has waited for scores."""
        self._start()

    def _start(self) -> None:
        self._all: Counter[str] = Counter()
        self._own: list[Counter[str]] = [Counter() for _ in self._names]
        self._seconds: list[list[float]] = [[] for _ in self._names]
        self._gaps: list[list[float]] = [[] for _ in self._names]
        self.waited_s = 0.0

    def add(self, score: Score, outcomes: Mapping[int, Outcome], seconds: Mapping[int, float]) -> None:
        """Count one answer."""
        self._all["answers"] += 1
        self._all[score.status] += 1
        self._all["timeout"] += any(outcome.reason == _LATE for outcome in outcomes.values())
        for index, outcome in outcomes.items():
            self._own[index]["answers"] += 1
            self._own[index][outcome.status] += 1
            self._own[index]["timeout"] += outcome.reason == _LATE
            if self._remote[index] and index > 0 and 0 in outcomes:
                gap = score.parts[self._names[index]] - score.parts[self._names[0]]
                self._gaps[index] += [] if math.isnan(gap) else [gap]
        for index, spent in seconds.items():
            self._seconds[index].append(spent)

    def take(self, world: World | None = None) -> dict[str, float]:
        """The shares and times since the last call; of all ranks, which then take together."""
        self._add_up((world or Alone()).gather((self._all, self._own, self._seconds, self._gaps, self.waited_s)))
        found = {**_shares("verifier", self._all), "time/verifier_s": self.waited_s}
        for index, name in enumerate(self._names):
            if len(self._names) > 1 and self._own[index]["answers"]:
                found |= _shares(f"verifier/{name}", self._own[index])
            if self._gaps[index]:
                found[f"verifier/{name}/gap"] = fmean(self._gaps[index])
            if self._seconds[index]:
                found[f"time/verifier/{name}/p99_ms"] = 1e3 * _p99(self._seconds[index])
        self._start()
        return found

    def _add_up(self, counts: Sequence[tuple[Any, ...]]) -> None:
        """Be the sum of several: counts and lists are added, what ranks waited for beside each other is not."""
        every, own, seconds, gaps, waited = zip(*counts, strict=True)
        self._all = sum(every, Counter())
        self._own = [sum(ranks, Counter()) for ranks in zip(*own, strict=True)]
        self._seconds = [[*chain(*ranks)] for ranks in zip(*seconds, strict=True)]
        self._gaps = [[*chain(*ranks)] for ranks in zip(*gaps, strict=True)]
        self.waited_s = max(waited)


def _shares(prefix: str, counts: Counter[str]) -> dict[str, float]:
    answers = max(1, counts["answers"])
    return {
        f"{prefix}/infra_rate": counts["infrastructure"] / answers,
        f"{prefix}/failure_rate": counts["answer_failure"] / answers,
        f"{prefix}/timeout_rate": counts["timeout"] / answers,
    }


def _p99(seconds: Sequence[float]) -> float:
    """The time within which 99 of 100 were done, of those that were measured."""
    return sorted(seconds)[max(0, math.ceil(0.99 * len(seconds)) - 1)]
