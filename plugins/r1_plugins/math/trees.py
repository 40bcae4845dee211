"""Whether two expressions are equal: exactly where that can be decided, by sympy where not; and whether the answer's is
stated. Both must have the same symbols, so that nothing which cancels or vanishes passes for anything."""

from __future__ import annotations

from dataclasses import dataclass

from r1_plugins.math.exact import Exact, UndecidedError
from r1_plugins.math.grammar import TaskError
from r1_plugins.math.stated import tasks
from r1_plugins.math.symbolic import same_by_numbers
from r1_plugins.math.tree import Constant, Tree, symbols, walk
from r1_plugins.math.values import UndefinedError, same_everywhere, value_of


@dataclass(frozen=True)
class Rules:
    """How strict to be."""

    allow_unevaluated: bool = False


def same_tree(gold: Tree, answer: Tree, rules: Rules) -> bool:
    """Whether the answer states the gold's value. Raises TaskError where it only says how to compute it."""
    if gold == answer:
        return True
    if symbols(gold) != symbols(answer):
        return False
    if not rules.allow_unevaluated and tasks(answer) - tasks(gold):
        raise TaskError("unevaluated")
    if _infinite(gold) or _infinite(answer):
        return False
    try:
        return _equal(gold, answer)
    except (UndecidedError, UndefinedError):
        return False


def _infinite(tree: Tree) -> bool:
    return any(node == Constant("infinity") for node in walk(tree))


def _equal(gold: Tree, answer: Tree) -> bool:
    if symbols(gold):
        try:
            return same_everywhere(gold, answer)
        except UndecidedError:
            return same_by_numbers(gold, answer)
    ours = _exact(gold)
    theirs = _exact(answer)
    if ours is not None and theirs is not None:
        return ours == theirs
    if ours is not None and ours.rational is not None:
        return False  # a rational number has a plain form
    return same_by_numbers(gold, answer)


def _exact(tree: Tree) -> Exact | None:
    try:
        return value_of(tree)
    except UndecidedError:
        return None
