"""From scored groups to sequences with advantages. G answers of one problem, T tokens of one answer.

Lists of arrays have one (T,) array for each sequence, so none for an answer without tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from r1core.components import AdvantageEstimator
from r1core.types import Floats, Group, GroupSignals, Rollout, Tokens, TrainSequence

from .importance import SAMPLER
from .values import States


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an estimator may read beside the rewards; None where it did not ask."""

    states: Mapping[tuple[str, int], States] | None = None
    """By (problem id, sample)."""
    greedy: Mapping[str, float] | None = None
    """The reward of a greedy answer, by problem id."""
    critic: Sequence[Floats] | None = None
    """What the critic says before each token."""
    penalties: Sequence[Floats] | None = None
    """What each token is charged for leaving the reference policy, where that is part of the reward."""


def sequences(groups: Sequence[Group]) -> list[TrainSequence]:
    """One sequence for each answer that has tokens, with the sampler's log-probs, (T,)."""
    return [_sequence(rollout) for group in groups for rollout in group.rollouts if len(rollout.completion_ids)]


def _sequence(rollout: Rollout) -> TrainSequence:
    ids: Tokens = np.concatenate([rollout.prompt_ids, rollout.completion_ids])
    columns = {} if rollout.logprobs is None else {SAMPLER: rollout.logprobs}
    return TrainSequence(ids=ids, start=len(rollout.prompt_ids), columns=columns)


def signals(groups: Sequence[Group], evidence: Evidence) -> list[GroupSignals]:
    """What an estimator is shown of each group."""
    critic, penalties = _by_group(groups, evidence.critic), _by_group(groups, evidence.penalties)
    return [_signals(group, evidence, next(critic), next(penalties)) for group in groups]


def _signals(
    group: Group, evidence: Evidence, critic_GT: tuple[Floats, ...] | None, penalties_GT: tuple[Floats, ...] | None
) -> GroupSignals:
    names = group.scores[0].parts if group.scores else {}
    states = evidence.states
    valued = [states[rollout.problem.id, rollout.sample] for rollout in group.rollouts] if states is not None else None
    charged_G = np.array([penalties_T.sum() for penalties_T in penalties_GT]) if penalties_GT is not None else 0.0
    return GroupSignals(
        rewards_G=group.rewards_G - charged_G,
        lengths_G=np.array([len(rollout.completion_ids) for rollout in group.rollouts]),
        components={name: np.array([score.parts.get(name, 0.0) for score in group.scores]) for name in names},
        states_GK=tuple(each.starts_K for each in valued) if valued is not None else None,
        values_GK=tuple(each.values_K for each in valued) if valued is not None else None,
        greedy=evidence.greedy[group.problem.id] if evidence.greedy is not None else None,
        critic_GT=critic_GT,
        penalties_GT=penalties_GT,
    )


def _by_group(groups: Sequence[Group], arrays: Sequence[Floats] | None) -> Iterator[tuple[Floats, ...] | None]:
    """The arrays of each group's answers; an answer without tokens has an empty one."""
    rest = iter(arrays or ())
    for group in groups:
        counts = [len(rollout.completion_ids) for rollout in group.rollouts]
        yield None if arrays is None else tuple(next(rest) if count else np.zeros(0) for count in counts)


def estimated(
    batch: Sequence[TrainSequence], shown: Sequence[GroupSignals], estimator: AdvantageEstimator
) -> list[TrainSequence]:
    """The sequences with their `advantage`. The estimator sees one group at a time, or all of them where its scope is
    the batch."""
    if estimator.scope == "batch":
        advantages = estimator(shown) if shown else []
    else:
        advantages = [estimator([group])[0] for group in shown]
    return known(batch, "advantage", of_sequences(shown, advantages))


def of_sequences(shown: Sequence[GroupSignals], arrays: Iterable[Sequence[Floats]]) -> list[Floats]:
    """(1,) or (T,) arrays of groups and samples as (T,) arrays of sequences."""
    return [
        np.ascontiguousarray(np.broadcast_to(array, (int(length),)))
        for group, own in zip(shown, arrays, strict=True)
        for length, array in zip(group.lengths_G, own, strict=True)
        if length
    ]


def known(batch: Sequence[TrainSequence], name: str, values: Sequence[Floats]) -> list[TrainSequence]:
    """The sequences with one more column."""
    return [replace(s, columns={**s.columns, name: v}) for s, v in zip(batch, values, strict=True)]


def shuffled(groups: Sequence[Group], *, key: int) -> list[Group]:
    """The same answers with each other's scores: what is left of the training is not due to the reward."""
    scores = [score for group in groups for score in group.scores]
    order = iter(np.random.default_rng(key).permutation(len(scores)))
    return [group.scored(tuple(scores[next(order)] for _ in group.rollouts)) for group in groups]
