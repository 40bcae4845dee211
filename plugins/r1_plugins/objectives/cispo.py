"""CISPO (MiniMax-M1, 2506.13585): the weight is clipped, not the loss, so that no token loses its gradient.

    L_t = -sg( clip(rho_t, 1 - clip_low, 1 + clip_high) ) A_t log pi(y_t)      two-sided, as verl
    L_t = -sg( min(rho_t, cap) ) A_t log pi(y_t)                               one-sided, with `cap`, as TRL

The paper leaves the lower bound out and does not print the upper one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from r1_plugins.objectives.ratios import bounded_log_ratios
from r1core.components import Objective

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


class Cispo(Objective):
    """REINFORCE with a clipped importance weight that carries no gradient."""

    name = "cispo"

    class Config(Objective.Config):
        clip_low: float = Field(0.2, ge=0, description="eps below: a token weighs at least 1 - clip_low")
        clip_high: float = Field(0.28, ge=0, description="eps above: a token weighs at most 1 + clip_high")
        cap: float | None = Field(
            None,
            gt=0,
            description="most that a token weighs, in place of both bounds (5: ScaleRL 2510.13786)",
        )

    def __call__(self, view: TokenView) -> torch.Tensor:
        ratio = bounded_log_ratios(view).exp().detach()
        if self.config.cap is not None:
            weight = ratio.clamp(max=self.config.cap)
        else:
            weight = ratio.clamp(1 - self.config.clip_low, 1 + self.config.clip_high)
        view.record("clip_ratio/region_mean", (weight != ratio).double())
        return -weight * view.columns["advantage"] * view.logprob
