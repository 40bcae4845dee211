"""What is counted of scoring between two log lines: of all answers, and of each reward where there are several."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean
from typing import Self

from r1core.scoring.wire import Outcome
from r1core.types import Score
from r1core.world import World

_LATE = "verifier_timeout"


@dataclass(kw_only=True)
class _Counts:
    """What was counted. The lists have an entry for each reward."""

    all: Counter[str] = field(default_factory=Counter)
    own: list[Counter[str]]
    seconds: list[list[float]]
    gaps: list[list[float]]
    waited_s: float = 0.0

    @classmethod
    def none(cls, rewards: int) -> Self:
        """Nothing yet."""
        return cls(
            own=[Counter() for _ in range(rewards)],
            seconds=[[] for _ in range(rewards)],
            gaps=[[] for _ in range(rewards)],
        )

    @classmethod
    def sum(cls, counts: Sequence[Self]) -> Self:
        """Of several ranks: what they waited for beside each other is not added up."""
        return cls(
            all=sum((one.all for one in counts), Counter()),
            own=[sum(ranks, Counter()) for ranks in zip(*(one.own for one in counts), strict=True)],
            seconds=[[*chain(*ranks)] for ranks in zip(*(one.seconds for one in counts), strict=True)],
            gaps=[[*chain(*ranks)] for ranks in zip(*(one.gaps for one in counts), strict=True)],
            waited_s=max(one.waited_s for one in counts),
        )


class Tally:
    """Counts since they were last taken. `names` are the parts', `remote` those that are asked elsewhere."""

    def __init__(self, names: Sequence[str], remote: Sequence[bool]) -> None:
        self._names = names
        self._remote = remote
        self._counting = threading.Lock()
        self._counts = _Counts.none(len(names))

    def waited(self, seconds: float) -> None:
        """The stage has waited for scores for so long."""
        with self._counting:
            self._counts.waited_s += seconds

    def add(self, score: Score, outcomes: Mapping[int, Outcome], seconds: Mapping[int, float]) -> None:
        """Count one answer."""
        with self._counting:
            counts = self._counts
            counts.all["answers"] += 1
            counts.all[score.status] += 1
            counts.all["timeout"] += any(outcome.reason == _LATE for outcome in outcomes.values())
            for index, outcome in outcomes.items():
                counts.own[index]["answers"] += 1
                counts.own[index][outcome.status] += 1
                counts.own[index]["timeout"] += outcome.reason == _LATE
                if self._remote[index] and index > 0 and 0 in outcomes:
                    gap = score.parts[self._names[index]] - score.parts[self._names[0]]
                    counts.gaps[index] += [] if math.isnan(gap) else [gap]
            for index, spent in seconds.items():
                counts.seconds[index].append(spent)

    def take(self, world: World) -> dict[str, float]:
        """The shares and times since the last call, of all ranks, which then take together; none of no answers."""
        with self._counting:
            mine, self._counts = self._counts, _Counts.none(len(self._names))
        counts = _Counts.sum(world.gather(mine))
        if not counts.all["answers"]:
            return {}
        found = {**_shares("verifier", counts.all), "time/verifier_s": counts.waited_s}
        for index, name in enumerate(self._names):
            if len(self._names) > 1 and counts.own[index]["answers"]:
                found |= _shares(f"verifier/{name}", counts.own[index])
            if counts.gaps[index]:
                found[f"verifier/{name}/gap"] = fmean(counts.gaps[index])
            if counts.seconds[index]:
                found[f"time/verifier/{name}/p99_ms"] = 1e3 * _p99(counts.seconds[index])
        return found


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
