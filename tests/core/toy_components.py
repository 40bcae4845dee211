"""Toy built-ins for the tests of recipes and plans: one or two of each kind, no torch, nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from r1core.choices import DataRef, ModelRef, Options, Ref, Use, UseAdvantage, UseFilter
from r1core.components import (
    AdvantageEstimator,
    DataFilter,
    Head,
    Objective,
    Policy,
    ProblemSource,
    Reward,
    Sampler,
    Trainer,
)
from r1core.hookspecs import hookimpl
from r1core.schedules import Number, Schedule


def _concrete(cls: Any) -> Any:
    for name in cls.__abstractmethods__:
        setattr(cls, name, lambda self, *arguments: None)
    cls.__abstractmethods__ = frozenset()
    return cls


@_concrete
class Toy(Reward):
    """A reward with two options."""

    name = "toy"

    class Config(Reward.Config):
        strictness: float = Field(0.5, ge=0, le=1, description="share")
        mode: str = Field("soft", description="soft or hard")


@_concrete
class Graded(Reward):
    """A reward that asks another stage's model."""

    name = "graded"

    class Config(Reward.Config):
        model: ModelRef = Field(description="the reward model's stage")


@_concrete
class Asked(Reward):
    """A reward that asks a model as it was trained."""

    name = "asked"

    class Config(Reward.Config):
        model: Annotated[str, Ref("model", agree=("sees",))] = Field(description="the reward model's stage")
        sees: Literal["answer", "response"] = Field("answer", description="what it is shown")


@_concrete
class Other(AdvantageEstimator):
    """An estimator."""

    name = "other"

    class Config(AdvantageEstimator.Config):
        normalize_std: bool = Field(True, description="divide by the group's deviation")


@_concrete
class Batchy(AdvantageEstimator):
    """An estimator that asks for what nobody has."""

    name = "batchy"
    needs = frozenset({"rewards", "componets"})


@_concrete
class Pg(Objective):
    name = "pg"


@_concrete
class Keep(DataFilter):
    name = "keep"

    class Config(DataFilter.Config):
        at_most: int = Field(4, ge=1, description="answers")


@_concrete
class Strict(DataFilter):
    name = "strict"

    class Config(DataFilter.Config):
        words: frozenset[str] = Field(frozenset("abcdefgh"), description="a set, whose order must not matter")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"scores"})


@_concrete
class Fit(Trainer):
    """Supervised."""

    name = "fit"

    class Config(Trainer.Config):
        lr: float = Field(1e-3, gt=0, description="learning rate")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"data"})


@_concrete
class Grade(Trainer):
    """Makes a model that scores answers, and measures it."""

    name = "grade"
    head: ClassVar[Head] = "score"

    class Config(Trainer.Config):
        sees: Literal["answer", "response"] = Field("answer", description="what it is shown")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"data"})

    @property
    def measures(self) -> frozenset[str]:
        return frozenset({"eval/ranking"})


class Penalty(Options):
    """Options within options, with a component inside."""

    coefficient: Number = Field(Schedule[float].model_validate(0.0), description="beta, or a schedule of it")
    filters: list[UseFilter] = Field(default_factory=list, description="filters, in order")


@_concrete
class Reinforce(Trainer):
    """With presets, nested components, refs and arithmetic of its own."""

    name = "reinforce"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "plain": {"advantage": {"use": "other", "normalize_std": False}, "samples": 4},
        "paper": {"samples": 16, "prompts": 32},
    }

    class Config(Trainer.Config):
        steps: int = Field(10, ge=1, description="steps")
        prompts: int = Field(8, ge=1, description="problems")
        samples: int = Field(2, ge=1, description="answers")
        advantage: UseAdvantage = Field(Use(use="other"), description="estimator")
        penalty: Penalty = Field(default_factory=Penalty, description="a penalty")
        teacher: ModelRef | None = Field(None, description="another stage's model")
        extra: list[DataRef] = Field(default_factory=list, description="other stages' data")

        @model_validator(mode="after")
        def _even(self) -> Any:
            if self.prompts % 2:
                raise ValueError(f"prompts must be even, got {self.prompts}")
            return self

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"problems", "rewards"})


@_concrete
class Numbers(ProblemSource):
    name = "numbers"

    class Config(ProblemSource.Config):
        path: str = Field("", description="a file")
        limit: int = Field(10, description="problems")

    def write_tokenizer(self, folder: Path) -> None:
        """Something: a model may be made from scratch on it."""


@_concrete
class Net(Policy):
    name = "net"

    class Config(Policy.Config):
        width: int = Field(8, description="units")

    def values(self, sequences: Any) -> Any:
        """Something: it may be trained to score answers."""


@_concrete
class Wordy(Policy):
    """Writes, and cannot score."""

    name = "wordy"


@_concrete
class Draw(Sampler):
    name = "draw"


@hookimpl
def r1_rewards() -> Any:
    return [Toy, Graded, Asked]


@hookimpl
def r1_advantages() -> Any:
    return [Other, Batchy]


@hookimpl
def r1_objectives() -> Any:
    return [Pg]


@hookimpl
def r1_filters() -> Any:
    return [Keep, Strict]


@hookimpl
def r1_trainers() -> Any:
    return [Fit, Grade, Reinforce]


@hookimpl
def r1_sources() -> Any:
    return [Numbers]


@hookimpl
def r1_policies() -> Any:
    return [Net, Wordy]


@hookimpl
def r1_samplers() -> Any:
    return [Draw]
