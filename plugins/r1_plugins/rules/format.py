"""The format rule: one closed think block with nothing before it, then a tagged answer and nothing after.

The paper's reward for R1-Zero beside accuracy (arXiv:2501.12948, section 2.2.2). Thinking that nobody can
see is none: white space, zero-width characters, an answer in its tags and nothing else, a code fence that
is still open where the tag should close. What the prompt has opened (`<think>`) counts as written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from r1_plugins.rules.reading.visible import has_visible
from r1core.components import Reward
from r1core.types import Problem, Response, Score, Sentinel

_ANSWER_TAG = re.compile(r"</?answer>")
_FENCE = re.compile(r"^[ ]{0,3}(?:```|~~~)", re.MULTILINE)


class Format(Reward):
    """1 for `<think>...</think><answer>...</answer>` with thinking and an answer in it, else 0."""

    name = "format"
    judges_form = True
    gold_form: ClassVar[str] = "any, or none: it is not looked at"

    class Config(Reward.Config):
        min_thinking_chars: int = Field(
            1,
            ge=0,
            description="shortest thinking, characters that can be seen; 0 asks nothing of it: small talk needs none",
        )

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict, with the first thing that is missing as its reason."""
        reason = self._missing(response)
        return Score(value=float(not reason), reason=reason)

    def sentinels(self) -> Sequence[Sentinel]:
        """One in form, one without a think block."""
        problem, thinking = Problem(id="sentinel"), "so it is " * (1 + self.config.min_thinking_chars)
        said = [(f"<think>{thinking}</think><answer>8</answer>", 1.0), ("<answer>8</answer>", 0.0)]
        return [Sentinel(problem=problem, response=Response.parse(text), value=value) for text, value in said]

    def _missing(self, response: Response) -> str:
        if response.thinking is None:
            return "think_block"
        if not response.tagged:
            return "answer_tags"
        if not response.answer or not has_visible(response.answer):
            return "no_answer"
        return self._thinking_lacks(response.thinking, response.answer) if self.config.min_thinking_chars else ""

    def _thinking_lacks(self, thinking: str, answer: str) -> str:
        if len(_FENCE.findall(thinking)) % 2 or "<think>" in answer:
            return "think_block"
        seen = has_visible(_without_answers(thinking), self.config.min_thinking_chars)
        return "" if seen else "short_thinking"


def _without_answers(thinking: str) -> str:
    """The thinking without what stands in answer tags: an answer given twice is no thinking."""
    kept, depth, at = [], 0, 0
    for tag in _ANSWER_TAG.finditer(thinking):
        if depth == 0:
            kept.append(thinking[at : tag.start()])
        depth = depth + 1 if tag[0] == "<answer>" else max(0, depth - 1)
        at = tag.end()
    return "".join(kept) + (thinking[at:] if depth == 0 else "")
