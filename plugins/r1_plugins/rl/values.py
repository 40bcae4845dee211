"""Monte-Carlo values: where an answer is cut, and what the answers that go on from there are worth.

An answer is cut after tokens whose text ends a reasoning step (or every so many tokens), evenly thinned to
`most` cuts. The value of the state after a cut is the mean reward of `continuations` answers sampled from it; the value
of the prompt is the mean reward of the group, which was sampled from it already. Prompt and kept
tokens are computed once for all continuations of a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from r1core.choices import Options
from r1core.components import Policy
from r1core.contexts import TrainContext
from r1core.types import At, Floats, Group, Rollout, Tokens


class MonteCarloStates(Options):
    """Which intermediate states are valued, and how."""

    boundaries: list[str] = Field(
        ["\n", ".", "。"], description="a token whose text ends with one of these ends a step"
    )
    every: int | None = Field(None, ge=1, description="cut after every so many tokens instead, whatever they say")
    most: int = Field(3, ge=1, description="most states valued within one answer")
    continuations: int = Field(4, ge=1, description="answers sampled from each state")


@dataclass(frozen=True, kw_only=True)
class States:
    """The K valued states of one answer: token positions (the first is 0) and values."""

    starts_K: Tokens
    values_K: Floats


def valued(
    context: TrainContext, at: At, groups: Sequence[Group], options: MonteCarloStates
) -> dict[tuple[str, int], States]:
    """The states of every answer, by (problem id, sample). The groups' own rewards are all known."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    cuts = [_cuts(rollout, context.policy, options) for rollout in rollouts]
    asked = [(rollout, cut) for rollout, own in zip(rollouts, cuts, strict=True) for cut in own]
    rewards = iter(context.continuations(at, asked, samples=options.continuations))
    prompt_value = {group.problem.id: float(group.rewards_G.mean()) for group in groups}
    result = {}
    for rollout, own in zip(rollouts, cuts, strict=True):
        found = [(cut, _mean(next(rewards))) for cut in own]
        known = [(0, prompt_value[rollout.problem.id]), *((cut, value) for cut, value in found if np.isfinite(value))]
        starts, values = zip(*known, strict=True)
        result[rollout.problem.id, rollout.sample] = States(starts_K=np.array(starts), values_K=np.array(values))
    return result


def _cuts(rollout: Rollout, policy: Policy, options: MonteCarloStates) -> list[int]:
    """Token positions strictly inside the answer at which a reasoning step has just ended."""
    ends = tuple(options.boundaries)
    ids = rollout.completion_ids
    if options.every is not None:
        cuts = list(range(options.every, len(ids), options.every))
    else:
        cuts = [t + 1 for t in range(len(ids) - 1) if policy.decode(ids[t : t + 1]).endswith(ends)]
    if len(cuts) <= options.most:
        return cuts
    picked = np.linspace(0, len(cuts) - 1, options.most).round().astype(int)
    return [cuts[i] for i in picked]


def _mean(rewards: Floats) -> float:
    """The mean of the known rewards; NaN where infrastructure lost them all: such a state is left out."""
    kept = rewards[np.isfinite(rewards)]
    return float(kept.mean()) if kept.size else float("nan")
