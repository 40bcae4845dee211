"""One scoring worker as its parent sees it: a process, its pipes, and the questions it owes.

Nothing here blocks but `leave`. The worker leads its own process group, so SIGKILL takes what a
reward started too; its environment is an allow-list, so no token of the parent's reaches a verifier.
It dies with the thread that started it (Linux) or with the parent process (elsewhere, within a second).
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from r1core.scoring_worker import Outcome, address

_STOP_TIMEOUT_S = 2.0
_SAFE_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"),
)

State: TypeAlias = Literal["starting", "ready", "lost"]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a worker is started; `interpreter` names one that is not this process's own."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    interpreter: str = ""


def safe_environment() -> dict[str, str]:
    """What every worker may see of this process's environment."""
    kept = {name: os.environ[name] for name in _SAFE_ENVIRONMENT if name in os.environ}
    return {"OMP_NUM_THREADS": "1", **kept, "PYTHONHASHSEED": "0"}


def launch_here() -> Launch:
    """A worker in an interpreter like this process's, which finds what this one finds."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    command = (sys.executable, "-P", "-m", "r1core.scoring_worker")
    return Launch(command=command, environment={**safe_environment(), "PYTHONPATH": path})


@dataclass(kw_only=True)
class Question:
    """One answer and the rewards it still has to be asked about, in order."""

    number: int
    pending: deque[int]
    body: bytes
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failures: int = 0
    """How often the reward at the head of `pending` brought a worker down."""

    def settle(self, outcome: Outcome) -> None:
        """Note the outcome of the reward at the head."""
        self.outcomes[self.pending.popleft()] = outcome
        self.failures = 0

    def give_up(self, reason: str) -> None:
        """No worker is left to ask."""
        while self.pending:
            self.settle(Outcome("infrastructure", math.nan, reason))


class Worker:
    """One child process and the questions it owes, first one first."""

    def __init__(self, hello: bytes, launch: Launch) -> None:
        self._hello = hello
        self._launch = launch
        self.owed: deque[Question] = deque()
        self.suspect = ""
        """Why the first question failed twice; settled when the next process is ready."""
        self.start()

    def start(self) -> None:
        """A fresh interpreter; `state` says how it goes."""
        self.state: State = "starting"
        self.trouble = ""
        self.since = time.monotonic()
        self._outgoing = bytearray(self._hello)
        self._incoming = bytearray()
        try:
            self._process = subprocess.Popen(
                self._launch.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=self._launch.environment,
            )
        except OSError as error:
            self.state, self.trouble = "lost", f"no process could be started: {error}"
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        return self._process.pid

    def register(self, poller: select.poll) -> None:
        """Wake up when it has said something, or can take more."""
        poller.register(self._stdout, select.POLLIN)
        if self._outgoing:
            poller.register(self._stdin, select.POLLOUT)

    def ask(self, question: Question) -> None:
        """Queue a question behind those it owes."""
        if not self.owed:
            self.since = time.monotonic()
        self.owed.append(question)
        self._send(question)

    def ask_again(self) -> None:
        """A fresh process gets the question that its predecessor failed."""
        for question in self.owed:
            self._send(question)

    def _send(self, question: Question) -> None:
        self._outgoing += address(question.number, list(question.pending), question.body)

    def flush(self) -> None:
        """Write what the pipe takes."""
        try:
            while self._outgoing:
                del self._outgoing[: os.write(self._stdin.fileno(), self._outgoing[:65536])]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._outgoing.clear()

    def hear(self) -> tuple[list[bytes], bool]:
        """(whole lines that have arrived, whether the process has closed its side)."""
        ended = False
        try:
            while data := os.read(self._stdout.fileno(), 65536):
                self._incoming += data
            ended = True
        except BlockingIOError:
            pass
        *lines, rest = bytes(self._incoming).split(b"\n")
        self._incoming = bytearray(rest)
        return lines, ended

    def stop(self) -> int:
        """SIGKILL the process group and collect it; returns the exit code."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS: a group of zombies
            os.killpg(self._process.pid, signal.SIGKILL)
        self._stdin.close()
        self._stdout.close()
        return self._process.wait()

    def leave(self) -> None:
        """Let an idle process end by itself, shortly; then `stop` it."""
        self._stdin.close()
        poller = select.poll()
        poller.register(self._stdout, select.POLLIN)
        until = time.monotonic() + _STOP_TIMEOUT_S
        while (left := until - time.monotonic()) > 0:
            poller.poll(left * 1000)
            if self.hear()[1]:
                break
        self.stop()
