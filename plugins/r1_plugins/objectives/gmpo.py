"""GMPO (2507.20673): the geometric mean of an answer's clipped ratios, which one outlying token cannot move far.

    m_t = log rho_t, clipped to [-clip_low, clip_high] only where that makes the objective worse (as PPO's minimum)
    L   = -A exp( mean_t m_t )        the same for every token of the answer; A the mean of its advantages

One number for each answer: the paper and verl average by answer (`aggregation: sequence_mean`), and the
advantage should be the answer's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from r1_plugins.objectives.ratios import LOG_RATIO_BOUND, answer_means, log_ratios
from r1core.components import Objective

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


class Gmpo(Objective):
    """The surrogate of an answer's geometric-mean ratio, each token's log-ratio clipped."""

    name = "gmpo"

    class Config(Objective.Config):
        clip_low: float = Field(0.4, ge=0, description="bound below, on the log-ratio (0.4: the paper's, e^-0.4)")
        clip_high: float = Field(0.4, ge=0, description="bound above, on the log-ratio")

    def __call__(self, view: TokenView) -> torch.Tensor:
        advantage, log_ratio = view.columns["advantage"], log_ratios(view)
        sign = advantage.sign()
        clipped = log_ratio.clamp(-self.config.clip_low, self.config.clip_high)
        worse = sign * (sign * log_ratio).minimum(sign * clipped)
        view.record("clip_ratio/region_mean", ((worse != log_ratio) & (sign != 0)).double())
        ratio = answer_means(worse, view).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
        return -answer_means(advantage, view) * ratio
