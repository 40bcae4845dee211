"""Rejection sampling: which sampled answers are good enough to learn from (arXiv:2501.12948, section 2.3.3).

The same filters work offline on a sampled dataset and online on the rollouts of a training step.

    filters: [correct, one_language, {use: at_most, k: 2}]
"""

from __future__ import annotations

from r1_plugins.rejection.at_most import AtMost
from r1_plugins.rejection.threshold import Correct, OneLanguage
from r1core.components import DataFilter
from r1core.hookspecs import hookimpl

__all__ = ["AtMost", "Correct", "OneLanguage", "r1_filters"]


@hookimpl
def r1_filters() -> list[type[DataFilter]]:
    """`correct`, `one_language` and `at_most`."""
    return [Correct, OneLanguage, AtMost]
