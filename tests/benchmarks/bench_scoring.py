"""What scoring costs: a step's answers, a start, what hangs and crashes, and its share of a real, tiny RL step.

    python tests/benchmarks/bench_scoring.py [--pairs 2] [--no-stage] [--base runs/R/stages/base/model]

The last part runs the r1_zero stage of recipes/deepseek_r1.yaml (tiny profile) from one base model, with the
rewards in workers and, in turn, with the same rewards in the stage's own process, where scoring has neither
processes nor a protocol. Both take the same steps (their metrics must be equal), so what differs is what
scoring adds. Two figures: the seconds that a step waits for scores over its own, exactly, and the ratio of
the two median steps, which holds the machine's noise. Exits 1 when a figure is above its bound.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from test_scoring import group, spec
from test_scoring_bombs import LATE, bombed, fired

from r1core.scoring import ScoringService
from r1core.store import read_metrics

OVER_MS = 250.0
SHARE = 0.05
TIMEOUT_S = 0.5
HERE = """\
from r1_plugins.rules.accuracy import Accuracy
from r1_plugins.rules.format import Format

class AccuracyHere(Accuracy):
    name = "accuracy_here"
    runs = "stage"

class FormatHere(Format):
    name = "format_here"
    runs = "stage"
"""


def main() -> int:
    """Print the tables; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description="What scoring costs.")
    parser.add_argument("--pairs", type=int, default=2, help="runs of the stage, each way")
    parser.add_argument("--no-stage", action="store_true", help="leave out the stage, which takes minutes")
    parser.add_argument("--base", type=Path, help="the tiny profile's base model of an earlier run; made when absent")
    given = parser.parse_args()
    answers()
    starts()
    broken = overshoot() > OVER_MS
    if not given.no_stage:
        broken |= stage(given.pairs, given.base) > SHARE
    return int(broken)


# --- answers -----------------------------------------------------------------------------------------


def answers() -> None:
    """Milliseconds of a call with 64 groups of 4 answers."""
    three = [spec("Exact"), spec("Length"), spec("Exact", weight=0.5)]
    for label, answer in (("short answers", "yes"), ("4 kB answers", "x" * 4096)):
        for workers in (1, 2):
            groups = [group([answer] * 4) for _ in range(64)]
            with ScoringService(three, workers=workers) as service:
                times_ms = [timed(lambda: service.score(groups)) for _ in range(20)]  # noqa: B023 - called at once
            told = f"median {statistics.median(times_ms):.1f} ms, worst {max(times_ms):.1f} ms"
            print(f"256 {label} x 3 rewards, {workers} workers: {told}", flush=True)


def starts() -> None:
    """A service, and what a crash costs: a fresh worker is forked, or the spare is at hand."""
    for label, specs in (("", [spec("Exact")]), (", its module takes 2 s to import", [bombed(Path(), module=LATE)])):
        times_ms = []
        for _ in range(5):
            service = ScoringService(specs)
            times_ms.append(timed(service.__enter__))
            service.__exit__(None, None, None)
        print(f"start of a service{label}: median {statistics.median(times_ms):.0f} ms", flush=True)
    with tempfile.TemporaryDirectory() as folder, ScoringService([bombed(Path(folder))]) as service:
        plain_ms = statistics.median(timed(lambda: service.score([group(["yes"])])) for _ in range(20))
        crash_ms = [timed(lambda: service.score([group(["exit"])])) for _ in range(20)]
        assert len(fired(Path(folder))) == 40
    told = f"median {statistics.median(crash_ms):.0f} ms, worst {max(crash_ms):.0f} ms"
    print(f"one answer: {plain_ms:.1f} ms; one that takes two workers down: {told}", flush=True)


def timed(call: Any) -> float:
    """Milliseconds that it takes."""
    begun = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begun)


# --- deadlines ---------------------------------------------------------------------------------------


