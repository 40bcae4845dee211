"""Reward `math`: the final answer of a mathematical problem, compared exactly, without evaluating what a model wrote.

r1 explain math
"""

from __future__ import annotations

from r1_plugins.math.reward import Math
from r1core.components import Reward
from r1core.hookspecs import hookimpl

__all__ = ["Math", "r1_rewards"]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """`math`."""
    return [Math]
