"""Dr.GRPO (2503.20783, section 3.1): GRPO without the division that makes easy and hard questions weigh more.

    A_i = r_i - mean_g

A group of one is worth 0 (an option: its reward). Its other half, a constant divisor in place of each
answer's length, is the trainer's `aggregation: constant`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from r1_plugins.advantages.arithmetic import ONE, GroupOfOne, centred, one_each
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class DrGrpo(AdvantageEstimator):
    """The reward against its group's mean, undivided."""

    name = "dr_grpo"

    class Config(AdvantageEstimator.Config):
        group_of_one: GroupOfOne = Field("zero", description=ONE)

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [one_each(centred(group.rewards_G, one=self.config.group_of_one)) for group in groups]
