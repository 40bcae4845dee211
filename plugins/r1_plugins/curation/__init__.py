"""Curation: which traces, sampled or from elsewhere, are fit to learn from, beside what `rejection` asks of them.

    curated:
      sample: {answers: given, chunk: 4096}
      data: traces
      filters: [{use: difficulty_band, max: 0.9}, truncated, think_tags, correct, {use: no_duplicates, similarity: 0.8},
                {use: length_band, min: 200}, {use: decontaminated, against: [test.jsonl]}, {use: at_most, k: 2}]

`truncated` is of `online`, `decontaminated` of `datasets`. Whether filtering helps is to be measured: OpenThoughts saw
no gain from a check of answers (arXiv:2506.04178). The same stage with `rows: all` and no filters is the other side.
"""

from __future__ import annotations

from r1_plugins.curation.difficulty_band import DifficultyBand
from r1_plugins.curation.length_band import LengthBand
from r1_plugins.curation.no_duplicates import NoDuplicates
from r1_plugins.curation.think_tags import ThinkTags
from r1core.components import DataFilter
from r1core.hookspecs import hookimpl

__all__ = ["DifficultyBand", "LengthBand", "NoDuplicates", "ThinkTags", "r1_filters"]


@hookimpl
def r1_filters() -> list[type[DataFilter]]:
    """`think_tags`, `difficulty_band`, `length_band` and `no_duplicates`."""
    return [ThinkTags, DifficultyBand, LengthBand, NoDuplicates]
