"""SAPO (2511.20347): a smooth gate in place of the hard clip, narrower where the advantage is negative.

    L_t = -A_t (4 / tau) sigmoid( tau (rho_t - 1) ),    tau = tau_positive where A_t > 0, else tau_negative

At rho = 1 the gradient is the policy gradient's; it fades as the policy moves away. The paper, verl and TRL
average by answer: `aggregation: sequence_mean`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from r1_plugins.objectives.ratios import bounded_log_ratios
from r1core.components import Objective

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


class Sapo(Objective):
    """The surrogate through a sigmoid gate around the old policy."""

    name = "sapo"

    class Config(Objective.Config):
        tau_positive: float = Field(1.0, gt=0, description="how fast the gate closes where the advantage is positive")
        tau_negative: float = Field(1.05, gt=0, description="and where it is not: sooner (the paper's 1.05)")

    def __call__(self, view: TokenView) -> torch.Tensor:
        advantage = view.columns["advantage"]
        ratio = bounded_log_ratios(view).exp()
        tau = advantage.new_full((len(advantage),), self.config.tau_negative)
        tau = tau.masked_fill(advantage > 0, self.config.tau_positive)
        return -advantage * (tau * (ratio - 1)).sigmoid() * 4 / tau
