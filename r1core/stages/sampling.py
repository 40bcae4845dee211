"""Sampling groups: the one way in which training, sampling and evaluation get answers from a model.

Each answer's key is derived from (seed, stage, step, problem, sample, purpose), and the groups come
back sorted by (problem, sample), so the order in which an engine finishes rows changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from r1core.components import Policy, Sampler
from r1core.types import Group, Message, Problem, Rollout, SampleRequest

KeyOf = Callable[..., int]


def sample_groups(
    sampler: Sampler,
    policy: Policy,
    problems: Sequence[Problem],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    key: KeyOf,
    asked: Callable[[Problem], Sequence[Message]] = lambda problem: problem.messages,
) -> list[Group]:
    """`samples` answers to each problem. `key(index, sample)` gives the key of one answer, `asked(problem)` the
    messages that the model gets.

    Only log-probs at temperature 1 over the whole vocabulary are the policy's own, so no others leave this room.
    """
    requests = [
        SampleRequest(
            problem=problem,
            prompt_ids=policy.prompt_ids(asked(problem)),
            keys=tuple(key(index, sample) for sample in range(samples)),
            samples=tuple(index * samples + sample for sample in range(samples)),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
        )
        for index, problem in enumerate(problems)
    ]
    rollouts = sorted(sampler.generate(requests), key=lambda rollout: rollout.sample)
    if temperature != 1 or top_p != 1:
        rollouts = [replace(rollout, logprobs=None) for rollout in rollouts]
    return [
        Group(problem=problem, rollouts=_numbered(rollouts[index * samples : (index + 1) * samples]))
        for index, problem in enumerate(problems)
    ]


def _numbered(rollouts: Sequence[Rollout]) -> tuple[Rollout, ...]:
    """The rollouts of one problem, numbered from 0 within it."""
    return tuple(replace(counted(rollout), sample=number) for number, rollout in enumerate(rollouts))


def counted(rollout: Rollout, *, before: int = 0) -> Rollout:
    """The rollout whose response knows its tokens; `before` of them were given."""
    tokens = before + len(rollout.completion_ids)
    return replace(rollout, response=replace(rollout.response, tokens=tokens))
