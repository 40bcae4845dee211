"""The loss of one token: the objective, weighed against the sampler, the KL penalty and the entropy bonus.

    L_t = w_t objective_t + beta KL_t - alpha H_t

w_t is the importance weight (importance.py), a number; the KL estimate is kl.py's; H_t is the entropy of the
next-token distribution, read only where alpha is not 0. The policy sums L_t by each token's share of the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .importance import WEIGHT
from .kl import divergence

if TYPE_CHECKING:
    import torch

    from r1core.components import Objective
    from r1core.nn import TokenView

    from .kl import Kl


class PolicyLoss:
    """What the policy differentiates. `kl` is None where the loss has no such term; `entropy` is alpha."""

    def __init__(self, objective: Objective, kl: Kl | None = None, entropy: float = 0.0) -> None:
        self.objective = objective
        self.kl = kl
        self.entropy = entropy
        self.reads = frozenset({*objective.reads, *(["logprob"] if kl else []), *(["entropy"] if entropy else [])})

    def __call__(self, view: TokenView) -> torch.Tensor:
        loss = self.objective(view)
        if WEIGHT in view.columns:
            loss = view.columns[WEIGHT] * loss
        if "logprob" in view.given:
            view.record("ppo_kl", view.columns["old_logprob"] - view.logprob)
        if self.kl is not None:
            old, ref = view.columns["old_logprob"], view.columns["ref_logprob"]
            penalty = divergence(self.kl.estimator, view.logprob, ref, old)
            view.record("kl", penalty)
            loss = loss + self.kl.coefficient * penalty
        if self.entropy:
            view.record("policy_entropy", view.entropy)
            loss = loss - self.entropy * view.entropy
        return loss
