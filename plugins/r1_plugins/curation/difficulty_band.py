"""Problems that the teacher solves sometimes: the share of right answers in a group lies in a band.

    filters: [{use: difficulty_band, min: 0.1, max: 0.9}, correct, ...]

First of all: a filter sees what earlier ones kept. Behind `correct` all are right; behind `truncated` or `think_tags`
the answers that were cut off, wrong for the most part, are gone, and a hard problem looks easier. `difficulty`, for
training, remembers what it saw of a problem before; a dataset has all its answers at once, and nothing is remembered.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from r1core.components import DataFilter
from r1core.errors import RecipeError
from r1core.types import Group, Score, Verdict


class DifficultyBand(DataFilter):
    """Keeps the groups whose share of right answers lies in a band; answers that nobody could score do not count."""

    name = "difficulty_band"

    class Config(DataFilter.Config):
        min: float = Field(0.0, ge=0, le=1, description="lowest share of right answers kept; below is too hard")
        max: float = Field(1.0, ge=0, le=1, description="highest share of right answers kept; above is too easy")
        part: str = Field("accuracy", description="the reward that says whether an answer is right")
        solved: float = Field(1.0, description="lowest value of that reward that counts as right")

        @model_validator(mode="after")
        def _band(self) -> Self:
            if self.min > self.max:
                raise ValueError(f"min is {self.min:g} and max {self.max:g}: no share lies between, lower `min`")
            return self

    config: Config

    @property
    def needs(self) -> frozenset[str]:
        """Scores: a part of theirs says what is right."""
        return frozenset({"scores"})

    def judge(self, group: Group) -> list[Verdict]:
        """The same verdict for all rollouts of a group."""
        if len(group.scores) != len(group.rollouts):
            raise self._missing("scores", f"problem {group.problem.id!r} has none")
        known = [self._value(score) >= self.config.solved for score in group.scores if score.known]
        share = sum(known) / len(known) if known else None
        return [Verdict(keep=not (reason := self._reason(share)), reason=reason)] * len(group.rollouts)

    def _reason(self, share: float | None) -> str:
        if share is None:
            return "not_scored"
        return "too_hard" if share < self.config.min else "too_easy" if share > self.config.max else ""

    def _value(self, score: Score) -> float:
        if self.config.part not in score.parts:
            raise self._missing(f"score part {self.config.part!r}", f"present: {', '.join(sorted(score.parts))}")
        return score.parts[self.config.part]

    def _missing(self, what: str, told: str) -> RecipeError:
        return RecipeError(
            f"there is no {what}; {told}",
            where=f"filter {self.name!r}",
            fix="list that reward under the stage's `rewards`, or set the filter's `part` to one that is present",
        )
