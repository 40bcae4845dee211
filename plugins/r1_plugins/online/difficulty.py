"""Problems of the right difficulty, by the share of answers that solved them, now and whenever they were asked before.

    rate = solved / answers,    solved <- decay solved + solved now,    answers <- decay answers + answers now

A group of eight tells little of a problem that is solved every tenth time; what is remembered makes the
band sharper with every visit, and `decay` lets go of what a weaker policy could not do. A problem is what it
asks: ids tell places in a run apart, and two sources may number theirs alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from r1core.components import DataFilter
from r1core.errors import RecipeError
from r1core.types import Group, Problem, Score, Verdict

NAME_DIGITS = 16
"""Hex digits of a problem's name: two of a million problems share one with a chance of 3e-8."""


class Difficulty(DataFilter):
    """Keeps the groups of problems whose remembered pass rate lies in a band; remembers it over a kill."""

    name = "difficulty"

    class Config(DataFilter.Config):
        min: float = Field(0.05, ge=0, le=1, description="lowest pass rate kept; below, a problem is too hard")
        max: float = Field(0.95, ge=0, le=1, description="highest pass rate kept; above, a problem is too easy")
        part: str = Field("accuracy", description="the reward that says whether an answer solves its problem")
        solved: float = Field(1.0, description="lowest value of that reward that counts as solved")
        decay: float = Field(0.5, ge=0, le=1, description="weight of what was remembered, each time the problem comes")

        @model_validator(mode="after")
        def _band(self) -> Self:
            if self.min > self.max:
                raise ValueError(f"min is {self.min:g} and max {self.max:g}: no rate lies between, lower `min`")
            return self

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._seen: dict[str, list[float]] = {}

    @property
    def needs(self) -> frozenset[str]:
        """Scores: a part of theirs says what is solved."""
        return frozenset({"scores"})

    def judge(self, group: Group) -> list[Verdict]:
        """The same verdict for all rollouts of a group."""
        reason = self._reason(self._rate(group))
        return [Verdict(keep=not reason, reason=reason)] * len(group.rollouts)

    def state(self) -> dict[str, Any]:
        """[solved, answers] of each problem, by its name."""
        return {"seen": {name: list(counts) for name, counts in self._seen.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        self._seen = {name: list(counts) for name, counts in state["seen"].items()}

    def _rate(self, group: Group) -> float | None:
        """The problem's pass rate with this group in it; None while no answer to it was ever scored."""
        known = [self._value(score) >= self.config.solved for score in group.scores if score.known]
        name, decay = _name(group.problem), self.config.decay if known else 1.0
        solved, answers = self._seen.get(name, (0.0, 0.0))
        solved, answers = decay * solved + sum(known), decay * answers + len(known)
        if not answers:
            return None
        self._seen[name] = [solved, answers]
        return solved / answers

    def _reason(self, rate: float | None) -> str:
        if rate is None:
            return "not_scored"
        return "too_hard" if rate < self.config.min else "too_easy" if rate > self.config.max else ""

    def _value(self, score: Score) -> float:
        part = self.config.part
        if part not in score.parts:
            present = ", ".join(sorted(score.parts)) or "none"
            raise RecipeError(
                f"there is no score part {part!r}; present: {present}",
                where=f"filter {self.name!r}",
                fix="list that reward under the stage's `rewards`, or set the filter's `part` to one that is present",
            )
        return score.parts[part]


def _name(problem: Problem) -> str:
    asked = json.dumps([dict(message) for message in problem.messages], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:NAME_DIGITS]
