"""What the stored answers of a train stage looked like, batch by batch: how long the thinking was, in whose script.

Counted on the texts themselves (`rollouts/`), so it is there whatever a stage is rewarded for. `script` is the mean
share of letters of the thinking that are of the question's own script: Chinese, Japanese or Korean against the rest.
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

EAST = re.compile("[\u1100-\u11ff\u2e80-\u2fdf\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
LETTER = re.compile(r"[^\W\d_]")
PARTS = 60
"""Batches that are read of a stage, evenly spread."""


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
    script: float


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
        rows = list(read_part(path))
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
        script=_mean([*_scripts(rows)]),
    )


def _scripts(rows: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    for row in rows:
        share = east_share(row["thinking"] or row["text"])
        asked = east_share(" ".join(str(message.get("content", "")) for message in row["messages"]))
        if share is not None and asked is not None:
            yield share if asked > 0.5 else 1 - share


def east_share(text: str) -> float | None:
    """What part of the letters are Chinese, Japanese or Korean; None without letters."""
    letters = len(LETTER.findall(text))
    return len(EAST.findall(text)) / letters if letters else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
