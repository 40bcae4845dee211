"""A toy trainer that waits in a step for as long as it is told to, a source that can be cut short, a reward in
processes of its own. Recipes name them as local code, like those of toy_stages.py, which their processes import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field
from toy_stages import Climb, Exact, Numbers

from r1core.types import Problem, Step

HERE = Path(__file__).resolve()


class Paced(Climb):
    """Each step leaves a file `<process>.<step>` in `where`; at step `at` it waits while `where` holds `closed`."""

    name = "paced"

    def run(self, context: Any) -> Iterator[Step]:
        where = Path(self.config.where)
        for at in context.steps(self.config.steps):
            groups = context.rollouts(at, prompts=2, samples=3) if self.config.rollouts else []
            draft = where / f".{os.getpid()}.{at.step}"
            draft.write_text("\n".join(f"{name}={value}" for name, value in os.environ.items()))
            draft.rename(where / f"{os.getpid()}.{at.step}")
            while at.step == self.config.at and (where / "closed").exists():
                time.sleep(0.01)
            learned = sum(float(group.rewards_G.sum()) for group in groups)
            metrics = context.policy.update([], None, lr=self.config.gain * (1 + learned))
            yield Step(metrics=metrics)


class Asked(Exact):
    """The exact reward, asked in worker processes."""

    name = "asked"
    runs = "worker"


class Lines(Numbers):
    """As many numbers as a file has lines."""

    name = "lines"

    class Config(Numbers.Config):
        path: str = Field(description="a file")

    def problems(self, *, seed: int) -> Iterator[Problem]:
        found = Path(self.config.path).read_text().splitlines()
        return (problem for problem, _ in zip(super().problems(seed=seed), found, strict=False))


class Stuck(Numbers):
    """A source that does not give its first problem."""

    name = "stuck"

    class Config(Numbers.Config):
        where: str = Field(description="a folder that learns of the attempt")

    def problems(self, *, seed: int) -> Iterator[Problem]:
        (Path(self.config.where) / "stuck").touch()
        time.sleep(600)
        return super().problems(seed=seed)
