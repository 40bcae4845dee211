"""Rule rewards: accuracy, format and language consistency, as R1 used them (arXiv:2501.12948, section 2.2); length.

No model judges here: a rule cannot be talked into a reward.

    r1 explain accuracy
"""

from __future__ import annotations

from r1_plugins.rules.accuracy import Accuracy
from r1_plugins.rules.format import Format
from r1_plugins.rules.language import Language
from r1_plugins.rules.overlong import Overlong
from r1core.components import Reward
from r1core.hookspecs import hookimpl

__all__ = ["Accuracy", "Format", "Language", "Overlong", "r1_rewards"]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """`accuracy`, `format`, `language` and `overlong`."""
    return [Accuracy, Format, Language, Overlong]
