"""What every level of isolation promises: the table in the README is what is found by trying, and a list of programs
behaves alike at all of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from code_cells import LEVELS, asked, code, not_beside_faults  # noqa: F401 - fixtures
from pydantic import ValidationError

from r1_plugins.code import Code, levels
from r1_plugins.code.attempts import PROGRAM, kept_out
from r1_plugins.code.inside import landlock
from r1_plugins.code.launching import LEVELS as ALL
from r1core.errors import SetupError

README = Path(__file__).parents[2] / "plugins" / "r1_plugins" / "code" / "README.md"


# --- what is kept out --------------------------------------------------------------------------------


def table() -> dict[str, dict[str, str]]:
    """Level -> attempt -> what the README says of it."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in README.read_text().splitlines()
        if line[:1] == "|"
    ]
    head, _, *body = rows
    return {level: {row[0]: row[column] for row in body} for column, level in enumerate(head) if column}


def test_the_table_has_all_levels() -> None:
    assert set(table()) == set(ALL)
    if sys.platform == "linux":
        assert "process" in LEVELS


@pytest.mark.parametrize("level", LEVELS)
def test_the_table_is_what_is_found_by_trying(level: str) -> None:
    found, told = kept_out(level), table()[level]
    assert found.keys() == told.keys()
    for attempt, word in told.items():
        assert word in ("blocked", "blocked with Landlock")
        if word == "blocked" or landlock.version():
            assert found[attempt], f"level {level} does not keep out: {attempt}"


