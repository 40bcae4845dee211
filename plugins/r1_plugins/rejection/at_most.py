"""Keeps at most k rollouts of a problem, so that easy problems do not fill the dataset.

R1 sampled several answers to each prompt and kept right ones; how many is not published (arXiv:2501.12948, v2 B.3.3).

    filters: [{use: at_most, k: 2}]
    filters: [{use: at_most, k: 1, rank_by: part, part: reward_model}]     the best by a reward model's score
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from r1_plugins.rejection.threshold import part_of, scores_of
from r1core.components import DataFilter
from r1core.types import Group, Score, Verdict


class AtMost(DataFilter):
    """Keeps the best k of the rollouts that earlier filters left; ties go to the earlier sample."""

    name = "at_most"

    class Config(DataFilter.Config):
        k: int = Field(ge=1, description="rollouts kept for each problem")
        rank_by: Literal["order", "shortest", "score", "part"] = Field(
            "order",
            description="which come first: in sampling order, fewest completion tokens (characters where nobody "
            "counted them), highest score, or highest value of one reward",
        )
        part: str | None = Field(None, description="the reward whose value ranks, with `rank_by: part`")

        @model_validator(mode="after")
        def _part_where_it_ranks(self) -> Self:
            if (self.part is None) == (self.rank_by == "part"):
                raise ValueError("`rank_by: part` and `part: <name of a reward>` go together")
            return self

    config: Config

    @property
    def needs(self) -> frozenset[str]:
        """Scores, where they say which answers come first."""
        return frozenset({"scores"} if self.config.rank_by in ("score", "part") else ())

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
            counted = all(rollout.tokens for rollout in group.rollouts)  # of texts from elsewhere nobody may have
            return [float(r.tokens if counted else len(r.response.text)) for r in group.rollouts]
        values = [self._value(score) for score in scores_of(group, self.name)]
        return [math.inf if math.isnan(value) else -value for value in values]

    def _value(self, score: Score) -> float:
        if not score.known:
            return math.nan
        return score.value if self.config.part is None else part_of(score, self.config.part, self.name)
