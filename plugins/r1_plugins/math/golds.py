r"""References as data sets write them, read once: "72", 72.0, "$\frac12$", "#### 72", a solution with its \boxed{}.

What cannot be read is refused before training, with the reason: nothing could be said of answers to it, and a verifier
that pays for everything or for nothing teaches exactly that.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from r1_plugins.math.exact import UndecidedError
from r1_plugins.math.final import bare, boxes
from r1_plugins.math.grammar import tree_of
from r1_plugins.math.leaves import Asked
from r1_plugins.math.reading import shape_of
from r1_plugins.math.shapes import Equation, Intervals, Matrix, Ratio, Several, Shape, Tuple, Value, Words
from r1_plugins.math.token import Token, UnreadableError
from r1_plugins.math.tokens import tokens_of
from r1_plugins.math.tree import symbols
from r1_plugins.math.values import UndefinedError, value_of

_MOST_WORDS = 4
_WHY = {
    "no_answer": "it is empty",
    "too_long": "it is too long for a final answer",
    "too_deep": "it is nested too deeply",
    "unbalanced": "its brackets do not match",
    "format": "its box never closes",
    "foreign_sign": "it has a sign that is not read here",
    "several_answers": "it has several boxes",
    "unevaluated": "it is a task (a sum, an integral, a limit), not a value",
    "sentence": "it is a sentence",
    "divides_by_zero": "it divides by zero",
}


@dataclass(frozen=True)
class Gold:
    """A reference and how answers to its problem are read."""

    tokens: tuple[Token, ...]
    shape: Shape
    asked: Asked
    question: str


def golds_of(reference: Any, question: str) -> tuple[Gold, ...]:
    """The accepted answers; a list holds alternatives. Raises UnreadableError."""
    several = reference if isinstance(reference, list | tuple) else [reference]
    if not several:
        raise UnreadableError("no_answer")
    return tuple(_gold(_text(one), question) for one in several)


def why_not(error: UnreadableError, reference: Any) -> str:
    """The sentence for people."""
    reason = _WHY.get(str(error), "it is no expression that can be compared")
    return f"{str(reference)[:80]!r} cannot be compared with: {reason}"


def _text(reference: Any) -> str:
    if isinstance(reference, bool) or reference is None or isinstance(reference, dict | list):
        raise UnreadableError("no_expression")
    if isinstance(reference, float):
        if not math.isfinite(reference):
            raise UnreadableError("no_expression")
        return format(Decimal(repr(reference)).normalize(), "f")  # 0.1 as it was written, 1e20 in full
    return str(reference)


@functools.lru_cache(maxsize=512)
def _gold(text: str, question: str) -> Gold:
    if "\\boxed" in text or "\\fbox" in text:
        found = list(dict.fromkeys(boxes(text)))
        if len(found) != 1:
            raise UnreadableError("several_answers")
        (text,) = found
    elif "####" in text:
        text = text.rpartition("####")[2]
    tokens = tokens_of(bare(text))
    labels = " ".join(token.text for token in tokens if token.kind == "word" and len(token.text) > 2)
    asked = Asked.of(f"{question} {labels}")
    try:
        shape = shape_of(tokens, asked)
    except UnreadableError as error:
        shape = _in_words(tokens, error)
    numeric = isinstance(shape, Value) and not symbols(shape.tree)
    _readable(shape)
    return Gold(tokens, shape, replace(asked, letters=numeric), question)


def _in_words(tokens: Sequence[Token], error: UnreadableError) -> Words:
    """June 20, 2:30 pm: words with numbers, which an answer has to repeat. Raises the error where there are none."""
    words = [token for token in tokens if token.kind == "word" and len(token.text) > 1]
    plain = all(token.kind != "command" for token in tokens)
    if str(error) not in ("unknown_word", "no_expression") or not words or not plain:
        raise error
    return Words(" ".join(token.text.lower() for token in tokens))


def _readable(shape: Shape) -> None:
    """Raises Unreadable for what could be read but not compared."""
    parts: Sequence[Shape] = ()
    match shape:
        case Words(text):
            if not text:
                raise UnreadableError("no_answer")
            if len(text.split()) > _MOST_WORDS or text.split()[0] == "see":
                raise UnreadableError("sentence")
        case Several(items) | Tuple(items) | Ratio(items):
            parts = items
        case Matrix(rows):
            parts = [value for row in rows for value in row]
        case Equation(sides):
            for side in sides[1:]:
                tree_of(side) if len(sides) != 2 else None
        case Value(tree):
            if not symbols(tree):
                _finite(shape)
        case Intervals():
            pass
    for part in parts:
        _readable(part)


def _finite(value: Value) -> None:
    try:
        value_of(value.tree)
    except UndefinedError:
        raise UnreadableError("divides_by_zero") from None
    except UndecidedError:
        pass
