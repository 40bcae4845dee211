"""Filters for a training step's own rollouts: what there is nothing, or nothing sound, to learn from.

    train: {use: rl, preset: dapo, filters: [zero_variance, {use: difficulty, min: 0.1, max: 0.9}, truncated]}

With `refill: {times: 3}` a batch that they leave short is filled up. `zero_variance` lives beside GRPO.
"""

from __future__ import annotations

from r1_plugins.online.difficulty import Difficulty
from r1_plugins.online.truncated import Truncated
from r1core.components import DataFilter
from r1core.hookspecs import hookimpl

__all__ = ["Difficulty", "Truncated", "r1_filters"]


@hookimpl
def r1_filters() -> list[type[DataFilter]]:
    """`difficulty` and `truncated`."""
    return [Difficulty, Truncated]
