"""Reinforcement learning with verifiable rewards: the loop that makes R1-Zero.

    repeat for every rollout batch:
        sample G answers to each of P problems with the present policy, and score them
        drop what the filters reject, refill; estimate advantages
        for each of `updates_per_rollout` shares of the batch:
            one optimizer step of the critic, if the estimator has one
            one optimizer step on   sum_t w_t ( objective_t + beta KL_t - alpha H_t )

Estimator, objective, aggregation, KL and filters are separate keys, so that an ablation changes one
thing; `grpo`, `ppo` and ten others are presets of them (`r1 explain grpo`). Only the order of things is
here: what the numbers are is in config.py, refill.py, estimation.py, critic.py, loss.py and metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from r1core.batching import counted, weighted
from r1core.components import Trainer
from r1core.contexts import TrainContext
from r1core.estimates import Role
from r1core.hookspecs import hookimpl
from r1core.types import At, Group, Step, TrainSequence

from .config import RlConfig
from .estimation import Estimated, Estimation
from .metrics import nothing_learned, rollout_metrics, shown_answer
from .presets import PRESETS, SOURCES
from .refill import Collector, RolloutBatch
from .waiting import packed, unpacked

if TYPE_CHECKING:
    from .loss import PolicyLoss


class Rl(Trainer):
    """Policy-gradient training on scored rollouts."""

    name = "rl"
    presets = PRESETS
    preset_sources = SOURCES

    Config = RlConfig
    config: RlConfig

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"problems", "rewards"})

    @property
    def off_policy(self) -> bool:
        corrects = self.config.old_logprobs == "sampler" or self.config.importance.mode != "none"
        return corrects and not self.config.refill.times

    @property
    def planned_steps(self) -> int:
        return self.config.steps

    @property
    def models_beside(self) -> dict[Role, str | None]:
        c = self.config
        reference: dict[Role, str | None] = {"reference": None} if c.kl.coefficient else {}
        return {**reference, "critic": c.critic.model}

    def update_tokens(self, length: int) -> int:
        c = self.config
        return -(-c.prompts * c.samples // c.updates_per_rollout) * length

    @property
    def answers_beside(self) -> dict[str, int]:
        c = self.config
        answers = c.prompts * c.samples
        values = answers * c.states.most * c.states.continuations
        return {"refill": c.refill.times * answers, "values": values, "greedy": c.prompts}

    def __init__(self, config: RlConfig) -> None:
        super().__init__(config)
        self._waiting: list[Group] = []

    def state(self) -> dict[str, Any]:
        """The groups that wait for the next batch."""
        return {"waiting": packed(self._waiting)}

    def load(self, state: Mapping[str, Any]) -> None:
        self._waiting = unpacked(state.get("waiting", []))

    def run(self, context: TrainContext) -> Iterator[Step]:
        c = self.config
        collect = self._collector(context)
        estimate = Estimation(context, c)
        critic = estimate.critic
        loss = self._loss(context)
        reference = context.reference() if c.kl.coefficient else None
        for at in context.steps(c.steps):
            if reference is not None and self._refresh_due(at):
                reference = context.reference(refresh=True)
            turn = at.position % c.updates_per_rollout
            if turn == 0:
                rollouts = collect(at)
                batch = estimate(at, rollouts.kept, reference)
                shares = _split(batch.sequences, c.updates_per_rollout, key=context.key("minibatches", at.step))
            share = weighted(shares[turn], c.aggregation, longest=c.longest)
            lr = c.lr.at(at.position, at.length)
            metrics = critic.update(share, at) if critic is not None else {}
            learned = share if critic is None or not critic.warming_up(at) else []
            if learned:
                metrics |= context.policy.update(learned, loss, lr=lr)
            metrics |= {"learned_tokens": float(sum(map(counted, learned)))}
            yield self._told(at, {"learning_rate": lr, **metrics}, rollouts, batch, share)

    def _told(
        self,
        at: At,
        metrics: Mapping[str, float],
        rollouts: RolloutBatch,
        batch: Estimated,
        share: Sequence[TrainSequence],
    ) -> Step:
        """One step, with what its rollout batch looked like; a step without an update has a loss of exactly 0."""
        turns = self.config.updates_per_rollout
        empty = not any(sequence.columns["advantage"].any() for sequence in share)
        of_batch = {**rollout_metrics(rollouts.sampled), **rollouts.metrics, **batch.metrics}
        return Step(
            metrics={"loss": 0.0, "grad_norm": 0.0, **metrics, **of_batch, "empty_batch": float(empty)},
            resumable=at.position % turns == turns - 1 or at.position == at.length - 1,
            note=nothing_learned(rollouts.sampled, batch.groups) if empty else "",
            **shown_answer(rollouts.sampled, at),
        )

    def _collector(self, context: TrainContext) -> Collector:
        c = self.config
        return Collector(
            context,
            [context.build(use, "filter") for use in c.filters],
            self._waiting,
            prompts=c.prompts,
            samples=c.samples,
            times=c.refill.times,
            shuffle=c.shuffle_rewards,
        )

    def _refresh_due(self, at: At) -> bool:
        every = self.config.kl.refresh_every
        return every is not None and at.step > 0 and at.step % every == 0

    def _loss(self, context: TrainContext) -> PolicyLoss:
        from .loss import PolicyLoss  # torch stays out of recipe checks

        objective = context.build(self.config.objective, "objective")
        kl = self.config.kl if self.config.kl.in_loss else None
        return PolicyLoss(objective, kl, self.config.entropy.coefficient)


def _split(batch: Sequence[TrainSequence], parts: int, *, key: int) -> list[list[TrainSequence]]:
    """The batch in `parts` random shares (the paper: "randomly split into 16 minibatches"); whole when one."""
    if parts == 1:
        return [list(batch)]
    order = np.random.default_rng(key).permutation(len(batch))
    return [[batch[i] for i in share] for share in np.array_split(order, parts)]


@hookimpl
def r1_trainers() -> Iterable[type[Trainer]]:
    return [Rl]
