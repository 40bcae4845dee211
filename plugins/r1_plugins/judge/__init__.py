"""Judges: a language model behind any OpenAI-compatible endpoint says what an answer is worth.

Three modes: a verdict against a reference, a score by a rubric, answers of one problem compared in pairs. A judge can
be talked into a reward (arXiv:2507.08794), so it must pass a preflight before the stage begins, gets known-wrong
answers ever after, and sees as little of an answer as it needs. What it said is recorded before it is used.

    r1 explain judge
    r1 recipe recipes/judge.yaml
"""

from __future__ import annotations

from r1_plugins.judge.reward import Judge
from r1core.components import Reward
from r1core.hookspecs import hookimpl

__all__ = ["Judge", "r1_rewards"]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """`judge`."""
    return [Judge]
