"""Toy teachers for the tests of signals: what they say of a token follows from the token and their skill alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from toy_stages import Guess, Skill

from r1core.choices import ModelRef, SignalsRef, UseTeacher
from r1core.components import Policy, Sampler, Trainer
from r1core.types import Rollout, SampleRequest, Step, Tokens, TopLogprobs, TrainSequence

HERE = Path(__file__).resolve()


def verdict(sequence: TrainSequence, *, k: int, temperature: float, skill: float) -> TopLogprobs:
    """Place t: the tokens t, t + 1, ..., each half as likely as the one before; the text's own is worth the skill."""
    counted = len(sequence.ids) - sequence.start
    top_ids = np.arange(counted)[:, None] + np.arange(k)[None]
    halves = -np.log(2) * (1 + np.arange(k)) / temperature
    own = -skill - sequence.ids[sequence.start :] / 100
    return top_ids, np.tile(halves, (counted, 1)).astype(np.float32), own.astype(np.float32)


class Teacher(Skill):
    """A model of one number that grades."""

    name = "teacher"

    @property
    def text_marks(self) -> Mapping[str, str]:
        return {"tokenizer": "of toys", "template": "none"}

    def completion_ids(self, text: str) -> Tokens:
        return np.array([*map(ord, text), 0], dtype=np.int64)

    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        return [verdict(each, k=k, temperature=temperature, skill=self.skill) for each in sequences]


class Opening(Teacher):
    """A model whose template opens the think block."""

    name = "opening"

    def prefilled(self, messages: Any) -> str:
        return "<think>"


class Broken(Teacher):
    """A model whose numbers are none."""

    name = "broken"

    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        told = super().top_logprobs(sequences, k=k, temperature=temperature)
        return [(ids, tops, np.full_like(own, np.nan)) for ids, tops, own in told]


class Faraway(Sampler):
    """Grades, with a skill of its own, and writes nothing; it is silent about tokens that the recipe names."""

    name = "faraway"
    writes = False

    class Config(Sampler.Config):
        skill: float = Field(3.0, description="of the model that is far away")
        served: str = Field("", description="a file that says which skill it has by now")
        silent: list[int] = Field(default_factory=list, description="tokens that it does not grade")

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        raise AssertionError("the plan asks no grader for answers")

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        found = []
        skill = float(Path(self.config.served).read_text()) if self.config.served else self.config.skill
        for sequence in sequences:
            ids, tops, own = verdict(sequence, k=top_k, temperature=temperature, skill=skill)
            silent = np.isin(sequence.ids[sequence.start :], self.config.silent)
            found.append((ids, tops, np.where(silent, np.nan, own).astype(np.float32)))
        return found

    def identity(self) -> Mapping[str, str]:
        return {"server": "nowhere", "model": f"skill {self.config.skill}"}


class Mute(Guess):
    """Samples, and grades nothing."""

    name = "mute"


class Copy(Trainer):
    """Reads a cache, and shows what it found as metrics; a teacher beside it may grade, too."""

    name = "copy"

    class Config(Trainer.Config):
        signals: SignalsRef = Field(description="a teacher's signals")
        teacher: ModelRef | UseTeacher | None = Field(None, description="a stage's model, or one that is elsewhere")

    def run(self, context: Any) -> Iterator[Step]:
        signals = context.signals(self.config.signals)
        found = [signals[row] for row in reversed(range(len(signals)))]
        for _ in context.steps(1):
            metrics = context.policy.update([], None, lr=0.1)
            told = {"texts": len(found), "tokens": sum(len(each.ids) for each in found), "k": signals.about["k"]}
            yield Step(metrics={**metrics, **{name: float(value) for name, value in told.items()}})
