"""What both rewards for programs share: their gold is tests, and a program that adds tells whether they work."""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.code.reference import UntestableError, read_reference
from r1_plugins.code.sentinels import sentinels
from r1core.components import Reward
from r1core.types import Problem, Sentinel


class ByTests(Reward):
    """A reward whose `config.score` says whether all tests count, or the share that passes."""

    def refuses(self, problem: Problem) -> str:
        """What is wrong with the problem's tests."""
        try:
            read_reference(problem.reference)
        except UntestableError as error:
            return str(error)
        return ""

    def sentinels(self) -> Sequence[Sentinel]:
        """A function that adds, and one that does not."""
        return sentinels(shares=self.config.score == "share")
