"""Reflection words in the answers of an evaluation, for each model: beside the table, which stays that of every run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from r1core.reflection import reflection_share
from r1core.store import RunDirectory, read_rows

STAGE = "evaluation"


def reflecting(folder: Path) -> Iterator[str]:
    """A line for each model: the mean over the answers to its first set."""
    data = RunDirectory(folder).stage(STAGE).data
    for model in sorted(path for path in data.iterdir() if path.is_dir()):
        first = next(iter(sorted(path for path in model.iterdir() if path.name != "greedy")))
        shares = [reflection_share(row["text"]) for row in read_rows(first)]
        if shares:
            yield f"{model.name}: {sum(shares) / len(shares):.2f} reflection words in 1,000"
