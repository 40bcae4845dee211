"""`rollouts/`: the answers that a train stage learned from, one parquet part for each rollout batch.

`part-00016.parquet` holds the batch sampled before step 16 (from 0): the rows of a dataset without the
filters' verdicts, and, where the stage keeps them, token ids and the sampler's log-probs. On a full
disk batches wait in memory, for as long as checkpoints may fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.errors import SetupError
from r1core.store.files import FileMark
from r1core.store.rows import COLUMNS, rollout_row, write_rows
from r1core.types import Group, Verdict

FOLDER = "rollouts"
TEXT: Mapping[str, str] = {name: kind for name, kind in COLUMNS.items() if name not in ("keep", "reason")}
IDS: Mapping[str, str] = {"prompt_ids": "int64[]", "completion_ids": "int64[]"}
KEPT: Mapping[str, Mapping[str, str]] = {
    "text": TEXT,
    "ids": {**TEXT, **IDS},
    "ids+logprobs": {**TEXT, **IDS, "logprobs": "float64[]"},
}
"""The columns of each way of keeping rollouts."""


class RolloutsWriter:
    """Writes the rollout batches of one stage from step `done` on: an earlier process's later ones are removed."""

    def __init__(self, stage: Path, *, keep: str, last: int, done: int = 0) -> None:
        self._stage = stage
        self._columns = KEPT.get(keep)
        self._last = last
        self._waiting: dict[int, list[dict[str, Any]]] = {}
        self._marks: dict[int, FileMark] = {}
        for step, path in self._parts():
            if step >= done:
                path.unlink()
            else:
                self._marks[step] = FileMark.of(path)

    def add(self, step: int, groups: Sequence[Group]) -> None:
        """Keep the batch sampled before `step`."""
        if self._columns is None:
            return
        self._waiting[step] = [_row(group, index) for group in groups for index in range(len(group.rollouts))]
        try:
            self._write()
        except OSError:
            return  # `marks` says so, when something depends on it

    def marks(self) -> dict[str, FileMark]:
        """Every part by its path below the stage's folder. Raises OSError while batches cannot be written."""
        self._write()
        return {self._path(step).relative_to(self._stage).as_posix(): mark for step, mark in self._marks.items()}

    def prune(self, oldest: int | None = None) -> None:
        """Remove all but the last batches; but none from step `oldest` on, where a checkpoint would go on from."""
        done = [step for step in sorted(self._marks) if oldest is None or step < oldest]
        for step in done[: -self._last]:
            self._path(step).unlink()
            del self._marks[step]

    def close(self) -> None:
        """Write what waits, and keep the last batches alone. Raises SetupError when it cannot be written."""
        self._write_waiting()
        self.prune()

    def _write(self) -> None:
        try:
            self._write_waiting()
        except SetupError as error:
            raise OSError(str(error)) from error

    def _write_waiting(self) -> None:
        for step, rows in list(self._waiting.items()):
            path = write_rows(self._path(step).parent, rows, part=step, columns=self._columns or TEXT)
            self._marks[step] = FileMark.of(path)
            del self._waiting[step]

    def _path(self, step: int) -> Path:
        return self._stage / FOLDER / f"part-{step:05d}.parquet"

    def _parts(self) -> list[tuple[int, Path]]:
        paths = (self._stage / FOLDER).glob("part-*.parquet")
        return sorted((int(path.stem.removeprefix("part-")), path) for path in paths)


def _row(group: Group, index: int) -> dict[str, Any]:
    rollout = group.rollouts[index]
    row = rollout_row(rollout, group.scores[index] if group.scores else None, Verdict(keep=True))
    ids = {"prompt_ids": rollout.prompt_ids.tolist(), "completion_ids": rollout.completion_ids.tolist()}
    return {**row, **ids, "logprobs": None if rollout.logprobs is None else rollout.logprobs.tolist()}
