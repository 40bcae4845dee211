"""The run directory and its one owner.

The owner holds an exclusive `flock` on `.lock`; the kernel lets go of it when the owner and every
child it forked are gone, so a kill leaves no stale lock. The file's text is for people only.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from r1core.errors import SetupError
from r1core.store.stage import StageDirectory


class RunDirectory:
    """`RunDirectory(path)` looks; `RunDirectory.open(path)` creates and owns, until `close` or the end of a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create what is missing and become the owner. Raises SetupError when that cannot be."""
        run = cls(path.absolute())
        try:
            (run.path / "stages").mkdir(parents=True, exist_ok=True)
            lock = os.open(run.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SetupError(
                f"the run directory cannot be written: {error.strerror}",
                where=str(path),
                fix="choose another one with --run-dir",
            ) from error
        run._take(lock)
        run._sweep()
        return run

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 200).decode(errors="replace").strip() or "another process"
            os.close(lock)
            raise SetupError(
                f"the run directory is in use by {owner}",
                where=str(self.path),
                fix="wait for it or end it, or choose another --run-dir",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._lock = lock

    def _sweep(self) -> None:
        stages = self.path / "stages"
        names = {path.name.removeprefix(".discarded-") for path in (*stages.iterdir(), *stages.glob(".stale/*"))}
        for name in names - {".stale"}:
            self.stage(name).sweep()

    def stage(self, stage_id: str) -> StageDirectory:
        """The folder of one stage, whether or not it exists yet."""
        return StageDirectory(self.path / "stages" / stage_id)

    def close(self) -> None:
        """Let another process be the owner."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
