"""Equations and chains: what "x = 41 = 42" says, and when two equations draw the same line.

In a chain every member has to be the reference's value, the last one stated; the first may be a name, or the task
itself (2^10 = 1024). A member after an approximation sign may be a rounding of it.
"""

from __future__ import annotations

from fractions import Fraction

from r1_plugins.math.exact import UndecidedError
from r1_plugins.math.grammar import TaskError, tree_of
from r1_plugins.math.leaves import Asked, leaf
from r1_plugins.math.names import names_only
from r1_plugins.math.shapes import Equation, Inequality, Tokens, Value
from r1_plugins.math.symbolic import close_to, proportional
from r1_plugins.math.token import UnreadableError
from r1_plugins.math.tree import Negative, Number, Sum, Tree, symbols
from r1_plugins.math.trees import Rules
from r1_plugins.math.units import same_value
from r1_plugins.math.values import UndefinedError, one_ratio

_ANYTHING = Rules(allow_unevaluated=True)


def value_in(chain: Equation, gold: Value, asked: Asked, rules: Rules) -> Value | None:
    """The value that a chain states; None where its members are not all the gold's value."""
    sides = list(chain.sides)
    loose = set(chain.loose)
    name: Tokens = ()
    if names_only(sides[0]):
        name = sides.pop(0)
        loose = {place - 1 for place in loose}
    elif len(sides) == 2 and names_only(sides[1]) and not loose:
        name = sides.pop(1)
    elif len(sides) > 1 and _is_task(sides[0]):
        sides.pop(0)
        loose = {place - 1 for place in loose}
    exact = [leaf(side, asked) for place, side in enumerate(sides) if place not in loose or len(sides) == 1]
    if not exact or symbols(exact[-1].tree) & _heads(name):
        return None
    if not all(same_value(gold, member, asked, _ANYTHING) for member in exact[:-1]):
        return None
    if not all(_rounding(gold, sides[place]) for place in loose if len(sides) > 1):
        return None
    return exact[-1]


def _heads(name: Tokens) -> set[str]:
    """The symbols of a name, without what a function is applied to."""
    applied = next((place for place, token in enumerate(name) if token.is_("(") and place), len(name))
    return {token.text for token in name[:applied]}


def _is_task(side: Tokens) -> bool:
    """Whether it is something to compute that cannot be read here: a sum, an integral."""
    try:
        tree_of(side)
    except TaskError:
        return True
    except UnreadableError:
        return False
    return False


def _rounding(gold: Value, side: Tokens) -> bool:
    """Whether the side is the gold, rounded to the decimals it has."""
    sign = -1 if side[0].is_("-") else 1
    number = side[1:] if sign < 0 else side
    if len(number) != 1 or number[0].kind != "number" or symbols(gold.tree):
        return False
    decimals = len(number[0].text.partition(".")[2])
    return close_to(gold.tree, sign * Fraction(number[0].text), Fraction(1, 2 * 10**decimals))


def equal_lines(gold: Equation, answer: Equation) -> bool:
    """Whether two equations hold in the same places: one is the other times a constant."""
    if len(gold.sides) != 2 or len(answer.sides) != 2 or gold.loose or answer.loose:
        return False
    ours, theirs = _difference(gold), _difference(answer)
    if not symbols(ours) or symbols(ours) != symbols(theirs):
        return False
    return _proportional(ours, theirs) is not None


def equal_sides(gold: Inequality, answer: Inequality) -> bool:
    """Whether two inequalities hold in the same places."""
    ours, theirs = _minus(gold.left, gold.right), _minus(answer.left, answer.right)
    unequal = "!=" in (gold.sign, answer.sign)
    if symbols(ours) != symbols(theirs) or len(gold.sign) != len(answer.sign) or (unequal and gold.sign != answer.sign):
        return False
    ratio = _proportional(ours, theirs)
    return ratio is not None and (unequal or (ratio > 0) == (gold.sign == answer.sign))


def _proportional(left: Tree, right: Tree) -> Fraction | None:
    """The constant between them. One that is no constant at all (x = x + 1) is nobody's equal."""
    try:
        one = Number(Fraction(1))
        if one_ratio(left, one) is not None or one_ratio(right, one) is not None:
            return None
        return one_ratio(left, right)
    except UndefinedError:
        return None
    except UndecidedError:
        pass
    try:
        return Fraction(proportional(left, right)) or None
    except UndecidedError:
        return None


def _difference(equation: Equation) -> Tree:
    left, right = (tree_of(side) for side in equation.sides)
    return _minus(left, right)


def _minus(left: Tree, right: Tree) -> Tree:
    return Sum((left, Negative(right)))
