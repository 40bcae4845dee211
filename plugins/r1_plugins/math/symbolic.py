"""What exact arithmetic does not decide (sines, logarithms, nested roots): sympy, and math-verify as the last judge.

Expressions are built node by node from our own trees. No text reaches sympy, so nothing a model wrote can be evaluated
as code (math-verify's extraction of plain expressions ends in `eval`). Values are compared at random points to 30
digits, relative to their size, so that neither 1/2004! nor sin(10^-20) is taken for nothing; math-verify is asked only
where no point tells. Runs in the worker: a deadline is the core's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from r1_plugins.math.exact import UndecidedError
from r1_plugins.math.stated import COUNTED
from r1_plugins.math.tree import (
    Apply,
    Constant,
    Degrees,
    Mixed,
    Negative,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    Tree,
    symbols,
    walk,
)
from r1_plugins.math.values import ENOUGH, points_for, value_of

_DIGITS = 50
_PRECISION = 1_000
_AGREED = Fraction(1, 10**30)
_LARGEST = 1_000
"""A number beyond it in an exponent, or under a factorial, is not handed on."""
_HIGHEST = 4
"""Nor is a higher power within an exponent: x^(x^5)."""
_FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "arcsin": "asin",
    "arccos": "acos", "arctan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "abs": "Abs",
    "factorial": "factorial", "binomial": "binomial",
}  # fmt: skip


def same_by_numbers(left: Tree, right: Tree) -> bool:
    """Whether they are equal at every point where both have a value. Raises UndecidedError."""
    found = list(_values(left, right))
    if any((a is None) != (b is None) for a, b in found):
        return False
    known = [(a, b) for a, b in found if a is not None]
    if not known:
        return _last_judge(expression(left), expression(right))
    return all(_close(a, b) for a, b in known)


def proportional(left: Tree, right: Tree) -> int:
    """The sign of the constant that one is the other's multiple by; 0 where there is none. Raises UndecidedError."""
    ratios = [a / b for a, b in _values(left, right) if a is not None and b]
    if len(ratios) < ENOUGH or not ratios[0].is_real or not all(_close(ratio, ratios[0]) for ratio in ratios):
        return 0
    return 1 if ratios[0] > 0 else -1


def _values(left: Tree, right: Tree) -> Iterator[tuple[Any, Any]]:
    """Both values at a few points, None where there is none; at one, where there are no symbols."""
    for tree in (left, right):
        _bounded(tree)
    ours, theirs = expression(left), expression(right)
    for point in points_for(left, right, largest=40)[: 2 * ENOUGH if symbols(left) else 1]:
        yield _number(ours, point), _number(theirs, point)


def _last_judge(ours: Any, theirs: Any) -> bool:
    """math-verify's own comparison, where no point told."""
    if ours.free_symbols != theirs.free_symbols or ours.is_zero or theirs.is_zero:
        return False
    from math_verify import verify  # type: ignore[import-untyped]

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that the deadline is not its own
    return bool(verify(ours, theirs, timeout_seconds=None))


def _bounded(tree: Tree) -> None:
    """Raises UndecidedError for towers and long powers: they have no digits that anybody reads, and take for ever."""
    for node in walk(tree):
        if isinstance(node, Power):
            inner = [part for part in walk(node.exponent) if isinstance(part, Power)]
            if _size(node.exponent) > _LARGEST or any(symbols(part.exponent) for part in inner):
                raise UndecidedError
            if symbols(node.exponent) and any(_size(part.exponent) > _HIGHEST for part in inner):
                raise UndecidedError
        if isinstance(node, Apply) and node.function in COUNTED:
            powers = [part for part in walk(node) if isinstance(part, Power)]
            if any(_size(argument) > _LARGEST for argument in node.arguments) or (symbols(node) and powers):
                raise UndecidedError


def _size(tree: Tree) -> float:
    """How large a number is, as far as it matters; 0 for what depends on symbols, or is no rational."""
    if symbols(tree):
        return 0
    value = value_of(tree).rational
    return 0.0 if value is None else 1e9 if abs(value) > 10**9 else float(abs(value))


def expression(tree: Tree) -> Any:
    """The sympy expression of a tree; symbols are real."""
    import sympy  # type: ignore[import-untyped]

    match tree:
        case Number(value):
            return _rational(value)
        case Mixed(whole, part):
            return _rational(whole + part)
        case Constant(name):
            return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infinity": sympy.oo}[name]
        case Symbol(name):
            return sympy.Symbol(name, real=True)
        case Negative(of):
            return -expression(of)
        case Degrees(of):
            return sympy.Mul(expression(of), sympy.pi, sympy.Rational(1, 180))
        case Sum(terms):
            return sympy.Add(*map(expression, terms))
        case Product(factors):
            return sympy.Mul(*map(expression, factors))
        case Quotient(over, under):
            return sympy.Mul(expression(over), sympy.Pow(expression(under), -1))
        case Power(base, exponent):
            return sympy.Pow(expression(base), expression(exponent))
        case Apply(function, arguments):
            return _applied(function, [expression(argument) for argument in arguments])
    raise UndecidedError


def _applied(function: str, arguments: list[Any]) -> Any:
    import sympy

    if function in ("ln", "log", "lg"):
        base = arguments[1] if len(arguments) > 1 else None
        return sympy.log(arguments[0]) if base is None else sympy.log(arguments[0]) / sympy.log(base)
    return getattr(sympy, _FUNCTIONS[function])(*arguments)


def _number(expression: Any, point: Mapping[str, Fraction]) -> Any:
    """A complex number of 50 digits, or None where there is no finite one."""

    here = {symbol: _rational(point[symbol.name]) for symbol in expression.free_symbols}
    try:
        value = expression.subs(here).evalf(_DIGITS, maxn=_PRECISION, strict=True)
    except Exception:  # sympy raises many kinds for what has no value, or none within its precision
        return None
    return value if value.is_number and value.is_finite else None


def _rational(value: Fraction) -> Any:
    import sympy

    return sympy.Rational(value.numerator, value.denominator)


def _close(a: Any, b: Any) -> bool:
    import sympy

    size = max(sympy.Abs(a), sympy.Abs(b))
    if size == 0:
        return True
    return bool(sympy.Abs(a - b) <= size * _rational(_AGREED))


def close_to(tree: Tree, value: Fraction, within: Fraction) -> bool:
    """Whether a number lies no further than that from a literal: one is a rounding of the other."""
    import sympy

    _bounded(tree)
    number = _number(expression(tree), {})
    if number is None or not number.is_real:
        return False
    distance = sympy.Abs(number - _rational(value))
    return bool(distance <= _rational(within))
