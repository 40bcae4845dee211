"""Programs that harm: they end at their deadline, nothing of them stays, and the next program is scored as ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from code_cells import LEVELS, alive, asked, code, not_beside_faults, printed  # noqa: F401 - fixtures

from r1_plugins.code import warden_process
from r1_plugins.code.sandbox import Sandbox

__all__ = ["printed"]

TIMEOUT_S, ENOUGH_S = 0.5, 8.0
"""For what never ends by itself, and for what does."""
GONE_S = 5.0
SLACK_S = 5 * 0.25
"""A cell is gone a quarter of a second after its deadline; five times that on a machine that is busy."""
HONEST = "def f(n):\n    return n * n"

FIRED = 'os.write(1, b"FIRED")\n'
BOMBS = {
    "sleeps": (FIRED + "time.sleep(600)", "timeout"),
    "never stops": (FIRED + "while True: pass", "timeout"),
    "hangs in C": (FIRED + "(10 ** 400_000) ** 200", "timeout"),
    "prints without end": ('while True: os.write(1, b"FIRED" * 10_000)', "timeout"),
    "takes 2 GB at once": (FIRED + "bytearray(2 << 30)", "raised MemoryError"),
    "takes all memory in pieces": (
        FIRED + "held = []\nwhile True: held.append(bytearray(1 << 20))",
        "raised MemoryError",
    ),
    "recurses in C": (
        FIRED + "sys.setrecursionlimit(10 ** 9)\ndef deep(n): return next(map(deep, [n + 1]))\ndeep(0)",
        "SIGSEGV",
    ),
    "kills itself": (FIRED + "os.kill(os.getpid(), 9)", "SIGKILL"),
    "breaks the interpreter": (FIRED + "import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    "starts threads without end": (
        FIRED + "while True: threading.Thread(target=time.sleep, args=(60,)).start()",
        "raised RuntimeError",
    ),
    "opens files without end": (FIRED + "held = []\nwhile True: held.append(os.dup(0))", "raised OSError"),
    "ignores all signals": (
        "for each in {*signal.valid_signals()} - {9, 19, 32, 33}:\n    signal.signal(each, signal.SIG_IGN)\n"
        + FIRED
        + "while True: pass",
        "timeout",
    ),
    "leaves children that leave their session": (
        "for _ in range(20):\n    try:\n        if not os.fork():\n            os.setsid(); time.sleep(600)\n"
        '    except OSError: os.write(1, b"FIRED")\ntime.sleep(600)',
        "timeout",
    ),
    "replies without end": (
        FIRED + 'while True:\n    for each in range(3, 9):\n        try: os.write(each, b"x" * 60_000)\n'
        "        except OSError: pass",
        "",
    ),
}
"""Name -> (what `f` does, how its first test fails). The fork bomb has an end, in case a wall is not there."""


def gone(left: Callable[[], object]) -> bool:
    """Whether nothing is left, within seconds: what was killed may still be on its way out."""
    until = time.monotonic() + GONE_S
    while left() and time.monotonic() < until:
        time.sleep(0.01)
    return not left()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_at_its_deadline_and_leaves_nothing(bomb: str, level: str, printed: list[bytes]) -> None:
    program, reason = BOMBS[bomb]
    body = "\n".join(f"    {line}" for line in program.split("\n"))
    timeout_s = TIMEOUT_S if reason == "timeout" else ENOUGH_S
    reward = code(level, test_timeout_s=timeout_s, answer_timeout_s=timeout_s, memory_mib=256)
    patient = code(level, memory_mib=256)
    patient.sandbox = reward.sandbox
    assert asked(patient, HONEST).value == 1
    before = dict(alive())
    printed.clear()
    started = time.monotonic()
    score = asked(reward, f"import os, signal, sys, threading, time\ndef f(n):\n{body}")
    took_s = time.monotonic() - started
    assert b"FIRED" in b"".join(printed)
    assert (score.value, score.status) == (0, "verdict")
    assert score.reason.startswith(f"test 1 of 2: {reason}"), score.reason
    assert took_s < timeout_s + SLACK_S
    assert gone(lambda: dict(alive()).keys() - before.keys())
    assert asked(patient, HONEST).value == 1
    assert dict(alive()) == before, "the warden outlived the bomb"


def test_a_program_that_prints_too_much_is_stopped_at_once() -> None:
    reference = {"entry_point": None, "tests": [{"stdin": "", "output": "x"}]}
    score = asked(code(test_timeout_s=9), "while True: print('x' * 10_000)", reference)
    assert score.reason == "test 1 of 1: output_limit"
    long = {"entry_point": None, "tests": [{"stdin": "", "output": "12 " * 100_000}]}
    assert asked(code(), "print('12 ' * 100_000)", long).value == 1, "what is expected may be longer than that"


def test_a_value_of_megabytes_is_no_answer_and_one_of_kilobytes_is() -> None:
    big = {"entry_point": "f", "tests": [{"input": [10**5], "output": list(range(10**5))}]}
    assert asked(code(), "def f(n): return list(range(n))", big).value == 1
    score = asked(code(), "def f(n): return 'x' * (20 << 20)", big)
    assert score.reason == "test 1 of 1: too_long"


def test_a_large_input_that_nobody_reads_does_not_block() -> None:
    big = {"entry_point": "f", "tests": [{"input": ["x" * (1 << 20)], "output": 1}]}
    assert asked(code(test_timeout_s=0.5), "import time\ntime.sleep(60)\ndef f(n): return 1", big).reason.endswith(
        "timeout"
    )
    assert asked(code(), "def f(n): return 1", big).value == 1


# --- when a process dies ---------------------------------------------------------------------------

HANGING = """
import sys, time
from r1_plugins.code.sandbox import Sandbox
with Sandbox(sys.argv[1], memory_mib=256, cpu_s=60) as sandbox:
    with sandbox.cell("import time\\ndef f():\\n    time.sleep(600)", "f") as cell:
        cell.load(time.monotonic() + 10)
        print(sandbox.warden.box, flush=True)
        cell.call([], time.monotonic() + 600)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_outlives_a_worker_that_is_killed(level: str) -> None:
    before = dict(alive())
    command = [sys.executable, "-c", HANGING, level]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        box = worker.stdout.readline().strip()
        running = dict(alive()).keys() - before.keys()
        worker.kill()
    assert len(running) >= 2, "a warden and a cell were there"
    until = time.monotonic() + 5
    while dict(alive()).keys() - before.keys() and time.monotonic() < until:
        time.sleep(0.02)
    assert dict(alive()).keys() - before.keys() == set()
    assert box.startswith("/")
    assert not Path(box).exists()


