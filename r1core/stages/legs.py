"""The steps of a train stage: the planned ones, then extensions while a metric has not been reached (`extend`).

A trainer asks for its steps once, before the first; what it is given grows when the last step's
evaluation falls short. Each extension is a leg of its own, with its own learning-rate schedule. After
a kill the steps that were saved are left out, and extensions already begun are not decided again.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.recipe.schema import Extend
from r1core.stages.base import Job
from r1core.stages.gates import limits, value_of
from r1core.types import At


class Legs:
    """Called with the planned steps, gives each step in turn. `done` counts finished steps (those of an earlier
    process to begin with), `total` those known of."""

    def __init__(self, job: Job, *, done: int = 0) -> None:
        self.job = job
        self.done = done
        self.total = 0
        self._first = done

    def __call__(self, planned: int) -> Iterator[At]:
        """The planned steps, then those of each extension."""
        yield from self._leg(planned)
        extend = self.job.stage.stage.extend
        if extend is None:
            return
        more = max(1, round(planned * extend.by))
        for number in range(1, extend.times + 1):
            if self.total >= self._first:
                if not self._short(extend):
                    return
                self._say(extend, f"training on for {more} steps (extension {number} of at most {extend.times})")
            yield from self._leg(more)
        if self._short(extend):
            self._say(extend, "going on with the model as it is, no extension is left")

    def evaluation_due(self) -> bool:
        """Whether the stage is to be measured after the step that was just done: every N steps, and after each leg."""
        spec = self.job.stage.stage.evaluate
        if spec is None:
            return False
        return self.done == self.total or (spec.every is not None and self.done % spec.every == 0)

    def _leg(self, length: int) -> Iterator[At]:
        first = self.total
        self.total += length
        if self.total >= self._first:
            self.job.started(self.total, done=self.done)
        for position in range(max(0, self._first - first), length):
            yield At(step=first + position, position=position, length=length)

    def _short(self, extend: Extend) -> bool:
        return extend.until.violated(self._value(extend))

    def _value(self, extend: Extend) -> float:
        return value_of(extend.until, self.job.last_metrics, where=f"stages.{self.job.stage.id}.extend")

    def _say(self, extend: Extend, then: str) -> None:
        metric, wanted = extend.until.metric, limits(extend.until)
        value = self._value(extend)
        self.job.note(f"{metric} is {value:.3f} after {self.done} steps, {wanted} is asked: {then}")
