"""What several estimators share: exact zeros where a group says nothing, spreading over tokens, whitening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from r1core.types import Floats

GroupOfOne: TypeAlias = Literal["zero", "reward"]
ONE = "what the only answer of a problem is worth: zero (its mean is itself), or its reward as it stands (verl)"
"""The description of the option of that type."""


def centred(rewards_G: Floats, baseline: float | None = None, *, one: GroupOfOne = "zero") -> Floats:
    """The rewards less a baseline (their mean when None); exactly 0 where all are equal, whatever rounding does.

    `one` says what a group of one is worth.
    """
    if len(rewards_G) == 1 and one == "reward":
        return rewards_G.copy()
    if np.ptp(rewards_G) == 0:
        return np.zeros_like(rewards_G)
    return rewards_G - (rewards_G.mean() if baseline is None else baseline)


def deviation(rewards_G: Floats) -> float:
    """The standard deviation with divisor G - 1; 0 for a group of one."""
    return float(rewards_G.std(ddof=1)) if len(rewards_G) > 1 else 0.0


def one_each(advantages_G: Floats) -> list[Floats]:
    """One number for each answer, (1,): all of its tokens share it."""
    return list(advantages_G[:, None])


def one_per_token(advantages_G: Floats, lengths_G: NDArray[np.int64]) -> list[Floats]:
    """One number for each token, (T,): where they are whitened, long answers weigh more."""
    return [np.full(int(length), advantage) for advantage, length in zip(advantages_G, lengths_G, strict=True)]


def to_go(rewards_T: Floats, factor: float) -> Floats:
    """(T,) what is still to come at each token: x_t = reward_t + factor x_{t+1}."""
    if factor == 1:
        return rewards_T[::-1].cumsum()[::-1]
    found, total = np.empty_like(rewards_T), 0.0
    for t in range(len(rewards_T) - 1, -1, -1):
        total = float(rewards_T[t]) + factor * total
        found[t] = total
    return found


def whitened(advantages: Sequence[Sequence[Floats]], *, eps: float, ddof: int = 1) -> list[list[Floats]]:
    """Mean 0 and variance 1 (divisor N - ddof) over all tokens of the batch; fewer than two tokens stay as they are.

    (x - mean) / sqrt(var + eps), verl's `masked_whiten`. A batch without any spread is exactly 0.
    """
    tokens = np.concatenate([sample for group in advantages for sample in group] or [np.zeros(0)])
    if tokens.size < 2:
        return [list(group) for group in advantages]
    if np.ptp(tokens) == 0:
        return [[np.zeros_like(sample) for sample in group] for group in advantages]
    scale = 1 / np.sqrt(tokens.var(ddof=ddof) + eps)
    return [[(sample - tokens.mean()) * scale for sample in group] for group in advantages]
