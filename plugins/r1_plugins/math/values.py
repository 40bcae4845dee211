"""The exact value of a tree at a point, and whether two expressions have the same at every one.

Two expressions that agree at a dozen random rational points are the same one (Schwartz and Zippel: a difference that is
not zero has few roots; the points are drawn from the expressions themselves, so nobody can aim for a root). What has no
exact value there (a sine, a nested root) raises UndecidedError and goes to `symbolic`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from fractions import Fraction
from math import comb

from r1_plugins.math.exact import EULER, IMAGINARY, PI, Exact, UndecidedError, fact
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
)  # fmt: skip

POINTS = 12
ENOUGH = 4
"""At how many points both must have a value."""
_BASES = {"pi": PI, "e": EULER, "i": IMAGINARY}


class UndefinedError(Exception):
    """There is no value: a division by zero."""


def value_of(tree: Tree, point: Mapping[str, Fraction] | None = None) -> Exact:
    """The value where each symbol has the point's. Raises UndecidedError, UndefinedError."""
    match tree:
        case Number(value):
            return Exact.of(value)
        case Mixed(whole, part):
            return Exact.of(whole + part)
        case Constant(name):
            if name not in _BASES:
                raise UndecidedError
            return Exact.constant(_BASES[name])
        case Symbol(name):
            if point is None or name not in point:
                raise UndecidedError
            return Exact.of(point[name])
        case Negative(of):
            return -value_of(of, point)
        case Degrees(of):
            return value_of(of, point) * Exact({((PI, Fraction(1)),): Fraction(1, 180)})
        case Sum(terms):
            total = Exact.of(0)
            for term in terms:
                total = total + value_of(term, point)
            return total
        case Product(factors):
            result = Exact.of(1)
            for factor in factors:
                result = result * value_of(factor, point)
            return result
        case Quotient(over, under):
            divisor = value_of(under, point)
            if not divisor.terms:
                raise UndefinedError
            return value_of(over, point) / divisor
        case Power(base, exponent):
            return _power(base, exponent, point)
        case Apply(function, arguments):
            return _applied(function, [value_of(argument, point) for argument in arguments])
    raise UndecidedError


def _power(base: Tree, exponent: Tree, point: Mapping[str, Fraction] | None) -> Exact:
    power = value_of(exponent, point).rational
    if power is None:
        raise UndecidedError
    value = value_of(base, point)
    if not value.terms and power <= 0:
        raise UndefinedError
    return value.power(power)


def _applied(function: str, values: list[Exact]) -> Exact:
    numbers = [value.rational for value in values]
    first = numbers[0]
    if first is None or None in numbers:
        raise UndecidedError
    if function == "abs":
        return Exact.of(abs(first))
    if function == "factorial" and first.denominator == 1:
        return fact(first.numerator)
    if function == "binomial":
        second = numbers[1]
        assert second is not None
        if first.denominator == second.denominator == 1 and 0 <= second <= first <= 5_000:
            return Exact.of(comb(first.numerator, second.numerator))
    raise UndecidedError


# --- two expressions -------------------------------------------------------------------------------


def points_for(*trees: Tree, largest: int = 400) -> list[dict[str, Fraction]]:
    """The same few rational points for the same expressions, negative ones among them."""
    names = sorted(frozenset().union(*map(symbols, trees)))
    rng = random.Random(hashlib.sha256(repr(trees).encode()).digest())
    found = []
    for number in range(POINTS):
        sign = -1 if number % 3 == 2 else 1
        found.append({name: sign * Fraction(rng.randint(1, largest), rng.randint(1, 30)) for name in names})
    return found


def same_everywhere(left: Tree, right: Tree) -> bool:
    """Whether they have one value at every point. Raises UndecidedError where too few points tell."""
    agreed = 0
    for point in points_for(left, right):
        ours, theirs = _at(left, point), _at(right, point)
        if ours is None and theirs is None:
            continue
        if ours is None or theirs is None or ours != theirs:
            return False
        agreed += 1
        if agreed >= ENOUGH and agreed >= POINTS // 2:
            return True
    if agreed < ENOUGH:
        raise UndecidedError
    return True


def one_ratio(left: Tree, right: Tree) -> Fraction | None:
    """The constant c with left = c * right, which is not zero; None where there is none. Raises UndecidedError."""
    ratio: Exact | None = None
    agreed = 0
    for point in points_for(left, right):
        ours, theirs = _at(left, point), _at(right, point)
        if ours is None or theirs is None or not theirs.terms:
            continue
        now = ours / theirs
        if not now.terms or (ratio is not None and now != ratio):
            return None
        ratio = now
        agreed += 1
    if agreed < ENOUGH:
        raise UndecidedError
    return ratio.rational if ratio is not None else None


def _at(tree: Tree, point: Mapping[str, Fraction]) -> Exact | None:
    try:
        return value_of(tree, point)
    except UndefinedError:
        return None
