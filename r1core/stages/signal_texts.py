"""The texts that a signals stage grades: read unit by unit, and first held against the room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from r1core.errors import SetupError
from r1core.stages.base import Job
from r1core.store import problem_of, read_rows
from r1core.store.rows import count_rows
from r1core.store.signals import bytes_of
from r1core.types import Problem


class Texts:
    """The kept rows of datasets by unit, read in order and never all at once. Implements `units.Chunks`."""

    def __init__(self, folders: Sequence[Path], size: int) -> None:
        self._folders = folders
        self._size = size
        self._count = sum(count_rows(folder, kept=True).rows for folder in folders)
        self._next = 0
        self._left: Iterator[dict[str, Any]] = iter(())
        self._present: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return -(-self._count // self._size)

    def __getitem__(self, unit: int) -> list[Problem]:
        return [problem_of(row) for row in self.rows(unit)]

    def rows(self, unit: int) -> list[dict[str, Any]]:
        """The rows of a unit: those at hand, or the next; whoever goes back begins anew."""
        if unit < self._next - 1 or not self._next:
            self._next, self._left = 0, self._kept()
        while self._next <= unit:
            self._present, self._next = list(islice(self._left, self._size)), self._next + 1
        return self._present

    def _kept(self) -> Iterator[dict[str, Any]]:
        return (row for folder in self._folders for row in read_rows(folder) if row["keep"])


def check_room(job: Job, folders: Sequence[Path], *, left: float) -> None:
    """Raise SetupError, before anything is computed, when what is left to write is more than the disk has."""
    spec = job.stage.stage.signals
    assert spec is not None, "the plan checks what a signals stage needs"
    tokens = sum(count_rows(folder, kept=True).tokens for folder in folders)
    needed, free = left * bytes_of(tokens, tokens, k=spec.kept), shutil.disk_usage(job.folder).free
    if needed > free:
        raise SetupError(
            f"signals of {tokens:,} tokens take about {needed / 2**30:.3g} GiB, and {free / 2**30:.3g} GiB are free",
            where=f"stages.{job.stage.id}",
            fix="keep fewer tokens (`k`), or `scheme: sampled`; or choose another --run-dir",
        )
