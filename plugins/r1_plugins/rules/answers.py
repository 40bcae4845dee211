"""What the rules that judge a final answer share: where it must stand, and what there is to say where it does not.

A rule reads the problem's reference (`gold`) and says what an answer is worth beside it (`verdict`):

    class Even(AnswerRule[int]):
        name = "even"
        def gold(self, problem): ...                 # raises GoldError
        def verdict(self, gold, answer): ...

An answer that is cut off, out of form or empty is worth what the rule's `nothing` says, whatever it may
hold. One that came apart from its thinking, as endpoints send it, is in form. A gold that cannot be read is said
before a run (`refuses`), and never becomes a number.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import Field

from r1core.boxes import boxed
from r1core.components import Reward
from r1core.types import Problem, Response, Score, Sentinel

Gold = TypeVar("Gold")


class GoldError(ValueError):
    """A reference that a rule cannot read; its text is a sentence. `reason` is what scores are labelled with."""

    def __init__(self, text: str, *, reason: str = "bad_reference") -> None:
        super().__init__(text)
        self.reason = reason


class AnswerRule(Reward, Generic[Gold]):
    """A rule that compares the final answer with the problem's reference. Reasons: truncated, format, no_answer and
    the rule's own; no_reference and bad_reference are infrastructure failures."""

    class Config(Reward.Config):
        require_tags: bool = Field(
            True,
            description="whether the answer must stand in <answer> tags; one closed think block is always needed; "
            "neither is of an answer that an endpoint sends apart from its thinking",
        )

    config: Config
    reads_boxes: ClassVar[bool] = False
    """Whether an answer without tags that has boxes, all with one content, is that content."""

    @abc.abstractmethod
    def gold(self, problem: Problem) -> Gold:
        """What the problem's reference says. Raises GoldError."""

    @abc.abstractmethod
    def verdict(self, gold: Gold, answer: str) -> Score:
        """What an answer is worth; it is not empty, and whole."""

    def vote(self, gold: Gold, answer: str) -> str:
        """The answer as it is counted for a majority: the same for equal answers, "" for none."""
        return ""

    def nothing(self, gold: Gold) -> float:
        """What it is worth to give no answer that can be judged."""
        return 0.0

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict; its reason says why an answer is worth nothing."""
        try:
            gold = self.gold(problem)
        except GoldError as error:
            return Score(value=float("nan"), status="infrastructure", reason=error.reason)
        missing = self._missing(response)
        if missing:
            return Score(value=self.nothing(gold), reason=missing)
        answer = self._final(response)
        return replace(self.verdict(gold, answer), extracted=self.vote(gold, answer))

    def refuses(self, problem: Problem) -> str:
        """What is wrong with the reference."""
        try:
            self.gold(problem)
        except GoldError as error:
            return str(error)
        return ""

    def _missing(self, response: Response) -> str:
        if response.finish == "length":
            return "truncated"
        in_form = response.thinking is not None and (response.tagged or not self.config.require_tags)
        if not (in_form or response.apart):
            return "format"
        return "" if response.answer else "no_answer"

    def _final(self, response: Response) -> str:
        answer = response.answer or ""
        contents = set(boxed(answer)) if self.reads_boxes and not response.tagged else set()
        return contents.pop() if len(contents) == 1 else answer


def known(reference: Any, worth: Sequence[tuple[str, float]], *, meta: dict[str, Any] | None = None) -> list[Sentinel]:
    """Sentinels: final answers to one problem, and what each is worth."""
    problem = Problem(id="sentinel", reference=reference, meta=meta or {})
    return [
        Sentinel(
            problem=problem,
            response=Response.parse(f"<think>so it is</think><answer>{answer}</answer>"),
            value=value,
        )
        for answer, value in worth
    ]
