"""What a flaky server costs a judge: seconds for a batch over the ideal ones, by the share of calls that fail.

    python tests/benchmarks/bench_judge.py [--questions 600] [--concurrent 16] [--latency-s 0.5]

A server on loopback refuses a share of calls (429 with Retry-After: 1), fails all that come within 0.3 s now and then
(500), breaks off others, each after the latency of a verdict. Ideal: a faultless run's seconds for a call, times the
calls that had to be made, one for each question and each fault that was hit. Exits 1 where a ratio is above 1.2, a
question has no verdict or a wrong one, or one was asked again after its verdict had been sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from toy_judge import Body, Raw, Script, Server, a_judge, batch, judge

MOST = 1.2
BURST_S = 0.3


@dataclass
class Faults:
    """Decides which calls fail, and remembers what was answered."""

    busy: float = 0.0
    burst: float = 0.0
    reset: float = 0.0
    """Shares of all calls."""
    in_burst: float = 1.0
    """Calls that come within a burst."""
    hit: Counter[int] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    _until_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._draw = Random(0)

    def __call__(self, server: Server, number: int, body: Body) -> Raw | None:
        with self._lock:
            status = self._status()
            if status is None:
                self.answered[json.dumps(body, sort_keys=True)] += 1
                return None
            self.hit[status] += 1
        return status, {"Retry-After": "1"} if status == 429 else {}, b""

    def _status(self) -> int | None:
        now_s, drawn = time.monotonic(), self._draw.random()
        if now_s < self._until_s:
            return 500
        begins = self.burst / self.in_burst
        if drawn < begins:
            self._until_s = now_s + BURST_S
            return 500
        drawn -= begins
        return 429 if drawn < self.busy else 0 if drawn < self.busy + self.reset else None


def ask(questions: int, concurrent: int, latency_s: float, faults: Faults) -> tuple[float, int, int]:
    """Seconds for all of them; how many have no verdict or a wrong one; how many were answered more than once."""
    asked = batch(questions // 2)
    with judge(Script(wait_s=latency_s, fault=faults)) as server:
        own = a_judge(server.url, concurrent=concurrent, endpoint={"timeout_s": 30, "give_up_s": 60})
        began_s = time.monotonic()
        scores = own.score_all(asked)
        taken_s = time.monotonic() - began_s
    assert len(server.asked) == faults.answered.total() + faults.hit.total()
    wrong = sum(score.value != 1 - number % 2 for number, score in enumerate(scores))
    return taken_s, wrong, faults.answered.total() - len(faults.answered)


def main() -> int:
    """Print the table; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--concurrent", type=int, default=16)
    parser.add_argument("--latency-s", type=float, default=0.5)
    given = parser.parse_args()
    size = given.questions, given.concurrent, given.latency_s
    plain_s = min(ask(*size, Faults())[0] for _ in range(2))
    print(f"{size[0]} questions, {size[1]} at once, {size[2]:g} s each: {plain_s:.2f} s without faults")
    print(f"{'429':>6}{'500':>6}{'reset':>7}{'faults':>8}{'s':>8}{'ideal s':>9}{'ratio':>7}{'lost':>6}{'twice':>7}")
    broken = False
    rows = [(0.01, 0, 0), (0.05, 0, 0), (0.1, 0, 0), (0.2, 0, 0), (0, 0.05, 0), (0, 0.1, 0), (0, 0, 0.01), (0, 0, 0.05)]
    for busy, burst, reset in [*rows, (0.02, 0.02, 0.01), (0.05, 0.05, 0.01), (0.1, 0.1, 0.02)]:
        faults = Faults(busy=busy, burst=burst, reset=reset, in_burst=size[1] * BURST_S / size[2])
        taken_s, lost, twice = ask(*size, faults)
        ideal_s = plain_s * (1 + faults.hit.total() / size[0])
        ratio = taken_s / ideal_s
        broken |= ratio > MOST or lost > 0 or twice > 0 or not faults.hit
        shares = f"{busy:>6.0%}{burst:>6.0%}{reset:>7.0%}{faults.hit.total():>8}"
        print(f"{shares}{taken_s:>8.2f}{ideal_s:>9.2f}{ratio:>7.2f}{lost:>6}{twice:>7}", flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
