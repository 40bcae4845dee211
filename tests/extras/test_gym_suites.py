"""The suites of the source and the reward `reasoning_gym`."""

from __future__ import annotations

from typing import ClassVar

from r1core.testing import RewardSuite, SourceSuite
from r1core.types import Problem


class TestReasoningGym(RewardSuite):
    component = "reasoning_gym"
    cases = "reasoning_gym_cases.jsonl"


class TestReasoningGymSource(SourceSuite):
    component = "reasoning_gym"
    options: ClassVar = {"tasks": ["chain_sum", "countdown", "n_queens", "spiral_matrix", "graph_color", "rearc"]}
    reward = "reasoning_gym"
    count = 60

    def gold(self, problem: Problem) -> str:
        return str(problem.reference["entry"]["answer"])
