"""One scoring worker, and the server that it is forked from, as their parent sees them.

Nothing here blocks but `close`. The server's environment is an allow-list, so no token of the parent's
reaches a verifier. Both end with the thread that started the server (Linux) or with the parent process.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from r1core.scoring.questions import Asked, Question
from r1core.scoring.server import kill_group

_CLOSE_TIMEOUT_S = 5.0
_LAST_WORDS_S = 2.0
_SAFE_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OMP_WAIT_POLICY"),
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""The server forks, so no library may start threads in it; and workers are many as it is."""

State: TypeAlias = Literal["starting", "proving", "ready", "lost"]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How the server is started; `interpreter` names one that is not this process's own."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    interpreter: str = ""


def safe_environment() -> dict[str, str]:
    """What every worker may see of this process's environment."""
    kept = {name: os.environ[name] for name in _SAFE_ENVIRONMENT if name in os.environ}
    return {**kept, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONHASHSEED": "0"}


def launch_here() -> Launch:
    """A server in an interpreter like this process's, which finds what this one finds."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    command = (sys.executable, "-P", "-m", "r1core.scoring.server")
    return Launch(command=command, environment={**safe_environment(), "PYTHONPATH": path})


class Worker:
    """One child process and the questions it owes, first one first."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        """0 until the server has said it."""
        self.state: State = "starting"
        self.trouble = ""
        self.since = time.monotonic()
        """When it was started, or began with the question it is at."""
        self.owed: deque[Asked] = deque()
        self.answers = 0
        self.unvouched = 0
        """Answers that it was given, in all and since it was last asked what is known."""
        self.unproved: list[tuple[Question, int]] = []
        """What it has said, (question, reward), since it last was right about what is known."""
        self._outgoing = bytearray()
        self._incoming = bytearray()
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self.theirs = (requests, replies)
        for descriptor in (self._requests, self._replies):
            os.set_blocking(descriptor, False)

    def register(self, poller: select.poll) -> None:
        """Wake up when it has said something, or can take more."""
        poller.register(self._replies, select.POLLIN)
        if self._outgoing:
            poller.register(self._requests, select.POLLOUT)

    def ask(self, asked: Asked) -> None:
        """Queue a question behind those it owes."""
        if not self.owed:
            self.since = time.monotonic()
        self.owed.append(asked)
        self._outgoing += asked.line

    def flush(self) -> None:
        """Write what the pipe takes."""
        try:
            while self._outgoing:
                del self._outgoing[: os.write(self._requests, self._outgoing[:65536])]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._outgoing.clear()

    def hear(self) -> tuple[list[bytes], bool]:
        """(whole lines that have arrived, whether the process has closed its side)."""
        ended = False
        try:
            while data := os.read(self._replies, 65536):
                self._incoming += data
            ended = True
        except BlockingIOError:
            pass
        *lines, rest = bytes(self._incoming).split(b"\n")
        self._incoming = bytearray(rest)
        return lines, ended

    def withdraw(self) -> list[Question]:
        """The questions to which it gave answers that nothing has vouched for: they have to be asked again."""
        unproved, self.unproved = self.unproved, []
        for question, index in reversed(unproved):
            question.withdraw(index)
        return list({id(question): question for question, _ in unproved}.values())

    def hang_up(self) -> None:
        """Close our ends."""
        os.close(self._requests)
        os.close(self._replies)


class Server:
    """The process that forks the workers of one interpreter; a new one is started where it has died."""

    def __init__(self, hello: Mapping[str, Any], launch: Launch) -> None:
        self._hello = hello
        self._launch = launch
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self.trouble = ""
        """Why there is none."""
        self._incoming = bytearray()
        self._outgoing: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._forking: dict[int, Worker] = {}
        self._unwanted: set[int] = set()
        self._codes: dict[int, int] = {}
        """pid -> exit code."""

    def fork(self) -> Worker:
        """Order a worker; it is "lost" where no server can be started."""
        worker = Worker(next(self._numbers))
        if self._process is None and not self._start():
            worker.state, worker.trouble = "lost", self.trouble
        else:
            self._forking[worker.number] = worker
            self._order({"fork": worker.number}, worker.theirs)
        if worker.state == "lost":
            worker.hang_up()
            for descriptor in worker.theirs:
                os.close(descriptor)
        return worker

    def stop(self, worker: Worker) -> None:
        """SIGKILL a worker and its group, now or as soon as its pid is known."""
        worker.hang_up()
        if worker.pid:
            kill_group(worker.pid)
            self._order({"reap": worker.pid})
        elif worker.number in self._forking:
            self._unwanted.add(worker.number)

    def register(self, poller: select.poll) -> None:
        """Wake up when it has said something, or can take more."""
        if self._process is not None:
            poller.register(self._control, select.POLLIN | (select.POLLOUT if self._outgoing else 0))

    def attend(self) -> None:
        """Hear what it says and send it what waits."""
        if self._process is None:
            return
        try:
            while data := self._control.recv(1 << 16):
                self._incoming += data
            ended = True
        except BlockingIOError:
            ended = False
        except ConnectionError:
            ended = True
        *lines, rest = bytes(self._incoming).split(b"\n")
        self._incoming = bytearray(rest)
        for line in lines:
            self._heed(json.loads(line))
        self._flush()
        if ended:
            self._died()

    def last_words(self, worker: Worker) -> str:
        """Why a worker that was stopped had not started, as far as that can be told shortly."""
        until = time.monotonic() + _LAST_WORDS_S
        while self._process is not None and (left := until - time.monotonic()) > 0:
            if worker.trouble or worker.pid in self._codes:
                break
            poller = select.poll()
            self.register(poller)
            poller.poll(left * 1000)
            self.attend()
        code = self._codes.pop(worker.pid, None)
        return worker.trouble or self.trouble or (f"exit code {code}" if code is not None else "it ended")

    def close(self) -> None:
        """End it and every worker; none is left behind, not even as a zombie."""
        if self._process is None:
            return
        self._hang_up()
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    # --- the process -----------------------------------------------------------------------------

    def _start(self) -> bool:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._incoming, self.trouble = bytearray(), ""
        for left in (self._outgoing, self._forking, self._unwanted, self._codes):
            left.clear()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._launch.command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    bufsize=0,
                    start_new_session=True,
                    env=self._launch.environment,
                )
            except OSError as error:
                self._control.close()
                self.trouble = f"no process could be started: {error}"
                return False
        self._order({**self._hello, "parent": os.getpid()})
        return True

    def _order(self, message: Mapping[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        if self._process is not None:
            self._outgoing.append((json.dumps(message).encode() + b"\n", descriptors))
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                sent = socket.send_fds(self._control, [data], list(descriptors))
            except BlockingIOError:
                return
            except OSError:  # it has died: what it says last, or its end, is heard next
                sent = len(data)
            for descriptor in descriptors:
                os.close(descriptor)
            self._outgoing.popleft()
            if sent < len(data):
                self._outgoing.appendleft((data[sent:], ()))

    def _heed(self, said: Mapping[str, Any]) -> None:
        if "reaped" in said:
            self._codes[said["reaped"]] = said["code"]
        elif "forked" not in said:
            self.trouble = said.get("error", "")
        else:
            self._forked(said)

    def _forked(self, said: Mapping[str, Any]) -> None:
        worker = self._forking.pop(said["forked"])
        if said["pid"] < 0:
            worker.trouble = f"no process could be started: {said['error']}"
        elif worker.number in self._unwanted:
            worker.pid = said["pid"]
            kill_group(worker.pid)
            self._order({"reap": worker.pid})
        else:
            worker.pid = said["pid"]

    @staticmethod
    def _ended(process: subprocess.Popen[bytes]) -> int:
        """Its exit code; one that has hung up and does not end is killed."""
        try:
            return process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _died(self) -> None:
        """Its workers have died with it; what they started goes with their groups."""
        assert self._process is not None, "only a server that was started can die"
        self._hang_up()
        code = self._ended(self._process)
        self.trouble = self.trouble or f"exit code {code}"
        self._process = None

    def _hang_up(self) -> None:
        for _, descriptors in self._outgoing:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outgoing.clear()
        self._control.close()
