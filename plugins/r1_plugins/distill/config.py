"""The options of `distill`: four signals, each optional, one after the other or in every update together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from r1core.batching import Supervision
from r1core.choices import ModelRef, Options, ProblemFields, SignalsRef, Use, UseTeacher
from r1core.components import Trainer
from r1core.schedules import LearningRate

from .divergence import Divergence, Kind

TeacherRef: TypeAlias = ModelRef | UseTeacher


class TeacherFor(Options):
    """A teacher of some problems."""

    teacher: TeacherRef = Field(description="the stage whose model teaches, or a sampler that grades")
    only_for: ProblemFields = Field(
        default_factory=dict, alias="for", description="problem fields, such as {domain: reasoning}; none: all the rest"
    )

    @property
    def label(self) -> str:
        """What its metrics are called by, where no other teacher's are called the same."""
        return "-".join(self.only_for.values()) or "rest"


class Taught(Options):
    """One teacher for all problems, or several by their fields."""

    teacher: TeacherRef | None = Field(None, description="the stage whose model teaches, or a sampler that grades")
    teachers: tuple[TeacherFor, ...] = Field(
        (), description="several in its place; each problem has the first whose `for` it matches"
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("give either `teacher` or `teachers`")
        if early := [each.label for each in self.teachers[:-1] if not each.only_for]:
            raise ValueError(f"a teacher without `for` ({early[0]}) takes all problems: it stands last")
        for number, each in enumerate(self.teachers):
            if any(earlier.only_for.items() <= each.only_for.items() for earlier in self.teachers[:number]):
                own = ", ".join(f"{field} {value}" for field, value in each.only_for.items())
                raise ValueError(
                    f"an earlier teacher takes all problems of the one for {own}, who would never be asked"
                )
        return self

    def label(self, route: TeacherFor) -> str:
        """What a teacher's metrics are called by: the values that its problems have, with their fields where needed."""
        if sum(each.label == route.label for each in self.teachers) < 2:
            return route.label
        return "-".join(f"{field}={value}" for field, value in route.only_for.items()) or route.label

    @property
    def routes(self) -> tuple[TeacherFor, ...]:
        """The teachers in the order in which they are tried."""
        return self.teachers or (TeacherFor.model_validate({"teacher": self.teacher}),)


class Traces(Supervision):
    """Cross-entropy on the stage's `data`: the teacher's verified answers."""

    weight: float = Field(1.0, gt=0, description="factor of its token mean, where signals are learned together")


class Cached(Supervision):
    """What a teacher said of texts, kept by a `signals` stage: no teacher is in memory. A divergence, or, of a stage
    with scheme sampled, 1/2 (log Q - log P)^2 of the texts' own tokens, which is no divergence."""

    signals: SignalsRef = Field(description="the `signals` stage; its tokenizer and template must be the student's")
    teacher: str | None = Field(
        None, description="the stage or the model that must have made them; refused where it was another"
    )
    weight: float = Field(1.0, gt=0, description="factor of its token mean, where signals are learned together")
    divergence: Divergence = Field(Divergence(), description="which divergence")


class Live(Supervision, Taught):
    """A divergence from a teacher in memory, over the whole vocabulary, on the stage's `data`."""

    tokenizers: Literal["same", "aligned", "uld"] = Field(
        "same",
        description="the teacher's must be the student's (same), or another: compared where both begin a token at the "
        "same byte, on tokens of the same bytes (aligned), or by rank alone (uld)",
    )

    weight: float = Field(1.0, gt=0, description="factor of its token mean, where signals are learned together")
    divergence: Divergence = Field(Divergence(), description="which divergence")


class OnPolicy(Taught):
    """The teacher's verdict on the student's own answers."""

    steps: int = Field(50, ge=1, description="optimizer steps, after the other signals where they come in turn")
    prompts: int = Field(32, ge=1, description="problems in a batch")
    samples: int = Field(4, ge=1, description="answers to each problem")
    lr: LearningRate = Field(LearningRate(peak=1e-5), description="learning rate, a number or a schedule")
    signal: Literal["logprob", "full"] = Field(
        "logprob",
        description="policy gradient of the reverse KL by the teacher's log-prob of each token, or a divergence over "
        "the whole vocabulary",
    )
    weight: float = Field(1.0, gt=0, description="factor of its token mean, where signals are learned together")
    divergence: Divergence = Field(Divergence(), description="with signal full: which divergence")


Signal: TypeAlias = Traces | Cached | Live | OnPolicy


class DistillConfig(Trainer.Config):
    """The signals of a stage. Each has its own epochs or steps; learned together, the shorter ones start over."""

    traces: Traces | None = Field(None, description="learn the stage's `data`: the teacher's verified answers")
    cached: Cached | None = Field(None, description="learn what a teacher said of texts, kept by a `signals` stage")
    live: Live | None = Field(None, description="learn the stage's `data` with the teacher in memory")
    on_policy: OnPolicy | None = Field(None, description="learn from the teacher's verdict on the student's answers")
    mix: Literal["in_turn", "together"] = Field(
        "in_turn", description="one signal after the other, or a batch of each in every update"
    )
    lr: LearningRate | None = Field(None, description="mix: together: learning rate, a number or a schedule")

    @property
    def signals(self) -> dict[str, Signal]:
        """Those that there are, in the order in which they come in turn."""
        found = {"traces": self.traces, "cached": self.cached, "live": self.live, "on_policy": self.on_policy}
        return {name: signal for name, signal in found.items() if signal is not None}

    @property
    def together(self) -> bool:
        """Whether every update has a batch of each signal."""
        return self.mix == "together"

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if wrong := list(contradictions(self)):
            raise ValueError("; ".join(wrong))
        return self


def contradictions(c: DistillConfig) -> Iterator[str]:
    """What is missing, excludes each other or changes nothing, as sentences that say what to set."""
    if not c.signals:
        yield "give `traces`, `cached`, `live` or `on_policy`, one or more: without them there is no signal"
    yield from _of_together(c) if c.together else _of_turns(c)
    if c.cached is not None:
        yield from _of_divergence("cached", c.cached.divergence, "forward", cached=True)
    if c.live is not None:
        yield from _remote("live", c.live)
        if c.live.tokenizers == "uld":
            yield from _of_uld(c.live.divergence)
        else:
            yield from _of_divergence("live", c.live.divergence, "forward")
        if c.live.tokenizers == "aligned" and c.live.divergence.support != "teacher":
            yield "live.tokenizers: aligned compares the teacher's likeliest tokens: give divergence.support: teacher"
    if c.on_policy is not None and any("id" in route.only_for for route in c.on_policy.teachers):
        yield "on_policy.teachers cannot be chosen by `id`, of which a problem has another each time that it is asked"
    if c.on_policy is not None and c.on_policy.signal == "full":
        yield from _remote("on_policy", c.on_policy)
        yield from _of_divergence("on_policy", c.on_policy.divergence, "reverse")
    elif c.on_policy is not None and c.on_policy.divergence != Divergence():
        yield "on_policy.divergence changes nothing with signal: logprob, which is the reverse KL; set signal: full"


def _of_together(c: DistillConfig) -> Iterator[str]:
    if len(c.signals) == 1:
        yield f"mix: together needs more than one signal, and there is only {next(iter(c.signals))}: remove mix"
    if c.lr is None:
        yield "mix: together has one learning rate for the whole update: give `lr` beside mix"
    for name, signal in c.signals.items():
        if signal.lr != type(signal).model_fields["lr"].default:
            yield f"{name}.lr changes nothing with mix: together: give the update's own `lr`, beside mix"


def _of_turns(c: DistillConfig) -> Iterator[str]:
    if c.lr is not None:
        yield "lr changes nothing where signals come in turn, each at its own: set traces.lr, on_policy.lr, ..."
    for name, signal in c.signals.items():
        if signal.weight != 1:
            yield f"{name}.weight weighs signals of one update, and they come in turn: set mix: together"


def _of_divergence(name: str, chosen: Divergence, default: Kind, *, cached: bool = False) -> Iterator[str]:
    for wrong in chosen.useless(chosen.kind or default, cached=cached):
        yield f"{name}.divergence.{wrong}"


def _of_uld(chosen: Divergence) -> Iterator[str]:
    for name in type(chosen).model_fields:
        if name not in ("temperature", "reduction") and getattr(chosen, name) is not None:
            yield f"live.divergence.{name} changes nothing with tokenizers: uld, which compares by rank: remove it"


def _remote(name: str, chosen: Taught) -> Iterator[str]:
    for route in chosen.routes:
        if isinstance(route.teacher, Use):
            yield (
                f"{name} needs the teacher's whole distribution, and {route.teacher.use!r} tells log-probs of given "
                "tokens: name a stage, or use on_policy with signal: logprob, or a `signals` stage for `cached`"
            )
