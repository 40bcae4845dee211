"""Distillation: a student learns a teacher's verified traces, its distributions, or its verdict on the student's own.

Four signals, each optional, one after the other or together in every update (`mix: together`):

* traces (the stage's `data`): cross-entropy on the teacher's answers, which is how every R1 student was made
  (DeepSeek-R1 v2, B.4.3: SFT only, 2-3 epochs, cosine to a tenth).
* cached (a `signals` stage): a divergence on the teacher's likeliest tokens of each place, as a cache holds them; where
  it holds the texts' own tokens alone (`scheme: sampled`), half the square of log Q - log P of these.
* live (the stage's `data`): a divergence over the whole vocabulary, the teacher in memory.
* on_policy (the stage's `problems`): the teacher grades what the student answers, by log-probs or whole distributions.

    student: {train: {use: distill, traces: {}, on_policy: {teacher: r1}, mix: together, lr: 1.0e-5}, ...}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from r1core.choices import Use
from r1core.components import Trainer
from r1core.contexts import TrainContext
from r1core.estimates import Role, RolloutBatches
from r1core.hookspecs import hookimpl
from r1core.schedules import LearningRate
from r1core.types import At, Step

from .answers import AnswersSource
from .config import DistillConfig, Taught
from .loss import Part
from .teachers import Faculty
from .texts import CachedSource, Data, LiveSource, TracesSource
from .update import Lesson, learn
from .words import signals_line


class Source(Protocol):
    """One signal of a running stage."""

    name: str
    lr: LearningRate
    steps: int
    """Updates that it is there for by itself: its epochs, or its `steps`."""
    parts: Sequence[Part]

    def lessons(self, at: At, number: int) -> list[Lesson]:
        """What it brings to its update `number`, which may be beyond `steps`: then it starts over."""
        ...


class Distill(Trainer):
    """Make a student of a teacher: by its traces, by its distributions, by its verdict on the student's own answers."""

    name = "distill"

    Config = DistillConfig
    config: DistillConfig

    @property
    def reads(self) -> frozenset[str]:
        c = self.config
        data = {"data"} if c.traces or c.live else set()
        return frozenset(data | ({"problems"} if c.on_policy else set()))

    @property
    def planned_steps(self) -> int | None:
        on_policy = self.config.on_policy
        return on_policy.steps if on_policy is not None and len(self.config.signals) == 1 else None

    @property
    def rollout_batches(self) -> RolloutBatches | None:
        o = self.config.on_policy
        if o is None:
            return None
        return RolloutBatches(batches=o.steps, prompts=o.prompts, samples=o.samples, at_least=self.config.together)

    @property
    def learns_from(self) -> list[str]:
        return [signals_line(self.config)]

    @property
    def models_beside(self) -> dict[Role, str | None]:
        asked = [signal for signal in self.config.signals.values() if isinstance(signal, Taught)]
        local = [r.teacher for signal in asked for r in signal.routes if not isinstance(r.teacher, Use)]
        return {"teacher": local[0]} if local else {}

    def update_tokens(self, length: int) -> int:
        c = self.config
        given = [max(each.batch_tokens, length) for each in (c.traces, c.cached, c.live) if each is not None]
        answers = [c.on_policy.prompts * c.on_policy.samples * length] if c.on_policy else []
        return sum(given + answers) if c.together else max(given + answers)

    def run(self, context: TrainContext) -> Iterator[Step]:
        sources = self._sources(context)
        yield from _together(context, sources, self.config.lr) if self.config.lr else _in_turn(context, sources)

    def _sources(self, context: TrainContext) -> list[Source]:
        c, faculty = self.config, Faculty(context)
        data = Data(context) if c.traces or c.live else None
        found: list[Source] = []
        if c.traces is not None and data is not None:
            found.append(TracesSource(context, c.traces, data))
        if c.cached is not None:
            found.append(CachedSource(context, c.cached))
        if c.live is not None and data is not None:
            found.append(LiveSource(context, c.live, data, faculty))
        if c.on_policy is not None:
            found.append(AnswersSource(context, c.on_policy, faculty))
        return found


def _in_turn(context: TrainContext, sources: Sequence[Source]) -> Iterator[Step]:
    """All updates of one signal, then those of the next; an extension goes through them once more in miniature."""
    planned = sum(source.steps for source in sources)
    for at in context.steps(planned):
        place = at.position * planned // at.length
        for source in sources:
            if place < source.steps:
                yield learn(context, source.lessons(at, place), source.parts, lr=source.lr.at(place, source.steps))
                break
            place -= source.steps


def _together(context: TrainContext, sources: Sequence[Source], lr: LearningRate) -> Iterator[Step]:
    """As many updates as the longest signal has; the shorter ones start over."""
    planned = max(source.steps for source in sources)
    shorter = [f"{source.name} after {source.steps}" for source in sources if source.steps < planned]
    if shorter:
        context.note(f"{planned} updates of all signals together; {', '.join(shorter)} start over")
    parts = [part for source in sources for part in source.parts]
    for at in context.steps(planned):
        place = at.position * planned // at.length
        lessons = [lesson for source in sources for lesson in source.lessons(at, place)]
        yield learn(context, lessons, parts, lr=lr.at(place, planned))


@hookimpl
def r1_trainers() -> Iterable[type[Trainer]]:
    return [Distill]
