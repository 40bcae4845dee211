"""The accuracy rule of R1 (arXiv:2501.12948, section 2.2): the rule `exact` by the name that the recipes' tables use.

rewards: [accuracy, {use: format, weight: 0.1}]
"""

from __future__ import annotations

from r1_plugins.rules.exact import Exact


class Accuracy(Exact):
    """`exact`, by R1's name: 1 when the final answer equals the reference (or one of a list of them), else 0."""

    name = "accuracy"
