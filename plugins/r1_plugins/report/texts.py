"""What the stored answers of a train stage looked like, batch by batch: how long the thinking was, in whose script.

Counted on the texts themselves (`rollouts/`), so it is there whatever a stage is rewarded for. `language` is the mean
share of the thinking's words that are in the question's script: Chinese, Japanese or Korean against the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1_plugins.report.gather import Stage
from r1core.errors import R1Error
from r1core.reflection import reflection_share
from r1core.store.rollouts import FOLDER
from r1core.store.rows import read_part

EASTERN = re.compile("[\u1100-\u11ff\u2e80-\u2fdf\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
WORD = re.compile(r"[^\W\d_]{2,}")
PARTS = 30
"""Batches that are read of a stage, evenly spread."""
READ = ("language", "text", "thinking")
EASTERN_LANGUAGES = ("zh", "ja", "ko")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Means over the answers of the rollout batch that was sampled before a step."""

    step: int
    answers: int
    thinking: float
    """Characters."""
    thought: float
    """Share of answers that think at all."""
    reflection: float
    """Reflection words per 1,000 words of the answers."""
    language: float


def batches(stage: Stage) -> list[Batch]:
    """Those that are kept and can be read, by step; none where pyarrow is not installed."""
    return [found for path in spread(parts(stage), PARTS) if (found := _batch(path)) is not None]


def parts(stage: Stage) -> list[Path]:
    """The parquet parts of the stage's rollouts, by step."""
    return sorted((stage.folder / FOLDER).glob("part-*.parquet"))


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)] if most > 1 else [items[0]]


def step_of(path: Path) -> int:
    """The step that a part was sampled before, from 1."""
    return int(path.stem.removeprefix("part-")) + 1


def _batch(path: Path) -> Batch | None:
    try:
        rows = list(read_part(path, READ))
    except R1Error:
        return None
    if not rows:
        return None
    thinking = [str(row["thinking"] or "") for row in rows]
    return Batch(
        step=step_of(path),
        answers=len(rows),
        thinking=_mean([float(len(text)) for text in thinking]),
        thought=_mean([float(bool(text.strip())) for text in thinking]),
        reflection=_mean([reflection_share(row["text"]) for row in rows]),
        language=_mean([*_languages(rows)]),
    )


def _languages(rows: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Of each answer whose question has a language: the share of the thinking's words in its script; 0 for none."""
    for row in rows:
        if row["language"]:
            share = eastern_share(row["thinking"] or "")
            is_eastern = row["language"].lower().startswith(EASTERN_LANGUAGES)
            yield 0.0 if share is None else share if is_eastern else 1 - share


def eastern_share(text: str) -> float | None:
    """What part of the words are Chinese, Japanese or Korean; None without words. One letter alone is a name, no word.

    A run of eastern characters is one word: these languages write no spaces, and both sides are counted by runs.
    """
    eastern, count = EASTERN.subn(" ", text)
    others = len(WORD.findall(eastern))
    return count / (count + others) if count + others else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
