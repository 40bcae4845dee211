"""OPO (2505.23585): the baseline of least variance, under the assumption that a gradient grows with its length.

    A_i = r_i - b,    b = sum_i T_i r_i / sum_i T_i

On-policy, without a standard deviation. A group of one, and one of empty answers, is worth 0 (the first an
option: its reward).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from r1_plugins.advantages.arithmetic import ONE, GroupOfOne, centred, one_each
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class Opo(AdvantageEstimator):
    """The reward against the group's mean weighted by length."""

    name = "opo"

    class Config(AdvantageEstimator.Config):
        group_of_one: GroupOfOne = Field("zero", description=ONE)

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [one_each(self._group(group)) for group in groups]

    def _group(self, group: GroupSignals) -> Floats:
        if not group.lengths_G.sum():
            return np.zeros_like(group.rewards_G)
        baseline = float(np.average(group.rewards_G, weights=group.lengths_G))
        return centred(group.rewards_G, baseline, one=self.config.group_of_one)
