"""`metrics.jsonl`: one line for each step, the same bytes in every run but for `time/*`.

A line is `{"step": 3, "loss": 0.25, ...}` with sorted keys and shortest exact floats; what is not
finite is null. Names under `time/` hold whatever depends on the clock, and nothing else may.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from r1core.errors import SetupError
from r1core.store.files import finite, write_text


class MetricsWriter:
    """Appends to one `metrics.jsonl`. Entering it drops what an earlier process wrote after step `keep`."""

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self._path = path
        self._keep = keep

    def __enter__(self) -> Self:
        kept = [_line(row) for row in read_metrics(self._path) if row["step"] <= self._keep]
        write_text(self._path, "".join(kept))
        self._file = self._path.open("a", encoding="utf-8", newline="\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the line of one step (from 1)."""
        try:
            self._file.write(_line({**metrics, "step": step}))
            self._file.flush()
        except OSError as error:
            raise SetupError(
                f"cannot be written: {error.strerror}", where=str(self._path), fix="free space on the disk"
            ) from error


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


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(finite({key: _number(value) for key, value in row.items()}), sort_keys=True) + "\n"


def _number(value: Any) -> int | float | None:
    return value if value is None or isinstance(value, int) else float(value)
