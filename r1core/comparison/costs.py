"""What a training run has cost and how it went, from its `metrics.jsonl`: tokens, entropy, silent groups.

Names are TRL's. What a rollout batch measured stands in the row of each step that learned from it, so one
row of each batch counts. Tokens are those that were sampled to learn from: answers, and whatever else an
estimator had sampled beside them (`<what>/tokens`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1core.comparison.finished import Model
from r1core.stages.cost import ROLLOUTS
from r1core.store import RunDirectory, read_metrics
from r1core.store.metrics import METRICS

LAST = 0.2
"""The share of a training run, at its end, that "at the end" is the mean of."""
WINDOW = 5
"""Rollout batches that a training reward is averaged over."""
SILENT = "frac_reward_zero_std"
ENTROPY = "entropy"
SAMPLED = f"{ROLLOUTS}/tokens"
"""Tokens of a step's rollouts, which `num_tokens` counts, too, where they are what is learned."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """One training run; NaN for what its trainer does not tell."""

    tokens: float
    entropy: float
    silent: float
    wall_s: float
    cpu_s: float
    reached: float | None
    """Tokens sampled until the score was reached; None when it never was."""


def course(model: Model, metric: str, reach: float | None) -> Course:
    """How a model's own training went."""
    stage = model.run.stages[model.id]
    rows = list(read_metrics(RunDirectory(model.run.path).stage(model.id).path / METRICS))
    train = stage.get("train") or {}
    batches = rows[:: int(train.get("updates_per_rollout", 1))]
    spent = [_tokens(row) for row in batches]
    series = scores(model, rows, metric)
    return Course(
        tokens=math.fsum(spent),
        entropy=_mean(batches[-max(1, round(LAST * len(batches))) :], ENTROPY),
        silent=_mean(batches, SILENT),
        wall_s=model.record.wall_s,
        cpu_s=model.record.cpu_s,
        reached=None if reach is None else _reached(series, reach, batches, spent),
    )


def watched(model: Model, metric: str) -> str:
    """What `--reach` is about: the metric as the training measured it, else what its first reward said."""
    rows = read_metrics(RunDirectory(model.run.path).stage(model.id).path / METRICS)
    if any(f"eval/{metric}" in row for row in rows):
        return f"eval/{metric}"
    return f"rewards/{model.run.parts(model.id)[0]}/mean" if model.run.stages[model.id].get("rewards") else ""


def scores(model: Model, rows: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[int, float]]:
    """(step, score) in training: measured, or the training reward as a moving mean."""
    name = watched(model, metric)
    found = [(int(row["step"]), float(row[name])) for row in rows if row.get(name) is not None]
    if name.startswith("eval/"):
        return found
    window = [found[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(found))]
    return [(own[-1][0], math.fsum(value for _, value in own) / len(own)) for own in window if len(own) == WINDOW]


def _reached(
    series: Sequence[tuple[int, float]], reach: float, batches: Sequence[Mapping[str, Any]], spent: Sequence[float]
) -> float | None:
    step = next((step for step, value in series if value >= reach), None)
    if step is None:
        return None
    return math.fsum(tokens for row, tokens in zip(batches, spent, strict=True) if row["step"] <= step)


def _tokens(row: Mapping[str, Any]) -> float:
    beside = [
        value for name, value in row.items() if name.endswith("/tokens") and name != SAMPLED and value is not None
    ]
    return math.fsum([row.get("num_tokens") or 0.0, *beside])


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    known = [float(row[name]) for row in rows if row.get(name) is not None]
    return math.fsum(known) / len(known) if known else math.nan
