"""Rewards that run in the stage's own process (`runs = "stage"`): models, which are asked for many answers at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from r1core.components import Reward
from r1core.errors import R1Error, SetupError
from r1core.scoring_worker import Outcome, build_reward, outcome_of
from r1core.types import Problem, Response


def ask_here(reward: Reward, asked: Sequence[tuple[Problem, Response]]) -> list[Outcome]:
    """The outcomes of one reward. Where asking for all at once fails, each is asked alone, so that one answer cannot
    spoil the others."""
    if not asked:
        return []
    try:
        scores = reward.score_all(asked)
        if len(scores) != len(asked):
            raise RuntimeError(f"reward {reward.name!r} gave {len(scores)} scores for {len(asked)} answers")
        return [outcome_of(score) for score in scores]
    except R1Error:
        raise
    except Exception:
        return [_asked_alone(reward, problem, response) for problem, response in asked]


def _asked_alone(reward: Reward, problem: Problem, response: Response) -> Outcome:
    try:
        return outcome_of(reward.score(problem, response))
    except R1Error:
        raise
    except Exception as error:
        return Outcome("answer_failure", math.nan, f"verifier_error: {type(error).__name__}")


def build_here(name: str, target: str, options: Mapping[str, Any]) -> Reward:
    """The reward itself. Raises SetupError when it cannot be built."""
    try:
        return build_reward(target, options)
    except R1Error:
        raise
    except Exception as error:
        raise SetupError(
            f"reward {name!r} cannot be built: {type(error).__name__}: {error}",
            where="scoring",
            fix="run `r1 doctor`, or mend the reward",
        ) from error
