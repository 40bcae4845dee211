"""The generators of reasoning-gym as problems without end, and their own scorers as a reward.

    problems: {use: reasoning_gym, tasks: [chain_sum, countdown], config: {chain_sum: {max_terms: 4}}}
    rewards: [reasoning_gym, format]

Each generator (but `composite`, which mixes others) was examined: its answer has to be worth 1, an empty one, the
question, another problem's answer, or its own beside that less, and its problems the same in every process
(`python tests/benchmarks/bench_gym.py`). generators.json has what was found; those that fail are refused by name, with
the reason. Scorers that evaluate an answer get it checked first (answers.py).
"""

from __future__ import annotations

from r1_plugins.gym.reward import GymReward
from r1_plugins.gym.source import GymSource
from r1core.components import ProblemSource, Reward
from r1core.hookspecs import hookimpl

__all__ = ["GymReward", "GymSource", "r1_rewards", "r1_sources"]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """The source `reasoning_gym`."""
    return [GymSource]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """The reward `reasoning_gym`."""
    return [GymReward]
