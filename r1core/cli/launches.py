"""One start of a command that is to be killed: in a session of its own, watched from outside.

A kill is SIGKILL to the command's own process at a time, or the one that it gives itself at a place
(store/kills.py), which leaves a line in a log. All that it started, at any depth, must be gone
within seconds: the family is read from the system's process table while the command runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from r1core.store import kills

PROC = Path("/proc")
WATCH_S = 0.1
AT_TIME = "time"
ORPHANS_S = 5.0
"""How long what a killed command started may outlive it."""
COMMAND_LIMIT = 100
"""Characters of a command that are shown."""

Process: TypeAlias = tuple[int, str]
"""A process's id and its time of birth: ids come again."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a launch ended. `landed` is the place of the kill, AT_TIME for one at a time, "" when it ended by itself."""

    code: int
    landed: str
    wall_s: float
    startup_s: float
    """Seconds until a stage's process was at work; `wall_s` when none was."""
    survivors: tuple[str, ...]
    """The commands of processes that were alive after `ORPHANS_S`; they were ended then."""

    @property
    def at_work(self) -> bool:
        """Whether it came further than its start."""
        return self.startup_s < self.wall_s


class Launch:
    """A command at work on the run directory `run`; what it prints goes to `log`."""

    def __init__(self, command: Sequence[str], run: Path, *, log: Path, kill_at: str = "") -> None:
        self._run = run
        self._kills = log.with_suffix(".kills")
        self._kills.unlink(missing_ok=True)
        self._family: set[Process] = set()
        inherited = {name: value for name, value in os.environ.items() if name not in (kills.AT, kills.LOG)}
        ordered = {kills.AT: kill_at, kills.LOG: str(self._kills.absolute())} if kill_at else {}
        self._begun, self._begun_clock = time.monotonic(), time.time()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, **ordered},
                start_new_session=True,
            )

    def end(self, *, kill_after_s: float) -> Ended:
        """Wait for it, and kill it after so many seconds."""
        startup_s, in_time = 0.0, True
        try:
            while self._process.poll() is None and in_time:
                left_s = self._begun + kill_after_s - time.monotonic()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(0.0, min(WATCH_S, left_s)))
                in_time = left_s > WATCH_S
                self._watch()
                startup_s = startup_s or self._work_begun_s()
            timed = self._process.poll() is None
        finally:
            self._process.kill()
            code = self._process.wait()
        wall_s = time.monotonic() - self._begun
        return Ended(
            code=code,
            landed=self._place() or (AT_TIME if timed and code == -signal.SIGKILL else ""),
            wall_s=wall_s,
            startup_s=startup_s or self._work_begun_s() or wall_s,
            survivors=self._wait_for_orphans(),
        )

    def _place(self) -> str:
        text = self._kills.read_text(encoding="utf-8") if self._kills.exists() else ""
        return text.strip().rpartition("/")[2]

    def _work_begun_s(self) -> float:
        """Seconds from the start to now if a stage's process has logged since, else 0."""
        for path in self._run.glob("stages/*/metrics.jsonl"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime > self._begun_clock:
                    return time.monotonic() - self._begun
        return 0.0

    def _watch(self) -> list[Process]:
        """Take what was born since into the family; its members that are alive."""
        alive = dict(_alive())
        grown = True
        while grown:
            known = {self._process.pid, *(pid for pid, _ in self._family & alive.keys())}
            born = {process for process, parent in alive.items() if parent in known} - self._family
            self._family |= born
            grown = bool(born)
        return [process for process in self._family if process in alive]

    def _wait_for_orphans(self) -> tuple[str, ...]:
        until = time.monotonic() + ORPHANS_S
        while (left := self._watch()) and time.monotonic() < until:
            time.sleep(WATCH_S)
        names = tuple(_command_of(pid) for pid, _ in left)
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return names


def _command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_text(errors="replace").replace("\0", " ").strip()[:COMMAND_LIMIT]
    return f"process {pid}"


def _alive() -> Iterator[tuple[Process, int]]:
    """Every process that has not ended, with its parent's id."""
    if (PROC / "self" / "stat").exists():
        for path in PROC.glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent, *fields = path.read_text(errors="replace").rpartition(")")[2].split()
                if state not in "ZX":
                    yield (int(path.parent.name), fields[17]), int(parent)
        return
    command = ["ps", "-A", "-o", "pid=,ppid=,state=,lstart="]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        pid, parent, state, *born = line.split()
        if not state.startswith("Z"):
            yield (int(pid), " ".join(born)), int(parent)