def test_every_attempt_succeeds_where_there_is_no_sandbox(tmp_path: Path) -> None:
    """Else the table would say nothing."""
    (tmp_path / "secret").write_text("secret")
    program = PROGRAM + (
        "\nimport json, sys\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "print(json.dumps(attempt(server.getsockname()[1], int(sys.argv[1]), sys.argv[2], 'bait')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(os.getpid()), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "BAIT": "bait"},
    )
    assert [attempt for attempt, succeeded in json.loads(done.stdout).items() if not succeeded] == []


# --- what every level must do -------------------------------------------------------------------------

ALL_SORTS = [None, True, 0, -1.5, "é\ud800\0", [], {}, {"a": [1]}]
SEEN = {"LC_ALL", "PATH", "PYTHONHASHSEED", "PWD"}
HASH = int(
    subprocess.run(
        [sys.executable, "-c", "print(hash('text'))"],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
)
FUNCTIONS: Sequence[tuple[str, str, list[Any], Any]] = (
    ("gives back what it gets", "f = lambda x: x", [ALL_SORTS], ALL_SORTS),
    ("takes several arguments", "def f(a, b=2, *rest): return [a, b, *rest]", [1, 3, 4], [1, 3, 4]),
    ("takes none", "def f(): return 'none'", [], "none"),
    ("has numbers of any length", "def f(n): return n ** 20_000", [3], 3**20_000),
    (
        "has the standard library",
        "import decimal, fractions, heapq, json, math, random, re, statistics, zlib\n"
        "def f(): return [math.comb(5, 2), str(fractions.Fraction(1, 3)), json.loads('[1]')]",
        [],
        [10, "1/3", [1]],
    ),
    (
        "has dataclasses and annotations",
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\n    y: list[int]\ndef f(): return P(1, [2]).y",
        [],
        [2],
    ),
    (
        "has threads",
        "import threading\ndef f(n):\n    found = []\n"
        "    threads = [threading.Thread(target=found.append, args=(i,)) for i in range(n)]\n"
        "    [t.start() for t in threads]; [t.join() for t in threads]\n    return sorted(found)",
        [4],
        [0, 1, 2, 3],
    ),
    (
        "has asyncio",
        "import asyncio\nasync def g():\n    await asyncio.sleep(0)\n    return 7\ndef f(): return asyncio.run(g())",
        [],
        7,
    ),
    (
        "has no other packages",
        "def f(name):\n    try: __import__(name)\n    except ImportError: return 'none'",
        ["r1core"],
        "none",
    ),
    (
        "recurses deep in Python",
        "import sys\nsys.setrecursionlimit(10 ** 6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)",
        [50_000],
        50_000,
    ),
    (
        "recurses deep in a thread",
        "import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 26)\n"
        "def g(n): return 0 if n == 0 else 1 + g(n - 1)\ndef f(n):\n    found = []\n"
        "    t = threading.Thread(target=lambda: found.append(g(n)))\n    t.start(); t.join()\n    return found",
        [10_000],
        [10_000],
    ),
    ("uses a quarter of its memory", "def f(): return len(bytearray(128 << 20))", [], 128 << 20),
    ("prints what it likes", "def f():\n    print('x' * 200_000)\n    return 1", [], 1),
    ("has nothing on stdin", "import sys\ndef f(): return sys.stdin.read()", [], ""),
    ("is no main module", "def f(): return __name__ == '__main__'", [], False),
    ("hashes text alike each time", "def f(text): return hash(text)", ["text"], HASH),
    ("sees an empty folder", "import os\ndef f(): return os.listdir('.')", [], []),
    ("sees no environment", f"import os\ndef f(): return sorted({{*os.environ}} - {SEEN})", [], []),
    (
        "has no privileges",
        "import ctypes\ndef f(): return ctypes.CDLL(None).capget(HEADER, ctypes.byref(SETS)) or [*SETS]\n"
        "HEADER = (ctypes.c_uint32 * 2)(0x20080522, 0)\nSETS = (ctypes.c_uint32 * 6)()",
        [],
        [0] * 6,
    ),
)
FAILING: Sequence[tuple[str, str, str]] = (
    ("an exception while it is loaded", "raise KeyError('x')", "raised KeyError"),
    ("no Python", "def f(:", "raised SyntaxError"),
    ("a null byte", "def f(): return 1\0", "raised "),
    ("half a surrogate", "x = '\ud800'\ndef f(): return 1", "raised UnicodeEncodeError"),
    ("no such function", "def g(): return 1", "no_entry_point"),
    ("no function", "f = 3", "raised TypeError"),
    ("other arguments", "def f(a, b): return 1", "raised TypeError"),
    ("a set", "def f(): return {1}", "unsupported_type"),
    ("a generator", "def f(): yield 1", "unsupported_type"),
    ("bytes", "def f(): return b'1'", "unsupported_type"),
    ("a key that is no text", "def f(): return {(1, 2): 1}", "garbled"),
    ("two keys that are one", "def f(): return {1: 1, '1': 1}", "garbled"),
    ("an endless value", "def f():\n    x = []\n    x.append(x)\n    return x", "raised RecursionError"),
    ("a deep value", "def f():\n    x = []\n    for _ in range(5000): x = [x]\n    return x", "raised RecursionError"),
    ("a late one", "import time\ndef f(): time.sleep(60)", "timeout"),
)
PROGRAMS: Sequence[tuple[str, str, str, str]] = (
    ("reads all of stdin", "import sys\nprint(sys.stdin.read().upper(), end='')", "ab\ncd\n", "AB\nCD\n"),
    ("reads lines", "n = int(input())\nfor _ in range(n): print(input()[::-1])", "2\nab\ncd\n", "ba\ndc\n"),
    ("reads the descriptor", "print(sum(map(int, open(0).read().split())))", "1 2 3", "6"),
    ("reads bytes", "import sys\nprint(len(sys.stdin.buffer.read()))", "é\n", "3"),
    ("reads a megabyte", "import sys\nprint(len(sys.stdin.read()))", "x" * (1 << 20), str(1 << 20)),
    ("writes bytes", "import os\nos.write(1, b'1 2\\n')", "", "1 2"),
    ("is the main module", "if __name__ == '__main__': print('main')", "", "main"),
    ("ends early", "import sys\nprint(1)\nsys.exit()\nprint(2)", "", "1"),
    ("ends hard", "import os\nprint(1, flush=True)\nos._exit(0)\nprint(2)", "", "1"),
    (
        "works in a thread that nobody waits for",
        "import threading\nthreading.Thread(target=lambda: print(3)).start()",
        "",
        "3",
    ),
    ("prints at its end", "import atexit\natexit.register(print, 4)", "", "4"),
    ("leaves a buffer of its own", "out = open(1, 'wb', closefd=False)\nout.write(b'6')", "", "6"),
    ("complains on stderr", "import sys\nprint('x', file=sys.stderr)\nprint(5)", "", "5"),
    ("prints any letter", "print('é 漢 \\U0001f600')", "", "é 漢 \U0001f600"),
)


@pytest.fixture(scope="module")
def rewards() -> dict[str, Code]:
    return {level: code(level, test_timeout_s=3) for level in LEVELS}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("program", "arguments", "output"), [f[1:] for f in FUNCTIONS], ids=[f[0] for f in FUNCTIONS])
def test_a_function(level: str, program: str, arguments: list[Any], output: Any, rewards: dict[str, Code]) -> None:
    score = asked(rewards[level], program, {"entry_point": "f", "tests": [{"input": arguments, "output": output}]})
    assert (score.value, score.reason) == (1, "correct")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("program", "reason"), [f[1:] for f in FAILING], ids=[f[0] for f in FAILING])
