"""Two values with their units and percent signs.

A unit that the reference does not have is harmless unless the question names another of its kind ("in dollars": not
cents); one that it has must be the same, or be left out; degrees and radians are converted. 50% is 0.5, and 50 where a
percentage was asked for, or where the reference has the sign; nothing above 1 is given in percent unless it was.
"""

from __future__ import annotations

import math
from fractions import Fraction

from r1_plugins.math.angles import same_measure
from r1_plugins.math.exact import UndecidedError
from r1_plugins.math.leaves import Asked
from r1_plugins.math.shapes import DEGREE, Value
from r1_plugins.math.tree import Number, Quotient, Tree
from r1_plugins.math.trees import Rules, same_tree
from r1_plugins.math.values import UndefinedError, value_of

_KINDS = (
    frozenset(["mm", "cm", "dm", "m", "km", "in", "ft", "yd", "mi"]),
    frozenset(["mg", "g", "kg", "t", "lb", "oz"]),
    frozenset(["dollar", "cent", "euro", "pound", "rupee", "yen"]),
    frozenset(["s", "min", "h", "day", "week", "month", "year"]),
    frozenset(["degree", "rad"]),
    frozenset(["ml", "l", "gal"]),
)


def same_value(gold: Value, answer: Value, asked: Asked, rules: Rules) -> bool:
    """Whether the answer states the gold's value. Raises TaskError."""
    if {gold.unit, answer.unit} == {DEGREE, "rad"}:
        return same_tree(gold.measure, answer.measure, rules)
    if not _fits(gold.unit, answer.unit, asked):
        return False
    if gold.percent == answer.percent:
        return same_measure(gold.measure, answer.measure, rules)
    size = _size(gold.tree)
    if gold.percent:
        if same_tree(gold.tree, answer.tree, rules):
            return asked.percent or size > 1
        return not asked.percent and same_tree(_hundredth(gold.tree), answer.tree, rules)
    if asked.percent and not 0 < size < 1:
        return same_tree(gold.tree, answer.tree, rules)
    return size <= 1 and same_tree(gold.tree, _hundredth(answer.tree), rules)


def _size(tree: Tree) -> float:
    """0, 1/2 for what lies between 0 and 1, 1; infinity for all others, which nobody gives in percent."""
    try:
        value = value_of(tree).rational
    except (UndecidedError, UndefinedError):
        return math.inf
    if value is None or abs(value) > 1:
        return math.inf
    return 1.0 if abs(value) == 1 else 0.5 if value else 0.0


def _hundredth(tree: Tree) -> Tree:
    return Quotient(tree, Number(Fraction(100)))


def _fits(gold: str, answer: str, asked: Asked) -> bool:
    if not answer:
        return True
    if gold:
        return gold == answer
    if answer.startswith("base "):
        return "base" in asked.words
    kind = next((kind for kind in _KINDS if answer.partition("^")[0] in kind), None)
    named = asked.units() & kind if kind is not None else frozenset()
    return not named or answer.partition("^")[0] in named
