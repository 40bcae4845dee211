"""The tiny bilingual world: problems with checkable answers, people with preferences, a corpus for a base model.

Everything is generated, so the whole pipeline runs on a laptop without a download. The corpus is
built to give a base model whose steps are sound but whose habits are poor (lazy direct answers, two
languages mixed, broken tags), because that is what reinforcement learning has to put right.

    r1 recipe recipes/deepseek_r1.yaml --profile tiny
"""

from __future__ import annotations

from r1_plugins.playground.preference import PlaygroundHelpful, PlaygroundSafe
from r1_plugins.playground.sources import Playground, PlaygroundCorpus
from r1core.components import ProblemSource, Reward
from r1core.hookspecs import hookimpl

__all__ = ["Playground", "PlaygroundCorpus", "PlaygroundHelpful", "PlaygroundSafe", "r1_rewards", "r1_sources"]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """`playground` and `playground_corpus`."""
    return [Playground, PlaygroundCorpus]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """`playground_helpful` and `playground_safe`."""
    return [PlaygroundHelpful, PlaygroundSafe]
