"""A rollout batch, and more sampling where the filters left it short (dynamic sampling, DAPO 2503.14476, 3.2).

Each further round asks for as many problems as should fill the batch at the rate at which groups passed so
far, at most `prompts`. What passes beyond the wanted number is not thrown away: it waits, and is used
first in the next batch. Such answers come from weights that are one batch old, and a ratio to the sampler's
own log-probs says so (`old_logprobs: sampler`). They are part of the trainer's state (waiting.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from r1core.choices import Options
from r1core.components import DataFilter
from r1core.contexts import TrainContext
from r1core.types import At, Group

from .signals import shuffled


class Refill(Options):
    """More rollouts for a batch that the filters left short."""

    times: int = Field(
        0, ge=0, description="rounds of further sampling for one batch, at most; 0: train on what is left"
    )


@dataclass(frozen=True, kw_only=True)
class RolloutBatch:
    """What was sampled for one batch, and what is learned from: not the same where filters reject and groups wait."""

    sampled: list[Group]
    kept: list[Group]
    metrics: dict[str, float]


class Collector:
    """Makes rollout batches of `prompts` groups of `samples` answers. `waiting` outlives it: see Rl.state."""

    def __init__(
        self,
        context: TrainContext,
        filters: Sequence[DataFilter],
        waiting: list[Group],
        *,
        prompts: int,
        samples: int,
        times: int,
        shuffle: bool,
    ) -> None:
        self._context = context
        self._filters = filters
        self._waiting = waiting
        self._prompts = prompts
        self._samples = samples
        self._times = times
        self._shuffle = shuffle
        self._short = False

    def __call__(self, at: At) -> RolloutBatch:
        """Sample, score and filter until the batch is full or the rounds are used up."""
        sampled: list[Group] = []
        kept = list(self._waiting)
        rounds = 0
        while len(kept) < self._prompts and rounds <= self._times:
            passed = len(kept) - len(self._waiting)
            groups = self._round(at, self._asked(self._prompts - len(kept), passed, len(sampled)), rounds)
            sampled += groups
            kept += self._filtered(groups)
            rounds += 1
        metrics = self._told(at, kept, len(sampled), rounds) if self._times else {}
        self._waiting[:] = kept[self._prompts :]
        return RolloutBatch(sampled=sampled, kept=kept[: self._prompts], metrics=metrics)

    def _asked(self, missing: int, passed: int, sampled: int) -> int:
        """How many problems should fill the batch, if as many pass as did so far."""
        return min(self._prompts, math.ceil(missing * sampled / max(passed, 1))) if sampled else missing

    def _round(self, at: At, prompts: int, number: int) -> list[Group]:
        groups = self._context.rollouts(at, prompts=prompts, samples=self._samples)
        if not self._shuffle:
            return groups
        later = (number,) if number else ()
        return shuffled(groups, key=self._context.key("shuffle", at.step, *later))

    def _filtered(self, groups: Sequence[Group]) -> list[Group]:
        """What filters and working verifiers leave: an infrastructure failure has no number to learn from."""
        kept = []
        for group in groups:
            group = group.keep([score.known for score in group.scores])
            for each in self._filters:
                group = group.keep([verdict.keep for verdict in each.judge(group)])
            if group.rollouts:
                kept.append(group)
        return kept

    def _told(self, at: At, kept: Sequence[Group], sampled: int, rounds: int) -> dict[str, float]:
        """The metrics of a batch that may be refilled; a line for people when batches begin to stay short."""
        missing = max(self._prompts - len(kept), 0)
        if missing and not self._short:
            found = f"{len(kept)} of {self._prompts} groups in {rounds} rounds of sampling"
            self._context.note(f"step {at.step + 1}: the filters left {found} (refill.times: {self._times})")
        self._short = missing > 0
        passed = len(kept) - len(self._waiting)
        return {
            "refill/rounds": float(rounds - 1 if rounds else 0),
            "refill/sampled_groups": float(sampled),
            "refill/passed_share": passed / sampled if sampled else 1.0,
            "refill/missing_groups": float(missing),
            "refill/waiting_groups": float(max(len(kept) - self._prompts, 0)),
        }
