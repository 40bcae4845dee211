"""Kills while a teacher is asked: what is lost, what comes twice, what is asked again, and the same rows at the end.

    python tests/benchmarks/bench_traces.py [--problems 1250] [--samples 4] [--kills 50] [--seed 0] [--folder FOLDER]

An endpoint on loopback fails 5 % of its calls (500, 429, broken connections, time-outs). `r1 recipe` is killed by
SIGKILL at random moments while it asks, started again, and at last left to its end; another run is not killed. Every
call carries a seed of its own, so the server can tell answers apart. Exits 1 where an answer is missing or there twice,
the rows differ by a byte, or the server sent one answer twice that was not under way at a kill or lost by a fault.

Measured on two busy cores, 50 kills in 336 s: 5,000 rows, none missing, none twice, 13 files the same to the byte; 28
calls under way at a kill of 32 at most, 577 answers of 5,000 sent twice, all of calls that were under way or timed out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from toy_judge import Body, Raw, Server
from toy_teacher import RECIPE, said, teacher

from r1_plugins.openai.config import SEED_BITS
from r1core.keys import derive_key
from r1core.store import read_metrics, read_rows

FAILING = {500: 0.02, 429: 0.015, 0: 0.01, -1: 0.005}
"""Shares of all calls that end so; 0 is a broken connection, -1 a time-out."""
LATENCY_S, TIMEOUT_S, CONCURRENT = 0.05, 2.0, 32
PATIENCE_S = 300.0


@dataclass
class Faults:
    """Decides which calls fail, and remembers what was answered."""

    draw: Random
    hit: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    """By seed."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, server: Server, number: int, body: Body) -> Raw | None:
        with self.lock:
            status = self.draw.choices([*FAILING, 200], [*FAILING.values(), 1 - sum(FAILING.values())])[0]
            if status == 200:
                self.answered[body["seed"]] += 1
                return said({**body, "messages": [{"content": f"say {body['seed'] % 1000}"}]})
            self.hit[status] += 1
        if status == -1:
            time.sleep(TIMEOUT_S + 0.5)
        return max(status, 0), {"Retry-After": "0.2"} if status == 429 else {}, b""


def recipe(folder: Path, url: str, problems: int, samples: int) -> Path:
    """The recipe: one stage that asks."""
    questions = folder / "questions.jsonl"
    rows = [{"id": f"p{n}", "prompt": f"say {n}", "reference": str(n)} for n in range(problems)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    endpoint = {"url": url, "timeout_s": TIMEOUT_S, "give_up_s": 120}
    sampler = {"use": "openai", "endpoint": endpoint, "model": "m", "seeded": True, "concurrent": CONCURRENT}
    sampler["prices"] = {"input": 1.0, "output": 2.0}
    sample = {"prompts": problems, "samples": samples, "chunk": 100}
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(sample=json.dumps(sample), sampler=json.dumps(sampler), questions=questions))
    return path


def launched(path: Path, run: Path) -> subprocess.Popen[bytes]:
    """`r1 recipe` at work, its words in a file beside the run."""
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", str(path), "--run-dir", str(run)]
    with run.with_suffix(".txt").open("ab") as words:
        return subprocess.Popen(command, stdout=words, stderr=words)


def finished(path: Path, run: Path) -> float:
    """Seconds that it takes to its end."""
    began_s = time.monotonic()
    process = launched(path, run)
    if process.wait() != 0:
        sys.exit(f"exit {process.returncode}: see {run.with_suffix('.txt')}")
    return time.monotonic() - began_s


def killed(path: Path, run: Path, server: Server, *, after: int, wait_s: float) -> int:
    """Start it, and kill it when it has made `after` calls and some time has gone by. Returns the calls under way."""
    before, since_s = len(server.asked), time.monotonic()
    process = launched(path, run)
    while len(server.asked) < before + after:
        if process.poll() is not None or time.monotonic() - since_s > PATIENCE_S:
            sys.exit(f"it ended before it could be killed: see {run.with_suffix('.txt')}")
        time.sleep(0.001)
    time.sleep(wait_s)
    under_way = server.at_once
    process.kill()
    if process.wait() != -9:
        sys.exit(f"it was not killed but ended with {process.returncode}")
    return under_way


