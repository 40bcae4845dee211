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
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from r1core.errors import SetupError
from r1core.store.files import (
    PROGRESS,
    TEMPORARY,
    FileMark,
    discard,
    doomed,
    mark_folder,
    read_json,
    remove,
    sync,
    write_json,
)
from r1core.store.kills import reached

ARTIFACTS = ("model", "data", "signals")
StageState: TypeAlias = Literal["finished", "stale", "partial", "missing", "damaged"]


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """The contents of `stage.json`. `inputs` maps stage ids to fingerprints; `made_from` is what the fingerprint is
    the hash of; times are UTC. `told` are maps that the stage's trainer told by names of its own: in the file each
    stands beside the rest."""

    status: Literal["running", "finished"]
    fingerprint: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    made_from: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileMark] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    told: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any) -> StageRecord:
        """Raises TypeError when a field is missing, or neither known nor a map."""
        known = {f.name for f in fields(cls)} - {"told"}
        told = {name: own for name, own in value.items() if name not in known}
        if wrong := [name for name, own in told.items() if not isinstance(own, dict)]:
            raise TypeError(f"unknown field {wrong[0]!r}")
        value = {name: own for name, own in value.items() if name in known}
        files = {name: FileMark(**mark) for name, mark in value["files"].items()}
        metrics = {name: math.nan if found is None else found for name, found in value["metrics"].items()}
        return cls(**{**value, "files": files, "metrics": metrics, "told": told})

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        value = asdict(self)
        return {**value.pop("told"), **value}


class StageDirectory:
    """The folder of one stage: `model/`, `data/` or `signals/`, and beside it what the stage logs."""

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

    @property
    def signals(self) -> Path:
        """The artifact of a signals stage."""
        return self.path / "signals"

    @property
    def progress(self) -> Path:
        """What a half-done stage goes on from: its checkpoints, or the ledger of its units."""
        return self.path / PROGRESS

    @property
    def units(self) -> Path:
        """The ledger of the units of a sample, evaluate or signals stage."""
        return self.progress / "units.jsonl"

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

    def half_done(self) -> StageRecord | None:
        """The record of an attempt that ended before its stage did, and left work to go on from."""
        record = self._readable_record()
        if record is None or record.status != "running" or not self._has_progress():
            return None
        return record

    def _has_progress(self) -> bool:
        units = self.units
        return any(self.progress.glob("step-*")) or (units.is_file() and units.stat().st_size > 0)

    def begin(
        self,
        fingerprint: str,
        *,
        inputs: Mapping[str, str],
        made_from: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        """Make the folder ready for an attempt.

        With `resume`, a half-done folder of the same fingerprint is gone on from (its checkpoints and
        its starting time stay). Whatever else is there is set aside.
        """
        if resume and self.state(fingerprint) == "partial" and self.record() is not None:
            for leftover in self.path.rglob(TEMPORARY):
                remove(leftover)
            return
        if self.path.exists():
            self._move_aside()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(
            StageRecord(
                status="running",
                fingerprint=fingerprint,
                inputs=inputs,
                made_from=dict(made_from or {}),
                started=started,
            )
        )

    def finish(
        self,
        metrics: Mapping[str, float],
        *,
        wall_s: float,
        cpu_s: float,
        told: Mapping[str, Mapping[str, str | float]] | None = None,
    ) -> StageRecord:
        """Seal the stage: fsync and hash its artifacts, then write `stage.json`, then let go of its predecessor."""
        record = self.record()
        if record is None:
            raise RuntimeError(f"stage {self.id!r} is finished before it began")
        files = {f"{kind}/{name}": mark for kind in ARTIFACTS for name, mark in mark_folder(self.path / kind).items()}
        for name in files:
            sync(self.path / name)
        reached("seal")
        done = replace(
            record,
            status="finished",
            files=files,
            metrics={name: float(value) for name, value in metrics.items()},
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=wall_s,
            cpu_s=cpu_s,
            told=told or {},
        )
        self._write(done)
        reached("sealed")
        self._let_go()
        return done

    def sweep(self) -> None:
        """Let go of what a kill kept: folders half removed, the predecessor of a stage that finished."""
        for folder in (self.path, self._set_aside, self.progress):
            shutil.rmtree(doomed(folder), ignore_errors=True)
        if (record := self._readable_record()) is not None and record.status == "finished":
            self._let_go()

    def _let_go(self) -> None:
        """A finished stage needs neither its checkpoints nor its predecessor."""
        discard(self.progress)
        discard(self._set_aside)

    def _readable_record(self) -> StageRecord | None:
        try:
            return self.record()
        except SetupError:
            return None

    def _write(self, record: StageRecord) -> None:
        write_json(self.path / "stage.json", record.to_json())

    def _move_aside(self) -> None:
        record = self._readable_record()
        finished = record is not None and record.status == "finished"
        if self._set_aside.exists() and not finished:
            discard(self.path)  # an earlier, finished one is already kept
            return
        discard(self._set_aside)
        self._set_aside.parent.mkdir(exist_ok=True)
        self.path.rename(self._set_aside)