@pytest.mark.parametrize("level", LEVELS)
def test_a_worker_that_is_killed_while_its_warden_starts_leaves_nothing(level: str) -> None:
    def boxes() -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob("r1-code-*"))

    before, stood = dict(alive()), boxes()
    for wait_s in (0.0, 0.01, 0.02, 0.04, 0.08):
        command = [sys.executable, "-c", HANGING, level]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as worker:
            while not dict(alive()).keys() - before.keys() and worker.poll() is None:
                time.sleep(0.001)
            time.sleep(wait_s)
            worker.kill()
    until = time.monotonic() + 10
    while (dict(alive()).keys() - before.keys() or boxes() - stood) and time.monotonic() < until:
        time.sleep(0.02)
    assert dict(alive()).keys() - before.keys() == set()
    assert boxes() - stood == set()


def test_a_warden_that_is_gone_is_replaced_and_no_answer_pays() -> None:
    reward = code()
    assert asked(reward, HONEST).value == 1
    warden, box = reward.sandbox.warden.pid, Path(reward.sandbox.warden.box)
    assert box.exists()
    os.kill(warden, signal.SIGKILL)
    assert asked(reward, HONEST).value == 1
    assert reward.sandbox.warden.pid != warden
    assert not box.exists()


def test_a_sandbox_that_cannot_be_had_is_the_machines_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = code()
    reward.sandbox.close()
    monkeypatch.setattr(warden_process, "command", lambda level: ["/bin/false"])
    score = asked(reward, HONEST)
    assert score.status == "infrastructure"
    assert score.reason.startswith("sandbox: ")


def test_a_warden_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden_process, "command", lambda level: ["/bin/sleep", "600"])
    monkeypatch.setattr(warden_process, "START_S", 0.2)
    monkeypatch.setattr(warden_process, "END_S", 0.2)
    started = time.monotonic()
    with (
        pytest.raises(warden_process.SandboxError, match="does not answer"),
        Sandbox("process", memory_mib=256, cpu_s=1) as held,
    ):
        _ = held.warden
    assert time.monotonic() - started < 5


def test_it_works_from_threads_that_end() -> None:
    reward = code()
    found: list[float] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(asked(reward, HONEST).value))
        thread.start()
        thread.join()
    assert [*found, asked(reward, HONEST).value] == [1, 1, 1]
