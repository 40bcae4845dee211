"""What an answer says, as a tree: numbers, symbols, sums, products, powers, functions. Plain data, nothing evaluated.

`grammar` makes it of tokens; `numbers` gives it an exact value at a point; `stated` asks whether it is a value or a
task; `symbolic` hands it to sympy, node by node, so that no text a model wrote ever reaches a parser that evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias


@dataclass(frozen=True)
class Number:
    """A literal: 42, 0.5, 1,000."""

    value: Fraction


@dataclass(frozen=True)
class Constant:
    """`pi`, `e`, `i` or `infinity`."""

    name: str


@dataclass(frozen=True)
class Symbol:
    """A variable, with its subscript: x, a_n."""

    name: str


@dataclass(frozen=True)
class Sum:
    """Two terms or more."""

    terms: tuple[Tree, ...]


@dataclass(frozen=True)
class Product:
    """Two factors or more; -x is one, too."""

    factors: tuple[Tree, ...]


@dataclass(frozen=True)
class Negative:
    """-x."""

    of: Tree


@dataclass(frozen=True)
class Quotient:
    """A fraction."""

    over: Tree
    under: Tree


@dataclass(frozen=True)
class Power:
    """A power, or a root: the exponent is 1/n."""

    base: Tree
    exponent: Tree


@dataclass(frozen=True)
class Mixed:
    """3 1/2: one literal, no sum."""

    whole: Fraction
    part: Fraction


@dataclass(frozen=True)
class Degrees:
    """An angle in degrees: as a number it is pi/180 of what stands before the sign."""

    of: Tree


@dataclass(frozen=True)
class Apply:
    """A function's value: sin, log with its base, abs, factorial, binomial."""

    function: str
    arguments: tuple[Tree, ...]


Tree: TypeAlias = Number | Constant | Symbol | Sum | Product | Negative | Quotient | Power | Mixed | Degrees | Apply


def children(tree: Tree) -> tuple[Tree, ...]:
    """The parts, in order."""
    match tree:
        case Sum(terms):
            return terms
        case Product(factors):
            return factors
        case Negative(of) | Degrees(of):
            return (of,)
        case Quotient(over, under):
            return over, under
        case Power(base, exponent):
            return base, exponent
        case Apply(_, arguments):
            return arguments
    return ()


def walk(tree: Tree) -> Iterator[Tree]:
    """The tree and everything below it."""
    yield tree
    for child in children(tree):
        yield from walk(child)


def symbols(tree: Tree) -> frozenset[str]:
    """The variables in it."""
    return frozenset(node.name for node in walk(tree) if isinstance(node, Symbol))
