"""Answers that were cut off at the limit: whether they were going to be right, nobody knows (DAPO 2503.14476, 3.4)."""

from __future__ import annotations

from r1core.components import DataFilter
from r1core.types import Group, Verdict


class Truncated(DataFilter):
    """Drops answers that were cut off at `max_new_tokens`; they are not part of their group's baseline either."""

    name = "truncated"

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout."""
        cut = [rollout.response.finish == "length" for rollout in group.rollouts]
        return [Verdict(keep=not each, reason="truncated" if each else "") for each in cut]
