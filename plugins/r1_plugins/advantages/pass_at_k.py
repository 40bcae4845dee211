"""Pass@k (verl's estimator): only the best answer of a group is learned from, by what it adds to the second best.

    A_best = (r_1st - r_2nd) / (std_g + eps),    all others 0

With two best answers, or one answer, nothing is worth anything: r_1st = r_2nd.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from r1_plugins.advantages.arithmetic import deviation, one_each
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class PassAtK(AdvantageEstimator):
    """The best answer against the second best of its group."""

    name = "pass_at_k"

    class Config(AdvantageEstimator.Config):
        normalize_std: bool = Field(True, description="divide by the group's standard deviation")
        eps: float = Field(1e-6, ge=0, description="added to the standard deviation")

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [one_each(self._group(group.rewards_G)) for group in groups]

    def _group(self, rewards_G: Floats) -> Floats:
        advantages_G = np.zeros_like(rewards_G)
        if len(rewards_G) < 2 or np.ptp(rewards_G) == 0:
            return advantages_G
        second, first = np.partition(rewards_G, -2)[-2:]
        scale = deviation(rewards_G) + self.config.eps if self.config.normalize_std else 1.0
        advantages_G[rewards_G.argmax()] = (first - second) / scale
        return advantages_G
