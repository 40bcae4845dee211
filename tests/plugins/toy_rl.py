"""The RL loop on a toy stage, with estimators and filters that show what reached them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from toy_training import ToyContext

from r1_plugins.advantages import r1_advantages
from r1_plugins.grpo import Grpo, ZeroVariance
from r1_plugins.ppo import MonteCarlo, PpoClip
from r1_plugins.rl import Rl
from r1core.components import AdvantageEstimator, DataFilter
from r1core.types import At, Floats, Group, GroupSignals, Step, TrainSequence, Verdict


class Echo(AdvantageEstimator):
    """The advantage is the reward, so that an update shows whose reward it used."""

    name = "echo"

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [list(group.rewards_G[:, None]) for group in groups]


class Batchwise(Echo):
    """Sees all groups at once."""

    name = "batchwise"
    scope = "batch"
    seen: list[Sequence[GroupSignals]]

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        Batchwise.seen = [*getattr(Batchwise, "seen", []), groups]
        return super().__call__(groups)


class Positive(DataFilter):
    """Keeps answers with a reward above zero."""

    name = "positive"

    def judge(self, group: Group) -> list[Verdict]:
        return [Verdict(keep=value > 0) for value in group.rewards_G]


BUILT = (*r1_advantages(), Grpo, MonteCarlo, PpoClip, ZeroVariance, Echo, Batchwise, Positive)


def stage(groups: Callable[[At], list[Group]], **options: Any) -> ToyContext:
    return ToyContext(groups, built=BUILT, **options)


def train(context: ToyContext, **options: Any) -> list[Step]:
    trainer = Rl(Rl.Config.model_validate({"advantage": "echo", "steps": 1, **options}))
    return list(trainer.run(context))


def always(*groups: Group) -> Callable[[At], list[Group]]:
    return lambda at: list(groups)


def used(batch: Sequence[TrainSequence]) -> list[float]:
    """The advantage of each sequence of an update, sorted."""
    assert all(np.ptp(sequence.columns["advantage"]) == 0 for sequence in batch)
    return sorted(float(sequence.columns["advantage"][0]) for sequence in batch)
