"""The penalty for leaving the reference policy: by which estimate, and in the loss or in the reward.

With d = log pi_ref - log pi of a sampled token (Schulman's estimators, joschu.net/blog/kl-approx.html):

    k1 = -d        k2 = d^2 / 2        k3 = e^d - d - 1        k3_corrected = k3 rho,  rho = pi / pi_old

All four estimate KL(pi || pi_ref) by value. What is differentiated is another matter: k2 and k3_corrected have
the gradient of that KL, plain k3 has another's, and k1's is 0 in expectation, so that it holds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from r1core.choices import Options
from r1core.types import Floats, TrainSequence

if TYPE_CHECKING:
    import torch

Estimator: TypeAlias = Literal["k1", "k2", "k3", "k3_corrected"]

LOG_RATIO_BOUND = 20.0
"""As verl: e^20 is finite in float32, its square is not needed."""


class Kl(Options):
    """The penalty for leaving the reference policy."""

    coefficient: float = Field(0.0, ge=0, description="beta; 0: no reference policy is kept")
    placement: Literal["loss", "reward"] = Field(
        "loss", description="loss: differentiated; reward: each token's is taken off its reward before the estimator"
    )
    estimator: Estimator = Field(
        "k3_corrected",
        description="k1: -d; k2: d^2/2; k3: e^d - d - 1; k3_corrected: that times the ratio, whose gradient is k2's. "
        "d = log(ref/pi). In the reward k1 where none is given",
    )
    refresh_every: int | None = Field(None, ge=1, description="steps after which the policy becomes the reference")

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, options: Any) -> Any:
        if isinstance(options, dict) and options.get("placement") == "reward":
            return {"estimator": "k1", **options}
        return options

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.placement == "loss" and self.estimator == "k1":
            raise ValueError(
                "k1 in the loss has a gradient of 0 in expectation and holds nothing: set estimator: k3_corrected or "
                "k2, or placement: reward"
            )
        if self.placement == "reward" and self.estimator == "k3_corrected":
            raise ValueError(
                "k3_corrected corrects a gradient, and the reward has none: set estimator: k1, k2 or k3 with "
                "placement: reward"
            )
        return self

    @property
    def in_loss(self) -> bool:
        """Whether the loss has a term for it."""
        return self.coefficient > 0 and self.placement == "loss"

    @property
    def in_reward(self) -> bool:
        """Whether rewards are lowered by it."""
        return self.coefficient > 0 and self.placement == "reward"

    def penalties(self, batch: Sequence[TrainSequence]) -> list[Floats]:
        """beta times the estimate at each token, (T,) for each sequence: the columns `old_logprob`, `ref_logprob`."""
        return [self.coefficient * self._values(sequence) for sequence in batch]

    def charged(self, batch: Sequence[TrainSequence]) -> dict[str, float]:
        """The mean estimate over the batch's tokens, where the reward is lowered by it."""
        if not (self.in_reward and batch):
            return {}
        return {"kl": float(np.concatenate([self._values(sequence) for sequence in batch]).mean())}

    def _values(self, sequence: TrainSequence) -> Floats:
        d = np.clip(
            sequence.columns["ref_logprob"] - sequence.columns["old_logprob"], -LOG_RATIO_BOUND, LOG_RATIO_BOUND
        )
        return -d if self.estimator == "k1" else np.square(d) / 2 if self.estimator == "k2" else np.exp(d) - d - 1


def divergence(
    estimator: Estimator, logprob: torch.Tensor, ref_logprob: torch.Tensor, old_logprob: torch.Tensor
) -> torch.Tensor:
    """(N,) what the loss differentiates."""
    d = (ref_logprob - logprob).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    if estimator == "k2":
        return d.square() / 2
    k3 = d.exp() - d - 1
    return k3 if estimator == "k3" else k3 * (logprob - old_logprob).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
