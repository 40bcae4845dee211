"""The quality of traces, added up row by row: lengths, tags, truncation, repeats, how many are right.

One pass, in the order of the rows; memory is 8 bytes for each text (the hash that finds repeats) and for each problem's
value of each reward. Everything is a function of the rows, so the report of a resumed stage is that of one that was
never killed.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from r1core.ngrams import hash_of
from r1core.stages.estimates import interval, mean

BINS = 2
"""Lengths are counted by powers of this."""
FIELDS = ("domain", "language")


class Quality:
    """What a set of rows is like."""

    def __init__(self) -> None:
        self.rows = 0
        self.problems = 0
        self._counts: Counter[str] = Counter()
        self._by: dict[str, Counter[str]] = {field: Counter() for field in FIELDS}
        self._lengths: dict[str, Counter[int]] = {"characters": Counter(), "tokens": Counter()}
        self._sums: Counter[str] = Counter()
        self._texts = array("Q")
        self._parts: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._answers = 0

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The rows of one problem."""
        parts: dict[str, list[float]] = defaultdict(list)
        before = self.rows
        for row in rows:
            self._add(row)
            for name, value in row["parts"].items():
                if not math.isnan(value):
                    parts[name].append(value)
        self.problems += self.rows > before
        self._answers = max(self._answers, self.rows - before)
        for name, values in parts.items():
            self._parts[name].append(math.fsum(values) / len(values))

    def _add(self, row: Mapping[str, Any]) -> None:
        self.rows += 1
        self._counts["well_formed_thinking"] += row["thinking"] is not None
        self._counts["cut_off"] += row["finish"] == "length"
        for field in FIELDS:
            self._by[field][row[field]] += 1
        whole = row["prefilled"] + row["text"]
        for unit, length in (("characters", len(whole)), ("tokens", row["tokens"] or 0)):
            if length:
                self._lengths[unit][length.bit_length() - 1] += 1
                self._sums[unit] += length
        self._texts.append(hash_of(" ".join(whole.split()).casefold()))

    def told(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "rows": self.rows,
            "problems": self.problems,
            "shares": self.shares(),
            **{field: dict(sorted(self._by[field].items())) for field in FIELDS},
            "lengths": {unit: self._length(unit) for unit, counts in self._lengths.items() if counts},
            "parts": {name: self._part(name) for name in sorted(self._parts)},
        }

    def shares(self) -> dict[str, float]:
        """What part of the rows have their thinking in one block, were cut off, say what an earlier one said."""
        distinct = len(np.unique(np.frombuffer(self._texts, dtype=np.uint64))) if self.rows else 0
        return {
            "well_formed_thinking": share(self._counts["well_formed_thinking"], self.rows),
            "cut_off": share(self._counts["cut_off"], self.rows),
            "repeats": share(self.rows - distinct, self.rows),
        }

    def _length(self, unit: str) -> dict[str, Any]:
        counts = self._lengths[unit]
        return {
            "rows": counts.total(),
            "mean": self._sums[unit] / counts.total(),
            "histogram": {str(BINS**power): counts[power] for power in range(min(counts), max(counts) + 1)},
        }

    def _part(self, name: str) -> dict[str, Any]:
        """A reward's mean over problems; its interval where it is a share."""
        values_P = np.frombuffer(self._parts[name], dtype=np.float64)
        found: dict[str, Any] = {"mean": mean(values_P), "problems": len(values_P)}
        if len(values_P) and values_P.min() >= 0 and values_P.max() <= 1:
            found["low"], found["high"] = interval(values_P, answers=self._answers)
        return found


def share(part: int, whole: int) -> float:
    """Of nothing, nothing is a share."""
    return part / whole if whole else math.nan