def lines_of(run: Path) -> list[dict[str, Any]]:
    """All lines of the run's ledger."""
    files = sorted((run / "stages" / ".traces" / "traces").glob("part-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def seed_of(key: str) -> int:
    """The seed that was sent for the answer with this key."""
    return derive_key(0, "trace", key) & (1 << SEED_BITS) - 1


def told(run: Path, faults: Faults, wanted: int, under_way: int) -> bool:
    """Print what became of a run; whether it is as it must be."""
    lines = lines_of(run)
    kinds = Counter(line["kind"] for line in lines)
    answers = Counter(line["key"] for line in lines if line["kind"] == "answer")
    lost = Counter(line["why"] for line in lines if line["kind"] == "lost")
    excused = {seed_of(line["key"]) for line in lines if line["kind"] == "lost"}
    rows = Counter((row["id"], row["sample"]) for row in read_rows(run / "stages" / "traces" / "data"))
    again = {seed for seed, count in faults.answered.items() if count > 1}
    last = list(read_metrics(run / "stages" / "traces" / "metrics.jsonl"))[-1]
    print(f"  rows {rows.total()}, missing {wanted - len(rows)}, twice {rows.total() - len(rows)}")
    print(f"  ledger: answers {answers.total()}, twice {answers.total() - len(answers)}, askings {kinds['asking']}")
    faulty = ", ".join(f"{n} x {s or 'reset'}".replace("-1", "time-out") for s, n in sorted(faults.hit.items()))
    print(f"  server: {faults.hit.total()} of {faults.hit.total() + faults.answered.total()} calls failed ({faulty})")
    print(f"  under way at a kill: {lost['killed']} by the ledger, {under_way} of them at work in the server")
    print(f"  answers sent by the server more than once: {len(again)}, of which not excused {len(again - excused)}")
    print(f"  metrics: asked again {last['time/asked_again']:.0f}, lost {last['time/lost_calls']:.0f}, ", end="")
    print(f"from the ledger {last['time/from_ledger']:.0f}, {last['traces/usd']:.4f} of {last['time/usd']:.4f} USD")
    whole = len(rows) == rows.total() == wanted == len(answers) == answers.total()
    return whole and not again - excused and last["time/asked_again"] == lost["killed"]


def main() -> int:
    """Print what was counted; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1250)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="bench_traces-"))
    folder.mkdir(parents=True, exist_ok=True)
    wanted, draw = given.problems * given.samples, Random(given.seed)
    faults = Faults(Random(given.seed))
    with teacher(lambda server, n, body: faults(server, n, body), wait_s=LATENCY_S) as server:
        path = recipe(folder, server.url, given.problems, given.samples)
        print(f"{wanted} answers, {CONCURRENT} at once, {LATENCY_S:g} s each; not killed:", flush=True)
        print(f"  {finished(path, folder / 'whole'):.1f} s")
        is_well = told(folder / "whole", faults, wanted, 0)
        faults = Faults(Random(given.seed + 1))
        share, under_way, began_s = wanted / (given.kills + 2), 0, time.monotonic()
        for _ in range(given.kills):
            after, wait_s = 1 + int(draw.random() * 1.6 * share), draw.random() * 2 * LATENCY_S
            under_way += killed(path, folder / "killed", server, after=after, wait_s=wait_s)
        print(f"{given.kills} kills, all while it asked, and then to its end:", flush=True)
        finished(path, folder / "killed")
        print(f"  {time.monotonic() - began_s:.1f} s")
        is_well &= told(folder / "killed", faults, wanted, under_way)
    parts = [sorted((folder / name / "stages" / "traces" / "data").glob("*")) for name in ("whole", "killed")]
    alike = [a.name == b.name and a.read_bytes() == b.read_bytes() for a, b in zip(*parts, strict=True)]
    print(f"files of rows: {len(alike)}, the same to the byte: {sum(alike)}")
    return int(not (is_well and all(alike) and alike))


if __name__ == "__main__":
    sys.exit(main())
