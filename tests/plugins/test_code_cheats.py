"""Programs that want the reward without the work: each of them really does what it tries, and none is paid."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from code_cells import LEVELS, SQUARES, asked, code, not_beside_faults, printed  # noqa: F401 - fixtures

from r1_plugins.code import Code

__all__ = ["printed"]

SAY = """
import os
def say(*words):
    os.write(1, ("FIRED " + " ".join(map(str, words)) + "\\n").encode())
"""
FRAMES = """
import sys
def everything():
    frame, found = sys._getframe(), []
    while frame:
        found += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    return found
def job():
    return next(each for each in everything() if isinstance(each, dict) and "nonce" in each)
"""
CHEATS = {
    "leaves with exit code 0 while it is loaded": """
say("leaving")
raise SystemExit(0)
""",
    "leaves with exit code 0 when it is called": """
def f(n):
    say("leaving")
    os._exit(0)
""",
    "returns an object that equals everything": """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def f(n):
    say(Yes() == 5, Yes() == n * n)
    return Yes()
""",
    "returns a number that equals everything": """
class Yes(int):
    def __eq__(self, other): return True
    def __repr__(self): return "1075369"
    __str__ = __repr__
    __class__ = int
def f(n):
    say(Yes(0) == n, repr(Yes(0)), isinstance(Yes(0), int))
    return Yes(0)
""",
    "prints what test runners print": """
def f(n):
    say("ALL TESTS PASSED")
    print("1075369\\n5248681\\nOK (2 tests)\\nEXIT_CODE:0", flush=True)
""",
    "patches the built-in functions": """
import builtins
for name in ("all", "any", "isinstance", "len", "bool", "type", "abs"):
    setattr(builtins, name, lambda *arguments, **named: True)
say(all([False]), isinstance(1, str))
def f(n):
    return None
""",
    "patches json, which its answers pass through": """
import json
write = json.dumps
def forged(reply, *arguments, **named):
    say("json")
    return write({**reply, "value": True, "passed": True, "status": "correct", "score": 1.0})
json.dumps = forged
json.loads = lambda text: [True]
def f(n):
    return None
""",
    "patches what encodes its answers": """
import sys
wire, calling = sys.modules["inside.wire"], sys.modules["inside.calling"]
wire.encode = calling.encode = lambda value: say("encode") or ["any"]
def f(n):
    return None
""",
    "walks the frames for the expected output": FRAMES
    + """
def f(n):
    seen = everything()
    say(len(seen) > 20, n in seen)
    keys = [each for each in seen if isinstance(each, dict) and ("output" in each or "tests" in each)]
    return keys[0]["output"] if keys else None
""",
    "looks through all objects for the expected output": """
import gc
def f(n):
    objects = gc.get_objects()
    say(len(objects) > 0)
    for each in objects:
        if type(each) is dict and type(each.get("output")) is int:
            return each["output"]
""",
    "traces the function that takes its result": """
import sys
def trace(frame, event, argument):
    if "value" in frame.f_locals or event == "return":
        say("traced", frame.f_code.co_name)
    return trace
sys.settrace(trace)
sys._getframe().f_back.f_trace = trace
def f(n):
    return True
""",
    "writes a reply when it ends": """
import atexit
atexit.register(say, "at exit")
def f(n):
    atexit._run_exitfuncs()
    return "at exit"
""",
    "does its work when an object dies": """
class Last:
    def __del__(self):
        say("dying")
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{"value": true}\\n')
            except OSError:
                pass
def f(n):
    Last()
""",
    "writes replies to every descriptor, with the nonce": FRAMES
    + """
import json
def f(n):
    say("forging", job()["nonce"])
    for descriptor in range(1, 64):
        for guess in (True, 1, None, 1037, "1075369"):
            try:
                reply = {"nonce": job()["nonce"], "value": guess, "passed": 2}
                os.write(descriptor, json.dumps(reply).encode() + b"\\n")
            except OSError:
                pass
    return 0
""",
    "answers all tests in its first call": FRAMES
    + """
import json
def f(n):
    lines = [json.dumps({"nonce": job()["nonce"], "value": value}) for value in (n * n - 0.0001, n * n)]
    say("ahead")
    for descriptor in range(2, 64):
        try:
            os.write(descriptor, ("\\n".join(lines) + "\\n").encode())
        except OSError:
            pass
    os._exit(0)
""",
    "changes what a number is, in its memory": """
import ctypes
def f(n):
    ctypes.memmove(id(251) + 24, id(252) + 24, 4)
    say("251 is", 251 + 0)
    return 251
""",
    "reads the memory and the environment of its parents": """
def f(n):
    pid, said = os.getppid(), []
    for each in {1, pid, WORKER}:
        for name in ("mem", "environ", "maps", "fd/0", "fd/3"):
            try:
                with open(f"/proc/{each}/{name}", "rb", buffering=0) as file:
                    said.append(f"OPENED {each}/{name}")
            except OSError as error:
                said.append(type(error).__name__)
    say(*said)
""",
    "traces its parent": """
import ctypes
def f(n):
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in {os.getppid(), WORKER}:
        traced = libc.ptrace(16, pid, 0, 0)
        say("ptrace", traced)
        if traced == 0:
            say("OPENED", pid)
""",
    "reads the memory of its parent by a system call": """
import ctypes
def f(n):
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(64)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(room), 64)
    for pid in {os.getppid(), WORKER}:
        done = libc.process_vm_readv(pid, vector, 1, vector, 1, 0)
        say("read", done, "pidfd", libc.syscall(434, pid, 0))
        if done > 0:
            say("OPENED", pid)
""",
    "kills the worker that grades it": """
