"""The reward of one greedy answer to each problem, sampled only for an estimator that needs it (ReMax)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r1core.components import AdvantageEstimator
from r1core.contexts import TrainContext
from r1core.types import At, Group


def with_greedy(
    context: TrainContext, at: At, groups: Sequence[Group], estimator: AdvantageEstimator
) -> tuple[list[Group], dict[str, float] | None]:
    """The groups, and the greedy reward of each by its problem's id; a group whose greedy answer infrastructure
    failed to score is left out: it has no baseline."""
    if "greedy" not in estimator.needs:
        return list(groups), None
    rewards = context.greedy(at, [group.problem for group in groups]) if groups else np.zeros(0)
    found = {group.problem.id: float(r) for group, r in zip(groups, rewards, strict=True) if np.isfinite(r)}
    return [group for group in groups if group.problem.id in found], found
