"""Stage processes: each stage runs in a process of its own, forked from a server that has imported the heavy
libraries but run no kernel (two cores give twice the work that way, against 1.4 times as threads).

Parent and child share one pipe. The child sends events and, last, its result or its error, as JSON;
the parent sends one word, to stop. A child that reads the end of the pipe knows that its parent is gone
and ends itself and all it started; it holds the run's lock until then, so that no second run meets a
survivor of the first. Ctrl-C is the parent's alone to obey; SIGTERM, which often goes to every process
of a job at once, asks a child to stop, too. What a child prints goes to a log beside its stage.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import ModuleType
from typing import Any

from r1core import errors
from r1core.errors import R1Error, SetupError
from r1core.events import Event, from_json, to_json
from r1core.orphans import die_with
from r1core.store.kills import STAGE

STOP = b"stop"
SERVER_OF = "R1_SERVER_OF"
"""In the server's environment: the process that it is to end with, though it be in the middle of an import."""
OBEYED = {signal.SIGINT, signal.SIGTERM}
"""The signals that are the parent's to obey: the server ignores them, whoever they were sent to."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A stage process's last word when all went well; seconds count every process that the stage took."""

    metrics: Mapping[str, float]
    wall_s: float
    cpu_s: float
    told: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)


Work = Callable[[Callable[[Event], None], Callable[[], bool], Mapping[str, Any]], Finished]
"""`work(emit, stopping, arguments)`, importable by name; `stopping()` says whether it was asked to stop."""


class BrokenStageError(Exception):
    """A stage process failed in a way that nobody foresaw: its traceback is the message."""


def prepare(preload: Iterable[str]) -> None:
    """Start the server, which imports these modules before it forks; once, before the first `StageProcess`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when cores are shared
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *preload])
    resource_tracker.ensure_running()  # unblocks signals when it starts, so it goes first
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, OBEYED)  # the server and its children inherit it
    os.environ[SERVER_OF] = str(os.getpid())
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[SERVER_OF]
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class StageProcess:
    """One stage at work. `log` takes what it prints; `lock` is a descriptor that it holds as long as it lives.

    `environment` replaces the server's, which is as old as the server; it travels through a pipe only.
    """

    def __init__(
        self,
        stage: str,
        work: Work,
        arguments: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        threads: int,
        log: Path,
        lock: int,
    ) -> None:
        self.stage = stage
        self.has_spoken = False
        """Whether it has sent anything: before that it has not begun its work."""
        self._log = log
        own = {**environment, STAGE: stage, "OMP_NUM_THREADS": str(threads)}
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_main,
            args=(theirs, work, dict(arguments), own, threads, str(log), _Held(lock)),
            name=f"r1-{stage}",
        )
        with _main_module_hidden():
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None, "it was started"
        return self._process.pid

    def receive(self) -> Event | Finished:
        """The next event or, last, the result. Raises what ended the stage."""
        try:
            message = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self._process.join()
            raise self._vanished() from None
        self.has_spoken = True
        if "event" not in message:
            self._process.join()
        return understood(message)

    def stop(self) -> None:
        """Ask it to save at its next chance and to end; its last word is then `Interrupted`, or it had finished."""
        with contextlib.suppress(OSError):  # it has ended: `receive` tells how
            self.pipe.send_bytes(STOP)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS: a group of zombies
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _vanished(self) -> R1Error:
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = f"its output is in {self._log}" if self._log.is_file() and self._log.stat().st_size else ""
        guess = "often this is the system running out of memory" if code == -signal.SIGKILL else hint
        return SetupError(
            f"its process {how} without a word",
            where=f"stages.{self.stage}",
            fix="; ".join(filter(None, [guess, "finished stages are kept, the same command goes on"])),
        )


class _Held:
    """A descriptor that travels to a child and stays open there until the child ends."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (DupFd(self.descriptor),)


def _arrived(traveller: Any) -> _Held:
    return _Held(traveller.detach())


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """A child needs nothing of the script or notebook that runs the recipe, and must not execute it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# --- in the child ----------------------------------------------------------------------------


class _Request:
    """Whether the process was asked to stop. A plain flag: a signal handler must not wait for a lock."""

    made = False

    def make(self, *signal_and_frame: object) -> None:
        self.made = True


def _main(
    pipe: Connection,
    work: Work,
    arguments: Mapping[str, Any],
    environment: Mapping[str, str],
    threads: int,
    log: str,
    lock: _Held,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    attend(pipe, work, arguments, log=Path(log))


def attend(pipe: Connection, work: Work, arguments: Mapping[str, Any], *, log: Path) -> bool:
    """Be the process at the other end of a pipe: do the work, say what comes of it, obey and end with whoever listens.
    Whether it went well."""
    _print_into(log)
    if os.getpgrp() != os.getpid():  # a session's leader is one already
        os.setpgid(0, 0)  # whatever it starts can be ended with it
    request = _Request()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, request.make)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey, args=(pipe, request), daemon=True).start()
    sending = threading.Lock()

    def send(message: Mapping[str, Any]) -> None:
        data = json.dumps(message, default=float).encode()
        with sending:
            pipe.send_bytes(data)

    outcome = _outcome(work, lambda event: send(to_json(event)), lambda: request.made, arguments)
    send(outcome)
    return "finished" in outcome


def _outcome(
    work: Work, emit: Callable[[Event], None], stopping: Callable[[], bool], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The last message: what `work` returned, or what it raised."""
    try:
        return {"finished": asdict(work(emit, stopping, arguments))}
    except R1Error as error:
        known = next(cls.__name__ for cls in type(error).__mro__ if getattr(errors, cls.__name__, None) is cls)
        return {"error": known, "what": error.what, "where": error.where, "fix": error.fix}
    except BrokenStageError as error:  # of a process that this one had started
        return {"traceback": str(error)}
    except BaseException:
        return {"traceback": traceback.format_exc()}


def _print_into(log: Path) -> None:
    """Send everything that this process and its children print to a file: the terminal is the parent's."""
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    faulthandler.enable()


def _obey(pipe: Connection, request: _Request) -> None:
    """Listen to the parent: a message is its wish to stop, the end of the pipe is its own end."""
    try:
        while True:
            pipe.recv_bytes()
            request.make()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def understood(message: Mapping[str, Any]) -> Event | Finished:
    """What a process said through its pipe. Raises what it said that it had raised."""
    if "event" in message:
        return from_json(message)
    if "finished" in message:
        return Finished(**message["finished"])
    raise _revived(message)


def _revived(message: Mapping[str, Any]) -> Exception:
    if "traceback" in message:
        return BrokenStageError(message["traceback"])
    kind: type[R1Error] = getattr(errors, message["error"])
    return kind(message["what"], where=message["where"], fix=message["fix"])


# --- in the server ---------------------------------------------------------------------------

if SERVER_OF in os.environ and sys.platform == "linux":  # elsewhere it would take a thread, and it is to fork
    die_with(int(os.environ[SERVER_OF]))
