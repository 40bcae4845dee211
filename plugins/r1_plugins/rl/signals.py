"""From scored groups to sequences with advantages. G answers of one problem, T tokens of one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from r1core.components import AdvantageEstimator
from r1core.types import Floats, Group, GroupSignals, Rollout, Tokens, TrainSequence

from .values import States


def sequences(
    groups: Sequence[Group], estimator: AdvantageEstimator, states: Mapping[tuple[str, int], States] | None
) -> list[TrainSequence]:
    """One sequence for each answer: `advantage` and the sampler's `old_logprob`, (T,) each.

    The estimator sees one group at a time, or all of them where its scope is the batch.
    """
    signals = [_signals(group, states) for group in groups]
    if estimator.scope == "batch":
        advantages = estimator(signals) if signals else []
    else:
        advantages = [estimator([signal])[0] for signal in signals]
    return [
        _sequence(rollout, advantage)
        for group, own in zip(groups, advantages, strict=True)
        for rollout, advantage in zip(group.rollouts, own, strict=True)
        if len(rollout.completion_ids)
    ]


def _signals(group: Group, states: Mapping[tuple[str, int], States] | None) -> GroupSignals:
    names = group.scores[0].parts if group.scores else {}
    valued = [states[rollout.problem.id, rollout.sample] for rollout in group.rollouts] if states is not None else None
    return GroupSignals(
        rewards_G=group.rewards_G,
        lengths_G=np.array([len(rollout.completion_ids) for rollout in group.rollouts]),
        components={name: np.array([score.parts.get(name, 0.0) for score in group.scores]) for name in names},
        states_GK=tuple(each.starts_K for each in valued) if valued is not None else None,
        values_GK=tuple(each.values_K for each in valued) if valued is not None else None,
    )


def _sequence(rollout: Rollout, advantage: Floats) -> TrainSequence:
    ids: Tokens = np.concatenate([rollout.prompt_ids, rollout.completion_ids])
    length = len(rollout.completion_ids)
    columns = {"advantage": np.ascontiguousarray(np.broadcast_to(advantage, (length,)))}
    if rollout.logprobs is not None:
        columns["old_logprob"] = rollout.logprobs
    return TrainSequence(ids=ids, start=len(rollout.prompt_ids), columns=columns)


def known(batch: Sequence[TrainSequence], name: str, values: Sequence[Floats]) -> list[TrainSequence]:
    """The sequences with one more column."""
    return [replace(s, columns={**s.columns, name: v}) for s, v in zip(batch, values, strict=True)]


def shuffled(groups: Sequence[Group], *, key: int) -> list[Group]:
    """The same answers with each other's scores: what is left of the training is not due to the reward."""
    scores = [score for group in groups for score in group.scores]
    order = iter(np.random.default_rng(key).permutation(len(scores)))
    return [group.scored(tuple(scores[next(order)] for _ in group.rollouts)) for group in groups]
