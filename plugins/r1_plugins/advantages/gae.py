"""Generalized advantage estimation with a learned critic (1506.02438; PPO 1707.06347).

    delta_t = r_t + gamma V_{t+1} - V_t        V after the last token is 0
    A_t     = delta_t + gamma lam A_{t+1}
    R_t     = A_t + V_t                        what the critic learns, with lambda `critic_lam` (VAPO 2504.05118)

then A is whitened over all tokens of the batch, (x - mean) / sqrt(var + eps) with divisor N - 1. r_t is the
token's share of the reward: minus its penalty for leaving the reference policy, where the recipe has that in
the reward, and the answer's score at its last token. Only answer tokens are ever counted, so there is nothing
to mask: verl's whitening leaves a constant on padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from r1_plugins.advantages.arithmetic import to_go, whitened
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class Gae(AdvantageEstimator):
    """How much better each token was than the critic expected, with what followed, discounted by lambda."""

    name = "gae"
    scope = "batch"
    needs = frozenset({"rewards", "critic"})

    class Config(AdvantageEstimator.Config):
        gamma: float = Field(1.0, gt=0, le=1, description="discount for each token")
        lam: float = Field(
            1.0, ge=0, le=1, description="0: trust the critic one token ahead; 1: trust the reward alone"
        )
        critic_lam: float | None = Field(
            None, ge=0, le=1, description="lambda of what the critic learns; none: `lam` (VAPO: 1, beside lam 0.95)"
        )
        whiten: bool = Field(True, description="subtract the mean and divide by the standard deviation over all tokens")
        eps: float = Field(1e-8, ge=0, description="added to the variance when whitening")

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        advantages = [self._group(group, self.config.lam) for group in groups]
        return whitened(advantages, eps=self.config.eps) if self.config.whiten else advantages

    def returns(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        lam = self.config.lam if self.config.critic_lam is None else self.config.critic_lam
        return [
            [a + v for a, v in zip(self._group(group, lam), group.critic_GT or (), strict=True)] for group in groups
        ]

    def _group(self, group: GroupSignals, lam: float) -> list[Floats]:
        if group.critic_GT is None:
            raise ValueError("gae needs a critic's values, which the trainer did not provide")
        gamma = self.config.gamma
        found = []
        for rewards_T, values_T in zip(group.token_rewards_GT(), group.critic_GT, strict=True):
            deltas_T = rewards_T + gamma * np.append(values_T, 0.0)[1:] - values_T
            found.append(to_go(deltas_T, gamma * lam))
        return found
