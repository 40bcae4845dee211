"""Where the answers of a sample stage come from: a model, the problems themselves, or both.

    model                 sampled; `instruction` and `shots` say how it is asked, and stay out of the rows
    given                 those that are there already, of a source or of other stages (given.py)
    given_with_thinking   the same, with thinking that the model adds; trivial questions get none

A teacher that answers elsewhere (`Sampler.remote`), and any stage with a `ledger`, is asked for each answer once
(traces.py). The last two are how DeepSeek-R1's general data was made, the first how its cold start was explored
(arXiv:2501.12948, v1 2.3.1, v2 B.3.3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeAlias

from r1core.components import Policy, Sampler
from r1core.recipe.schema import SampleSpec
from r1core.stages.base import Job
from r1core.stages.given import completion_of, rollout_of
from r1core.stages.sampling import Arrived, sample_groups, unheard
from r1core.stages.traces import Traces, ledger_of
from r1core.types import Group, Message, Problem, Rollout

Answers: TypeAlias = Callable[[Sequence[Problem], int, Arrived], list[Group]]
"""The groups of one unit's problems; the unit's number goes into the keys. Sampled answers are told of as they come."""
CLOSE = "</think>"
CUT = "thinking was cut off"


class Answering:
    """What answers the stage's problems, as `Answers` do. Opens the model, or the ledger, at the first question."""

    def __init__(self, job: Job) -> None:
        assert job.stage.stage.sample is not None, "a sample stage says what to sample"
        self._job = job
        self._spec = job.stage.stage.sample
        self._ask: Answers | None = None
        self._traces: Traces | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if self._traces is not None and self._traces.calls:
            self._job.note(self._traces.told())

    def __call__(self, chunk: Sequence[Problem], unit: int, arrived: Arrived) -> list[Group]:
        """The groups of one unit's problems."""
        spec = self._spec
        if self._ask is None:
            self._ask = self._asker(samples=spec.samples if spec.answers == "model" else 1)
        if spec.answers == "model":
            return self._ask(chunk, unit, arrived)
        return _thought_through(self._ask, spec, chunk, unit)

    def metrics(self) -> dict[str, float]:
        """What the answers of the stage so far took, where they are kept in a ledger."""
        return self._traces.metrics(self._job.last_metrics) if self._traces is not None else {}

    def _asker(self, *, samples: int) -> Answers:
        job, spec = self._job, self._spec
        policy, sampler = _engines(job)
        if sampler.remote or spec.ledger:
            ledger = self._open.enter_context(ledger_of(job))
            sampler = self._traces = Traces(job, sampler, ledger, lambda problem: asked(problem, spec))
            self._open.callback(self._traces.close)
        return _sampled(job, policy, sampler, samples=samples)


def _engines(job: Job) -> tuple[Policy | None, Sampler]:
    """What samples, and the model that it samples from where that is one of ours."""
    stage = job.stage.stage
    assert stage.sampler is not None, "the plan gives every stage its engines"
    if stage.model is None:
        return None, job.build(stage.sampler, "sampler")
    assert isinstance(stage.model, str), "the plan checks what a sample stage needs"
    policy = job.policy().open(job.artifacts[stage.model], trainable=False)
    return policy, job.sampler(policy)


def _sampled(job: Job, policy: Policy | None, sampler: Sampler, *, samples: int) -> Answers:
    stage = job.stage.stage
    assert stage.sample is not None, "a sample stage says what to sample"
    spec = stage.sample

    def ask(chunk: Sequence[Problem], unit: int, arrived: Arrived) -> list[Group]:
        return sample_groups(
            sampler,
            policy,
            chunk,
            samples=samples,
            max_new_tokens=stage.sampling.max_new_tokens.at(0, 1),
            temperature=stage.sampling.temperature.at(0, 1),
            top_p=stage.sampling.top_p,
            key=lambda index, sample: job.key("sample", unit, index, sample),
            asked=lambda problem: asked(problem, spec),
            arrived=arrived,
        )

    return ask


def asked(problem: Problem, spec: SampleSpec) -> tuple[Message, ...]:
    """The messages that the model gets: worked examples first, the instruction before the last thing the user said."""
    shots = [
        {"role": role, "content": text}
        for shot in spec.shots
        for role, text in (("user", shot.question), ("assistant", shot.answer))
    ]
    last = max((i for i, message in enumerate(problem.messages) if message["role"] == "user"), default=None)
    messages = [
        {**message, "content": f"{spec.instruction}{message['content']}"} if i == last else message
        for i, message in enumerate(problem.messages)
    ]
    return (*shots, *messages)


def _thought_through(ask: Answers, spec: SampleSpec, chunk: Sequence[Problem], unit: int) -> list[Group]:
    """The given answers, each behind the thinking that the model had before its own; none where it was not given, or
    did not come to its end."""
    groups = []
    for group in ask(chunk, unit, unheard):
        problem, thinking, refused = group.problem, *_thinking(group.rollouts[0])
        if len(problem.question) <= spec.trivial_chars:
            thinking = refused = ""
        answer = completion_of(problem).rpartition(CLOSE)[2]
        text = "" if refused else f"<think>{f' {thinking}' if thinking else ''}{CLOSE}{answer}"
        rollout = replace(rollout_of(problem, text), refused=refused)
        groups.append(Group(problem=rollout.problem, rollouts=(rollout,)))
    return groups


def _thinking(rollout: Rollout) -> tuple[str, str]:
    """What the model thought, and why there is nothing to take where there is not."""
    response = rollout.response
    cut = CUT if response.finish == "length" and response.thinking is None else ""
    return response.thinking or "", rollout.refused or cut
