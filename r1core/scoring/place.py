"""A place in a pool: the worker that has it, and what its next one is to begin with."""

from __future__ import annotations

from r1core.scoring.process import Worker
from r1core.scoring.questions import Question


class Place:
    """One of the pool's `workers` places."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.retry: Question | None = None
        """The question that its last worker failed at, the first time."""
        self.suspect: tuple[Question, int, str, float] | None = None
        """The question and the reward that failed twice, why, and after how long."""
        self.starts = 0

    @property
    def is_busy(self) -> bool:
        """Whether it has, or will have, something to do."""
        return self.worker.state != "lost" and bool(self.worker.owed or self.retry or self.suspect)
