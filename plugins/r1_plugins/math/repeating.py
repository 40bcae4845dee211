r"""Decimals without end: 0.\overline{3}, 0.1\bar 6, 0.\dot{1}4285\dot{7}. They are rationals, and are read as such.

The digits under a bar, or from the first dotted one to the last, repeat for ever: 0.1\overline{6} = 1/10 + 6/90.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from r1_plugins.math.token import Token

_BARS = (r"\overline", r"\bar")
_DOT = r"\dot"


def repeating(number: Token, tokens: Sequence[Token], place: int) -> tuple[Fraction, int] | None:
    """The value of `number` with the repeating digits that stand from `place` on, and the place behind them; None where
    nothing repeats. `0.` before a bar is a number and a mark."""
    whole, point, once = number.text.partition(".")
    if not point:
        if not _at(tokens, place).is_("."):
            return None
        place += 1
    found = _barred(tokens, place) or _dotted(tokens, place)
    if found is None:
        return None
    digits, place = found
    first = Fraction(int(whole + once or "0"), 10 ** len(once))
    return first + Fraction(int(digits), (10 ** len(digits) - 1) * 10 ** len(once)), place


def _barred(tokens: Sequence[Token], place: int) -> tuple[str, int] | None:
    return _digits(tokens, place + 1) if _at(tokens, place).is_(*_BARS) else None


def _dotted(tokens: Sequence[Token], place: int) -> tuple[str, int] | None:
    """One dotted digit, or two with what stands between them."""
    if not _at(tokens, place).is_(_DOT) or (first := _digits(tokens, place + 1)) is None or len(first[0]) != 1:
        return None
    between, after = "", first[1]
    if _at(tokens, after).kind == "number" and _at(tokens, after).text.isdigit():
        between, after = _at(tokens, after).text, after + 1
    if not _at(tokens, after).is_(_DOT):
        return None if between else first
    last = _digits(tokens, after + 1)
    return (first[0] + between + last[0], last[1]) if last is not None and len(last[0]) == 1 else None


def _digits(tokens: Sequence[Token], place: int) -> tuple[str, int] | None:
    """The digits of a group, or one digit without braces; and the place behind them."""
    braced = _at(tokens, place).is_("{")
    number = _at(tokens, place + braced)
    if number.kind != "number" or not number.text.isdigit() or (not braced and len(number.text) > 1):
        return None
    if braced and not _at(tokens, place + 2).is_("}"):
        return None
    return number.text, place + (3 if braced else 1)


def _at(tokens: Sequence[Token], place: int) -> Token:
    return tokens[place] if place < len(tokens) else Token("mark", "")
