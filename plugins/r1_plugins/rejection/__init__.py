"""Rejection sampling: which sampled answers are good enough to learn from (arXiv:2501.12948, v1 2.3.3, v2 B.3).

The same filters work offline on a sampled dataset and online on the rollouts of a training step.

    filters: [correct, one_language, no_long_paragraphs, no_code, no_repetition, {use: at_most, k: 2}]
"""

from __future__ import annotations

from r1_plugins.rejection.at_most import AtMost
from r1_plugins.rejection.pairs import Pairs
from r1_plugins.rejection.readable import NoCode, NoLongParagraphs
from r1_plugins.rejection.repetition import NoRepetition
from r1_plugins.rejection.threshold import Correct, OneLanguage
from r1core.components import DataFilter
from r1core.hookspecs import hookimpl

__all__ = ["AtMost", "Correct", "NoCode", "NoLongParagraphs", "NoRepetition", "OneLanguage", "Pairs", "r1_filters"]


@hookimpl
def r1_filters() -> list[type[DataFilter]]:
    """`correct`, `one_language`, what makes thinking hard to read, `at_most` and `pairs`."""
    return [Correct, OneLanguage, NoLongParagraphs, NoCode, NoRepetition, AtMost, Pairs]
