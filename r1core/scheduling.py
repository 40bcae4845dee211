"""Which of the stages that are ready goes first, and how many are at work at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from r1core.recipe.plan import StagePlan


def default_jobs() -> int:
    """One stage at a time for each core; one in all where stages would share an accelerator."""
    if Path("/dev/nvidia0").exists() or sys.platform == "darwin":
        return 1
    return len(os.sched_getaffinity(0))


def by_chain(stages: Sequence[StagePlan]) -> list[StagePlan]:
    """Those first on which the longest chain of other stages waits: a chain begun late leaves cores idle at the end.

    `stages` come in an order in which each is after its inputs; it stays where chains are equally long.
    """
    length: dict[str, int] = {}
    for stage in reversed(stages):
        length[stage.id] = 1 + max((length[other.id] for other in stages if stage.id in other.inputs), default=0)
    return sorted(stages, key=lambda stage: -length[stage.id])
