"""The plain policy gradient (REINFORCE, Williams 1992), without a ratio and without a clip.

    L_t = -A_t log pi(y_t)

What was sampled with older weights is not corrected for: meant for `updates_per_rollout: 1`. GPG (2504.02546),
RLOO, ReMax and OPO are this with an estimator of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1core.components import Objective

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


class PolicyGradient(Objective):
    """The advantage times the log-probability."""

    name = "policy_gradient"

    def __call__(self, view: TokenView) -> torch.Tensor:
        return -view.columns["advantage"] * view.logprob
