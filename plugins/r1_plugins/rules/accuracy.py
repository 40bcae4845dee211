"""The accuracy rule: the final answer is the reference, character for character but for white space.

The answer must also be well formed, else a model is paid for an answer that nobody could find.
Reasons: correct, wrong, no_answer, format, truncated; no_reference is an infrastructure failure,
because nothing can be said about the answer then.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from r1core.components import Reward
from r1core.types import Problem, Response, Score


class Accuracy(Reward):
    """1 when the final answer equals the reference (or one of a list of references), else 0."""

    name = "accuracy"

    class Config(Reward.Config):
        require_tags: bool = Field(
            True, description="whether the answer must stand in <answer> tags; one closed think block is always needed"
        )

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict; its reason says why an answer is worth nothing."""
        accepted = _accepted(problem.reference)
        if not accepted:
            return Score(value=float("nan"), status="infrastructure", reason="no_reference")
        reason = self._reason(accepted, response)
        return Score(value=float(reason == "correct"), reason=reason)

    def _reason(self, accepted: set[str], response: Response) -> str:
        if response.finish == "length":
            return "truncated"
        if response.thinking is None or (self.config.require_tags and not response.tagged):
            return "format"
        if not response.answer:
            return "no_answer"
        return "correct" if _plain(response.answer) in accepted else "wrong"


def _accepted(reference: Any) -> set[str]:
    several = reference if isinstance(reference, list | tuple) else [reference]
    return {_plain(_text(one)) for one in several if one is not None} - {""}


def _text(reference: Any) -> str:
    """The reference as a person writes it: 72.0 of a JSON file is "72"."""
    return str(int(reference)) if isinstance(reference, float) and reference.is_integer() else str(reference)


def _plain(text: str) -> str:
    """White space normalised: single spaces, none at the ends."""
    return " ".join(text.split())
