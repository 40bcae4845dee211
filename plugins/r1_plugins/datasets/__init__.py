"""Sources that read problems: from files, from data sets, and from what another stage answered. And a filter.

problems: {use: jsonl, path: train.jsonl, prompt: question, reference: gold}
problems: {use: parquet, path: train.parquet, decontaminate: {against: [test.jsonl]}}
problems: {use: datasets, path: openai/gsm8k, config: main, prompt: question, reference: answer,
           reference_from: after_hashes}
problems: {use: from_data, data: cold_start_samples, prompt: "Rewrite: {thinking}"}
filters: [{use: decontaminated, against: [test.jsonl]}]
"""

from __future__ import annotations

from r1_plugins.datasets.decontaminated import Decontaminated
from r1_plugins.datasets.from_data import FromData
from r1_plugins.datasets.hub import Datasets
from r1_plugins.datasets.jsonl import Jsonl
from r1_plugins.datasets.parquet import Parquet
from r1core.components import DataFilter, ProblemSource
from r1core.hookspecs import hookimpl

__all__ = ["Datasets", "Decontaminated", "FromData", "Jsonl", "Parquet", "r1_filters", "r1_sources"]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """`jsonl`, `parquet`, `datasets` and `from_data`."""
    return [Jsonl, Parquet, Datasets, FromData]


@hookimpl
def r1_filters() -> list[type[DataFilter]]:
    """`decontaminated`."""
    return [Decontaminated]
