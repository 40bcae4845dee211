r"""Angles: 120^\circ is 2\pi/3. The sign may be left out where the other side is not in radians: 120 for
120^\circ.

\cos 20^\circ is never \cos 20: within a function the sign changes the value, and nobody leaves it out.
"""

from __future__ import annotations

from r1_plugins.math.tree import Constant, Degrees, Negative, Product, Quotient, Sum, Tree, walk
from r1_plugins.math.trees import Rules, same_tree


def same_measure(gold: Tree, answer: Tree, rules: Rules) -> bool:
    """Whether two values are one, in degrees or not. Raises TaskError."""
    if same_tree(gold, answer, rules):
        return True
    ours, theirs = _unsigned(gold), _unsigned(answer)
    if (ours == gold) == (theirs == answer):
        return False
    plain = gold if ours == gold else answer
    return not any(node == Constant("pi") for node in walk(plain)) and same_tree(ours, theirs, rules)


def _unsigned(tree: Tree) -> Tree:
    """Without the degree signs that stand outside of functions."""
    match tree:
        case Degrees(of):
            return of
        case Negative(of):
            return Negative(_unsigned(of))
        case Sum(terms):
            return Sum(tuple(map(_unsigned, terms)))
        case Product(factors):
            return Product(tuple(map(_unsigned, factors)))
        case Quotient(over, under):
            return Quotient(_unsigned(over), _unsigned(under))
    return tree
