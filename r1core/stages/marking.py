"""Filters mark, they do not delete: one verdict for each answer, what each filter saw, and what it remembers.

The first filter that rejects an answer gives the reason; later ones do not see it. A filter's memory is of two kinds:
what is small (`state`) is kept with every unit; what grows with the data (`learned`) in pieces, one for each unit, so
that a stage of a million answers writes each thing once, and goes on after a kill as if it had not been killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.components import DataFilter
from r1core.store.files import writing
from r1core.types import Group, Verdict

KEPT = "kept"
FOLDER = "memory"
"""Where the pieces lie, beside the ledger of the units: a finished stage lets go of both."""


def mark(
    group: Group,
    filters: Sequence[DataFilter],
    *,
    earlier: Sequence[Verdict] = (),
    heard: Callable[[int, Sequence[Verdict]], None] = lambda number, verdicts: None,
) -> list[Verdict]:
    """One verdict for each rollout. No filter sees an answer that nobody would give, that infrastructure failed to
    score, or that was rejected `earlier`; `heard` is told the verdicts of each filter, by its number."""
    verdicts = list(earlier) or [Verdict(keep=True)] * len(group.rollouts)
    for number, rollout in enumerate(group.rollouts):
        if rollout.refused:
            verdicts[number] = Verdict(keep=False, reason=f"refused: {rollout.refused}")
    for number, score in enumerate(group.scores):
        if not score.known and verdicts[number].keep:
            verdicts[number] = Verdict(keep=False, reason="infrastructure")
    for place, each in enumerate(filters):
        alive = [number for number, verdict in enumerate(verdicts) if verdict.keep]
        if not alive:
            break
        own = each.judge(group.keep([verdict.keep for verdict in verdicts]))
        heard(place, own)
        for number, verdict in zip(alive, own, strict=True):
            verdicts[number] = verdict
    return verdicts


def fate(verdict: Verdict) -> str:
    """The word under which a verdict is counted: the reason, up to what is told of this answer alone."""
    return KEPT if verdict.keep else verdict.reason.partition(" (")[0] or "rejected"


class Marking:
    """A stage's filters, and what each has seen and rejected so far."""

    def __init__(self, filters: Sequence[DataFilter], told: Sequence[Mapping[str, Any]] = ()) -> None:
        self._filters = list(filters)
        self._seen = [each["seen"] for each in told] or [0] * len(filters)
        self._rejected = [Counter(each["rejected"]) for each in told] or [Counter[str]() for _ in filters]

    def mark(self, group: Group, earlier: Sequence[Verdict] = ()) -> list[Verdict]:
        """One verdict for each rollout."""
        return mark(group, self._filters, earlier=earlier, heard=self._heard)

    def told(self) -> list[dict[str, Any]]:
        """For each filter the answers that it has seen, and those it rejected, by reason: JSON values."""
        return [
            {"seen": seen, "rejected": dict(sorted(rejected.items()))}
            for seen, rejected in zip(self._seen, self._rejected, strict=True)
        ]

    def save(self, progress: Path, unit: int) -> list[Path]:
        """Write what the filters have learned in this unit; the files there are."""
        pieces = [(_piece(progress, number, unit), each.learned()) for number, each in enumerate(self._filters)]
        for path, piece in pieces:
            if piece:
                path.parent.mkdir(parents=True, exist_ok=True)
                with writing(path) as temporary:
                    temporary.write_bytes(piece)
        return [path for path, piece in pieces if piece]

    def load(self, progress: Path, units: int) -> None:
        """Give each filter back what it learned in the finished units, in their order."""
        for number, each in enumerate(self._filters):
            for unit in range(units):
                path = _piece(progress, number, unit)
                if path.exists():
                    each.relearn(path.read_bytes())

    def _heard(self, number: int, verdicts: Sequence[Verdict]) -> None:
        self._seen[number] += len(verdicts)
        self._rejected[number].update(fate(verdict) for verdict in verdicts if not verdict.keep)


def _piece(progress: Path, number: int, unit: int) -> Path:
    return progress / FOLDER / f"filter-{number}-{unit:05d}.bin"
