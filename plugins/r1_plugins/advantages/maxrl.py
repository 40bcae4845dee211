"""MaxRL (2602.02710): the gradient of log pass rate instead of pass rate, so hard problems weigh 1 / p.

    A_i = (r_i - mean_g) / mean_g

Meant for rewards in 0..1: a group without any success is worth 0, and so are a group of one and one
whose mean is not positive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from r1_plugins.advantages.arithmetic import centred, one_each
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class MaxRl(AdvantageEstimator):
    """The reward against its group's mean, in units of that mean."""

    name = "maxrl"

    class Config(AdvantageEstimator.Config):
        eps: float = Field(1e-6, ge=0, description="added to the mean; a mean up to this is no success")

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [one_each(self._group(group.rewards_G)) for group in groups]

    def _group(self, rewards_G: Floats) -> Floats:
        mean = float(rewards_G.mean())
        if mean <= self.config.eps:
            return np.zeros_like(rewards_G)
        advantages_G: Floats = centred(rewards_G) / (mean + self.config.eps)
        return advantages_G
