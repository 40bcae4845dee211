"""The loss of one token: the objective, plus beta times a KL estimate against the reference policy.

With d = log pi_ref - log pi: k2 = d^2 / 2 and k3 = e^d - d - 1 (Schulman's estimators). Plain k3 in
the loss has the gradient of the *other* KL direction; times the ratio it has k2's, which is right, so
that is what is differentiated. k1 has no expected gradient at all in a loss and is not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from r1core.components import Objective
    from r1core.nn import TokenView

LOG_RATIO_BOUND = 20.0  # as verl: e^20 is finite in float32, its square is not needed


class PolicyLoss:
    """objective + coefficient * KL(pi || pi_ref)."""

    def __init__(self, objective: Objective, coefficient: float, estimator: Literal["k2", "k3"]) -> None:
        self.objective = objective
        self.coefficient = coefficient
        self.estimator = estimator
        self.reads = frozenset(objective.reads)

    def __call__(self, view: TokenView) -> torch.Tensor:
        loss = self.objective(view)
        if not self.coefficient:
            return loss
        distance = (view.columns["ref_logprob"] - view.logprob).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
        if self.estimator == "k2":
            penalty = distance.square() / 2
        else:
            log_ratio = (view.logprob - view.columns["old_logprob"]).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
            penalty = (distance.exp() - distance - 1) * log_ratio.exp()
        view.record("kl", penalty)
        return loss + self.coefficient * penalty
