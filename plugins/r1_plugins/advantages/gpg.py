"""GPG (2504.02546, eq. 6): a plain policy gradient whose size does not shrink with the groups that say nothing.

    A_i = alpha (r_i - mean_g) / f_norm,    alpha = groups / groups with a signal

The paper counts groups whose rewards differ; verl counts rewards that are not 0, over answers, which is
another number. `alpha` chooses. A group of one is worth 0 (an option: alpha times its reward).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from r1_plugins.advantages.arithmetic import ONE, GroupOfOne, centred, one_each
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class Gpg(AdvantageEstimator):
    """The reward against its group's mean, scaled up by the share of groups that are learned from."""

    name = "gpg"
    scope = "batch"

    class Config(AdvantageEstimator.Config):
        alpha: Literal["groups", "rewards"] = Field(
            "groups", description="groups: all over those whose rewards differ (paper); rewards: all over non-zero ones"
        )
        group_of_one: GroupOfOne = Field("zero", description=ONE)
        f_norm: float = Field(1.0, gt=0, description="divisor of all advantages (paper: 1, or a standard deviation)")

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        alpha = self._alpha(groups)
        return [one_each(self._centred(group.rewards_G) * alpha / self.config.f_norm) for group in groups]

    def _centred(self, rewards_G: Floats) -> Floats:
        return centred(rewards_G, one=self.config.group_of_one)

    def _alpha(self, groups: Sequence[GroupSignals]) -> float:
        if self.config.alpha == "groups":
            every, telling = len(groups), sum(bool(self._centred(group.rewards_G).any()) for group in groups)
        else:
            every = sum(len(group.rewards_G) for group in groups)
            telling = sum(int(np.count_nonzero(group.rewards_G)) for group in groups)
        return every / telling if telling else 0.0
