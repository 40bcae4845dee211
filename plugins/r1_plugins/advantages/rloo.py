"""RLOO, REINFORCE leave-one-out (2402.14740; Kool et al. 2019): an unbiased baseline from the group itself.

    A_i = r_i - mean of the others = (r_i - mean_g) G / (G - 1)

A group of one has no others and is worth 0 (an option: its reward).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from r1_plugins.advantages.arithmetic import ONE, GroupOfOne, centred, one_each
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class Rloo(AdvantageEstimator):
    """The reward against the mean of the group's other answers."""

    name = "rloo"

    class Config(AdvantageEstimator.Config):
        group_of_one: GroupOfOne = Field("zero", description=ONE)

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [one_each(self._group(group.rewards_G)) for group in groups]

    def _group(self, rewards_G: Floats) -> Floats:
        others = max(len(rewards_G) - 1, 1)
        return centred(rewards_G, one=self.config.group_of_one) * len(rewards_G) / others
