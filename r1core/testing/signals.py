"""Groups of rewards for estimators, and what may be done to them. G samples, T tokens, K valued states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from r1core.types import Floats, GroupSignals, Tokens

MOST_TOKENS = 12


def random_group(rewards_G: Floats, needs: frozenset[str], rng: np.random.Generator) -> GroupSignals:
    """A group with these rewards, ragged lengths, and what else is needed; the rest is None."""
    lengths_G = rng.integers(1, MOST_TOKENS, len(rewards_G))
    states = tuple(_states(int(length), rng) for length in lengths_G)
    values = tuple(rng.choice(rewards_G) + 0.1 * rng.normal(size=len(own)) for own in states)
    share_G = rng.uniform(size=len(rewards_G))
    valued = "values" in needs
    return GroupSignals(
        rewards_G=rewards_G.copy(),
        lengths_G=lengths_G,
        components={"one": rewards_G * share_G, "two": rewards_G * (1 - share_G)} if "components" in needs else None,
        states_GK=states if valued else None,
        values_GK=values if valued else None,
        greedy=float(rng.choice(rewards_G)) if "greedy" in needs else None,
        critic_GT=_guessed(rewards_G, lengths_G, rng) if "critic" in needs else None,
    )


def _guessed(rewards_G: Floats, lengths_G: NDArray[np.int64], rng: np.random.Generator) -> tuple[Floats, ...]:
    """What a critic might say, (T,) for each sample."""
    return tuple(rng.choice(rewards_G, int(length)) + 0.1 * rng.normal(size=int(length)) for length in lengths_G)


def _states(length: int, rng: np.random.Generator) -> Tokens:
    """Positions of states, the first at 0."""
    inner = rng.permutation(np.arange(1, length))[:3]
    return np.array([0, *sorted(inner)], dtype=np.int64)


def mapped(group: GroupSignals, change: Callable[[Floats], Floats]) -> GroupSignals:
    """The group with all its rewards, their parts and their expectations changed alike."""
    return replace(
        group,
        rewards_G=change(group.rewards_G),
        components={k: change(v) for k, v in group.components.items()} if group.components is not None else None,
        values_GK=tuple(map(change, group.values_GK)) if group.values_GK is not None else None,
        greedy=float(change(np.array([group.greedy]))[0]) if group.greedy is not None else None,
        critic_GT=tuple(map(change, group.critic_GT)) if group.critic_GT is not None else None,
    )


def permuted(group: GroupSignals, order: Sequence[int]) -> GroupSignals:
    """The same samples in another order, as copies."""
    parts, states, values, chosen = group.components, group.states_GK, group.values_GK, list(order)
    critic = group.critic_GT
    return GroupSignals(
        rewards_G=group.rewards_G[chosen],
        lengths_G=group.lengths_G[chosen],
        components={k: v[chosen] for k, v in parts.items()} if parts is not None else None,
        states_GK=tuple(states[i].copy() for i in order) if states is not None else None,
        values_GK=tuple(values[i].copy() for i in order) if values is not None else None,
        greedy=group.greedy,
        critic_GT=tuple(critic[i].copy() for i in order) if critic is not None else None,
    )


def copied(group: GroupSignals) -> GroupSignals:
    """The same group in arrays of its own."""
    return permuted(group, range(len(group.rewards_G)))


def difference(one: GroupSignals, other: GroupSignals) -> str:
    """The first field in which two groups differ, "" when there is none."""
    for field in ("rewards_G", "lengths_G", "components", "states_GK", "values_GK", "critic_GT"):
        if repr(_plain(getattr(one, field))) != repr(_plain(getattr(other, field))):
            return field
    return ""


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