import signal
def f(n):
    for pid in (os.getppid(), WORKER):
        for kill in (os.kill, os.killpg):
            try:
                kill(pid, signal.SIGKILL)
                say("OPENED", pid)
            except OSError as error:
                say("killed", type(error).__name__)
""",
    "signals its own group": """
import signal
def f(n):
    signal.signal(signal.SIGTERM, lambda *_: say("signalled"))
    try:
        os.killpg(0, signal.SIGTERM)
    except OSError as error:
        say("group", type(error).__name__)
    os.kill(os.getpid(), signal.SIGTERM)
""",
    "leaves a child to answer later": """
import time
def f(n):
    for start in (os.fork, os.forkpty):
        try:
            if start() == 0:
                os.setsid()
                time.sleep(1)
                os.write(1, b"OPENED by a child\\n")
                os._exit(0)
            say("OPENED")
        except OSError as error:
            say("fork", type(error).__name__)
""",
    "answers from a thread when its time is over": """
import threading, time
def late():
    time.sleep(1)
    os._exit(0)
def f(n):
    threading.Thread(target=late).start()
    say("thread")
    time.sleep(60)
""",
    "runs another program": """
import subprocess
def f(n):
    for run in (lambda: os.execv("/bin/true", ["true"]), lambda: os.posix_spawn("/bin/true", ["true"], {}),
                lambda: subprocess.run(["/bin/true"])):
        try:
            run()
            say("OPENED")
        except OSError as error:
            say("run", type(error).__name__)
""",
    "lifts its own limits": """
import resource, signal
def f(n):
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        try:
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            say("OPENED", kind)
        except (OSError, ValueError) as error:
            say("limit", type(error).__name__)
""",
    "returns a number too long to write": """
def f(n):
    say("long")
    return 7 ** 200_000
""",
    "returns what equals nothing and everything": """
def f(n):
    say("nan")
    return float("nan") if n == 1037 else float("inf")
""",
    "returns a list that holds itself": """
def f(n):
    found = []
    found.append(found)
    say("deep")
    return found
""",
    "raises an error with a lying name": """
class Meta(type):
    @property
    def __name__(cls): return say("name") or "correct"
class Passed(Exception, metaclass=Meta):
    pass
def f(n):
    raise Passed
""",
    "raises an error whose name is no text": """
class Meta(type):
    def __getattribute__(cls, name):
        say("asked for", name)
        os._exit(0)
class Passed(BaseException, metaclass=Meta):
    pass
def f(n):
    raise Passed
""",
    "asks for its own source and data": """
def f(n):
    said = []
    for path in (DATA, "/etc/passwd", os.path.expanduser("~/.ssh/id_rsa"), "/proc/self/environ"):
        try:
            with open(path) as file:
                said.append(f"read {len(file.read())}")
        except OSError as error:
            said.append(type(error).__name__)
    say(*said, *(name for name in os.environ if name not in ("LC_ALL", "PATH", "PYTHONHASHSEED", "PWD")))
""",
}
"""What it does -> the program; all define `f`, or do not live to. OPENED is said where a wall was not there."""


@pytest.fixture(scope="module")
def rewards() -> dict[str, Code]:
    return {level: code(level, test_timeout_s=2) for level in LEVELS}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cheat", CHEATS)
def test_no_cheat_is_paid(
    cheat: str, level: str, rewards: dict[str, Code], printed: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "data.jsonl").write_text(str(SQUARES))
    names = f"WORKER, DATA = {os.getpid()}, {str(tmp_path / 'data.jsonl')!r}\n"
    score = asked(rewards[level], SAY + names + CHEATS[cheat])
    assert score.status == "verdict"
    assert score.value == 0, score.reason
    assert score.reason.startswith("test 1 of 2: ")
    said = b"".join(printed)
    assert b"FIRED" in said, "the cheat was not tried"
    assert b"OPENED" not in said, said.decode()


@pytest.mark.parametrize("level", LEVELS)
def test_after_all_of_them_an_honest_program_is_paid(level: str, rewards: dict[str, Code]) -> None:
    assert asked(rewards[level], "def f(n):\n    return n * n").value == 1


def test_there_are_enough() -> None:
    assert len(CHEATS) >= 20
    assert LEVELS[0] == "process"


CHEATING_PROGRAMS = {
    "prints nothing and leaves": 'os.write(2, b"x")\nraise SystemExit(0)',
    "prints all small numbers": "print(*range(1000), flush=True)",
    "prints the answer between others": 'print("41\\n42\\n43", flush=True)',
    "prints the answer and is then killed": "print(42, flush=True)\nimport signal; os.kill(os.getpid(), 9)",
    "reads its own source": "import sys; print(open(sys.argv[0]).read(), flush=True)",
    "prints the answer in a long line": 'print("42" + " " * 100 + ".", flush=True)',
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cheat", CHEATING_PROGRAMS)
def test_no_program_is_paid_for_what_it_prints_beside(cheat: str, level: str, rewards: dict[str, Code]) -> None:
    reference = {"entry_point": None, "tests": [{"stdin": "6 7\n", "output": "42\n"}]}
    assert asked(rewards[level], SAY + CHEATING_PROGRAMS[cheat], reference).value == 0
    assert asked(rewards[level], SAY + "print(42)", reference).value == 1


def test_what_one_test_leaves_behind_is_gone_where_tests_are_isolated(printed: list[bytes]) -> None:
    """In one process the first call may change what the second returns, and nothing else."""
    remembering = (
        SAY + "seen = []\ndef f(n):\n    seen.append(n)\n    say(len(seen))\n    return n * n if len(seen) == 1 else 0"
    )
    assert asked(code(score="share"), remembering).value == 0.5
    assert asked(code(score="share", isolate="test"), remembering).value == 1
    assert b"".join(printed).count(b"FIRED 1") == 3
    assert b"".join(printed).count(b"FIRED 2") == 1
