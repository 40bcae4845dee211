"""Keeps two answers of a problem that a reward model can learn from: the best and the worst, lengths balanced.

Where chosen answers are longer more often than shorter, length is what is learned; DeepSeek-R1's preference pairs
were balanced, and kept only where the judgements differ by more than 1 (v2, 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from r1_plugins.rejection.threshold import scores_of
from r1core.choices import ProblemFields
from r1core.components import DataFilter
from r1core.types import Group, Response, Verdict


class Pairs(DataFilter):
    """Keeps the best and the worst answer of a group if their scores differ by more than `margin`.

    Remembers how many pairs had the longer answer chosen, less those that had the shorter one, and
    passes over a pair that would take that further than `slack` from 0. Ties go to the earlier sample.
    """

    name = "pairs"

    class Config(DataFilter.Config):
        margin: float = Field(0.0, ge=0, description="scores of a pair differ by more than this")
        slack: int = Field(8, ge=1, description="how many more pairs may favour the longer (or shorter) answer")
        sees: Literal["answer", "response"] = Field(
            "answer", description="whose characters are its length: the final answer's, or all that was written"
        )
        only: ProblemFields = Field(
            default_factory=dict, description="problem fields of the groups it judges; others pass, as they are"
        )

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._longer = 0

    @property
    def needs(self) -> frozenset[str]:
        """Scores: they say which answer is better."""
        return frozenset({"scores"})

    def state(self) -> dict[str, Any]:
        """Pairs so far with the longer answer chosen, less those with the shorter."""
        return {"longer": self._longer}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self._longer = state["longer"]

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout: two or none are kept."""
        if not group.problem.matches(self.config.only):
            return [Verdict(keep=True) for _ in group.rollouts]
        texts = [self._seen(rollout.response) for rollout in group.rollouts]
        scores = scores_of(group, self.name)
        reasons = [
            "not_scored" if not score.known else "no_answer" if text is None else "not_chosen"
            for score, text in zip(scores, texts, strict=True)
        ]
        known = {i: score.value for i, score in enumerate(scores) if reasons[i] == "not_chosen"}
        if known:
            best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
            refused = self._refused(known[best] - known[worst], texts[best], texts[worst])
            for i in known if refused == "no_margin" else (best, worst):
                reasons[i] = refused
        return [Verdict(keep=not reason, reason=reason) for reason in reasons]

    def _seen(self, response: Response) -> str | None:
        return response.answer if self.config.sees == "answer" else response.prefilled + response.text

    def _refused(self, difference: float, chosen: str | None, rejected: str | None) -> str:
        """Why the pair is not kept; nothing where it is, and is counted."""
        if difference <= self.config.margin:
            return "no_margin"
        if chosen == rejected:
            return "same_text"
        lengths = len(chosen or ""), len(rejected or "")
        after = self._longer + (lengths[0] > lengths[1]) - (lengths[0] < lengths[1])
        if abs(after) > self.config.slack:
            return "unbalanced"
        self._longer = after
        return ""
