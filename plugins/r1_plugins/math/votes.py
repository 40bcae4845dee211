r"""An answer as it is counted for a majority: equal values have one text, as 0.5, \frac12 and 1/2 do.

    value with an exact form     1/2, 5 cm, 50 %, or the terms of 1+sqrt(5)
    all else                     its signs, spaced alike

What is right is counted as the reference, whichever form it has. Wrong answers that are equal for reasons beyond exact
arithmetic (sines, rearranged equations) stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.math.exact import Exact, UndecidedError
from r1_plugins.math.golds import Gold
from r1_plugins.math.grammar import TaskError
from r1_plugins.math.leaves import Asked
from r1_plugins.math.reading import shape_of
from r1_plugins.math.shapes import Shape, Value
from r1_plugins.math.token import Token, UnreadableError
from r1_plugins.math.tokens import tokens_of
from r1_plugins.math.values import UndefinedError, value_of

LONGEST_BITS = 1_000
"""Of a numerator or denominator that is written out."""


def vote_for(gold: Gold) -> str:
    """What is right."""
    return _vote(gold.tokens, gold.shape)


def vote_of(texts: Sequence[str], asked: Asked) -> str:
    """What is not: each final answer, several in no order."""
    return "; ".join(sorted(_read(text, asked) for text in texts))


def _read(text: str, asked: Asked) -> str:
    try:
        tokens = tokens_of(text)
        return _vote(tokens, shape_of(tokens, asked))
    except (UnreadableError, TaskError):
        return " ".join(text.split())


def _vote(tokens: Sequence[Token], shape: Shape) -> str:
    spelled = " ".join(token.text for token in tokens)
    if not isinstance(shape, Value):
        return spelled
    try:
        number = _written(value_of(shape.tree))
    except (UndecidedError, UndefinedError):
        return spelled
    return f"{number}{' %' if shape.percent else ''}{f' {shape.unit}' if shape.unit else ''}" if number else spelled


def _written(value: Exact) -> str:
    """The number; "" for one that is too long."""
    parts = [part for ratio in value.terms.values() for part in (ratio.numerator, ratio.denominator)]
    if any(part.bit_length() > LONGEST_BITS for part in parts):
        return ""
    rational = value.rational
    return str(rational) if rational is not None else str(sorted((m, str(c)) for m, c in value.terms.items()))
