"""Exact numbers: sums of rationals times roots of primes, powers of pi and e, and i. Equal when their terms are equal.

    sqrt(12)      = 2 * 3^(1/2)                 sqrt(2)/2 = 1/sqrt(2) = 1/2 * 2^(1/2)
    1/2004!       a fraction of 19,000 bits      4/(sqrt(5) - 1) = 1 + 5^(1/2)

Products of fractional powers of primes are linearly independent over the rationals, so each number of this kind has one
form and no float is needed. What has no such form here raises UndecidedError; nothing grows beyond BITS.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, isqrt
from typing import TypeAlias

BITS = 60_000
"""Longest numerator or denominator: 2004! has 19,053."""
_FACTORED = 10**9
"""Roots are taken of numbers whose primes are found by division up to here."""
_TERMS = 32
_LONGEST_POWER = 200
"""Of a number of several terms: each multiplication takes all pairs."""

Monomial: TypeAlias = tuple[tuple[int, Fraction], ...]
"""(base, exponent) pairs, bases ascending: constants are negative, primes positive with an exponent below 1."""
IMAGINARY, PI, EULER = -3, -2, -1
ONE: Monomial = ()


class UndecidedError(Exception):
    """There is no exact form here, or it would be too long."""


@dataclass(frozen=True)
class Exact:
    """A number as {monomial: coefficient}, no coefficient zero."""

    terms: Mapping[Monomial, Fraction]

    @classmethod
    def of(cls, value: Fraction | int) -> Exact:
        """A rational number."""
        return cls({ONE: Fraction(value)} if value else {})

    @classmethod
    def constant(cls, base: int) -> Exact:
        """`PI`, `EULER` or `IMAGINARY`."""
        return cls({((base, Fraction(1)),): Fraction(1)})

    @property
    def rational(self) -> Fraction | None:
        """Its value where it is rational."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get(ONE) if len(self.terms) == 1 else None

    def __add__(self, other: Exact) -> Exact:
        total = dict(self.terms)
        for monomial, coefficient in other.terms.items():
            total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        return _checked(total)

    def __neg__(self) -> Exact:
        return Exact({monomial: -coefficient for monomial, coefficient in self.terms.items()})

    def __mul__(self, other: Exact) -> Exact:
        if len(self.terms) * len(other.terms) > _TERMS * _TERMS:
            raise UndecidedError
        total: dict[Monomial, Fraction] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                monomial, carried = _joined(left, right)
                total[monomial] = total.get(monomial, Fraction(0)) + a * b * carried
        return _checked(total)

    def __truediv__(self, other: Exact) -> Exact:
        return self * other.inverse()

    def inverse(self) -> Exact:
        """1/x. A denominator of several terms is made rational root by root."""
        if not self.terms:
            raise UndecidedError
        if len(self.terms) == 1:
            ((monomial, coefficient),) = self.terms.items()
            turned = tuple((base, -exponent) for base, exponent in monomial)
            return Exact({ONE: 1 / coefficient}) * _normal(turned)
        base = next(base for monomial in self.terms for base, _ in monomial)
        if base in (PI, EULER):
            raise UndecidedError
        conjugate = Exact({m: -c if any(b == base for b, _ in m) else c for m, c in self.terms.items()})
        under = self * conjugate
        if any(b == base for monomial in under.terms for b, _ in monomial):
            raise UndecidedError  # a root that is no square root
        return conjugate * under.inverse()

    def power(self, exponent: Fraction) -> Exact:
        """x to a rational power; the principal value."""
        if exponent.denominator == 1:
            return self._whole_power(exponent.numerator)
        value = self.rational
        if value is None:
            return self._monomial_power(exponent)
        if value < 0:
            if exponent.denominator != 2:
                raise UndecidedError
            return Exact.constant(IMAGINARY)._whole_power(exponent.numerator) * Exact.of(-value).power(exponent)
        if value == 0:
            if exponent < 0:
                raise UndecidedError
            return self
        return _root(value.numerator, exponent) * _root(value.denominator, -exponent)

    def _whole_power(self, exponent: int) -> Exact:
        if exponent < 0:
            return self.inverse()._whole_power(-exponent)
        if exponent == 0 and not self.terms:
            raise UndecidedError
        value = self.rational
        if value is not None:
            if exponent * max(value.numerator.bit_length() - 1, value.denominator.bit_length() - 1) > BITS:
                raise UndecidedError
            return Exact.of(value**exponent) if value not in (0, 1, -1) or exponent < 2 else _unit(value, exponent)
        if exponent > _LONGEST_POWER:
            raise UndecidedError
        result = Exact.of(1)
        square = self
        while exponent:
            if exponent & 1:
                result = result * square
            exponent >>= 1
            if exponent:
                square = square * square
        return result

    def _monomial_power(self, exponent: Fraction) -> Exact:
        """A root of one positive term: sqrt(2 pi^2)."""
        if len(self.terms) != 1:
            raise UndecidedError
        ((monomial, coefficient),) = self.terms.items()
        if coefficient < 0 or any(base == IMAGINARY for base, _ in monomial):
            raise UndecidedError
        turned = tuple((base, power * exponent) for base, power in monomial)
        return Exact.of(coefficient).power(exponent) * _normal(turned)


