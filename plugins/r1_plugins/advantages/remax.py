"""ReMax (2310.10505): the baseline of a problem is what one greedy answer to it is worth.

    A_t = sum_{s >= t} r_s - r(greedy)

r_s is the token's share of the reward, so that without a penalty for leaving the reference policy in the
reward all tokens of an answer have A = r - r(greedy). One more answer for each problem, and no group is
needed: it works with samples: 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.advantages.arithmetic import to_go
from r1core.components import AdvantageEstimator
from r1core.types import Floats, GroupSignals


class Remax(AdvantageEstimator):
    """The reward against that of the greedy answer."""

    name = "remax"
    needs = frozenset({"rewards", "greedy"})

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [self._group(group) for group in groups]

    def _group(self, group: GroupSignals) -> list[Floats]:
        if group.greedy is None:
            raise ValueError("remax needs the greedy answer's reward, which the trainer did not provide")
        return [to_go(rewards_T, 1.0) - group.greedy for rewards_T in group.token_rewards_GT()]
