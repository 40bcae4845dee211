"""A token of an answer, and digits that are written in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["number", "word", "command", "mark"]


class UnreadableError(Exception):
    """No answer that can be judged; says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is the number, the word, the command with its backslash, or one mark."""

    kind: Kind
    text: str
    spaced: bool = False
    thin: bool = False
    """Only a thin space or an invisible group stood before it: 12\\,345."""
    upright: bool = False

    def is_(self, *texts: str) -> bool:
        """Whether it is one of these marks or commands."""
        return self.kind in ("mark", "command") and self.text in texts


def circle(tokens: Sequence[Token], place: int) -> int:
    """How many tokens from here are a degree sign, ^\\circ or ^{\\circ}; 0 where there is none."""
    rest = tokens[place : place + 4]
    if len(rest) > 1 and rest[0].is_("^") and rest[1].is_(r"\circ"):
        return 2
    if len(rest) == 4 and rest[0].is_("^") and rest[1].is_("{") and rest[2].is_(r"\circ") and rest[3].is_("}"):
        return 4
    return 0


def joined(tokens: Sequence[Token], *, commas: bool) -> tuple[Token, ...]:
    """1,234 and 1{,}234 and 1\\,234 and 1 234 are one number; 1, 234 are two, and so are those in (1,234)."""
    found: list[Token] = []
    place = depth = 0
    while place < len(tokens):
        token = tokens[place]
        place += 1
        depth += token.is_("(", "[", r"\{") - token.is_(")", "]", r"\}")
        if token.kind == "number" and token.text.isdigit() and len(token.text) <= 3 and token.text[0] != "0":
            mark, digits = "", token.text
            plain = commas and depth <= 0
            while (group := _group(tokens, place, commas=plain)) is not None and mark in ("", group[0]):
                mark, size, more = group
                digits += more
                place += size
                if not more.isdigit():
                    break
            token = replace(token, text=digits) if digits != token.text else token
        found.append(token)
    return tuple(found)


def _group(tokens: Sequence[Token], place: int, *, commas: bool) -> tuple[str, int, str] | None:
    """(how it is separated, how many tokens, its digits) of the next three digits of a number."""
    if place >= len(tokens):
        return None
    token = tokens[place]
    if _three(token) and (token.thin or token.spaced):
        return " ", 1, token.text
    if commas and token.is_(",") and not token.spaced and _three(_at(tokens, place + 1)):
        following = tokens[place + 1]
        return None if following.spaced and not following.thin else (",", 2, following.text)
    if token.is_("{") and _at(tokens, place + 1).is_(",") and _at(tokens, place + 2).is_("}"):
        following = _at(tokens, place + 3)
        return ("{,}", 4, following.text) if _three(following) else None
    return None


def _three(token: Token) -> bool:
    return token.kind == "number" and len(token.text.partition(".")[0]) == 3


def _at(tokens: Sequence[Token], place: int) -> Token:
    return tokens[place] if place < len(tokens) else Token("mark", "")
