r"""Inequalities: what they say of one variable is an interval; the rest stays a comparison of two expressions.

1 \le x < 2     [1, 2)          x > 2     (2, \infty)          x + y \le 1     an Inequality
"""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.math.grammar import tree_of
from r1_plugins.math.names import is_letter, names_only, spelled_whole
from r1_plugins.math.shapes import Inequality, Interval, Intervals, Shape, Tokens, Tuple
from r1_plugins.math.tree import Constant, Negative

_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}


def inequality(sides: Sequence[Tokens], signs: Sequence[str]) -> Shape:
    """The shape of sides with signs between them. Raises UnreadableError."""
    if len(signs) > 1 and all(sign[0] == ">" for sign in signs):
        sides = sides[::-1]
        signs = [_TURNED[sign] for sign in reversed(signs)]
    trees = [tree_of(side) for side in sides]
    named = [names_only(side) for side in sides]
    if len(signs) == 2 and all(sign[0] == "<" for sign in signs) and named == [False, True, False]:
        piece = Interval(trees[0], trees[2], signs[0] == "<", signs[1] == "<")
        return Intervals((piece,), spelled_whole(sides[1]))
    if len(signs) > 1:  # f(2) < f(1) < f(4)
        pairs = zip(trees[:-1], signs, trees[1:], strict=True)
        return Tuple(tuple(Inequality(left, sign, right) for left, sign, right in pairs))
    left, right, sign = trees[0], trees[1], signs[0]
    if named[1] and not named[0]:
        left, right, sign = right, left, _TURNED[sign]
        named, sides = named[::-1], sides[::-1]
    if named[0] and not named[1] and sign != "!=" and not _has_symbols(sides[1]):
        open_ = len(sign) == 1
        if sign[0] == ">":
            piece = Interval(right, Constant("infinity"), open_, True)
        else:
            piece = Interval(Negative(Constant("infinity")), right, True, open_)
        return Intervals((piece,), spelled_whole(sides[0]))
    return Inequality(left, sign, right)


def _has_symbols(tokens: Tokens) -> bool:
    return any(is_letter(token) and token.text not in ("e", "i") for token in tokens)
