"""The format rule: one closed think block with nothing before it, then a tagged answer and nothing after.

The paper's reward for R1-Zero beside accuracy (arXiv:2501.12948, section 2.2.2).
"""

from __future__ import annotations

from pydantic import Field

from r1core.components import Reward
from r1core.types import Problem, Response, Score


class Format(Reward):
    """1 for `<think>...</think><answer>...</answer>` with an answer in it, else 0."""

    name = "format"

    class Config(Reward.Config):
        min_thinking_chars: int = Field(
            0,
            ge=0,
            description="shortest thinking, characters; 0 allows empty thinking: small talk needs none",
        )

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict, with the first thing that is missing as its reason."""
        reason = self._missing(response)
        return Score(value=float(not reason), reason=reason)

    def _missing(self, response: Response) -> str:
        if response.thinking is None:
            return "think_block"
        if not response.tagged:
            return "answer_tags"
        if not response.answer:
            return "no_answer"
        return "short_thinking" if len(response.thinking) < self.config.min_thinking_chars else ""
