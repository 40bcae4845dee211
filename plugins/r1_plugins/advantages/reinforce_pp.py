"""REINFORCE++ (2501.03262): no baseline of a problem's own, but advantages whitened over the whole batch.

    reinforce_pp            A_t = whiten( sum_{s >= t} gamma^(s - t) r_s )
    reinforce_pp_baseline   A_t = whiten( r - mean_g )

r_s is the token's share of the reward: the penalty for leaving the reference policy, where the recipe has it in
the reward, and all the rest at the last token. whiten(x) = (x - mean) / sqrt(var + eps) over all tokens of the
batch, the divisor of var being N - ddof: 1 in verl, 0 in OpenRLHF. A batch without any spread is worth 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from r1_plugins.advantages.arithmetic import ONE, GroupOfOne, centred, one_per_token, to_go, whitened
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals

DDOF = "what is taken off the count of tokens in the variance"


class ReinforcePp(AdvantageEstimator):
    """The reward, discounted towards the start of the answer, whitened over the batch's tokens."""

    name = "reinforce_pp"
    scope = "batch"

    class Config(AdvantageEstimator.Config):
        gamma: float = Field(1.0, gt=0, le=1, description="discount for each token before the last")
        eps: float = Field(1e-8, ge=0, description="added to the variance when whitening")
        ddof: Literal[0, 1] = Field(1, description=DDOF)

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        returns = [[to_go(each, self.config.gamma) for each in group.token_rewards_GT()] for group in groups]
        return whitened(returns, eps=self.config.eps, ddof=self.config.ddof)


class ReinforcePpBaseline(AdvantageEstimator):
    """The reward against its group's mean, whitened over the batch's tokens."""

    name = "reinforce_pp_baseline"
    scope = "batch"

    class Config(AdvantageEstimator.Config):
        eps: float = Field(1e-8, ge=0, description="added to the variance when whitening")
        ddof: Literal[0, 1] = Field(1, description=DDOF)
        group_of_one: GroupOfOne = Field("zero", description=ONE)

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        spread = [one_per_token(self._centred(group.rewards_G), group.lengths_G) for group in groups]
        return whitened(spread, eps=self.config.eps, ddof=self.config.ddof)

    def _centred(self, rewards_G: Floats) -> Floats:
        return centred(rewards_G, one=self.config.group_of_one)
