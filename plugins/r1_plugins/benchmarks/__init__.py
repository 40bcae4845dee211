"""Sources for published test sets whose rows are no questions yet: options to shuffle, tests to convert.

    problems: {use: gpqa, path: gpqa_diamond.csv}
    problems: {use: livecodebench, path: test.jsonl, since: 2024-08, until: 2025-01}

Rows keep the columns that they are published with. `r1 eval --preset gpqa_diamond` measures as the paper does.
"""

from __future__ import annotations

from r1_plugins.benchmarks.gpqa import Gpqa
from r1_plugins.benchmarks.livecodebench import LiveCodeBench
from r1core.components import ProblemSource
from r1core.hookspecs import hookimpl

__all__ = ["Gpqa", "LiveCodeBench", "r1_sources"]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """`gpqa` and `livecodebench`."""
    return [Gpqa, LiveCodeBench]
