"""The warden: a fresh interpreter that starts cells and ends them, and never runs a line that a model wrote.

It is asked over its stdin, a socket, one JSON line at a time: `{"start": limits}` with four descriptors (the cell's
stdin, its stdout, requests, replies), and `{"end": true}`, which kills the cell and says how it ended. A fork of an
interpreter that has done nothing is as fresh as a new one, and costs a millisecond. When the socket closes, all is
killed.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import cell, landlock
from .confine import drop_capabilities, hide
from .readable import readable
from .rooms import enter

_DESCRIPTORS = 4
_LINE = 4096


def serve(level: str, folder: str) -> Callable[[], None]:
    """Serve until the socket closes. Returns what is left to do: in a cell, to run; in the warden itself, to remove the
    box that it has made in `folder`: whoever asked may have been killed."""
    control, null = socket.socket(fileno=os.dup(0)), os.open(os.devnull, os.O_WRONLY)
    box = folder if level == "bubblewrap" else f"{folder}/r1-code-{os.urandom(8).hex()}"
    leave = functools.partial(_remove, box)
    try:
        if level != "bubblewrap":
            Path(box).mkdir(mode=0o700)
        _settle(level, box)
        rules = landlock.ruleset([*readable(), str(Path.cwd())])
    except Exception as error:
        _say(control, {"trouble": f"{type(error).__name__}: {error}", "at": traceback.format_exc(limit=-1)})
        return leave
    _say(control, {"ready": True, "box": box})
    gc.freeze()  # else each cell's collector would copy all that it shares with this process
    pid = 0
    while True:
        data, descriptors = _hear(control)
        order = json.loads(data) if data else {}
        if pid:
            status = _end(pid)
            pid = 0
            if order.get("end"):
                _say(control, {"status": status})
        if not data:
            return leave
        if "start" in order:
            warden = os.getpid()
            pid = os.fork()
            if not pid:
                return functools.partial(_become_cell, order["start"], warden, rules, descriptors, null)
            for descriptor in descriptors:
                os.close(descriptor)
            _say(control, {"started": True})


def _settle(level: str, box: str) -> None:
    """Go where cells live. They inherit all of it."""
    os.umask(0o077)
    if level == "namespace":
        enter(box)
    else:
        os.chdir(box)
    if sys.platform == "linux":
        drop_capabilities()
    hide()


def _become_cell(limits: Mapping[str, int], warden: int, rules: int | None, descriptors: list[int], null: int) -> None:
    """Put each descriptor in its place, close all others, and run."""
    os.setsid()
    given = [*descriptors[:2], null, *descriptors[2:], *([rules] if rules is not None else [])]
    kept = [os.dup2(each, 100 + number) for number, each in enumerate(given)]
    for number, each in enumerate(kept):
        os.dup2(each, number)
    os.closerange(len(kept), 1024)
    cell.run(limits, warden, len(kept) - 1 if rules is not None else None)


def _end(pid: int) -> int:
    """Kill the cell and all of its group; how it had ended: an exit code, or a signal as a negative number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _say(control: socket.socket, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        control.sendall(json.dumps(message).encode() + b"\n")


def _hear(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next order and its descriptors; nothing when the socket has closed."""
    try:
        data, descriptors, _, _ = socket.recv_fds(control, _LINE, _DESCRIPTORS)
    except ConnectionResetError:
        return b"", []
    return data, descriptors


def _remove(box: str) -> None:
    """In a namespace it is out of sight, and the process outside does it."""
    with contextlib.suppress(OSError):
        Path(box).rmdir()
