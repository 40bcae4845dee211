"""The ranks of one train stage, as the stage's own process sees them.

A policy's launcher starts them, here or on other machines; each connects back through a socket and is spoken with as a
stage process is with the run's: it sends events and an outcome, hears one word, to stop, and ends itself when the
socket closes. Rank 0 speaks for all. The first that fails ends all: what it said is the cause, what the others then say
of a peer that is gone is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from r1core.components import Policy
from r1core.errors import R1Error, SetupError
from r1core.events import Event
from r1core.processes import STOP, BrokenStageError, Finished, understood
from r1core.recipe.plan import StagePlan

FOLDER = "ranks"
"""In the stage's folder: what each rank prints, and the lock that they hold while they live."""
LOCK = "lock"
JOB = "job.json"
POLL_S = 0.2
"""How often it is looked whether the run is to stop, or the launcher has ended."""
HEARD_S = 2.0
"""How long the others are listened to once one has failed: the cause may come second."""
ENDING_S = 10.0
"""How long ranks that said their last word, or a launcher that was asked to end, may take."""


def run_ranks(
    policy: Policy,
    arguments: Mapping[str, Any],
    *,
    stage: StagePlan,
    folder: Path,
    emit: Callable[[Event], None],
    stopping: Callable[[], bool],
) -> Finished:
    """Run a stage, whose folder this is, on the policy's ranks. Raises what the first of them raised."""
    own = folder / FOLDER
    own.mkdir(exist_ok=True)
    with (
        contextlib.closing(_listening(policy.hosts)) as server,
        _job(own, server, arguments, stage.stage.threads) as (job, token),
    ):
        program = [sys.executable, "-m", "r1core.ranks", str(job)]
        with (own / "launcher.log").open("ab") as log:
            launcher = subprocess.Popen(
                policy.launch(program, folder=own), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        group = _Group(server=server, token=token, size=policy.ranks, launcher=launcher, stage=stage.id, folder=own)
        with group:
            return group.run(emit, stopping)


@dataclass(kw_only=True)
class _Rank:
    """One that has connected. `number` is -1 until it has said who it is."""

    pipe: Connection
    number: int = -1
    pid: int = 0
    is_here: bool = False
    finished: Finished | None = None


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """What ended a rank. The causes come before the consequences."""

    error: Exception
    order: int
    number: int


@dataclass(kw_only=True)
class _Group:
    """All of them."""

    server: socket.socket
    token: str
    size: int
    launcher: subprocess.Popen[bytes]
    stage: str
    folder: Path
    ranks: list[_Rank] = field(default_factory=list)
    failures: list[_Failure] = field(default_factory=list)
    _failed: float | None = None
    _is_stopping: bool = False

    def __enter__(self) -> _Group:
        return self

    def __exit__(self, *raised: object) -> None:
        """End what is left of them. Those on other machines end when their socket closes."""
        for rank in self.ranks:
            rank.pipe.close()
            if rank.is_here and rank.finished is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(rank.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self.launcher.terminate()
        try:
            self.launcher.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self.launcher.kill()
            self.launcher.wait()

    def run(self, emit: Callable[[Event], None], stopping: Callable[[], bool]) -> Finished:
        while True:
            for ready in wait([self.server, *(rank.pipe for rank in self.ranks if rank.finished is None)], POLL_S):
                if ready is self.server:
                    self.ranks.append(_Rank(pipe=Connection(self.server.accept()[0].detach())))
                else:
                    self._hear(next(rank for rank in self.ranks if rank.pipe is ready), emit)
            if stopping() and not self._is_stopping:
                self._stop()
            self._look_at_launcher()
            if self.failures and time.monotonic() - (self._failed or 0.0) > HEARD_S:
                raise min(self.failures, key=lambda failure: failure.order).error
            if sum(rank.finished is not None for rank in self.ranks) == self.size:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.launcher.wait(ENDING_S)
                return self._whole()

    def _hear(self, rank: _Rank, emit: Callable[[Event], None]) -> None:
        try:
            message = json.loads(rank.pipe.recv_bytes())
        except (EOFError, OSError, ValueError):
            self.ranks.remove(rank)
            rank.pipe.close()
            if rank.number >= 0 and not any(failure.number == rank.number for failure in self.failures):
                self._fail(rank.number, self._vanished(rank), order=1)
            return
        if rank.number < 0:
            self._greet(rank, message)
            return
        try:
            heard = understood(message)
        except Exception as error:
            self._fail(rank.number, error, order=2 if isinstance(error, BrokenStageError) else 0)
            return
        if isinstance(heard, Finished):
            rank.finished = heard
        elif rank.number == 0:
            emit(heard)

    def _greet(self, rank: _Rank, message: Mapping[str, Any]) -> None:
        """The first message says who it is; whoever does not know the token is none of ours."""
        if not secrets.compare_digest(str(message.get("token")), self.token):
            self.ranks.remove(rank)
            rank.pipe.close()
            return
        rank.number, rank.pid = message["rank"], message["pid"]
        rank.is_here = message["host"] == socket.gethostname()
        if self._is_stopping:
            self._tell_to_stop(rank)

    def _stop(self) -> None:
        self._is_stopping = True
        for rank in self.ranks:
            self._tell_to_stop(rank)

    @staticmethod
    def _tell_to_stop(rank: _Rank) -> None:
        with contextlib.suppress(OSError):
            rank.pipe.send_bytes(STOP)

    def _look_at_launcher(self) -> None:
        """A launcher that has ended before its ranks have said their last word has lost some."""
        if self.launcher.poll() is None or self._failed is not None:
            return
        if wait([rank.pipe for rank in self.ranks if rank.finished is None] or [self.server], 0):
            return  # there is something to hear yet
        if sum(rank.finished is not None for rank in self.ranks) < self.size:
            number = next(iter(set(range(self.size)) - {rank.number for rank in self.ranks}), 0)
            self._fail(number, self._unstarted(), order=3)

    def _fail(self, number: int, error: Exception, *, order: int) -> None:
        self.failures.append(_Failure(error=error, order=order, number=number))
        self._failed = self._failed or time.monotonic()

    def _vanished(self, rank: _Rank) -> R1Error:
        log = log_of(self.folder, rank.number)
        return SetupError(
            f"rank {rank.number} of {self.size} (process {rank.pid}) ended without a word",
            where=f"stages.{self.stage}",
            fix=f"often this is the system running out of memory; what it printed is in {log}; "
            "what was saved is kept, the same command goes on",
        )

    def _unstarted(self) -> R1Error:
        log = self.folder / "launcher.log"
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f", its last words: {lines[-1].strip()[:300]}" if lines else ""
        came = sum(rank.number >= 0 for rank in self.ranks)
        return SetupError(
            f"the launcher ended with exit code {self.launcher.returncode} when {came} of {self.size} ranks "
            f"had come{last}",
            where=f"stages.{self.stage}",
            fix=f"see {log}; what was saved is kept, the same command goes on",
        )

    def _whole(self) -> Finished:
        """Rank 0's word, and the processors' time of all."""
        found = {rank.number: rank.finished for rank in self.ranks if rank.finished is not None}
        return replace(found[0], cpu_s=round(sum(one.cpu_s for one in found.values()), 3))


def log_of(folder: Path, number: int) -> Path:
    """What a rank prints."""
    return folder / f"rank-{number}.log"


def _listening(hosts: Sequence[str]) -> socket.socket:
    """Where ranks connect to: on this machine alone, unless some are on others."""
    return socket.create_server((socket.gethostname() if hosts else "127.0.0.1", 0))


@contextlib.contextmanager
def _job(folder: Path, server: socket.socket, arguments: Mapping[str, Any], threads: int) -> Iterator[tuple[Path, str]]:
    """The file that tells ranks what to do, whom to connect to, and a word that only they know; while they work."""
    _outlived(folder / LOCK)
    token = secrets.token_hex(16)
    text = json.dumps(
        {"arguments": dict(arguments), "address": server.getsockname()[:2], "token": token, "threads": threads}
    )
    path = folder / JOB
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    try:
        yield path, token
    finally:
        path.unlink(missing_ok=True)


def _outlived(lock: Path) -> None:
    """Wait for the ranks of a run that was killed: they end with it, but not before what they compute."""
    with lock.open("a") as file:
        until = time.monotonic() + ENDING_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise SetupError(
                        "ranks of an earlier run are still at work", where=str(lock), fix="end those processes"
                    ) from None
                time.sleep(0.05)
