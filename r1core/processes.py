"""Stage processes: each stage runs in a process of its own, forked from a server that has imported the heavy
libraries but run no kernel (two cores give twice the work that way, against 1.4 times as threads).

The parent talks to a child over one pipe: the child sends events and, last, its result or its error,
as JSON; the parent sends nothing. A child that reads the end of the pipe knows that its parent is
gone and dies. Ctrl-C is the parent's alone to obey.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from r1core import errors
from r1core.errors import R1Error, SetupError
from r1core.events import Event, from_json, to_json

Work = Callable[[Callable[[Event], None], Mapping[str, Any]], dict[str, float]]
"""`work(emit, arguments) -> metrics`, importable by name."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A stage process's last word when all went well."""

    metrics: Mapping[str, float]
    wall_s: float
    cpu_s: float


class BrokenStageError(Exception):
    """A stage process failed in a way that nobody foresaw: its traceback is the message."""


def prepare(preload: Iterable[str]) -> None:
    """Name the modules that the server imports before it forks; before the first `StageProcess`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when cores are shared
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *preload])


class StageProcess:
    """One stage at work."""

    def __init__(self, stage: str, work: Work, arguments: Mapping[str, Any], *, threads: int) -> None:
        self.stage = stage
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_main, args=(theirs, work, dict(arguments), threads), name=f"r1-{stage}"
        )
        self._process.start()
        theirs.close()

    def receive(self) -> Event | Finished:
        """The next event or, last, the result. Raises what ended the stage."""
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise self._vanished() from None
        if "event" in message:
            return from_json(message)
        self._process.join()
        if "finished" in message:
            return Finished(**message["finished"])
        raise _revived(message)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _vanished(self) -> R1Error:
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return SetupError(
            f"its process {how} without a word",
            where=f"stages.{self.stage}",
            fix="often this is the system running out of memory; finished stages are kept, the same command goes on",
        )


def _main(pipe: Connection, work: Work, arguments: Mapping[str, Any], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lock = threading.Lock()

    def send(message: Mapping[str, Any]) -> None:
        with lock:
            pipe.send(dict(message))

    threading.Thread(target=_die_with_parent, args=(pipe,), daemon=True).start()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    begun = time.monotonic()
    try:
        metrics = work(lambda event: send(to_json(event)), arguments)
    except R1Error as error:
        send({"error": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix})
    except BaseException:
        send({"traceback": traceback.format_exc()})
    else:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in used)
        wall_s = time.monotonic() - begun
        send({"finished": {"metrics": metrics, "wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3)}})


def _die_with_parent(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(1)


def _revived(message: Mapping[str, Any]) -> Exception:
    if "traceback" in message:
        return BrokenStageError(message["traceback"])
    kind: type[R1Error] = getattr(errors, message["error"])
    return kind(message["what"], where=message["where"], fix=message["fix"])
