"""Steps that taught nothing: numbers that were not finite, and batches without a signal.

A step whose loss or gradient is not finite is skipped by the policy, with nothing changed; three in a
row stop the stage. A batch without a signal (all rewards equal, all answers lost) is a step with a loss
of exactly 0, and is said aloud when it begins to happen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from r1core.errors import NumericsError
from r1core.stages.base import Job
from r1core.types import Step

MAX_SKIPPED = 3
"""Steps in a row with a loss or gradient that is not finite, after which the stage stops."""


class Watch:
    """Looks at each step's numbers. `state` goes into the checkpoint, and comes back to the next process's."""

    def __init__(self, job: Job, state: Mapping[str, Any]) -> None:
        self._job = job
        self._in_a_row: int = state.get("in_a_row", 0)
        self._skipped: int = state.get("skipped", 0)
        self._empty: int = state.get("empty", 0)
        self._note = ""

    def state(self) -> dict[str, Any]:
        """What it counted."""
        return {"in_a_row": self._in_a_row, "skipped": self._skipped, "empty": self._empty}

    def step(self, step: Step, number: int) -> None:
        """Take note of one step. Raises NumericsError at the third in a row whose numbers are bad."""
        bad = bool(step.metrics.get("skipped")) or not math.isfinite(step.metrics.get("loss", 0.0))
        self._in_a_row = self._in_a_row + 1 if bad else 0
        self._skipped += bad
        self._empty += bool(step.note)
        if step.note and step.note != self._note:
            self._job.note(f"step {number}: {step.note}")
        self._note = step.note
        if self._in_a_row >= MAX_SKIPPED:
            raise NumericsError(
                f"loss or gradient was not finite in {self._in_a_row} steps in a row",
                where=f"stages.{self._job.stage.id}, step {number}",
                fix=f"lower the learning rate; the steps before are in {self._job.folder / 'metrics.jsonl'}",
            )

    def told(self, steps: int) -> dict[str, float]:
        """The counts as metrics, said aloud where they are not 0."""
        if self._skipped:
            self._job.note(f"{self._skipped} of {steps} steps were skipped: loss or gradient was not finite")
        if self._empty:
            self._job.note(f"{self._empty} of {steps} steps had nothing to learn from")
        return {"skipped_steps": float(self._skipped), "empty_steps": float(self._empty)}
