"""Whether an expression states a value or a task: `1+1`, `6!`, `50 * 101` name what to compute, not what comes out.

Powers, roots and fractions of literals count as stated, as do their canonical sums and products: 3 sqrt(2),
1 + sqrt(5), 2 - 3i, 4 pi/3, 3.2 * 10^5. A sum whose terms would merge, a product of two rationals, a factorial, a
function's value do not, unless the reference is itself written so: then the same operations are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from r1_plugins.math.exact import Exact, UndecidedError
from r1_plugins.math.tree import (
    Apply,
    Constant,
    Degrees,
    Negative,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Tree,
    children,
    symbols,
)
from r1_plugins.math.values import UndefinedError, value_of

COUNTED = frozenset(("factorial", "binomial"))
"""Operations on numbers that are a task among symbols, too."""


def tasks(tree: Tree) -> frozenset[str]:
    """The operations left to be done: of "sum", "product", "function", "factorial", "binomial"."""
    found: set[str] = set()
    for part in children(tree):
        found |= tasks(part)
    if symbols(tree):
        return frozenset(found & COUNTED)
    if isinstance(tree, Apply):
        found.add(tree.function if tree.function in COUNTED else "function")
    if isinstance(tree, Sum) and _merge(tree.terms):
        found.add("sum")
    if isinstance(tree, Product) and _rationals(tree.factors) > 1 and not _scientific(tree.factors):
        found.add("product")
    return frozenset(found)


def _value(tree: Tree) -> Exact | None:
    try:
        return value_of(tree)
    except (UndecidedError, UndefinedError):
        return None


def _merge(terms: Sequence[Tree]) -> bool:
    """Whether two terms are of one kind, or one is nothing."""
    seen: set[object] = set()
    for term in terms:
        value = _value(term)
        if value is None:
            continue
        if not value.terms or seen & set(value.terms):
            return True
        seen |= set(value.terms)
    return False


def _rationals(factors: Sequence[Tree]) -> int:
    plain = [factor.of if isinstance(factor, Degrees) else factor for factor in factors]
    return sum(1 for factor in plain if (value := _value(factor)) is not None and value.rational is not None)


def _scientific(factors: Sequence[Tree]) -> bool:
    """3.2 * 10^5: a literal, then a power of ten."""
    if len(factors) != 2:
        return False
    first, second = factors
    literal = isinstance(first.of if isinstance(first, Negative) else first, Number)
    return literal and isinstance(second, Power) and second.base == Number(Fraction(10))


def elementary(tree: Tree) -> bool:
    """Whether it is a plain literal: nothing that a problem would be restated with."""
    inner = tree.of if isinstance(tree, Negative) else tree
    inner = inner.of if isinstance(inner, Degrees) else inner
    return not isinstance(inner, Sum | Product | Quotient | Power | Apply) and not isinstance(inner, Constant)
