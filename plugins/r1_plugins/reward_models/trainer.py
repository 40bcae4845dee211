"""Trains a score model on answers that something has scored: pairs of them (helpful), or each for itself (safe).

The losses couple sequences, a policy's update does not: so the scores of a batch are computed first, without
gradients, then the slope of the batch's loss in each score, which `update` takes as the weight of that score.
At the last step the held-out part is measured: `eval/pair_accuracy` or `eval/auc`, for a gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from r1_plugins.reward_models.dataset import dataset
from r1_plugins.reward_models.examples import Example
from r1_plugins.reward_models.objective import Slope, accuracy, auc, logistic
from r1_plugins.reward_models.text import Sees
from r1core.choices import ProblemFields
from r1core.components import Policy, Trainer
from r1core.contexts import TrainContext
from r1core.schedules import LearningRate
from r1core.types import Floats, Head, Step, TrainSequence

PAIRS = ("margin", "pairs_per_problem")
"""The options that only pairs have."""


class RewardModelTrainer(Trainer):
    """A language model learns to score answers: Bradley-Terry on pairs, or cross-entropy on labelled answers."""

    name = "reward_model"
    extra = "train"
    head: ClassVar[Head] = "score"

    class Config(Trainer.Config):
        """What is compared, what of an answer is seen, and how it is learned."""

        objective: Literal["pairwise", "pointwise"] = Field(
            "pairwise", description="better than another answer to the problem, or good (score of 0.5 and more) or bad"
        )
        sees: Sees = Field("answer", description="what it is shown: the final answer, or all that was written")
        lr: LearningRate = Field(LearningRate(peak=6e-6), description="learning rate, a number or a schedule")
        epochs: int = Field(1, ge=1, description="passes over the data")
        batch: int = Field(256, ge=1, description="pairs, or answers, of one optimizer step at most")
        only: ProblemFields = Field(
            default_factory=dict, description="problem fields of the answers it learns from, such as {domain: general}"
        )
        margin: float = Field(0.0, ge=0, description="scores of a pair differ by more than this")
        pairs_per_problem: int = Field(1, ge=1, description="pairs of one problem at most, best against worst first")
        held_out: float = Field(0.1, ge=0, lt=1, description="share of the questions that are measured on, not learned")

        @model_validator(mode="after")
        def _pairs_alone(self) -> RewardModelTrainer.Config:
            fields = type(self).model_fields
            given = [name for name in PAIRS if getattr(self, name) != fields[name].default]
            if self.objective == "pointwise" and given:
                raise ValueError(f"pointwise has no pairs: take {' and '.join(given)} out")
            return self

    config: Config

    @property
    def reads(self) -> frozenset[str]:
        """Scored answers."""
        return frozenset({"data"})

    @property
    def measures(self) -> frozenset[str]:
        """How well it ranks what was held out, and how much that is."""
        names = {"pairwise": ("pair_accuracy", "pairs"), "pointwise": ("auc", "answers")}[self.config.objective]
        return frozenset(f"eval/{name}" for name in names) if self.config.held_out else frozenset()

    def update_tokens(self, length: int) -> int:
        """A pair is two sequences."""
        return self.config.batch * (2 if self.config.objective == "pairwise" else 1) * length

    def run(self, context: TrainContext) -> Iterator[Step]:
        """One step for each batch; the counts of the data come with the first."""
        data = dataset(context, self.config)
        batches = self._batches(context, data.learned)
        for at in context.steps(len(batches)):
            batch = batches[at.position * len(batches) // at.length]
            metrics = _step(context.policy, batch, self.config.lr.at(at.position, at.length))
            metrics |= data.told if at.step == 0 else {}
            if data.held_out and at.position == at.length - 1:
                metrics |= self._measured(context.policy, data.held_out)
            yield Step(metrics=metrics)

    def _batches(self, context: TrainContext, examples: Sequence[Example]) -> list[list[Example]]:
        """All batches of all epochs, of like sizes, in an order of each epoch's own."""
        count = -(-len(examples) // self.config.batch)
        orders = [
            np.random.default_rng(context.key("batches", epoch)).permutation(len(examples))
            for epoch in range(self.config.epochs)
        ]
        return [[examples[i] for i in part] for order in orders for part in np.array_split(order, count)]

    def _measured(self, policy: Policy, examples: Sequence[Example]) -> dict[str, float]:
        logits_N, labels_N = _logits(policy, examples), _labels(examples)
        if self.config.objective == "pairwise":
            return {"eval/pair_accuracy": accuracy(logits_N, labels_N), "eval/pairs": float(len(examples))}
        return {"eval/auc": auc(logits_N, labels_N), "eval/answers": float(len(examples))}


def _step(policy: Policy, batch: Sequence[Example], lr: float) -> dict[str, float]:
    """One update on the batch's loss."""
    logits_N, labels_N = _logits(policy, batch), _labels(batch)
    loss, slopes_N = logistic(logits_N, labels_N)
    sequences = [
        replace(sequence, columns={"weight": np.array([sign * slope])})
        for example, slope in zip(batch, slopes_N, strict=True)
        for sequence, sign in zip(example.sequences, example.signs, strict=True)
    ]
    metrics = policy.update(sequences, Slope(), lr=lr)
    return {
        **metrics,
        "loss": loss,
        "accuracy": accuracy(logits_N, labels_N),
        "learning_rate": lr,
        "num_tokens": float(sum(sequence.start for sequence in sequences)),
    }


def _logits(policy: Policy, examples: Sequence[Example]) -> Floats:
    """(N,) the signed sum of each example's scores."""
    sequences: list[TrainSequence] = [sequence for example in examples for sequence in example.sequences]
    scores = iter(policy.values(sequences))
    return np.array([sum(sign * float(next(scores)[0]) for sign in example.signs) for example in examples])


def _labels(examples: Sequence[Example]) -> Floats:
    return np.array([example.label for example in examples])
