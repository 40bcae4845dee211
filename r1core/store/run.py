"""The run directory and its one owner.

The owner and its children hold an exclusive `flock` on `.lock`; the kernel lets go of it when all of
them are gone, so a kill leaves no stale lock. The file's text names the owner; once that is gone, its
children are about to be, and are waited for.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from r1core.errors import RecipeError, SetupError
from r1core.store.locks import is_gone, locked, owner, sign
from r1core.store.stage import StageDirectory

ORPHANS_S = 10.0
"""How long the children of an owner that was killed are waited for; they die of it within milliseconds."""


class RunDirectory:
    """`RunDirectory(path)` looks; `RunDirectory.open(path)` creates and owns, until `close` or the end of a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create what is missing and become the owner.

        Raises SetupError where nothing can be written, RecipeError while another process is the owner.
        """
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
        until = time.monotonic() + ORPHANS_S
        while not locked(lock):
            name = owner(lock)
            if not is_gone(name) or time.monotonic() > until:
                os.close(lock)
                raise RecipeError(
                    f"the run directory is in use by {name}",
                    where=str(self.path),
                    fix="wait for it or end it, or choose another --run-dir",
                )
            time.sleep(0.05)
        sign(lock)
        self._lock = lock

    def _sweep(self) -> None:
        stages = self.path / "stages"
        names = {path.name.removeprefix(".discarded-") for path in (*stages.iterdir(), *stages.glob(".stale/*"))}
        for name in names - {".stale"}:
            self.stage(name).sweep()

    @property
    def lock(self) -> int:
        """The descriptor of the lock, for children to hold as well. Only an owner has one."""
        assert self._lock is not None, "open the run directory first"
        return self._lock

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