def test_a_function_that_gives_no_value(level: str, program: str, reason: str, rewards: dict[str, Code]) -> None:
    score = asked(rewards[level], program, {"entry_point": "f", "tests": [{"input": [], "output": 1}]})
    assert (score.value, score.status) == (0, "verdict")
    assert score.reason.startswith(f"test 1 of 1: {reason}"), score.reason


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("program", "stdin", "output"), [p[1:] for p in PROGRAMS], ids=[p[0] for p in PROGRAMS])
def test_a_program(level: str, program: str, stdin: str, output: str, rewards: dict[str, Code]) -> None:
    score = asked(rewards[level], program, {"entry_point": None, "tests": [{"stdin": stdin, "output": output}]})
    assert (score.value, score.reason) == (1, "correct")


def test_the_list_is_long_enough() -> None:
    assert len(FUNCTIONS) + len(FAILING) + len(PROGRAMS) >= 30


# --- which level ---------------------------------------------------------------------------------------


def test_untrusted_code_at_the_level_process_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises(ValidationError, match="level process is no place for untrusted code"):
        Code.Config(untrusted=True)
    assert Code.Config(untrusted=True, level="auto").untrusted


@pytest.mark.skipif(len(LEVELS) < 2, reason="there are no namespaces here")
def test_auto_takes_the_strongest_that_works() -> None:
    assert code("auto").sandbox.level == "namespace"
    assert code("auto", untrusted=True).sandbox.level == "namespace"


WITHOUT = """
import json, sys, time
from pathlib import Path
from r1_plugins.code import Code
from r1core.errors import R1Error
found = {}
for options in ({"level": "process"}, {"level": "auto"}, {"level": "namespace"}, {"level": "auto", "untrusted": True}):
    started = time.monotonic()
    try:
        found[str(options)] = [Code(Code.Config(**options)).sandbox.level, 0, time.monotonic() - started]
    except R1Error as error:
        found[str(options)] = [str(error), error.exit_code, time.monotonic() - started]
print(json.dumps([found, Code.report()]))
"""


@pytest.mark.skipif(LEVELS == ["process"], reason="it is such a machine, or one where none can be made")
def test_a_machine_without_namespaces_refuses_untrusted_code_with_the_command_that_mends_it() -> None:
    """For real: inside a user namespace in which there may be no further ones."""
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all"
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", f'{forbid} "$0" -c "$1"', sys.executable, WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, report = json.loads(done.stdout)
    process, auto, namespace, untrusted = found.values()
    assert process[:2] == ["process", 0]
    assert auto[:2] == ["process", 0], "auto goes on with what there is"
    for said, exit_code, seconds in (namespace, untrusted):
        assert exit_code == SetupError.exit_code
        assert "level namespace: OSError: [Errno 28] unshare: no new namespaces" in said
        assert re.search(r"\n  (sudo sysctl -w|sudo apt-get install|docker run) ", said)
        assert seconds < 2
    assert "untrusted code needs namespaces" in untrusted[0]
    assert report[0] == "level process: works"
    assert report[1].startswith("level namespace: does not work here: ")
    assert "; to mend it: " in report[1]


def test_what_is_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    levels.trouble.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    try:
        assert levels.trouble("bubblewrap") == "bwrap is not installed"
    finally:
        levels.trouble.cache_clear()


def test_levels_are_tried_once() -> None:
    levels.trouble("process")
    started = time.monotonic()
    for _ in range(1000):
        levels.trouble("process")
    assert time.monotonic() - started < 1
