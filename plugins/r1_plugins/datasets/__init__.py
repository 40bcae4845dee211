"""Sources that read problems: from files, and from what another stage answered.

problems: {use: jsonl, path: train.jsonl, prompt: question, reference: gold}
problems: {use: from_data, data: cold_start_samples, prompt: "Rewrite: {thinking}"}
"""

from __future__ import annotations

from r1_plugins.datasets.from_data import FromData
from r1_plugins.datasets.jsonl import Jsonl
from r1core.components import ProblemSource
from r1core.hookspecs import hookimpl

__all__ = ["FromData", "Jsonl", "r1_sources"]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """`jsonl` and `from_data`."""
    return [Jsonl, FromData]
