"""Reinforcement learning with verifiable rewards: the loop that makes R1-Zero.

    repeat for every rollout batch:
        sample G answers to each of P problems with the present policy, and score them
        drop what the filters reject; estimate advantages
        for each of `updates_per_rollout` shares of the batch:
            one optimizer step on   sum_t w_t ( objective_t + beta KL_t )

Estimator, objective, aggregation, KL and filters are separate keys, so that an ablation changes one
thing; `grpo` and `ppo_mc` are presets of them (`r1 explain grpo`). Only the order of things is here:
what the numbers are is in signals.py, values.py, loss.py and metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from r1core.batching import Aggregation, weighted
from r1core.choices import Options, Use, UseAdvantage, UseFilter, UseObjective
from r1core.components import DataFilter, Policy, TrainContext, Trainer
from r1core.errors import RecipeError
from r1core.hookspecs import hookimpl
from r1core.schedules import LearningRate
from r1core.types import At, Group, Step, TrainSequence

from .metrics import nothing_learned, rollout_metrics, shown
from .presets import PRESETS
from .signals import known, sequences, shuffled
from .values import MonteCarloStates, valued

if TYPE_CHECKING:
    from .loss import PolicyLoss


class Kl(Options):
    """The penalty for leaving the reference policy."""

    coefficient: float = Field(0.0, ge=0, description="beta; 0: no reference policy is kept")
    estimator: Literal["k2", "k3"] = Field(
        "k3", description="k2: d^2/2; k3: (e^d - d - 1) times the ratio, whose gradient is k2's. d = log(ref/pi)"
    )
    refresh_every: int | None = Field(None, ge=1, description="steps after which the policy becomes the reference")


class Rl(Trainer):
    """Policy-gradient training on scored rollouts. Presets: grpo, ppo_mc."""

    name = "rl"
    presets = PRESETS

    class Config(Trainer.Config):
        steps: int = Field(100, ge=1, description="optimizer steps")
        prompts: int = Field(16, ge=1, description="problems in a rollout batch")
        samples: int = Field(16, ge=1, description="answers to each problem (G)")
        updates_per_rollout: int = Field(1, ge=1, description="optimizer steps on one rollout batch (the paper: 16)")
        lr: LearningRate = Field(LearningRate(peak=1e-6), description="learning rate, a number or a schedule")
        advantage: UseAdvantage = Field(Use(use="grpo"), description="advantage estimator")
        objective: UseObjective = Field(Use(use="ppo_clip"), description="per-token policy loss")
        aggregation: Aggregation = Field("token_mean", description="how token losses become one number")
        longest: int = Field(1024, ge=1, description="the divisor of `aggregation: constant`, tokens")
        kl: Kl = Field(Kl(), description="penalty for leaving the reference policy")
        filters: list[UseFilter] = Field(default_factory=list, description="which groups and answers are learned from")
        states: MonteCarloStates = Field(MonteCarloStates(), description="where Monte-Carlo values are taken")
        old_logprobs: Literal["sampler", "policy"] = Field(
            "policy", description="whose log-probs are pi_old: the sampler's own, or computed again by the policy"
        )
        shuffle_rewards: bool = Field(
            False, description="control: give each reward to another answer of the batch, drawn at random"
        )

    config: Config

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"problems", "rewards"})

    @property
    def planned_steps(self) -> int:
        return self.config.steps

    def run(self, context: TrainContext) -> Iterator[Step]:
        c = self.config
        estimator = context.build(c.advantage, "advantage")
        filters = [context.build(use, "filter") for use in c.filters]
        loss = self._loss(context)
        reference = context.reference() if c.kl.coefficient else None
        shares: list[list[TrainSequence]] = []
        groups: list[Group] = []
        kept: list[Group] = []
        for at in context.steps(c.steps):
            if reference is not None and self._refresh_due(at):
                reference = context.reference(refresh=True)
            turn = at.position % c.updates_per_rollout
            if turn == 0:
                groups = context.rollouts(at, prompts=c.prompts, samples=c.samples)
                if c.shuffle_rewards:
                    groups = shuffled(groups, key=context.key("shuffle", at.step))
                kept = _kept(groups, filters)
                states = valued(context, at, kept, c.states) if "values" in estimator.needs else None
                batch = sequences(kept, estimator, states)
                batch = self._with_logprobs(batch, context.policy, reference)
                shares = _split(batch, c.updates_per_rollout, key=context.key("minibatches", at.step))
            lr = c.lr.at(at.position, at.length)
            share = weighted(shares[turn], c.aggregation, longest=c.longest)
            metrics = context.policy.update(share, loss, lr=lr) if share else {"loss": 0.0, "grad_norm": 0.0}
            empty = not any(sequence.columns["advantage"].any() for sequence in share)
            yield Step(
                metrics={**metrics, **rollout_metrics(groups), "learning_rate": lr, "empty_batch": float(empty)},
                resumable=turn == c.updates_per_rollout - 1 or at.position == at.length - 1,
                note=nothing_learned(groups, kept) if empty else "",
                **shown(groups, at),
            )

    def _refresh_due(self, at: At) -> bool:
        every = self.config.kl.refresh_every
        return every is not None and at.step > 0 and at.step % every == 0

    def _loss(self, context: TrainContext) -> PolicyLoss:
        from .loss import PolicyLoss  # torch stays out of recipe checks

        objective = context.build(self.config.objective, "objective")
        return PolicyLoss(objective, self.config.kl.coefficient, self.config.kl.estimator)

    def _with_logprobs(
        self, batch: list[TrainSequence], policy: Policy, reference: Policy | None
    ) -> list[TrainSequence]:
        if self.config.old_logprobs == "policy":
            batch = known(batch, "old_logprob", policy.logprobs(batch))
        elif any("old_logprob" not in sequence.columns for sequence in batch):
            raise RecipeError(
                "the sampler's log-probs are the policy's only at temperature 1 and top_p 1",
                where="trainer rl, old_logprobs: sampler",
                fix="set old_logprobs: policy, or sample at temperature 1",
            )
        return batch if reference is None else known(batch, "ref_logprob", reference.logprobs(batch))


def _kept(groups: Sequence[Group], filters: Sequence[DataFilter]) -> list[Group]:
    """What filters and working verifiers leave: an infrastructure failure has no number to learn from."""
    kept = []
    for group in groups:
        group = group.keep([score.known for score in group.scores])
        for each in filters:
            group = group.keep([verdict.keep for verdict in each.judge(group)])
        if group.rollouts:
            kept.append(group)
    return kept


def _split(batch: Sequence[TrainSequence], parts: int, *, key: int) -> list[list[TrainSequence]]:
    """The batch in `parts` random shares (the paper: "randomly split into 16 minibatches"); whole when one."""
    if parts == 1:
        return [list(batch)]
    order = np.random.default_rng(key).permutation(len(batch))
    return [[batch[i] for i in share] for share in np.array_split(order, parts)]


@hookimpl
def r1_trainers() -> Iterable[type[Trainer]]:
    return [Rl]
