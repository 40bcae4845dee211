"""Objectives and trainers that break one promise each, and sound ones, for tests of the suites that must notice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from r1core.batching import imitate, supervised
from r1core.components import Objective, Trainer
from r1core.losses import CrossEntropy
from r1core.types import Step

# --- objectives ------------------------------------------------------------------------------------


def ratio(view: Any) -> Any:
    return (view.logprob - view.columns["old_logprob"]).clamp(-20, 20).exp()


class Reinforce(Objective):
    """A sound one: - advantage times ratio."""

    name = "toy"

    def __call__(self, view: Any) -> Any:
        return -view.columns["advantage"] * ratio(view)


class Whole(Reinforce):
    """A sound one over sequences: the mean of its ratios stands for each token's."""

    def __call__(self, view: Any) -> Any:
        ratios = ratio(view)
        own = view.sequence[:, None] == view.sequence[None, :]
        return -view.columns["advantage"] * ratios * (own * ratios.detach()).sum(1) / own.sum(1)


class Exploding(Reinforce):
    def __call__(self, view: Any) -> Any:
        return -view.columns["advantage"] * (100 * (view.logprob - view.columns["old_logprob"])).exp()


class Restless(Reinforce):
    def __call__(self, view: Any) -> Any:
        return -(view.columns["advantage"] + 1) * view.logprob


class Reversed(Reinforce):
    def __call__(self, view: Any) -> Any:
        return view.columns["advantage"] * view.logprob


class Peeking(Reinforce):
    def __call__(self, view: Any) -> Any:
        return -view.columns["advantage"] * view.logprob - view.entropy


class Writing(Reinforce):
    def __call__(self, view: Any) -> Any:
        return -view.columns["advantage"].mul_(0.5) * view.logprob


class Wavering(Reinforce):
    calls = 0

    def __call__(self, view: Any) -> Any:
        Wavering.calls += 1
        return -view.columns["advantage"] * view.logprob * self.calls


class Centred(Reinforce):
    def __call__(self, view: Any) -> Any:
        return -(view.columns["advantage"] - view.columns["advantage"].mean()) * ratio(view)


class Aggregated(Reinforce):
    def __call__(self, view: Any) -> Any:
        return (-view.columns["advantage"] * view.logprob).mean()


# --- trainers --------------------------------------------------------------------------------------


class Steady(Trainer):
    """A sound one: four steps on the stage's data, each with a learning rate of its own."""

    name = "toy"

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"data"})

    def run(self, context: Any) -> Iterator[Step]:
        self.count = 0
        examples = supervised(context, context.examples())
        for at in context.steps(4):
            step = imitate(context, examples[at.position :: 4], CrossEntropy(), self.rate(context, at.step))
            self.count += 1
            yield self.told(step, at.step)

    def rate(self, context: Any, step: int) -> float:
        return 0.1 + 0.1 * np.random.default_rng(context.key("rate", step)).random()

    def told(self, step: Step, number: int) -> Step:
        return step


class Hasty(Steady):
    def run(self, context: Any) -> Iterator[Step]:
        yield from list(super().run(context))[:-1]


class Overstated(Steady):
    @property
    def planned_steps(self) -> int:
        return 5


class Mute(Steady):
    def told(self, step: Step, number: int) -> Step:
        return Step(metrics={"grad_norm": step.metrics["grad_norm"]})


class Nan(Steady):
    def told(self, step: Step, number: int) -> Step:
        return Step(metrics={**step.metrics, "reward": float("nan")})


class Unmeasured(Steady):
    @property
    def measures(self) -> frozenset[str]:
        return frozenset({"eval/skill"})


class Dicing(Steady):
    def rate(self, context: Any, step: int) -> float:
        return 0.1 + 0.1 * np.random.default_rng().random()


class Counting(Steady):
    """Its learning rate grows with the steps that this process took: a new process begins again."""

    def rate(self, context: Any, step: int) -> float:
        return 0.1 * (1 + self.count)


class Unresumable(Steady):
    def told(self, step: Step, number: int) -> Step:
        return replace(step, resumable=False)


class Misread(Steady):
    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"data", "promblems"})


class Mispreset(Steady):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fast": {"no_such_option": 1}}


class Breaking(Steady):
    def told(self, step: Step, number: int) -> Step:
        raise ZeroDivisionError("a bug of the toy")
