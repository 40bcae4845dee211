"""Pairs of a reference and an answer whose equality is known without any verifier: an oracle of exact arithmetic.

A value is drawn (a rational number, c + a sqrt(b), a polynomial by its coefficients), written down twice in forms drawn
from what people write, and in half of the pairs changed a little in between.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

FREE = (2, 3, 5, 6, 7, 10, 11, 13, 14, 15)
"""Numbers without square factors."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What is compared with what, and whether the values are equal."""

    kind: str
    gold: str
    answer: str
    equal: bool


def pair(rng: random.Random) -> Pair:
    """The next pair."""
    kind = rng.choice(("rational", "rational", "large", "root", "polynomial"))
    if kind == "polynomial":
        return _polynomials(rng)
    if kind == "root":
        return _roots(rng)
    value = (
        _large(rng) if kind == "large" else Fraction(rng.randint(-999, 999), rng.choice((1, 1, 2, 3, 4, 7, 8, 12, 25)))
    )
    other = value if rng.random() < 0.5 else _changed(value, rng)
    write = written_large if kind == "large" else written
    return Pair(kind=kind, gold=write(value, rng), answer=write(other, rng), equal=value == other)


# --- rational numbers --------------------------------------------------------------------------------


def _large(rng: random.Random) -> Fraction:
    """A power, or one over a power: what floats cannot tell from its neighbours."""
    power = Fraction(rng.choice((2, 3, 5, 7, 10))) ** rng.randint(40, 300) + rng.choice((-1, 0, 0, 1))
    return power if rng.random() < 0.5 else 1 / power


def _changed(value: Fraction, rng: random.Random) -> Fraction:
    """Another value near by."""
    tiny = Fraction(1, 10 ** rng.choice((3, 9, 18, 30)))
    candidates = [value + 1, -value, value * 2, value + tiny, value * (1 + tiny), 1 / value if value else value + 1]
    others = [one for one in candidates if one != value]
    return rng.choice(others)


def written(value: Fraction, rng: random.Random) -> str:
    """A rational number as people write it."""
    over, under = value.numerator, value.denominator
    sign, size = ("-", -over) if over < 0 else ("", over)
    times = rng.randint(2, 9)
    forms = [rf"\frac{{{over}}}{{{under}}}", rf"{sign}\frac{{{size}}}{{{under}}}", f"{over}/{under}"]
    forms += [
        rf"\dfrac{{{over * times}}}{{{under * times}}}",
        rf"x = {over}/{under}",
        rf"{sign}\left(\frac{{{size}}}{{{under}}}\right)",
    ]
    if under == 1:
        forms += [
            f"{over}",
            f"{over}.0",
            f"{over:,}",
            f"{over}.",
            rf"\text{{{over}}}",
            f"${over}$",
            rf"{over}{{}}"[:-2],
        ]
    elif size > under:
        forms.append(rf"{sign}{size // under}\frac{{{size % under}}}{{{under}}}")
    decimal = _decimal(value)
    if decimal is not None:
        forms += [decimal, decimal + "0" if "." in decimal else decimal + ".00"]
    return rng.choice(forms)


def written_large(value: Fraction, rng: random.Random) -> str:
    """A long number: digits, or a fraction of them."""
    over, under = value.numerator, value.denominator
    forms = [rf"\frac{{{over}}}{{{under}}}", f"{over}/{under}"] if under != 1 else [f"{over}", f"{over:,}", f"{over}.0"]
    return rng.choice(forms)


def _decimal(value: Fraction) -> str | None:
    """Its decimals where they end within 40 places."""
    for places in range(41):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
            sign = "-" if value < 0 else ""
            return (
                f"{sign}{digits[: len(digits) - places]}.{digits[len(digits) - places :]}"
                if places
                else f"{sign}{digits}"
            )
    return None


# --- roots and polynomials -----------------------------------------------------------------------------


def _roots(rng: random.Random) -> Pair:
    free, times, plus = rng.choice(FREE), rng.choice((1, 2, 3, -1, -4)), rng.randint(-9, 9)
    other = (free, times, plus)
    if rng.random() < 0.5:
        other = rng.choice(
            ((free, times, plus + 1), (free, -times, plus), (rng.choice(FREE), times, plus), (free, times + 5, plus))
        )
    return Pair(
        kind="root",
        gold=_root(free, times, plus, rng),
        answer=_root(*other, rng),
        equal=other == (free, times, plus),
    )


def _root(free: int, times: int, plus: int, rng: random.Random) -> str:
    """plus + times * sqrt(free)."""
    sign = "-" if times < 0 else "+"
    root = rng.choice(
        (rf"{abs(times)}\sqrt{{{free}}}", rf"\sqrt{{{times * times * free}}}", rf"{abs(times)}\cdot\sqrt{{{free}}}")
    )
    if plus == 0:
        return f"-{root}" if sign == "-" else root
    scale = rng.randint(2, 5)
    return rng.choice(
        (
            f"{plus} {sign} {root}",
            f"{root} {plus:+d}" if sign == "+" else f"-{root} {plus:+d}",
            rf"\frac{{{plus * scale} {sign} {abs(times) * scale}\sqrt{{{free}}}}}{{{scale}}}",
        )
    )


def _polynomials(rng: random.Random) -> Pair:
    first, second, factor = rng.randint(-9, 9), rng.randint(-9, 9), rng.choice((1, 1, 2, 3))
    other = (first, second, factor)
    if rng.random() < 0.5:
        other = rng.choice(((first + 1, second, factor), (-first, second, factor), (first, second, factor + 1)))
    equal = _coefficients(*other) == _coefficients(first, second, factor)
    return Pair(kind="polynomial", gold=_expanded(first, second, factor), answer=_product(*other, rng), equal=equal)


def _coefficients(first: int, second: int, factor: int) -> tuple[int, int, int]:
    """Of factor * (x + first) * (x + second)."""
    return factor, factor * (first + second), factor * first * second


def _expanded(first: int, second: int, factor: int) -> str:
    square, line, free = _coefficients(first, second, factor)
    return f"{square}x^2 {line:+d}x {free:+d}"


def _product(first: int, second: int, factor: int, rng: random.Random) -> str:
    lead = "" if factor == 1 else str(factor)
    square, line, free = _coefficients(first, second, factor)
    return rng.choice(
        (
            f"{lead}(x{first:+d})(x{second:+d})",
            f"{lead}(x{second:+d})(x{first:+d})",
            f"{free} {line:+d}x {square:+d}x^{{2}}",
            rf"{lead}\left(x{first:+d}\right)\left(x{second:+d}\right)",
        )
    )