def overshoot() -> float:
    """How far attempts went beyond their deadline, ms; the worst of all is returned."""
    worst_ms = 0.0
    for bomb in ("pow", "digits", "regex", "ignore"):
        for workers in (1, 2):
            over_ms = [over for _ in range(5) for over in _over(bomb, workers)]
            worst_ms = max(worst_ms, *over_ms)
            told = f"median {statistics.median(over_ms):.0f} ms, worst {max(over_ms):.0f} ms"
            print(f"{bomb}, {workers} workers, beyond a deadline of {TIMEOUT_S * 1e3:.0f} ms: {told}", flush=True)
    print(f"worst of all: {worst_ms:.0f} ms (at most {OVER_MS:.0f})", flush=True)
    return worst_ms


def _over(bomb: str, workers: int) -> list[float]:
    """One answer's two attempts, each from the moment in which the reward began until the next could begin."""
    with tempfile.TemporaryDirectory() as folder:
        with ScoringService([bombed(Path(folder), "Guarded")], workers=workers) as service:
            (found,) = service.score([group([bomb])])[0].scores
            ended = time.monotonic()
        (_, first), (_, second) = fired(Path(folder))
    assert found.reason == "verifier_timeout", found
    return [1e3 * (second - first - TIMEOUT_S), 1e3 * (ended - second - TIMEOUT_S)]


# --- a stage -----------------------------------------------------------------------------------------


def stage(pairs: int, base: Path | None = None) -> float:
    """The largest share that scoring adds to the stage, as it is waited for."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "here.py").write_text(HERE)
        start = (f"models.base={{import: {base.resolve()}}}",) if base is not None else ()
        run(folder / "base", "base", *start)
        accuracy, form = (f"{folder}/here.py:{cls}" for cls in ("AccuracyHere", "FormatHere"))
        here = (f"rewards.accuracy={accuracy}", f"rewards.format={{use: '{form}', min_thinking_chars: 0}}")
        ways = {"in the stage": here, "1 worker": ("scoring.workers=1",), "2 workers": ("scoring.workers=2",)}
        found: dict[str, list[list[dict[str, Any]]]] = {way: [] for way in ways}
        for number in range(pairs):
            for way in list(ways) if number % 2 == 0 else list(ways)[::-1]:
                own = folder / f"{way} {number}".replace(" ", "-")
                shutil.copytree(folder / "base", own)
                run(own, "r1_zero", *start, *ways[way])
                found[way].append(list(read_metrics(own / "stages" / "r1_zero" / "metrics.jsonl")))
    return report(found)


def run(folder: Path, until: str, *sets: str) -> None:
    """The recipe until this stage."""
    options = [word for each in sets for word in ("--set", each)]
    recipe = (
        "recipes/deepseek_r1.yaml",
        "--profile",
        "tiny",
        "--run-dir",
        str(folder),
        "--jobs",
        "1",
        "--until",
        until,
    )
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", *recipe, *options]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def report(found: dict[str, list[list[dict[str, Any]]]]) -> float:
    """Print the table; the largest share of a step that was waited for scores in workers."""
    learned = [[_without_times(row) for row in rows] for runs in found.values() for rows in runs]
    assert all(rows == learned[0] for rows in learned), "all ways must have taken the same steps"
    steps_s = {way: [row["time/step_s"] for rows in runs for row in rows] for way, runs in found.items()}
    plain_s = statistics.median(steps_s["in the stage"])
    largest = 0.0
    for way, runs in found.items():
        waited_s = sum(row["time/verifier_s"] for rows in runs for row in rows)
        share, median_s = waited_s / sum(steps_s[way]), statistics.median(steps_s[way])
        largest = max(largest, share if way != "in the stage" else 0.0)
        told = f"median step {1e3 * median_s:.0f} ms, {median_s / plain_s - 1:+.1%} against none"
        print(f"r1_zero, rewards {way}: waits for scores {share:.2%} of the time; {told} ({len(steps_s[way])} steps)")
    print(f"largest share: {largest:.2%} (at most {SHARE:.0%})")
    return largest


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith("time/")}


if __name__ == "__main__":
    sys.exit(main())
