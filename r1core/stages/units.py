"""The units of a sample, evaluate or signals stage: chunks of problems, each done, written and entered in a ledger.

    with Units(job, chunks) as units:
        for unit in units.left():
            units.finish(rows, data, part=unit, told={...})

A killed stage goes on after the last unit that the ledger has. What was being done is done again, from
keys that depend on the unit alone, so it comes out the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from r1core.errors import RecipeError
from r1core.stages.base import Job
from r1core.store import Ledger, StageDirectory, write_rows
from r1core.store.kills import reached
from r1core.types import Problem
from r1core.usage import Usage


class Chunks(Protocol):
    """The stage's problems by unit: a list of lists, or what reads them as they are asked for, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, unit: int, /) -> Sequence[Problem]: ...


class Units:
    """The stage's chunks, of which earlier processes may have done the first. Entering it says how far they came, and
    takes over what they used and what the stage's components remember."""

    def __init__(self, job: Job, chunks: Chunks) -> None:
        self.job = job
        self._chunks = chunks
        self._ledger = Ledger(StageDirectory(job.folder).units, root=job.folder)

    def __enter__(self) -> Self:
        self._ledger.__enter__()
        try:
            self._take_over()
        except BaseException:
            self._ledger.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.__exit__(kind, error, trace)

    @property
    def finished(self) -> Sequence[Mapping[str, Any]]:
        """What was told of each finished unit, in order."""
        return self._ledger.entries

    def left(self, until: int | None = None) -> Iterator[int]:
        """The numbers of the units to do, from 0, before `until`; each must be finished before the next.

        Raises Interrupted between two units when the run is asked to stop.
        """
        total = len(self._chunks)
        for unit in range(len(self.finished), total if until is None else until):
            yield unit
            if unit + 1 < total and self.job.stopping():
                raise self.job.interrupted(f"unit {unit + 1} of {total}")

    def finish(
        self,
        rows: Sequence[Mapping[str, Any]],
        folder: Path,
        *,
        part: int,
        told: Mapping[str, Any],
        beside: Sequence[Path] = (),
    ) -> None:
        """Write the next unit's rows and enter it, with what is `told` of it (JSON values) and files `beside`."""
        reached("unit")
        self.enter(write_rows(folder, rows, part=part), *beside, told=told)

    def enter(self, *paths: Path, told: Mapping[str, Any]) -> None:
        """Enter the next unit, whose files are written."""
        unit = len(self.finished)
        entry = {
            "unit": unit,
            "problems": _digest(self._chunks[unit]),
            **told,
            "memory": self.job.memory(),
            "used": asdict(self.job.meter.now()),
        }
        self._ledger.append(entry, files=paths)

    def _take_over(self) -> None:
        if dropped := self._ledger.dropped:
            units, are = ("unit", "is") if dropped == 1 else ("units", "are")
            self.job.note(f"{dropped} finished {units} {are} damaged and {are} done again")
        if not self.finished:
            return
        for unit, entry in enumerate(self.finished):
            if unit >= len(self._chunks) or entry["problems"] != _digest(self._chunks[unit]):
                raise self._changed(unit)
        self.job.remember(self.finished[-1]["memory"])
        self.job.meter.earlier = Usage(**self.finished[-1]["used"])
        self.job.note(f"going on after unit {len(self.finished)} of {len(self._chunks)}")

    def _changed(self, unit: int) -> RecipeError:
        stage = self.job.stage.id
        return RecipeError(
            f"unit {unit + 1} was done with other problems than its source has now",
            where=f"stages.{stage}",
            fix=f"bring the data back as it was, or start the stage over with --from {stage}",
        )


def _digest(problems: Sequence[Problem]) -> str:
    """A hash of all that is asked, or graded, so that data which changed on the way is noticed."""
    asked = [[p.id, [dict(message) for message in p.messages], p.reference, p.completion] for p in problems]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
