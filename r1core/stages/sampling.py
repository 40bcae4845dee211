"""Sampling groups: the one way in which training, sampling and evaluation get answers from a model.

Each answer's key is derived from (seed, stage, step, problem, sample, purpose), and the groups come
back sorted by (problem, sample), so the order in which an engine finishes rows changes nothing. Whoever
wants them earlier (scoring) is told of each as it comes, with its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, TypeAlias

import numpy as np

from r1core.components import Policy, Sampler
from r1core.types import Group, Message, Problem, Rollout, SampleRequest, Tokens

KeyOf: TypeAlias = Callable[..., int]
Arrived: TypeAlias = Callable[[int, Rollout], None]
"""Told of each answer as it comes: its place among all that were asked for, and itself as its group will have it."""

_UNREAD: Tokens = np.array([], dtype=np.int64)


def unheard(place: int, rollout: Rollout) -> None:
    """Nobody wants to be told."""


def sample_groups(
    sampler: Sampler,
    policy: Policy | None,
    problems: Sequence[Problem],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    key: KeyOf,
    asked: Callable[[Problem], Sequence[Message]] = lambda problem: problem.messages,
    arrived: Arrived = unheard,
) -> list[Group]:
    """`samples` answers to each problem. `key(index, sample)` gives the key of one answer, `asked(problem)` the
    messages that the model gets. Without a policy it is elsewhere, and its prompts have no tokens.

    Only log-probs at temperature 1 over the whole vocabulary are the policy's own, so no others leave this room.
    """
    requests = [
        SampleRequest(
            problem=problem,
            prompt_ids=policy.prompt_ids(asked(problem)) if policy is not None else _UNREAD,
            keys=tuple(key(index, sample) for sample in range(samples)),
            samples=tuple(index * samples + sample for sample in range(samples)),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
        )
        for index, problem in enumerate(problems)
    ]
    is_policys = temperature == 1 and top_p == 1
    found: list[Rollout | None] = [None] * (len(problems) * samples)
    for rollout in sampler.generate(requests):
        place = rollout.sample
        one = replace(counted(rollout), sample=place % samples)
        one = one if is_policys else replace(one, logprobs=None)
        if found[place] is not None:
            raise RuntimeError(f"the sampler gave answer {place} twice")
        found[place] = one
        arrived(place, one)
    rollouts = [rollout for rollout in found if rollout is not None]
    if len(rollouts) < len(found):
        raise RuntimeError(f"the sampler gave {len(rollouts)} answers of {len(found)}")
    return [
        Group(problem=problem, rollouts=tuple(rollouts[index * samples : (index + 1) * samples]))
        for index, problem in enumerate(problems)
    ]


def counted(rollout: Rollout, *, before: int = 0) -> Rollout:
    """The rollout whose response knows its tokens; `before` of them were given. A text from elsewhere knows its own."""
    if not len(rollout.completion_ids) and rollout.response.tokens is not None:
        return rollout
    tokens = before + len(rollout.completion_ids)
    return replace(rollout, response=replace(rollout.response, tokens=tokens))


class Unscored(contextlib.nullcontext[Any]):
    """In place of a batch of the scoring service (scoring/batch.py) where a stage has no rewards."""

    def __enter__(self) -> Self:
        return self

    def add(self, place: int, rollout: Rollout) -> None:
        """An answer has come."""

    def finish(self, groups: Sequence[Group]) -> list[Group]:
        """The groups as they are."""
        return list(groups)
