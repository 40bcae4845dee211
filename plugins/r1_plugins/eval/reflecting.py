"""Reflection words in the answers of an evaluation, for each model: beside the table, which stays that of every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1core.reflection import reflection_share
from r1core.store import RunDirectory, read_rows, write_json

STAGE = "evaluation"
REFLECTION = "reflection.json"


def reflecting(folder: Path, first: str) -> dict[str, dict[str, Any]]:
    """The mean over each model's answers to the set `first`; kept beside `results.json`, in `reflection.json`."""
    data = RunDirectory(folder).stage(STAGE).data
    found: dict[str, dict[str, Any]] = {}
    for model in sorted(path for path in data.iterdir() if (path / first).is_dir()):
        shares = [reflection_share(row["text"]) for row in read_rows(model / first)]
        if shares:
            found[model.name] = {"words_per_1000": sum(shares) / len(shares), "answers": len(shares), "set": first}
    write_json(folder / REFLECTION, found)
    return found
