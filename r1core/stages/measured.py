"""What a model's answers say about it: rows of answers in, the numbers of `results.json` out.

A set's reward (the stage's first, when it names none) says what is right; estimates.py has the
arithmetic. The means of the other rewards, and what the answers look like, come from the first set.
P = problems, G = answers to each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from r1core.recipe.schema import EvalSet
from r1core.stages.estimates import broken_down, interval, mean, pass_at_k
from r1core.stages.repeated import Marked, marked, repeated, rights, standard_errors
from r1core.types import Floats

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one model did on all sets: metrics in 0..1 (length in tokens), and the intervals of the sets' own."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    errors: dict[str, dict[str, float]]
    """Standard errors of the sets' own: "sampling" and "problem", where they can be told."""

    def row(self, model: str) -> dict[str, Any]:
        """The model's row of `results.json`."""
        metrics: dict[str, Any] = dict(sorted(self.metrics.items()))
        for name, limits in self.intervals.items():
            metrics[f"{name}_ci95"] = list(limits)
            metrics |= {f"{name}_se_{kind}": error for kind, error in self.errors[name].items()}
        return {"model": model, "metrics": metrics}

    @property
    def unknown(self) -> list[str]:
        """The sets of which no answer has a verdict: their metrics are NaN."""
        return [name for name in self.intervals if "/" not in name and math.isnan(self.metrics[name])]


def measured(sets: Mapping[str, EvalSet], rows: Mapping[str, Sequence[Row]], *, correct_part: str) -> Measured:
    """The numbers of the sets that have rows (each in order: problem by problem, answer by answer)."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    for name, found in rows.items():
        wanted = sets[name]
        rows_PG = by_problem(found, wanted.samples)
        marked_PG = marked(rows_PG, wanted.reward or correct_part, at_least=wanted.at_least)
        correct = _correct(marked_PG, wanted.k)
        metrics.update(repeated(name, marked_PG, wanted.samples))
        for own, k in ((name, wanted.k), *((f"{name}/k={k}", k) for k in wanted.also_k)):
            values = _correct(marked_PG, k)
            errors[own] = standard_errors(values, marked_PG, k=k, samples=wanted.samples)
            metrics[own], intervals[own] = mean(values), interval(values, answers=wanted.samples)
        metrics.update(broken_down(name, [rows_G[0] for rows_G in rows_PG], correct, wanted.by))
        if name == next(iter(rows)):
            metrics.update({key: value for key, value in details(found, correct_part).items() if key not in sets})
    return Measured(metrics=metrics, intervals=intervals, errors=errors)


def by_problem(rows: Sequence[Row], samples: int) -> list[Sequence[Row]]:
    """The rows of each problem."""
    return [rows[start : start + samples] for start in range(0, len(rows), samples)]


def correctness(rows_PG: Sequence[Sequence[Row]], part: str, k: int, *, at_least: float = 0.5) -> Floats:
    """pass@k of each problem, (P,); NaN where there is no verdict on any of its answers."""
    return _correct(marked(rows_PG, part, at_least=at_least, votes=False), k)


def _correct(marked_PG: Sequence[Marked], k: int) -> Floats:
    values = [pass_at_k(len(marked_G), rights(marked_G), k) if marked_G else math.nan for marked_G in marked_PG]
    return np.array(values, dtype=np.float64)


def details(rows: Sequence[Row], correct_part: str) -> dict[str, float]:
    """Means of the other rewards, and what the answers look like. Where nobody counted tokens, lengths are unknown; so
    is how answers ended, unless some are known to have been cut off."""
    found: dict[str, list[float]] = defaultdict(list)
    is_counted = all(row["tokens"] or not row.get("text") for row in rows)
    is_ended = is_counted or any(row["tokens"] or row["finish"] == "length" for row in rows)
    for row in rows:
        for part, value in row["parts"].items():
            if part != correct_part:
                found[part].append(value)
        if is_counted or row["tokens"]:
            found["length"].append(row["tokens"])
        if is_ended:
            found["clipped_ratio"].append(row["finish"] == "length")
    return {name: mean(values) for name, values in found.items()}
