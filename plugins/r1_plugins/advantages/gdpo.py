"""GDPO (2601.05242): each reward is normalised by itself before they are added, so that none drowns the others.

    A_i = whiten( sum_k w_k (r_k,i - mean_g r_k) / (std_g r_k + eps) )

over the answers of the batch (TRL: (x - mean) / (std + eps)) or over its tokens (verl: / sqrt(var + 1e-8)),
the divisors being G - 1 and N - 1. With one sum of rewards, different mixtures of them may look the same;
here they do not. A reward whose values are equal in a group adds 0, and so does a group of one (an option:
its rewards).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from r1_plugins.advantages.arithmetic import (
    ONE,
    GroupOfOne,
    centred,
    deviation,
    one_each,
    one_per_token,
    whitened,
)
from r1core.components import AdvantageEstimator
from r1core.errors import RecipeError
from r1core.types import Floats, GroupSignals

WHITEN_EPS = 1e-8
"""verl's, added to the variance of tokens."""


class Gdpo(AdvantageEstimator):
    """The weighted sum of the rewards' own group-normalised values, whitened over the batch."""

    name = "gdpo"
    scope = "batch"
    needs = frozenset({"rewards", "components"})

    class Config(AdvantageEstimator.Config):
        weights: dict[str, float] = Field(
            default_factory=dict, description="weight of each reward by name; 1 where none is given"
        )
        eps: float = Field(1e-4, ge=0, description="added to each standard deviation (TRL 1e-4, ms-swift 1e-8)")
        whiten: Literal["answers", "tokens", "none"] = Field(
            "answers", description="over what of the batch the sums get mean 0 and deviation 1"
        )
        group_of_one: GroupOfOne = Field("zero", description=ONE)

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        sums = [self._group(group) for group in groups]
        if self.config.whiten == "tokens":
            spread = [one_per_token(own, group.lengths_G) for own, group in zip(sums, groups, strict=True)]
            return whitened(spread, eps=WHITEN_EPS)
        every = np.concatenate(sums or [np.zeros(0)])
        if self.config.whiten == "answers" and every.size > 1:
            scale = float(every.std(ddof=1)) + self.config.eps
            sums = [(each - every.mean()) / scale for each in sums]
        return [one_each(each) for each in sums]

    def _group(self, group: GroupSignals) -> Floats:
        components = group.components
        if not components:
            raise ValueError("gdpo needs the rewards one by one, which the trainer did not provide")
        unknown = sorted(set(self.config.weights) - set(components))
        if unknown:
            known = ", ".join(components)
            raise RecipeError(f"gdpo weighs {unknown[0]!r}, which is no reward of the stage", fix=f"rewards: {known}")
        total = np.zeros_like(group.rewards_G)
        for name, values_G in components.items():
            scale = (deviation(values_G) if len(values_G) > 1 else 1.0) + self.config.eps
            told_G = centred(values_G, one=self.config.group_of_one)
            if told_G.any():
                total += self.config.weights.get(name, 1.0) * told_G / scale
        return total
