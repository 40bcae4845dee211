"""The warden as the scoring worker sees it: a process, and the socket that it listens to (inside/warden.py)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any

from r1_plugins.code.launching import ENVIRONMENT, command

START_S = 4.0
"""Longest that a warden may take to be ready, and to answer: the machine's time, not a program's."""
END_S = 2.0


class SandboxError(Exception):
    """The machine failed, not the answer."""


class Warden:
    """One of them, ready. It ends when this object does, or this process, however that ended."""

    def __init__(self, level: str) -> None:
        self.busy = False
        self._control, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as said, theirs:
            process = self._launch(level, theirs, said)
            theirs.close()
            self.pid = process.pid
            self._boxes: list[str] = []
            self.stop = weakref.finalize(self, _stop, self._control, process, self._boxes)
            try:
                self._boxes.append(self._hear()["box"])
            except SandboxError as error:
                self.stop()
                said.seek(0)
                last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise SandboxError(f"{error}: {last}" if last else str(error)) from error

    def _launch(self, level: str, control: socket.socket, said: IO[bytes]) -> subprocess.Popen[bytes]:
        """The process. What it says on stderr is bubblewrap's or ours: cells have none."""
        try:
            return subprocess.Popen(
                command(level),
                stdin=control.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            self._control.close()
            raise SandboxError(f"level {level}: no warden could be started: {error}") from error

    @property
    def box(self) -> str:
        """The folder that its cells are in."""
        return self._boxes[0]

    def ask(self, order: Mapping[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Its answer. Raises SandboxError when there is none."""
        try:
            socket.send_fds(self._control, [json.dumps(order).encode() + b"\n"], list(descriptors))
        except OSError as error:
            raise SandboxError(f"the warden is gone: {error}") from error
        self.busy = "start" in order
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        self._control.settimeout(START_S)
        data = b""
        try:
            while not data.endswith(b"\n"):
                more = self._control.recv(4096)
                if not more:
                    raise SandboxError("the warden is gone")
                data += more
        except OSError as error:
            raise SandboxError(f"the warden does not answer: {error}") from error
        answer: dict[str, Any] = json.loads(data)
        if "trouble" in answer:
            raise SandboxError(str(answer["trouble"]))
        return answer


def _stop(control: socket.socket, process: subprocess.Popen[bytes], boxes: list[str]) -> None:
    """Close the socket, which ends the warden; kill it where that does not."""
    control.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for box in boxes:  # one that was killed has left it
        shutil.rmtree(box, ignore_errors=True)
