"""What the tests of the reward `code` share: the levels that work on this machine, and what a cell had printed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r1_plugins.code import Code
from r1_plugins.code.levels import trouble
from r1_plugins.code.pipes import Pipes
from r1core.types import Problem, Response, Score

LEVELS = [level for level in ("process", "namespace", "bubblewrap") if not trouble(level)]
SQUARES = {"entry_point": "f", "tests": [{"input": [1037], "output": 1075369}, {"input": [2291], "output": 5248681}]}
"""Numbers that stand nowhere else in an interpreter."""


def code(level: str = "process", **options: Any) -> Code:
    return Code(Code.Config(level=level, **options))


def asked(reward: Code, program: str, reference: Any = SQUARES) -> Score:
    response = Response.parse(f"<think>so</think><answer>```python\n{program}\n```</answer>")
    return reward.score(Problem(id="p", reference=reference), response)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each cell had printed when its pipes were closed, in order."""
    found: list[bytes] = []
    close = Pipes.close

    def drained(pipes: Pipes) -> None:
        data = bytes(pipes.printed)
        with contextlib.suppress(BlockingIOError, OSError):
            while more := os.read(pipes.output, 65536):
                data += more
        found.append(data)
        close(pipes)

    monkeypatch.setattr(Pipes, "close", drained)
    return found


def alive() -> Iterator[tuple[int, str]]:
    """(pid, command line) of every process with a sandbox's command line; a fork has its parent's."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if "inside.warden" in command and "State:\tZ" not in (folder / "status").read_text():
                yield int(folder.name), command


@pytest.fixture(scope="module", autouse=True)
def not_beside_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that look for processes left behind run beside no others that start some, in whichever worker."""
    how = fcntl.LOCK_EX if request.module.__name__.endswith("test_code_faults") else fcntl.LOCK_SH
    with (Path(tempfile.gettempdir()) / "r1core-sandboxes.lock").open("a") as file:
        fcntl.flock(file, how)
        yield
