"""What a level keeps out, found by trying: a program of ours attempts in a cell what a hostile one would.

`kept_out("process")` -> {"network": True, "the user's files": False, ...}; what must be so at each level is the table
in README.md, which a test holds against this.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from r1_plugins.code.sandbox import Sandbox
from r1_plugins.code.warden_process import SandboxError

_SECONDS = 5.0
PROGRAM = """
import os, socket

def done(attempt):
    try:
        attempt()
        return True
    except OSError:
        return False

def write(path):
    with open(path, "w") as file:
        file.write("x")

def read(path):
    with open(path, "rb", buffering=0) as file:
        file.read(1)

def fork():
    if not os.fork():
        os._exit(0)

def attempt(port, pid, folder, secret):
    return {
        "network": done(lambda: socket.create_connection(("127.0.0.1", port), 1).close()),
        "new processes": done(fork),
        "signals to other processes": done(lambda: os.kill(pid, 0)),
        "files in its own folder": done(lambda: write("mine")),
        "files elsewhere": done(lambda: write(folder + "/theirs")),
        "the user's files": done(lambda: read(folder + "/secret")),
        "memory of other processes": done(lambda: open(f"/proc/{pid}/mem", "rb").close()),
        "environment of other processes": done(lambda: read(f"/proc/{pid}/environ")),
        "environment of this process": secret in os.environ.values(),
    }
"""


@functools.cache
def kept_out(level: str) -> dict[str, bool]:
    """Attempt -> whether it fails. Raises SandboxError where the level does not work at all."""
    with _bait() as (port, folder, secret), Sandbox(level, memory_mib=256, cpu_s=_SECONDS) as sandbox:
        with sandbox.cell(PROGRAM, "attempt") as cell:
            until = time.monotonic() + _SECONDS
            cell.load(until)
            found = cell.call([port, os.getpid(), folder, secret], until)
        if not isinstance(found, dict):
            raise SandboxError(f"level {level}: the attempts gave {found!r}")
        return {attempt: not succeeded for attempt, succeeded in found.items()}


@contextlib.contextmanager
def _bait() -> Iterator[tuple[int, str, str]]:
    """A port that listens, a folder that anyone may write to, and a secret in the environment; all for real."""
    secret = "r1-secret"
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        (Path(folder) / "secret").write_text(secret)
        os.environ["R1_CODE_BAIT"] = secret
        try:
            yield server.getsockname()[1], folder, secret
        finally:
            del os.environ["R1_CODE_BAIT"]
