"""A learned critic: a second policy with a score head, which says before each token what the answer will be worth.

    L_V = 1/2 max( (V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2 )        (PPO 1707.06347, as verl computes it)

V_old is what it said before it saw the batch, R what the estimator says that it should have said (`returns`).
A step updates it on the same share of the batch as the policy, before the policy. While it warms up the
policy waits: advantages against a critic that knows nothing are noise (VC-PPO 2503.01491).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from r1core.batching import weighted
from r1core.choices import ModelRef, Options
from r1core.components import AdvantageEstimator
from r1core.contexts import TrainContext
from r1core.schedules import LearningRate
from r1core.types import At, Floats, GroupSignals, TrainSequence

from .signals import known, of_sequences

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


class CriticOptions(Options):
    """How the critic begins and learns. Read where the estimator needs one."""

    model: ModelRef | None = Field(
        None, description="stage whose model it begins from, such as a reward model; none: where the policy begins"
    )
    lr: LearningRate = Field(LearningRate(peak=1e-5), description="its learning rate, a number or a schedule")
    clip: float | None = Field(0.5, gt=0, description="how far a value may move from the old one (c); none: freely")
    updates: int = Field(1, ge=1, description="optimizer steps of the critic for each step of the policy")
    warmup_steps: int = Field(0, ge=0, description="steps at the start in which the critic learns alone")


class ValueLoss:
    """Half the squared error of a value, the worse of the clipped and the free one. Columns: `value`, `return`."""

    reads = frozenset({"score"})

    def __init__(self, clip: float | None) -> None:
        self.clip = clip

    def __call__(self, view: TokenView) -> torch.Tensor:
        """(N,) the loss of each token."""
        old, wanted = view.columns["value"], view.columns["return"]
        error = (view.score - wanted).square()
        if self.clip is not None:
            clipped = (view.score.clamp(old - self.clip, old + self.clip) - wanted).square()
            view.record("critic/vf_clipfrac", (clipped > error).double())
            error = error.maximum(clipped)
        return error / 2


class Critic:
    """The critic of one stage at work."""

    def __init__(self, context: TrainContext, options: CriticOptions) -> None:
        self.policy = context.critic(options.model)
        self.options = options
        self.loss = ValueLoss(options.clip)

    def values(self, batch: Sequence[TrainSequence]) -> list[Floats]:
        """What it says before each token, (T,) for each sequence."""
        return self.policy.values(batch) if batch else []

    def taught(
        self, batch: Sequence[TrainSequence], shown: Sequence[GroupSignals], estimator: AdvantageEstimator
    ) -> list[TrainSequence]:
        """The sequences with what it said and should have said, `value` and `return`."""
        said = [group.critic_GT or () for group in shown]
        batch = known(batch, "value", of_sequences(shown, said))
        return known(batch, "return", of_sequences(shown, estimator.returns(shown)))

    def warming_up(self, at: At) -> bool:
        """Whether the policy waits for it."""
        return at.step < self.options.warmup_steps

    def update(self, share: Sequence[TrainSequence], at: At) -> dict[str, float]:
        """Learn from one share of the batch, under verl's metric names."""
        if not share:
            return {}
        lr = self.options.lr.at(at.position, at.length)
        batch = weighted(share, "token_mean")
        for _ in range(self.options.updates):
            report = self.policy.update(batch, self.loss, lr=lr)
        names = {"loss": "critic/vf_loss", "grad_norm": "critic/grad_norm"}
        metrics = {names.get(name, name): value for name, value in report.items()}
        return {**metrics, "critic/lr": lr, **_fit(share)}


def _fit(share: Sequence[TrainSequence]) -> dict[str, float]:
    """How good its values were before it learned from these answers."""
    values_N, returns_N = (np.concatenate([s.columns[name] for s in share]) for name in ("value", "return"))
    told = {"critic/vpred_mean": float(values_N.mean()), "critic/return_mean": float(returns_N.mean())}
    if np.ptp(returns_N):  # of returns that are all the same there is nothing to explain
        told["critic/vf_explained_var"] = 1 - float((returns_N - values_N).var() / returns_N.var())
    return told
