"""Estimates from marked answers: pass@k, its interval, and means by field. P = problems.

pass@k is unbiased from n answers of which c are right (2107.03374): 1 - C(n-c, k) / C(n, k), averaged
over problems. The interval is Wilson's, which is honest at 0 and 1 too; problems are the sample. NaN
stands for a problem of which nothing is known, and counts nowhere.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from r1core.types import Floats

Z95 = 1.959964
"""Standard deviations on each side of a normal mean that hold 95 %."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that at least one of `k` answers is right, from `correct` right ones of `n`; of all `n` if fewer."""
    k = min(k, n)
    return 1.0 - math.prod((n - correct - i) / (n - i) for i in range(k)) if n - correct >= k else 1.0


def mean(values: Iterable[float]) -> float:
    """The mean of what is known; NaN when nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def interval(values_P: Floats, *, answers: int = 1) -> tuple[float, float]:
    """95 % of the mean of values in 0..1, each from `answers` answers; 0..1 itself from fewer than two problems.

    Wilson's interval for as many yes-or-no trials as would give a mean this sure: about P when each problem has one
    answer, more when several answers make each problem's value surer, at most one trial for each answer.
    """
    known = values_P[~np.isnan(values_P)]
    if len(known) < 2:
        return (0.0, 1.0)
    centre, variance = float(known.mean()), float(known.var(ddof=1))
    spread = centre * (1 - centre)
    most = len(known) * (answers if spread > 0 else 1)
    trials = min(most, spread * len(known) / variance) if variance > 0 and spread > 0 else most
    squared = Z95**2 / trials
    middle = (centre + squared / 2) / (1 + squared)
    half = math.sqrt(squared * (max(spread, 0.0) + squared / 4)) / (1 + squared)
    return (max(0.0, middle - half), min(1.0, middle + half))


def broken_down(
    name: str, rows_P: Sequence[Mapping[str, Any]], values_P: Floats, by: Sequence[str]
) -> dict[str, float]:
    """The mean for each value of each field: `hard/task=sort`. `rows_P` has a row of each problem."""
    found: dict[str, list[float]] = defaultdict(list)
    for row, value in zip(rows_P, values_P, strict=True):
        for field in by:
            found[f"{name}/{field}={field_of(row, field)}"].append(float(value))
    return {key: mean(own) for key, own in sorted(found.items())}


def field_of(row: Mapping[str, Any], field: str) -> str:
    """A field of the row's problem, or of its meta."""
    own = {"domain": row["domain"], "language": row["language"]}
    return str(own.get(field, row["meta"].get(field, "none")))
