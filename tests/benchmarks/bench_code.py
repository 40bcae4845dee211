"""What the reward `code` costs beside the programs themselves, at each level that works here.

    python tests/benchmarks/bench_code.py

The aim is 30 ms at the median for an answer at the level `process`. Its first line is what an answer pays, the whole of
`score` for a function with one test that does nothing; the second a program with one test; then ten tests of each, the
start of a warden, which a worker pays once, and how far behind its deadline a program ends that never does by itself.
What a new interpreter for each answer would cost alone stands below.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from code_cells import LEVELS, asked, code

from r1_plugins.code import Code
from r1_plugins.code.sandbox import Sandbox

ANSWERS = 200
BOMBS = 10
TIMEOUT_S = 0.5


def times_ms(once: Callable[[], Any], count: int) -> list[float]:
    """Milliseconds of each call, sorted."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        once()
        found.append(1e3 * (time.perf_counter() - started))
    return sorted(found)


def line(label: str, found: list[float]) -> str:
    """Median, 95th percentile, worst."""
    return (
        f"  {label:<44} p50 {statistics.median(found):7.1f} ms   p95 {found[int(0.95 * len(found))]:7.1f} ms   "
        f"worst {found[-1]:7.1f} ms"
    )


def function(tests: int) -> dict[str, Any]:
    return {"entry_point": "f", "tests": [{"input": [n], "output": n} for n in range(tests)]}


def program(tests: int) -> dict[str, Any]:
    return {"entry_point": None, "tests": [{"stdin": f"{n}\n", "output": f"{n}\n"} for n in range(tests)]}


def right(reward: Code, text: str, reference: dict[str, Any]) -> None:
    """Score an honest answer; a benchmark of failures would be worth nothing."""
    score = asked(reward, text, reference)
    if score.value != 1:
        raise RuntimeError(f"an honest answer got {score}")


def measure(level: str) -> None:
    """Print one level's lines."""
    print(f"level {level}")
    reward = code(level, test_timeout_s=4)
    for tests in (1, 10):
        many = f"{tests} test{'s' if tests > 1 else ''}"
        found = times_ms(lambda tests=tests: right(reward, "def f(n): return n", function(tests)), ANSWERS)
        print(line(f"an answer, a function with {many}", found))
        found = times_ms(lambda tests=tests: right(reward, "print(input())", program(tests)), ANSWERS // tests)
        print(line(f"an answer, a program with {many}", found))

    def start() -> None:
        with Sandbox(level, memory_mib=512, cpu_s=10) as sandbox:
            _ = sandbox.warden

    print(line("start and end of a warden", times_ms(start, 20)))
    bombed = code(level, test_timeout_s=TIMEOUT_S)
    late = [ms - 1e3 * TIMEOUT_S for ms in times_ms(lambda: asked(bombed, "def f(n):\n    while True: pass"), BOMBS)]
    print(line("a program that never ends: after its deadline", late))


def main() -> None:
    """Print the table."""
    for level in LEVELS:
        measure(level)
    bare = times_ms(lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True), 50)
    print(line("beside it: an interpreter that does nothing", bare))


if __name__ == "__main__":
    main()
