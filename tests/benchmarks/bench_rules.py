"""What the rules take for odd answers, how linear their expressions are, and how many languages they hear.

    python tests/benchmarks/bench_rules.py [ANSWERS]

ANSWERS odd texts (10,000 unless told), each in five places of a response and of a kind that models write when they go
astray; then eighteen texts of a megabyte. The aims: a score for every one, p99 at most 100 ms; 50 ms for an expression
and 32,768 pathological characters; 0.97 of the labelled sentences. CPU milliseconds.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from odd_answers import LARGE, PIECES, Setting, placements, settings
from test_language import CORPUS, LANGUAGES, heard, rule
from test_rules_fuzz import all_patterns, slowest

from r1core.types import Response


def texts(count: int) -> Iterator[str]:
    """Odd texts: pieces in a row, or one piece over and over."""
    rng = random.Random(0)
    for number in range(count):
        pieces = rng.choices(PIECES, k=rng.randint(0, 200))
        yield "".join(pieces) if number % 2 else rng.choice(PIECES) * rng.randint(0, 5000)


def times_ms(setting: Setting, responses: list[Response]) -> list[float]:
    """Sorted milliseconds of one score each; raises where a rule does."""
    found = []
    for response in responses:
        started = time.process_time()
        score = setting.rule.score(setting.problem, response)
        found.append(1e3 * (time.process_time() - started))
        assert score.known
    return sorted(found)


def main() -> None:
    """Print the three tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    chosen = settings()
    per_rule = count // len(chosen)
    small = [response for text in texts(per_rule // 5) for response in placements(text)]
    large = [response for make in LARGE.values() for response in placements(make())]
    print(f"{'ms':<60}{'p50':>8}{'p99':>8}{'max':>8}{'1 MB p50':>10}{'1 MB max':>10}")
    every: list[float] = []
    for setting in chosen:
        short, long = times_ms(setting, small), times_ms(setting, large)
        every += short
        figures = (short[len(short) // 2], short[int(0.99 * len(short))], short[-1], long[len(long) // 2], long[-1])
        print(
            f"{setting.label[:58]:<60}" + "".join(f"{each:>{10 if i > 2 else 8}.2f}" for i, each in enumerate(figures))
        )
    every.sort()
    print(f"{len(every)} answers: p99 {every[int(0.99 * len(every))]:.2f} ms, max {every[-1]:.2f} ms; all scored\n")
    patterns = all_patterns()
    slow = sorted(((slowest(pattern)[0] * 1e3, name) for name, pattern in patterns.items()), reverse=True)
    print(f"{len(patterns)} expressions; slowest: " + ", ".join(f"{name} {ms:.0f} ms" for ms, name in slow[:3]) + "\n")
    told = rule(*LANGUAGES)
    wrong = [row["text"] for row in CORPUS if heard(told, row["text"]) != row["language"]]
    print(f"{len(CORPUS) - len(wrong)} of {len(CORPUS)} sentences in {len(LANGUAGES)} languages right", wrong)


if __name__ == "__main__":
    main()
