"""Answers that think once and then answer: one `<think>` block, nothing before it, something in it, an answer after it.

What the prompt had opened counts: where a chat template writes "<think>", the trace begins behind it. Traces that came
through a template that strips the tag have none of it and are told apart (`unopened_think`).
"""

from __future__ import annotations

from pydantic import Field

from r1core.components import DataFilter
from r1core.types import Group, Response, Verdict

OPEN, CLOSE = "<think>", "</think>"


class ThinkTags(DataFilter):
    """Keeps answers with one well-formed think block and an answer behind it; a reason for each way to fail."""

    name = "think_tags"

    class Config(DataFilter.Config):
        empty: bool = Field(False, description="whether empty thinking passes: trivial questions may need none")

    config: Config

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout."""
        reasons = [self._reason(rollout.response) for rollout in group.rollouts]
        return [Verdict(keep=not reason, reason=reason) for reason in reasons]

    def _reason(self, response: Response) -> str:
        whole = response.prefilled + response.text
        opened, closed = whole.count(OPEN), whole.count(CLOSE)
        if not opened:
            return "unopened_think" if closed else "no_think"
        if not closed:
            return "unclosed_think"
        if opened > 1 or closed > 1:
            return "several_thinks"
        if whole.index(CLOSE) < whole.index(OPEN):
            return "unopened_think"
        if whole.partition(OPEN)[0].strip():
            return "text_before_think"
        if not response.thinking and not self.config.empty:
            return "empty_think"
        return "" if response.answer else "no_answer"
