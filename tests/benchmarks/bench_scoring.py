"""How long scoring takes: a step's worth of short answers, and what one hanging answer costs.

    python tests/benchmarks/bench_scoring.py

The first line is what every training step pays (256 answers, three rewards; the aim is 30 ms); the
start is what a hang or a crash pays, twice, beside its time-outs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from test_scoring import group, spec

from r1core.scoring import RewardSpec, ScoringService


def measure(specs: list[RewardSpec], answer: str, *, workers: int, calls: int = 20) -> list[float]:
    """Milliseconds of each call with 64 groups of 4."""
    groups = [group([answer] * 4) for _ in range(64)]
    times_ms = []
    with ScoringService(specs, workers=workers) as service:
        for _ in range(calls):
            started = time.perf_counter()
            service.score(groups)
            times_ms.append(1e3 * (time.perf_counter() - started))
    return times_ms


def main() -> None:
    """Print the table."""
    three = [spec("Exact"), spec("Length"), spec("Exact", weight=0.5)]
    for label, answer in (("short answers", "yes"), ("4 kB answers", "x" * 4096)):
        for workers in (1, 2):
            times_ms = measure(three, answer, workers=workers)
            print(f"256 {label} x 3 rewards, {workers} workers: median {statistics.median(times_ms):.1f} ms, "
                  f"worst {max(times_ms):.1f} ms")  # fmt: skip
    started = time.perf_counter()
    with ScoringService(three):
        print(f"start of a worker: {1e3 * (time.perf_counter() - started):.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        options = {"log": str(Path(folder) / "log")}
        with ScoringService([spec("Fault", options=options, timeout_s=0.5)]) as service:
            started = time.perf_counter()
            service.score([group(["sleep"])])
            spent_ms = 1e3 * (time.perf_counter() - started)
            print(f"one answer that hangs: {spent_ms:.0f} ms, 1000 of them waiting")


if __name__ == "__main__":
    main()
