"""Filters that keep a rollout when one named part of its score reaches a threshold.

A part that is not there is a mistake of the recipe and stops the run: a filter that quietly keeps or
rejects everything would go unnoticed until the dataset is trained on.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from r1core.components import DataFilter
from r1core.errors import RecipeError
from r1core.types import Group, Score, Verdict

FORM = frozenset(("format", "truncated", "no_answer", "no_choice", "several", "several_answers", "unreadable"))
"""Reasons by which an answer is lost that may be right: it was not found."""


def part_of(score: Score, part: str, filter_name: str) -> float:
    """The value of one part of a score."""
    if part not in score.parts:
        present = ", ".join(sorted(score.parts)) or "none"
        raise RecipeError(
            f"there is no score part {part!r}; present: {present}",
            where=f"filter {filter_name!r}",
            fix="list that reward under the stage's `rewards`, or set the filter's `part` to one that is present",
        )
    return score.parts[part]


def scores_of(group: Group, filter_name: str) -> tuple[Score, ...]:
    """The group's scores; without any the filter cannot work."""
    if len(group.scores) != len(group.rollouts):
        raise RecipeError(
            f"problem {group.problem.id!r} has {len(group.rollouts)} rollouts and {len(group.scores)} scores",
            where=f"filter {filter_name!r}",
            fix="give the stage `rewards`: this filter reads their scores",
        )
    return group.scores


class Correct(DataFilter):
    """Keeps rollouts whose accuracy (or another part) is at least `min`. Where the part is the score's
    first, whose reason the score has, the reason of a rejection says why no answer was found: `incorrect (format)`."""

    name = "correct"
    below: ClassVar[str] = "incorrect"
    """The reason of a rejection."""

    class Config(DataFilter.Config):
        part: str = Field("accuracy", description="the reward whose value is compared")
        min: float = Field(1.0, description="lowest value kept")

    config: Config

    @property
    def needs(self) -> frozenset[str]:
        """Scores: the part is one of theirs."""
        return frozenset({"scores"})

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout; what infrastructure failed to score is rejected."""
        return [self._verdict(score) for score in scores_of(group, self.name)]

    def _verdict(self, score: Score) -> Verdict:
        if not score.known:
            return Verdict(keep=False, reason="not_scored")
        kept = part_of(score, self.config.part, self.name) >= self.config.min
        return Verdict(keep=kept, reason="" if kept else f"{self.below}{self._why(score)}")

    def _why(self, score: Score) -> str:
        """What the reward says, where it is a label: sentences differ from answer to answer and cannot be counted."""
        is_its_own = next(iter(score.parts)) == self.config.part
        return f" ({score.reason})" if is_its_own and score.reason in FORM else ""


class OneLanguage(Correct):
    """Keeps rollouts that think in the problem's language: share of words at least `min`."""

    name = "one_language"
    below = "mixed_language"

    class Config(Correct.Config):
        part: str = Field("language", description="the reward whose value is compared")
        min: float = Field(0.99, description="lowest share of words kept")
