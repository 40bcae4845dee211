"""Where the answers of a sample stage come from: a model, the problems themselves, or both.

    model                 sampled; `instruction` and `shots` say how it is asked, and stay out of the rows
    given                 the problems' own completions: supervised data
    given_with_thinking   the same, with thinking that the model adds; trivial questions get none

The last two are how DeepSeek-R1's general data was made, the first how its cold start was explored
(arXiv:2501.12948, v1 2.3.1, v2 B.3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from r1core.errors import RecipeError
from r1core.recipe.schema import SampleSpec
from r1core.stages.base import Job
from r1core.stages.sampling import Arrived, sample_groups, unheard
from r1core.types import Group, Message, Problem, Response, Rollout, Tokens

Answers: TypeAlias = Callable[[Sequence[Problem], int, Arrived], list[Group]]
"""The groups of one unit's problems; the unit's number goes into the keys. Sampled answers are told of as they come."""
CLOSE = "</think>"


def answers_of(job: Job) -> Answers:
    """What answers the stage's problems. Opens the model where one is asked."""
    spec = job.stage.stage.sample
    assert spec is not None, "a sample stage says what to sample"
    if spec.answers == "given":
        return lambda chunk, unit, arrived: [_group(problem, _completion(problem)) for problem in chunk]
    ask = _asker(job, spec, samples=spec.samples if spec.answers == "model" else 1)
    return ask if spec.answers == "model" else lambda chunk, unit, arrived: _thought_through(ask, spec, chunk, unit)


def _asker(job: Job, spec: SampleSpec, *, samples: int) -> Answers:
    stage = job.stage.stage
    assert isinstance(stage.model, str), "the plan checks what a sample stage needs"
    policy = job.policy().open(job.artifacts[stage.model], trainable=False)
    sampler = job.sampler(policy)

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
    """The given answers, each behind the thinking that the model had before its own."""
    groups = []
    for group in ask(chunk, unit, unheard):
        problem, thinking = group.problem, group.rollouts[0].response.thinking or ""
        if len(problem.question) <= spec.trivial_chars:
            thinking = ""
        answer = _completion(problem).rpartition(CLOSE)[2]
        groups.append(_group(problem, f"<think>{f' {thinking}' if thinking else ''}{CLOSE}{answer}"))
    return groups


def _group(problem: Problem, text: str) -> Group:
    """A text as if a model had said it. It has no tokens: there is no tokenizer that it was written with."""
    none: Tokens = np.array([], dtype=np.int64)
    rollout = Rollout(
        problem=replace(problem, completion=None),
        sample=0,
        prompt_ids=none,
        completion_ids=none,
        logprobs=None,
        response=Response.parse(text),
    )
    return Group(problem=rollout.problem, rollouts=(rollout,))


def _completion(problem: Problem) -> str:
    if problem.completion is None:
        raise RecipeError(
            f"problem {problem.id!r} has no completion to take",
            where="sample, answers",
            fix="give a source with completions, or let a model answer",
        )
    return problem.completion
