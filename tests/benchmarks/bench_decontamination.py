"""What decontamination costs: seconds and memory for evaluation sets and training problems of a given size.

    python tests/benchmarks/bench_decontamination.py --problems 100000

Problems are drawn from 20,000 words, 60 of them each; one training problem in a hundred quotes an evaluation problem.
Exits 1 unless exactly these are found.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from random import Random

from r1_plugins.datasets.decontamination import Grams
from r1core.types import Problem

WORDS = 60
QUOTED = 100


def text(number: int, purpose: str) -> list[str]:
    """The words of a problem."""
    draw = Random(f"{purpose} {number}")
    return [f"w{draw.randrange(20_000)}" for _ in range(WORDS)]


def training(count: int) -> Iterator[Problem]:
    """Problems, every hundredth with 15 words of the evaluation problem of its number."""
    for number in range(count):
        words = text(number, "train")
        if number % QUOTED == 0:
            words[20:35] = text(number, "test")[20:35]
        yield Problem(id=str(number), messages=({"role": "user", "content": " ".join(words)},))


def _resident_mb() -> float:
    """Most memory that this process has had, MB (ru_maxrss is in KiB on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=100_000)
    count = parser.parse_args().problems
    before, began = _resident_mb(), time.process_time()
    grams = Grams((("test.jsonl", " ".join(text(n, "test"))) for n in range(count)), n=10)
    built, peak = time.process_time() - began, _resident_mb() - before
    began = time.process_time()
    found = sum(grams.shared(problem) is not None for problem in training(count))
    seconds = time.process_time() - began
    print(
        f"{count} evaluation problems: {grams.nbytes / 1e6:.0f} MB kept, {peak:.0f} MB more at most, {built:.0f} CPU s"
    )
    print(f"{count} training problems: {seconds:.0f} s, {1e6 * seconds / count:.0f} CPU us each, drawing included")
    wanted = -(-count // QUOTED)
    print(f"found {found} of {wanted}")
    sys.exit(found != wanted)


if __name__ == "__main__":
    main()
