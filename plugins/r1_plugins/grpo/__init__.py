"""Group relative policy optimization: the group is the baseline (DeepSeekMath 2402.03300; DeepSeek-R1 v2, 2.1).

    A_i = (r_i - mean(r_1..r_G)) / (std(r_1..r_G) + eps)

The papers give neither the divisor of the standard deviation nor eps; G - 1 and 1e-6 are verl's. A group of
one is worth 0 (an option: its reward, as in verl).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from r1core.components import AdvantageEstimator, DataFilter
from r1core.hookspecs import hookimpl
from r1core.types import Floats, Group, GroupSignals, Verdict


class Grpo(AdvantageEstimator):
    """The reward against its group's mean, in units of the group's standard deviation."""

    name = "grpo"

    class Config(AdvantageEstimator.Config):
        normalize_std: bool = Field(True, description="divide by the group's standard deviation (off: Dr.GRPO)")
        eps: float = Field(1e-6, ge=0, description="added to the standard deviation (verl 1e-6, TRL 1e-4)")
        group_of_one: Literal["zero", "reward"] = Field(
            "zero", description="what the only answer of a problem is worth: zero, or its reward over 1 + eps (verl)"
        )

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [self._group(group.rewards_G) for group in groups]

    def _group(self, rewards_G: Floats) -> list[Floats]:
        if len(rewards_G) == 1 and self.config.group_of_one == "reward":
            return [rewards_G / (1 + self.config.eps if self.config.normalize_std else 1)]
        if np.ptp(rewards_G) == 0:  # rounding of the mean would leave a trace, and a division make it large
            return list(np.zeros((len(rewards_G), 1)))
        advantages_G = rewards_G - rewards_G.mean()
        if self.config.normalize_std and len(rewards_G) > 1:
            advantages_G = advantages_G / (rewards_G.std(ddof=1) + self.config.eps)
        return list(advantages_G[:, None])


class ZeroVariance(DataFilter):
    """Drop groups whose answers are all worth the same: they carry no gradient (DAPO 2503.14476, dynamic sampling)."""

    name = "zero_variance"

    class Config(DataFilter.Config):
        tolerance: float = Field(1e-9, ge=0, description="largest spread that counts as none")

    @property
    def needs(self) -> frozenset[str]:
        """Scores: their spread decides."""
        return frozenset({"scores"})

    def judge(self, group: Group) -> list[Verdict]:
        known = [score.value for score in group.scores if score.known]
        flat = not known or float(np.ptp(known)) <= self.config.tolerance
        return [Verdict(keep=not flat, reason="zero_variance" if flat else "")] * len(group.rollouts)


@hookimpl
def r1_advantages() -> Iterable[type[AdvantageEstimator]]:
    return [Grpo]


@hookimpl
def r1_filters() -> Iterable[type[DataFilter]]:
    return [ZeroVariance]
