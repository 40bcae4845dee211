r"""Sets of real numbers by name: \mathbb{R}, x \in \mathbb{R}, "all real numbers", "for all real values of x", and
\{x \mid x > 2\}, which says x > 2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1_plugins.math.names import is_letter
from r1_plugins.math.shapes import INFINITE, Interval, Intervals
from r1_plugins.math.token import Token

REALS = r"\reals"
"""The token of \\mathbb{R}."""
_SAID = {REALS: "reals", r"\forall": "for all", r"\in": "in"}
_NEEDED = frozenset((REALS, "real", "reals"))
_LONGEST = 12
_EVERY = "(?:all|any|every|each)"
_NAMED = "reals?(?: numbers?| values?(?: of (?P<of>@[a-z]+))?)?(?: (?P<last>@[a-z]+))?"
_ALL = re.compile(
    r"(?:(?P<first>@[a-z]+) (?:is|can be|may be) )?(?:for )?(?:the set of )?"
    rf"{_EVERY} (?:(?P<member>@[a-z]+) in )?{_NAMED}"
    r"|(?:the )?(?:set of )?(?:the )?real numbers"
    rf"|(?:for )?(?:{_EVERY} )?(?:(?P<of_all>@[a-z]+) in )?(?:the )?reals"
)


def all_reals(tokens: Sequence[Token]) -> Intervals | None:
    """The whole line, where the tokens name it; None where they say anything else."""
    if len(tokens) > _LONGEST or not any(token.text.lower() in _NEEDED for token in tokens):
        return None
    match = _ALL.fullmatch(" ".join(map(_said, tokens)))
    if match is None:
        return None
    symbols = {name for name in match.groupdict().values() if name}
    return line(symbols.pop().removeprefix("@")) if len(symbols) == 1 else line() if not symbols else None


def line(symbol: str = "") -> Intervals:
    """All real numbers."""
    high, low = INFINITE
    return Intervals((Interval(low, high, True, True),), symbol)


def _said(token: Token) -> str:
    """The word; a variable with a mark before it, so that no word is taken for one."""
    if is_letter(token) and (len(token.text) == 1 or token.kind == "command"):
        return f"@{token.text.removeprefix(chr(92)).lower()}"
    return _SAID.get(token.text, token.text.lower() if token.kind == "word" else token.text)


def condition(inner: Sequence[Token]) -> Sequence[Token] | None:
    r"""What holds of the members in \{x \mid x > 2\} and \{x \in \mathbb{R} : x > 2\}; None for any other set."""
    if not inner or not is_letter(inner[0]):
        return None
    start = 3 if len(inner) > 3 and inner[1].is_(r"\in") and inner[2].is_(REALS) else 1
    return inner[start + 1 :] if len(inner) > start and inner[start].is_("|", ":") else None
