"""Whether an answer states what the reference does, shape by shape. Exact; what cannot be decided is not equal.

Unordered values are matched one to one, tuples in order, intervals piece by piece; "x = ..." stands for its value where
it only names what is asked for. An equation is another's equal when their differences have one ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.math.angles import same_measure
from r1_plugins.math.equations import equal_lines, equal_sides, value_in
from r1_plugins.math.leaves import Asked
from r1_plugins.math.names import names_only, spelled
from r1_plugins.math.reading import shape_of
from r1_plugins.math.sets import line
from r1_plugins.math.shapes import (
    Equation,
    Inequality,
    Interval,
    Intervals,
    Matrix,
    Nothing,
    Ratio,
    Several,
    Shape,
    Tuple,
    Value,
    Words,
    intervals_of,
)
from r1_plugins.math.tree import Quotient, Symbol, symbols
from r1_plugins.math.trees import Rules, same_tree
from r1_plugins.math.units import same_value

_LINES = frozenset(("interval", "intervals", "inequality", "inequalities", "solve", "range", "domain", "values"))
_CHANCES = frozenset(("probability", "Probability", "chance", "chances", "odds", "likely", "likelihood"))
_PLACES = frozenset(("point", "points", "pair", "pairs", "coordinates", "vector", "vectors", "triple", "tuple"))


def same(gold: Shape, answer: Shape, asked: Asked, rules: Rules) -> bool:
    """Whether they say the same. Raises TaskError where the answer leaves something to be computed."""
    if isinstance(answer, Equation) and not isinstance(gold, Equation):
        return _stated(gold, answer, asked, rules)
    match gold:
        case Words(text):
            return _in_words(text, answer)
        case Value():
            if isinstance(answer, Words) and isinstance(gold.tree, Symbol):
                return len(answer.text) == 1 and gold.tree.name.lower() == answer.text
            if isinstance(answer, Ratio):
                return _as_quotient(gold, answer, asked, rules)
            return isinstance(answer, Value) and same_value(gold, answer, asked, rules)
        case Nothing():
            return isinstance(answer, Nothing)
        case Several():
            return _matched(gold, answer, asked, rules)
        case Tuple():
            return _in_order(gold, answer, asked, rules)
        case Intervals():
            answer = line() if answer == Value(Symbol("R")) else answer
            return _pieces(gold, intervals_of(answer), rules)
        case Ratio():
            return _proportional(gold, answer, asked, rules)
        case Matrix(rows):
            if isinstance(answer, Tuple) and all(len(row) == 1 for row in rows):  # a column is a vector
                return _in_order(Tuple(tuple(row[0] for row in rows)), answer, asked, rules)
            return isinstance(answer, Matrix) and _rows(rows, answer.rows, asked, rules)
        case Equation():
            return _as_equation(gold, answer, asked, rules)
        case Inequality():
            return isinstance(answer, Inequality) and equal_sides(gold, answer)


def _in_words(text: str, answer: Shape) -> bool:
    if isinstance(answer, Words):
        return answer.text == text
    return isinstance(answer, Value) and isinstance(answer.tree, Symbol) and answer.tree.name.lower() == text


# --- equations -----------------------------------------------------------------------------------------


def _stated(gold: Shape, answer: Equation, asked: Asked, rules: Rules) -> bool:
    """What an answer with `=` in it says of a reference that is no equation."""
    if isinstance(gold, Value):
        value = value_in(answer, gold, asked, rules)
        return value is not None and same_value(gold, value, asked, rules)
    if len(answer.sides) != 2 or answer.loose or not names_only(answer.sides[0]):
        return False
    return same(gold, shape_of(answer.sides[1], asked), asked, rules)


def _as_equation(gold: Equation, answer: Shape, asked: Asked, rules: Rules) -> bool:
    if len(gold.sides) != 2 or gold.loose:
        return False
    name, value = gold.sides
    named = names_only(name)
    meant = shape_of(value, asked) if named else None
    composed = any(token.is_("+", "-", "*", "^") for token in name)
    if not isinstance(answer, Equation):
        return meant is not None and not composed and same(meant, answer, asked, rules)
    if meant is None or composed or (isinstance(meant, Value) and symbols(meant.tree)):
        if equal_lines(gold, answer):
            return True
        applied = len(answer.sides) == 2 and any(token.is_("(") for token in answer.sides[0])
        same_name = spelled(answer.sides[0]) == spelled(name)
        return meant is not None and (applied or same_name) and _stated(meant, answer, asked, rules)
    other = answer.sides[0]
    if names_only(other) and spelled(other) != spelled(name) and len(spelled(other)) == len(spelled(name)) == 1:
        return False
    return _stated(meant, answer, asked, rules)


# --- several values ----------------------------------------------------------------------------------------


def _matched(gold: Several, answer: Shape, asked: Asked, rules: Rules) -> bool:
    """One to one, in any order. "x = 3, y = 4" are two things, "x = 3, x = 4" two values of one."""
    items = answer.items if isinstance(answer, Several) else (answer,)
    if isinstance(answer, Tuple) or len(items) != len(gold.items):
        if isinstance(answer, Tuple) and (names := _names(gold.items)) is not None and names == sorted(set(names)):
            return _in_order(Tuple(gold.items), answer, asked, rules)
        return False
    ours, theirs = _names(gold.items), _names(items)
    if theirs is not None and ours is None and len(set(theirs)) > 1:
        return False
    if theirs is None and ours is not None and len(set(ours)) > 1:
        plain = all(isinstance(item, Value) for item in items) and len(set(ours)) == len(ours)
        return plain and all(same(one, item, asked, rules) for one, item in zip(gold.items, items, strict=True))
    left = list(items)
    for wanted in gold.items:
        found = next((one for one in left if _same_item(wanted, one, asked, rules)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _same_item(gold: Shape, answer: Shape, asked: Asked, rules: Rules) -> bool:
    if (
        isinstance(gold, Equation)
        and isinstance(answer, Equation)
        and spelled(gold.sides[0]) != spelled(answer.sides[0])
    ):
        return False
    return same(gold, answer, asked, rules)


def _names(items: Sequence[Shape]) -> list[str] | None:
    """The names before "=" of each item, None where one has none."""
    if not all(isinstance(item, Equation) and names_only(item.sides[0]) for item in items):
        return None
    return [spelled(item.sides[0]) for item in items if isinstance(item, Equation)]


def _in_order(gold: Tuple, answer: Shape, asked: Asked, rules: Rules) -> bool:
    if isinstance(answer, Intervals):
        meant = (gold.square or asked.words & _LINES) and not asked.words & _PLACES
        pair = intervals_of(gold) if meant else None
        return pair is not None and _pieces(pair, answer, rules)
    items: Sequence[Shape] = ()
    if isinstance(answer, Matrix) and not gold.square:
        items = [row[0] for row in answer.rows if len(row) == 1]
    elif isinstance(answer, Tuple) and answer.square == gold.square:
        items = answer.items
    elif isinstance(answer, Several) and (names := _names(answer.items)) is not None and len(set(names)) == len(names):
        items = [item for _, item in sorted(zip(names, answer.items, strict=True), key=lambda pair: pair[0])]
    return len(items) == len(gold.items) and all(
        same(ours, theirs, asked, rules) for ours, theirs in zip(gold.items, items, strict=True)
    )


def _as_quotient(gold: Value, answer: Ratio, asked: Asked, rules: Rules) -> bool:
    """3 : 2 for a reference that is one quotient, or where a ratio was asked for. Odds of 3 : 2 are no probability."""
    literal = isinstance(gold.tree, Quotient) and not answer.clock and not asked.words & _CHANCES
    if len(answer.items) != 2 or gold.percent or gold.unit or not (literal or "ratio" in asked.words):
        return False
    over, under = (value.tree for value in answer.items)
    return same_tree(gold.tree, Quotient(over, under), rules)


def _proportional(gold: Ratio, answer: Shape, asked: Asked, rules: Rules) -> bool:
    """Term by term; where a ratio was asked for, up to a factor, and 2/3 stands for 2 : 3."""
    first, *rest = (value.tree for value in gold.items)
    scaled = "ratio" in asked.words
    if isinstance(answer, Value) and len(rest) == 1:
        literal = isinstance(answer.tree, Quotient) and not gold.clock
        plain = (scaled or literal) and not (answer.unit or answer.percent)
        return plain and same_tree(Quotient(first, rest[0]), answer.tree, rules)
    if not isinstance(answer, Ratio) or len(answer.items) != len(gold.items):
        return False
    theirs, *others = (value.tree for value in answer.items)
    if not scaled:
        return same_tree(first, theirs, rules) and all(map(same_tree, rest, others, [rules] * len(rest)))
    pairs = zip(rest, others, strict=True)
    return all(same_tree(Quotient(first, ours), Quotient(theirs, other), rules) for ours, other in pairs)


def _rows(gold: Sequence[Sequence[Value]], answer: Sequence[Sequence[Value]], asked: Asked, rules: Rules) -> bool:
    if [len(row) for row in gold] != [len(row) for row in answer]:
        return False
    return all(
        same_value(ours, theirs, asked, rules)
        for row, other in zip(gold, answer, strict=True)
        for ours, theirs in zip(row, other, strict=True)
    )


def _pieces(gold: Intervals, answer: Intervals | None, rules: Rules) -> bool:
    if answer is None or len(gold.pieces) != len(answer.pieces):
        return False
    if gold.symbol and answer.symbol and gold.symbol != answer.symbol:
        return False
    left = list(answer.pieces)
    for piece in gold.pieces:
        found = next((one for one in left if _same_piece(piece, one, rules)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _same_piece(gold: Interval, answer: Interval, rules: Rules) -> bool:
    if (gold.low_open, gold.high_open) != (answer.low_open, answer.high_open):
        return False
    return same_measure(gold.low, answer.low, rules) and same_measure(gold.high, answer.high, rules)
