"""The options of `rl`: one key for each thing that an ablation may want to change alone.

What is laid where: the recipe's options over its preset's (presets.py), over the conventions of `numerics`
(numerics.py), over the defaults here. What cannot go together is refused with the plan (contradictions.py).
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from r1core.batching import Aggregation
from r1core.choices import Options, Use, UseAdvantage, UseFilter, UseObjective
from r1core.components import Trainer
from r1core.schedules import LearningRate

from .contradictions import contradictions
from .critic import CriticOptions
from .importance import Importance
from .kl import Kl
from .numerics import Numerics, with_conventions
from .refill import Refill
from .values import MonteCarloStates


class Entropy(Options):
    """The bonus for staying undecided."""

    coefficient: float = Field(0.0, ge=0, description="alpha, times the mean entropy (nats) of the next-token choices")


class RlConfig(Trainer.Config):
    """What is sampled, what it is worth, what is learned from it."""

    steps: int = Field(100, ge=1, description="optimizer steps")
    prompts: int = Field(16, ge=1, description="problems in a rollout batch")
    samples: int = Field(16, ge=1, description="answers to each problem (G)")
    updates_per_rollout: int = Field(1, ge=1, description="optimizer steps on one rollout batch (the paper: 16)")
    lr: LearningRate = Field(LearningRate(peak=1e-6), description="learning rate, a number or a schedule")
    advantage: UseAdvantage = Field(Use(use="grpo"), description="advantage estimator")
    objective: UseObjective = Field(Use(use="ppo_clip"), description="per-token policy loss")
    aggregation: Aggregation = Field("token_mean", description="how token losses become one number")
    longest: int = Field(1024, ge=1, description="the divisor of `aggregation: constant`, tokens")
    numerics: Numerics | None = Field(
        None,
        description="whose conventions where nothing else is said (eps, divisors, dual clip, bounds, KL in the loss); "
        "none: verl's without its dual clip, a group of one worth 0, a KL of the right gradient",
    )
    kl: Kl = Field(Kl(), description="penalty for leaving the reference policy")
    entropy: Entropy = Field(Entropy(), description="bonus for staying undecided")
    importance: Importance = Field(Importance(), description="correcting for the gap between sampler and policy")
    filters: list[UseFilter] = Field(default_factory=list, description="which groups and answers are learned from")
    refill: Refill = Field(Refill(), description="more sampling where the filters left a batch short")
    states: MonteCarloStates = Field(MonteCarloStates(), description="where Monte-Carlo values are taken")
    critic: CriticOptions = Field(CriticOptions(), description="how a critic learns, where the estimator needs one")
    old_logprobs: Literal["sampler", "policy"] = Field(
        "policy", description="whose log-probs are pi_old: the sampler's own, or computed again by the policy"
    )
    shuffle_rewards: bool = Field(
        False, description="control: give each reward to another answer of the batch, drawn at random"
    )

    @model_validator(mode="before")
    @classmethod
    def _conventions(cls, options: Any) -> Any:
        defaults = {name: cls.model_fields[name].default.use for name in ("advantage", "objective")}
        return with_conventions(options, defaults) if isinstance(options, dict) else options

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if wrong := list(contradictions(self)):
            raise ValueError("; ".join(wrong))
        return self
