"""Rule rewards: what an answer is worth, and how it is written, by rules that cannot be talked into it.

`accuracy`, `format` and `language` are R1's (arXiv:2501.12948, section 2.2). `sensor` is a worked example, to copy for
a domain of yours.

    r1 explain numeric
"""

from __future__ import annotations

from r1_plugins.rules.accuracy import Accuracy
from r1_plugins.rules.choice import Choice
from r1_plugins.rules.exact import Exact
from r1_plugins.rules.format import Format
from r1_plugins.rules.graded_answers import GradedAnswers
from r1_plugins.rules.json_schema import JsonSchema
from r1_plugins.rules.language import Language
from r1_plugins.rules.length import Length
from r1_plugins.rules.numeric import Numeric
from r1_plugins.rules.overlong import Overlong
from r1_plugins.rules.repetition import Repetition
from r1_plugins.rules.sensor import Sensor
from r1core.components import Reward
from r1core.hookspecs import hookimpl

_RULES: list[type[Reward]] = [
    *(Accuracy, Exact, Choice, Numeric, GradedAnswers, JsonSchema, Sensor),
    *(Format, Language, Length, Overlong, Repetition),
]
__all__ = [
    "Accuracy",
    "Choice",
    "Exact",
    "Format",
    "GradedAnswers",
    "JsonSchema",
    "Language",
    "Length",
    "Numeric",
    "Overlong",
    "Repetition",
    "Sensor",
    "r1_rewards",
]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """Every rule of this folder: those of the answer, those of its form."""
    return [*_RULES]
