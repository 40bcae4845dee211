"""`metrics.jsonl`: one line for each step, the same bytes in every run but for `time/*`.

A line is `{"step": 3, "loss": 0.25, ...}` with sorted keys and shortest exact floats; what is not
finite is null. Names under `time/` hold whatever depends on the clock, and nothing else may. On a
full disk lines wait in memory: what must not be lost asks for a `mark`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from r1core.errors import SetupError
from r1core.store.files import FileMark, append_all, finite

METRICS = "metrics.jsonl"


class MetricsWriter:
    """Appends to one `metrics.jsonl`. Entering it drops what an earlier process wrote after the first `keep` bytes."""

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self._path = path
        self._size = keep
        self._waiting = b""

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b", buffering=0)
            self._file.seek(0)
            self._digest = hashlib.sha256(self._file.read(self._size))
            self._file.truncate(self._size)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._flush()
        except OSError as failure:
            if error is None:
                raise self._unwritable(failure) from failure
        finally:
            self._file.close()

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the line of one step (from 1)."""
        self._waiting += _line({**metrics, "step": step})
        with contextlib.suppress(OSError):
            self._flush()

    def mark(self) -> FileMark:
        """What the file holds now, durably. Raises OSError while lines cannot be written."""
        self._flush()
        os.fsync(self._file.fileno())
        return FileMark(size=self._size, sha256=self._digest.hexdigest())

    def _flush(self) -> None:
        """Write all the lines that wait, or none."""
        append_all(self._file, self._waiting, at=self._size)
        self._digest.update(self._waiting)
        self._size += len(self._waiting)
        self._waiting = b""

    def _unwritable(self, error: OSError) -> SetupError:
        return SetupError(
            f"cannot be written: {error.strerror or error}", where=str(self._path), fix="free space on the disk"
        )


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a `metrics.jsonl`, none where there is no file; ends at a line that a kill cut short."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise SetupError(f"is not JSON: {error}", where=f"{path}:{number}", fix="remove the line") from error


def _line(row: Mapping[str, Any]) -> bytes:
    numbers = {key: _number(value) for key, value in row.items()}
    return json.dumps(finite(numbers), sort_keys=True).encode() + b"\n"


def _number(value: Any) -> int | float | None:
    return value if value is None or isinstance(value, int) else float(value)
