"""Keeps at most k rollouts of a problem, so that easy problems do not fill the dataset."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from r1_plugins.rejection.threshold import scores_of
from r1core.components import DataFilter
from r1core.types import Group, Verdict


class AtMost(DataFilter):
    """Keeps the best k of the rollouts that earlier filters left; ties go to the earlier sample."""

    name = "at_most"

    class Config(DataFilter.Config):
        k: int = Field(ge=1, description="rollouts kept for each problem")
        rank_by: Literal["order", "shortest", "score"] = Field(
            "order", description="which come first: in sampling order, fewest completion tokens, or highest score"
        )

    config: Config

    @property
    def needs(self) -> frozenset[str]:
        """Scores, where they say which answers come first."""
        return frozenset({"scores"} if self.config.rank_by == "score" else ())

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout."""
        badness = self._badness(group)
        best = sorted(range(len(badness)), key=badness.__getitem__)[: self.config.k]
        return [Verdict(keep=i in best, reason="" if i in best else "more_than_k") for i in range(len(badness))]

    def _badness(self, group: Group) -> list[float]:
        """Smaller is better; a score that infrastructure failed to give is worst."""
        if self.config.rank_by == "order":
            return [float(rollout.sample) for rollout in group.rollouts]
        if self.config.rank_by == "shortest":
            return [float(len(rollout.completion_ids)) for rollout in group.rollouts]
        return [-score.value if score.known else math.inf for score in scores_of(group, self.name)]
