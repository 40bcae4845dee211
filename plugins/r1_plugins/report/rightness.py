"""Which reward of a stage says whether an answer is right, so that its mean may be called accuracy.

Two things are asked of what the run stores. The run itself must measure by it: it is the component by which an
evaluation (a stage's, or the one within this training) calls right what its first set asks. And its values must be 0
or 1: of such numbers with mean m the standard deviation is sqrt(m (1 - m)), and of no others within 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1_plugins.report.gather import RunFacts, Stage

NEAR = 1e-6
Told = Mapping[str, Sequence[tuple[float, float]]]


def rewards_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The name that each reward of a stage goes by in its metrics -> the component; numbered where names recur."""
    found: dict[str, str] = {}
    for each in body.get("rewards") or ():
        use = str(each.get("use") or "")
        short = str(each.get("as") or use).rpartition("/")[2].rpartition(":")[2]
        name, number = short, 1
        while name in found:
            number += 1
            name = f"{short}_{number}"
        found[name] = use
    return found


def right_reward(stage: Stage, facts: RunFacts, told: Told) -> str:
    """The stage's reward whose mean is the share of right answers, by its name; "" where none is."""
    asking = {component for other in facts.of("evaluate") for component in _asked(other.body)} or {*_asked(stage.body)}
    own = rewards_of(stage.body)
    return next((name for name, use in own.items() if use in asking and _is_verdict(told, name)), "")


def _asked(body: Mapping[str, Any]) -> Iterator[str]:
    """The component by which an evaluation's first set calls an answer right."""
    sets = (body.get("evaluate") or {}).get("sets") or {}
    first: Mapping[str, Any] = next(iter(sets.values()), {})
    rewards = rewards_of(body)
    name = str(first.get("reward") or next(iter(rewards), ""))
    if sets and name in rewards:
        yield rewards[name]


def _is_verdict(told: Told, name: str) -> bool:
    """Whether nothing in the stage's metrics speaks against its having been 0 or 1 on every answer."""
    means, spreads = told.get(f"rewards/{name}/mean", ()), dict(told.get(f"rewards/{name}/std", ()))
    within = all(0 <= mean <= 1 for _, mean in means)
    return within and all(
        abs(spreads[step] - math.sqrt(mean * (1 - mean))) < NEAR for step, mean in means if step in spreads
    )