def _unit(value: Fraction, exponent: int) -> Exact:
    return Exact.of(value if value != -1 or exponent % 2 else 1)


def fact(of: int) -> Exact:
    """A factorial, where it is short enough."""
    if not 0 <= of <= 5_000:
        raise UndecidedError
    return Exact.of(factorial(of))


def _checked(terms: dict[Monomial, Fraction]) -> Exact:
    kept = {monomial: value for monomial, value in terms.items() if value}
    if len(kept) > _TERMS:
        raise UndecidedError
    for value in kept.values():
        if value.numerator.bit_length() > BITS or value.denominator.bit_length() > BITS:
            raise UndecidedError
    return Exact(kept)


def _joined(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, and the rational factor that comes out of it."""
    if not left or not right:
        return left or right, Fraction(1)
    exponents = dict(left)
    for base, exponent in right:
        exponents[base] = exponents.get(base, Fraction(0)) + exponent
    return _reduced(exponents)


def _reduced(exponents: Mapping[int, Fraction]) -> tuple[Monomial, Fraction]:
    carried = Fraction(1)
    kept: list[tuple[int, Fraction]] = []
    for base, exponent in sorted(exponents.items()):
        if base == IMAGINARY:
            turns = int(exponent) % 4
            carried *= -1 if turns >= 2 else 1
            rest = Fraction(turns % 2)
        elif base < 0:
            rest = exponent
        else:
            whole = exponent.numerator // exponent.denominator
            carried *= Fraction(base) ** whole
            rest = exponent - whole
        if rest:
            kept.append((base, rest))
    return tuple(kept), carried


def _normal(monomial: Monomial) -> Exact:
    reduced, carried = _reduced(dict(monomial))
    return Exact({reduced: carried})


def _root(number: int, exponent: Fraction) -> Exact:
    """A positive integer to a power that is no integer."""
    if exponent.denominator > 100 or abs(exponent.numerator) > 1_000:
        raise UndecidedError
    return _normal(tuple((prime, count * exponent) for prime, count in _primes(number).items()))


@functools.lru_cache(maxsize=1024)
def _primes(number: int) -> dict[int, int]:
    if number > _FACTORED:
        whole = _perfect(number)
        if whole is None:
            raise UndecidedError
        return {prime: 2 * count for prime, count in _primes(whole).items()}
    found: dict[int, int] = {}
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found[divisor] = found.get(divisor, 0) + 1
            number //= divisor
        divisor += 1 if divisor == 2 else 2
    if number > 1:
        found[number] = found.get(number, 0) + 1
    return found


def _perfect(number: int) -> int | None:
    """The square root of a perfect square."""
    root = isqrt(number)
    return root if root * root == number else None
