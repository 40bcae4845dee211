"""A trainer whose numbers are hard on whoever passes them on: NaN, infinities, tiny ones, names with slashes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from r1core.components import Trainer
from r1core.types import Step

NUMBERS = (0.1, float("nan"), float("inf"), -float("inf"), 1e-30, 123456789.0, 1 / 3)


class Odd(Trainer):
    """Seven steps; each metric goes through NUMBERS from another place on."""

    name = "odd"

    class Config(Trainer.Config):
        steps: int = Field(7, ge=1, description="planned steps")

    @property
    def planned_steps(self) -> int:
        return self.config.steps

    def run(self, context: Any) -> Iterator[Step]:
        for at in context.steps(self.config.steps):
            context.policy.update([], None, lr=0.01)
            names = ("loss_of_odd", "rewards/format/mean", "kl", "pass@1/task=arith")
            metrics = {name: NUMBERS[(at.step + i) % len(NUMBERS)] for i, name in enumerate(names)}
            yield Step(metrics={**metrics, "loss": 1 / (1 + at.step)})
