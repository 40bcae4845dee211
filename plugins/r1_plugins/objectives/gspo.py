"""GSPO (2507.18071): the ratio and its clip belong to the whole answer, as the reward does.

    s   = exp( mean_t log rho_t )
    L_t = max( -A_t s_t, -A_t clip(s_t, 1 - clip_low, 1 + clip_high) ),    s_t = sg(s) pi(y_t) / sg(pi(y_t))

Written by token (the paper's GSPO-token), which has the same value and gradient where all tokens of an
answer share an advantage, and takes one for each token, too. The bounds are far smaller than PPO's, the
mean's spread being so. The paper averages by answer: `aggregation: sequence_mean` (verl 0.9.1: all tokens).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from r1_plugins.objectives.ratios import answer_means, log_ratios
from r1core.components import Objective

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView

HIGHEST_LOG_RATIO = 10.0
"""As verl; far beyond any clip."""


class Gspo(Objective):
    """The clipped surrogate with one ratio for each answer, the geometric mean of its tokens'."""

    name = "gspo"

    class Config(Objective.Config):
        clip_low: float = Field(3e-4, ge=0, description="eps below: an answer's ratio counts down to 1 - clip_low")
        clip_high: float = Field(4e-4, ge=0, description="eps above (3e-4 and 4e-4: the paper's section 5.1)")

    def __call__(self, view: TokenView) -> torch.Tensor:
        advantage, logprob = view.columns["advantage"], view.logprob
        log_ratio = logprob - logprob.detach() + answer_means(log_ratios(view), view).detach()
        ratio = log_ratio.clamp(max=HIGHEST_LOG_RATIO).exp()
        free = -advantage * ratio
        clipped = -advantage * ratio.clamp(1 - self.config.clip_low, 1 + self.config.clip_high)
        view.record("clip_ratio/region_mean", (clipped > free).double())
        return free.maximum(clipped)
