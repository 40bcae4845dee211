"""Scored groups of answers as they lie on disk, batch by batch, in the form that an advantage estimator reads.

A stage's `rollouts/` (or a sample stage's `data/`) has one batch in each parquet part. A JSONL file is one
batch, one group on each line:

    {"id": "sum-1", "rewards": [1, 0, 0.5], "lengths": [12, 9, 30], "components": {"accuracy": [1, 0, 0]}}

`lengths` (tokens) and `components` may be left out. An answer without a verdict (null) is left out, as in
training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from r1core.choices import Options
from r1core.errors import RecipeError, SetupError
from r1core.store.rollouts import FOLDER
from r1core.store.rows import problem_of, read_part
from r1core.types import GroupSignals

STORED = frozenset({"rewards", "components"})
"""What stored answers can give an estimator, in the words of `AdvantageEstimator.needs`."""


@dataclass(frozen=True, kw_only=True)
class StoredGroup:
    """The answers to one problem that had a verdict."""

    id: str
    question: str
    signals: GroupSignals
    has_lengths: bool = True


class Line(Options):
    """A group as a line of JSONL."""

    id: str = Field("", description="the problem; the number of the line when absent")
    question: str = Field("", description="what was asked, for people")
    rewards: list[float | None] = Field(min_length=1, description="of each answer; null where there is no verdict")
    lengths: list[int] | None = Field(None, description="of each answer, tokens; 1 each when absent")
    components: dict[str, list[float]] = Field(default_factory=dict, description="reward -> its value for each answer")


def read_batches(path: Path) -> list[list[StoredGroup]]:
    """The groups of each batch. Raises RecipeError for what holds none, SetupError for what cannot be read."""
    if path.is_file():
        batches = [list(_lines(path))]
    else:
        folder = path / FOLDER if (path / FOLDER).is_dir() else path
        batches = [list(_part(part)) for part in sorted(folder.glob("part-*.parquet"))]
    if not any(batches):
        raise RecipeError(
            "no scored answers" if path.exists() else "there is nothing",
            where=str(path),
            fix="give the `rollouts/` folder of a train stage, or a JSONL file of groups",
        )
    return [batch for batch in batches if batch]


def _part(path: Path) -> Iterator[StoredGroup]:
    for _, rows in groupby(read_part(path), key=lambda row: row["id"]):
        known = [row for row in rows if row["status"] not in (None, "infrastructure")]
        if known:
            names = known[0]["parts"]
            yield StoredGroup(
                id=known[0]["id"],
                question=problem_of(known[0]).question,
                signals=GroupSignals(
                    rewards_G=np.array([row["score"] for row in known], dtype=np.float64),
                    lengths_G=np.array([row["tokens"] for row in known]),
                    components={name: np.array([row["parts"].get(name, 0.0) for row in known]) for name in names},
                ),
            )


def _lines(path: Path) -> Iterator[StoredGroup]:
    for number, text in enumerate(_text(path).split("\n"), start=1):
        if text.strip():
            line = _parsed(text, f"{path}:{number}")
            kept = [i for i, reward in enumerate(line.rewards) if reward is not None]
            if kept:
                yield _group(line, kept, number)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        what = f"it is no text in UTF-8: {error.reason} at byte {error.start}"
        raise RecipeError(what, where=str(path), fix="save it as UTF-8, or give the rollouts/ folder") from error
    except OSError as error:
        what = f"it cannot be read: {error.strerror or error}"
        raise SetupError(what, where=str(path), fix="copy it to a sound disk, or give another") from error


def _parsed(text: str, where: str) -> Line:
    fix = 'a line is a group, such as {"id": "sum-1", "rewards": [1, 0], "lengths": [12, 9]}'
    try:
        line = Line.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RecipeError(
            f"{place}: {first['msg'].lower()}" if place else first["msg"], where=where, fix=fix
        ) from error
    except ValueError as error:
        raise RecipeError(f"is not JSON: {error}", where=where, fix=fix) from error
    counts: dict[str, Sequence[Any]] = {"lengths": line.lengths or line.rewards, **line.components}
    for name, values in counts.items():
        if len(values) != len(line.rewards):
            raise RecipeError(f"{len(values)} {name} for {len(line.rewards)} rewards", where=where, fix=fix)
    return line


def _group(line: Line, kept: Sequence[int], number: int) -> StoredGroup:
    lengths = line.lengths or [1] * len(line.rewards)
    return StoredGroup(
        id=line.id or f"line {number}",
        question=line.question,
        signals=GroupSignals(
            rewards_G=np.array([line.rewards[i] for i in kept], dtype=np.float64),
            lengths_G=np.array([lengths[i] for i in kept]),
            components={name: np.array([values[i] for i in kept]) for name, values in line.components.items()},
        ),
        has_lengths=line.lengths is not None,
    )
