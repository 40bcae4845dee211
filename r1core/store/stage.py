"""One stage's folder: `stage.json` says what it was made from, and proves, file by file, that it is still whole.

    missing -> begin -> partial -> finish -> finished       (stale: made from something else;
                                                             damaged: a file is not what it was)

`stage.json` is written last, so a finished stage is a whole one. What a new attempt replaces is moved
to `stages/.stale/<id>` and kept until its successor finishes.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from r1core.errors import SetupError
from r1core.store.files import TEMPORARY, FileMark, mark_folder, read_json, sync, write_json

ARTIFACTS = ("model", "data")
StageState: TypeAlias = Literal["finished", "stale", "partial", "missing", "damaged"]


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """The contents of `stage.json`. `inputs` maps stage ids to fingerprints; times are UTC."""

    status: Literal["running", "finished"]
    fingerprint: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileMark] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @classmethod
    def from_json(cls, value: Any) -> StageRecord:
        """Raises TypeError when a field is missing or unknown."""
        files = {name: FileMark(**mark) for name, mark in value["files"].items()}
        metrics = {name: math.nan if found is None else found for name, found in value["metrics"].items()}
        return cls(**{**value, "files": files, "metrics": metrics})


class StageDirectory:
    """The folder of one stage: `model/` or `data/`, and beside it what the stage logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self._set_aside = path.parent / ".stale" / path.name

    @property
    def model(self) -> Path:
        """The model artifact."""
        return self.path / "model"

    @property
    def data(self) -> Path:
        """The data artifact."""
        return self.path / "data"

    def record(self) -> StageRecord | None:
        """What `stage.json` says, None where there is none. Raises SetupError when it is damaged."""
        path = self.path / "stage.json"
        if not path.exists():
            return None
        try:
            return StageRecord.from_json(read_json(path))
        except (TypeError, KeyError, AttributeError) as error:
            raise SetupError(f"is not a stage record: {error}", where=str(path), fix="remove the stage") from error

    def state(self, fingerprint: str) -> StageState:
        """Where the stage stands if it is to have this fingerprint. Reads every file of a finished stage."""
        if not self.path.exists():
            return "missing"
        try:
            record = self.record()
        except SetupError:
            return "damaged"
        if record is None:
            return "partial"
        if record.fingerprint != fingerprint:
            return "stale"
        if record.status == "running":
            return "partial"
        whole = all(mark.holds(self.path / name) for name, mark in record.files.items())
        return "finished" if whole else "damaged"

    def begin(self, fingerprint: str, *, inputs: Mapping[str, str], resume: bool = False) -> None:
        """Make the folder ready for an attempt.

        With `resume`, a half-done folder of the same fingerprint is gone on from (its checkpoints and
        its starting time stay). Whatever else is there is set aside.
        """
        if resume and self.state(fingerprint) == "partial" and self.record() is not None:
            for leftover in self.path.rglob(TEMPORARY):
                leftover.unlink()
            return
        if self.path.exists():
            self._move_aside()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(StageRecord(status="running", fingerprint=fingerprint, inputs=inputs, started=started))

    def finish(self, metrics: Mapping[str, float], *, wall_s: float, cpu_s: float) -> StageRecord:
        """Seal the stage: fsync and hash its artifacts, then write `stage.json`, then let go of its predecessor."""
        record = self.record()
        if record is None:
            raise RuntimeError(f"stage {self.id!r} is finished before it began")
        files = {f"{kind}/{name}": mark for kind in ARTIFACTS for name, mark in mark_folder(self.path / kind).items()}
        for name in files:
            sync(self.path / name)
        done = replace(
            record,
            status="finished",
            files=files,
            metrics={name: float(value) for name, value in metrics.items()},
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=wall_s,
            cpu_s=cpu_s,
        )
        self._write(done)
        discard(self._set_aside)
        return done

    def sweep(self) -> None:
        """Let go of what a kill kept: folders half removed, the predecessor of a stage that finished."""
        for folder in (self.path, self._set_aside):
            shutil.rmtree(_doomed(folder), ignore_errors=True)
        if (record := self._readable_record()) is not None and record.status == "finished":
            discard(self._set_aside)

    def _readable_record(self) -> StageRecord | None:
        try:
            return self.record()
        except SetupError:
            return None

    def _write(self, record: StageRecord) -> None:
        write_json(self.path / "stage.json", asdict(record))

    def _move_aside(self) -> None:
        record = self._readable_record()
        finished = record is not None and record.status == "finished"
        if self._set_aside.exists() and not finished:
            discard(self.path)  # an earlier, finished one is already kept
            return
        discard(self._set_aside)
        self._set_aside.parent.mkdir(exist_ok=True)
        self.path.rename(self._set_aside)


def discard(folder: Path) -> None:
    """Remove a folder so that a kill never leaves half of it under its own name."""
    if folder.exists():
        shutil.rmtree(_doomed(folder), ignore_errors=True)
        shutil.rmtree(folder.rename(_doomed(folder)))


def _doomed(folder: Path) -> Path:
    return folder.with_name(f".discarded-{folder.name}")
