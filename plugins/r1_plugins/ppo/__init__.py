"""PPO's clipped objective, and Monte-Carlo values of intermediate states in place of a critic.

    rho_t = pi(y_t) / pi_old(y_t)
    L_t   = max(-A_t rho_t, -A_t clip(rho_t, 1 - clip_low, 1 + clip_high))
            and at most -A_t dual_clip where A_t < 0 (1912.09729; optional)

    A_t   = V(s_{k+1}) - V(s_k)  for the tokens between states s_k and s_{k+1},  V(end) = r

V(s) is the mean reward of continuations sampled from s: no critic in memory, no bias from one
(VinePPO 2410.01679). R1's authors found that a critic cannot value a half-done long chain of thought
(v2, A.3); sampling from it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from r1core.components import AdvantageEstimator, Objective
from r1core.hookspecs import hookimpl
from r1core.types import Floats, GroupSignals

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView

LOG_RATIO_BOUND = 20.0  # verl clamps the log-ratio here before the exponential


class PpoClip(Objective):
    """The clipped surrogate, with its own bound on each side."""

    name = "ppo_clip"

    class Config(Objective.Config):
        clip_low: float = Field(0.2, ge=0, description="eps below: the ratio counts down to 1 - clip_low")
        clip_high: float = Field(0.28, ge=0, description="eps above (0.28: DAPO's clip-higher; the R1 paper prints 10)")
        dual_clip: float | None = Field(
            None,
            gt=1,
            description="largest ratio that counts where the advantage is negative; none: any (verl: 3)",
        )

    def __call__(self, view: TokenView) -> torch.Tensor:
        advantage = view.columns["advantage"]
        log_ratio = (view.logprob - view.columns["old_logprob"]).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.config.clip_low, 1 + self.config.clip_high)
        loss = (-advantage * ratio).maximum(-advantage * clipped)
        view.record("clip_ratio/region_mean", ((-advantage * clipped) > (-advantage * ratio)).double())
        if self.config.dual_clip is None:
            return loss
        bound: torch.Tensor = -advantage * self.config.dual_clip
        beyond = (advantage < 0) & (loss > bound)
        view.record("clip_ratio/dual_mean", beyond.double())
        return bound.where(beyond, loss)


class MonteCarlo(AdvantageEstimator):
    """How much each reasoning step changed the expected reward, measured by sampling on from before and after it."""

    name = "monte_carlo"
    scope = "batch"
    needs = frozenset({"rewards", "values"})

    class Config(AdvantageEstimator.Config):
        whiten: bool = Field(True, description="subtract the mean and divide by the standard deviation over all tokens")
        eps: float = Field(1e-8, ge=0, description="added to the variance when whitening (verl's masked_whiten)")

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        advantages = [[self._sample(group, i) for i in range(len(group.rewards_G))] for group in groups]
        if not self.config.whiten:
            return advantages
        tokens = np.concatenate([sample for group in advantages for sample in group] or [np.zeros(0)])
        if tokens.size < 2:
            return advantages
        scale = 1 / np.sqrt(tokens.var(ddof=1) + self.config.eps)
        return [[(sample - tokens.mean()) * scale for sample in group] for group in advantages]

    @staticmethod
    def _sample(group: GroupSignals, index: int) -> Floats:
        if group.states_GK is None or group.values_GK is None:
            raise ValueError("monte_carlo needs values, which the trainer did not provide")
        states_K, values_K = group.states_GK[index], group.values_GK[index]
        after_K = np.append(values_K[1:], group.rewards_G[index])
        length = int(group.lengths_G[index])
        sizes_K = np.diff(np.append(states_K, length))
        return np.repeat(after_K - values_K, sizes_K)


@hookimpl
def r1_objectives() -> Iterable[type[Objective]]:
    return [PpoClip]


@hookimpl
def r1_advantages() -> Iterable[type[AdvantageEstimator]]:
    return [MonteCarlo]
