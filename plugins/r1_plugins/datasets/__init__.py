"""Sources that read problems from files.

problems: {use: jsonl, path: train.jsonl, prompt: question, reference: gold}
"""

from __future__ import annotations

from r1_plugins.datasets.jsonl import Jsonl
from r1core.components import ProblemSource
from r1core.hookspecs import hookimpl

__all__ = ["Jsonl", "r1_sources"]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """`jsonl`."""
    return [Jsonl]
