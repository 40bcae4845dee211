"""A ledger: finished units of work, one line each, appended when the unit's files are safely on disk.

    {"unit": 3, ..., "files": {"data/part-00003.parquet": {"size": .., "sha256": ..}}, "sha256": ".."}

Opening it takes the lines up to the first that is torn, altered, or whose files are not what they
were, and cuts off the rest: those units are done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from r1core.errors import SetupError
from r1core.store.files import FileMark, append_all, sync
from r1core.store.kills import reached


class Ledger:
    """`with Ledger(path, root=folder) as ledger:` opens it; files are named by their path below `root`."""

    def __init__(self, path: Path, *, root: Path) -> None:
        self.entries: list[dict[str, Any]] = []
        self.dropped = 0
        """Lines that were there but did not hold."""
        self._path = path
        self._root = root

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b", buffering=0)
            self._take()
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, entry: Mapping[str, Any], *, files: Sequence[Path] = ()) -> None:
        """Add a unit (JSON values) and the files it left, which must be on disk by now."""
        reached("ledger.append")
        marks = {path.relative_to(self._root).as_posix(): asdict(FileMark.of(path)) for path in files}
        whole = {**entry, "files": marks}
        try:
            append_all(self._file, line_of(whole), at=self._file.seek(0, os.SEEK_END))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self.entries.append(whole)
        reached("ledger.done")

    def _take(self) -> None:
        self._file.seek(0)
        lines, size = self._file.readall().splitlines(keepends=True), 0
        for line in lines:
            entry = entry_of(line)
            if entry is None or not all(FileMark(**m).holds(self._root / name) for name, m in entry["files"].items()):
                break
            self.entries.append(entry)
            size += len(line)
        self.dropped = len(lines) - len(self.entries)
        self._file.truncate(size)
        sync(self._path.parent)

    def _unwritable(self, error: OSError) -> SetupError:
        return SetupError(
            f"cannot be written: {error.strerror or error}",
            where=str(self._path),
            fix="free space on the disk; finished units are kept, the same command goes on",
        )


def line_of(entry: Mapping[str, Any]) -> bytes:
    """The line of an entry, with its own checksum. NaN is written as Python's JSON does, and comes back."""
    return json.dumps({**entry, "sha256": _digest(entry)}).encode() + b"\n"


def entry_of(line: bytes) -> dict[str, Any] | None:
    """What the line holds, None when it is not whole."""
    try:
        entry: dict[str, Any] = json.loads(line)
        told = entry.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return entry if line.endswith(b"\n") and told == _digest(entry) else None


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
