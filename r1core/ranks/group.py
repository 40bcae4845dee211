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
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
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
LAUNCHER = "launcher.log"
GREETING_BYTES = 4096
SILENT_S = 5
"""How long one who has connected may take for a message that it began, or for its greeting."""
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
        _job(own, server, policy.hosts, arguments, stage.stage.threads) as (job, token),
    ):
        command = policy.launch([sys.executable, "-m", "r1core.ranks", str(job)], folder=job.parent)
        with (own / LAUNCHER).open("ab") as log, _sigterm_held_back():
            launcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        group = _Group(server=server, token=token, size=policy.ranks, launcher=launcher, stage=stage.id, folder=own)
        try:
            with group:
                return group.run(emit, stopping)
        finally:
            for number in range(policy.ranks):
                shutil.rmtree(_own(folder, number), ignore_errors=True)


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
            if rank.is_here and (rank.finished is None or self.launcher.poll() is None):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(rank.pid, signal.SIGKILL)
        self.launcher.kill()
        self.launcher.wait()

    def run(self, emit: Callable[[Event], None], stopping: Callable[[], bool]) -> Finished:
        while True:
            for ready in wait([self.server, *(rank.pipe for rank in self.ranks if rank.finished is None)], POLL_S):
                if ready is self.server:
                    self.ranks.append(_Rank(pipe=connection(_impatient(self.server.accept()[0]))))
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
            message = json.loads(rank.pipe.recv_bytes(GREETING_BYTES if rank.number < 0 else None))
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

    def _greet(self, rank: _Rank, message: Any) -> None:
        """The first message says who it is; whoever does not know the token, or is here already, is none of ours."""
        said = message if isinstance(message, dict) else {}
        number, token = int(said.get("rank", -1)), str(said.get("token", "")).encode()
        known = {other.number for other in self.ranks}
        if not secrets.compare_digest(token, self.token.encode()) or number in known or number not in range(self.size):
            self.ranks.remove(rank)
            rank.pipe.close()
            return
        rank.number, rank.pid = number, int(said["pid"])
        rank.is_here = said["host"] == socket.gethostname()
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
            fix=f"often this is the system running out of memory; what it printed is in {log} "
            f"or {self.folder / LAUNCHER}; "
            "what was saved is kept, the same command goes on",
        )

    def _unstarted(self) -> R1Error:
        log = self.folder / LAUNCHER
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


def own_folder(stage: Path, number: int) -> Path:
    """A new folder for what a rank writes and nobody keeps."""
    folder = _own(stage, number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _own(stage: Path, number: int) -> Path:
    return stage / FOLDER / f"rank-{number}"


def connection(peer: socket.socket) -> Connection:
    """What a socket is spoken through: a machine that is gone is noticed, one that says half a message is not waited
    for."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
            peer.setsockopt(socket.IPPROTO_TCP, option, value)
    return Connection(peer.detach())


def _impatient(peer: socket.socket) -> socket.socket:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENT_S, 0))
    return peer


def _listening(hosts: Sequence[str]) -> socket.socket:
    """Where ranks connect to: on this machine alone, unless some are on others."""
    return socket.create_server(("" if hosts else "127.0.0.1", 0))


def _address(server: socket.socket, hosts: Sequence[str]) -> tuple[str, int]:
    """Where that is for the ranks: the address by which this machine speaks with the first other one."""
    port: int = server.getsockname()[1]
    for host in hosts:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards, contextlib.suppress(OSError):
            towards.connect((host, port))  # sends nothing
            own: str = towards.getsockname()[0]
            if not own.startswith("127."):
                return own, port
    return "127.0.0.1", port


@contextlib.contextmanager
def _job(
    folder: Path, server: socket.socket, hosts: Sequence[str], arguments: Mapping[str, Any], threads: int
) -> Iterator[tuple[Path, str]]:
    """The file that tells ranks what to do, whom to connect to, and a word that only they know; while they work, in a
    folder that goes with them."""
    _outlived(folder / LOCK)
    for old in folder.glob("job-*"):
        shutil.rmtree(old, ignore_errors=True)
    token = secrets.token_hex(16)
    told = {"arguments": dict(arguments), "address": _address(server, hosts), "token": token, "threads": threads}
    with tempfile.TemporaryDirectory(dir=folder, prefix="job-") as place:  # readable by its owner alone
        path = Path(place) / "job.json"
        path.write_text(json.dumps({**told, "folder": str(folder)}), encoding="utf-8")
        yield path, token


@contextlib.contextmanager
def _sigterm_held_back() -> Iterator[None]:
    """A process that begins meanwhile does not hear SIGTERM: the ranks do, and save; their launcher would end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
