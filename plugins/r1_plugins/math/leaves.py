"""A single value and what stands around it: a currency before, a unit, a percent sign or a scale behind.

    \\$1,200     72 marbles     5~\\mathrm{cm}     60 km/h     30^\\circ     12.5\\%     1.5 million     1011_2

A degree sign is a unit where it is the only one (30^\\circ); in an expression (\\cos 20^\\circ) it is read with that.
Words are units when they are in the list, and labels when the question has them; any other word beside a number makes
it unreadable, so that "42 less than that" or "42 or so" is never 42.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from r1_plugins.math.grammar import tree_of
from r1_plugins.math.known import OF_ANGLES
from r1_plugins.math.shapes import Value
from r1_plugins.math.token import Token, UnreadableError, circle
from r1_plugins.math.tree import Number, Product
from r1_plugins.math.words import CHANGES, PERCENT, POWERS, SCALES, unit_of

_CURRENCIES = {"$": "dollar", r"\$": "dollar", r"\euro": "euro", r"\pounds": "pound", r"\yen": "yen"}
_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
          "ten": "10", "twelve": "12", "sixteen": "16"}  # fmt: skip
_LETTERS = frozenset("mghsLNJWVAK")
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Asked:
    """What reading depends on beside the text: the words of the question, and whether a bare letter after a number may
    be a unit (only where the reference is a number)."""

    words: frozenset[str] = frozenset()
    letters: bool = False

    @classmethod
    def of(cls, text: str) -> Asked:
        """The words of a question (and of its reference)."""
        return cls(frozenset(_WORD.findall(text)))

    @property
    def percent(self) -> bool:
        """Whether it asks for a percentage."""
        return any(word.lower() in PERCENT for word in self.words)

    def has(self, word: str) -> bool:
        """Whether the question has the word, as one or many."""
        return bool(self.words & {word, word.removesuffix("s"), f"{word}s", word.lower(), word.capitalize()})

    def units(self) -> frozenset[str]:
        """The units that it names."""
        return frozenset(unit for word in self.words if len(word) > 1 and (unit := unit_of(word)) is not None)


def leaf(tokens: Sequence[Token], asked: Asked) -> Value:
    """The value that all the tokens state. Raises UnreadableError."""
    unit = ""
    if tokens[0].text in _CURRENCIES and tokens[0].kind != "word":
        unit, tokens = _CURRENCIES[tokens[0].text], tokens[1:]
    elif len(tokens) > 2 and tokens[0].is_("-") and tokens[1].text in _CURRENCIES:
        unit, tokens = _CURRENCIES[tokens[1].text], [tokens[0], *tokens[2:]]
    if len(tokens) > 2 and tokens[0].kind == "number" and tokens[1].is_("_"):
        return Value(tree_of(tokens[:1]), f"base {_base(tokens[2:])}")
    within = _has_angles(tokens)
    tokens = _with_signs(tokens) if within else tokens
    for place in range(1, len(tokens)):
        if _may_begin_unit(tokens, place, within=within):
            found = _unit(tokens[place:], asked)
            if found is not None:
                scale, named, percent = found
                tree = tree_of(tokens[:place])
                if scale:
                    tree = (
                        Product((tree, Number(Fraction(10) ** scale)))
                        if not isinstance(tree, Number)
                        else Number(tree.value * 10**scale)
                    )
                return Value(tree, named or unit, percent)
    return Value(tree_of(tokens), unit)


def _base(tokens: Sequence[Token]) -> str:
    kept = [token.text for token in tokens if not token.is_("{", "}")]
    if len(kept) != 1:
        raise UnreadableError("no_expression")
    return _BASES.get(kept[0], kept[0])


def _has_angles(tokens: Sequence[Token]) -> bool:
    """Whether degree signs are parts of an expression: of what a sine is taken of, or several of them."""
    signs = sum(token.is_(r"\circ") for token in tokens)
    return signs > 1 or any(token.text.removeprefix("\\") in OF_ANGLES for token in tokens)


def _with_signs(tokens: Sequence[Token]) -> list[Token]:
    """With a degree sign for each word "degrees" behind a value."""
    found: list[Token] = []
    for token in tokens:
        named = token.kind == "word" and len(token.text) > 1 and unit_of(token.text) == "degree"
        found += (
            [Token("mark", "^"), Token("command", r"\circ")] if named and found and _ends_value(found[-1]) else [token]
        )
    return found


def _may_begin_unit(tokens: Sequence[Token], place: int, *, within: bool) -> bool:
    """A word, a percent sign, or a degree sign that is not `within` an expression, right after what ends a value."""
    token = tokens[place]
    sign = token.is_("%") or (not within and circle(tokens, place) > 0)
    return (token.kind == "word" or sign) and _ends_value(tokens[place - 1])


def _ends_value(token: Token) -> bool:
    return token.kind in ("number", "word", "command") or token.is_(")", "}", "]", "!")


def _unit(tokens: Sequence[Token], asked: Asked) -> tuple[int, str, bool] | None:
    """(power of ten, unit, whether a percentage) where the tokens are nothing but a unit."""
    scale, percent = 0, False
    names: list[str] = []
    place = 0
    label = False
    while place < len(tokens):
        token = tokens[place]
        word = token.text.lower()
        size = 1
        if token.is_("%") or (token.kind == "word" and word in PERCENT):
            if percent or names:
                return None
            percent = True
        elif turn := circle(tokens, place):
            names.append("degree")
            size = turn
            following = tokens[place + size] if place + size < len(tokens) else None
            if following is not None and following.text in ("C", "F", "K"):
                names.append(following.text)
                size += 1
        elif token.is_("^") and names and (power := _exponent(tokens, place + 1)) is not None:
            names.append(f"^{power[0]}")
            size = 1 + power[1]
        elif (token.is_("/") and names) or (token.kind == "word" and word == "per" and place):
            names.append("/")
        elif token.is_(".", "*") and names:
            pass
        elif token.kind == "word" and word in SCALES and not names and not scale:
            scale = SCALES[word]
        elif token.kind == "word" and word in POWERS:
            names.append(f"^{POWERS[word]}")
        elif token.kind == "word" and word == "of" and names and place + 1 < len(tokens):
            label = True
        elif (unit := _named(token, asked)) is not None:
            names.append(unit)
        elif token.kind == "word" and len(word) > 2 and word not in CHANGES and asked.has(token.text):
            label = True
        else:
            return None
        place += size
    return (scale, _spelled(names), percent) if names or percent or scale or label else None


def _named(token: Token, asked: Asked) -> str | None:
    if token.kind != "word" or (token.text.lower() in CHANGES and len(token.text) > 1):
        return None
    if len(token.text) == 1 and not token.upright:
        bare = asked.letters and token.spaced and token.text in _LETTERS and token.text not in asked.words
        return unit_of(token.text) if bare else None
    return unit_of(token.text)


def _exponent(tokens: Sequence[Token], place: int) -> tuple[str, int] | None:
    rest = tokens[place : place + 3]
    if rest and rest[0].kind == "number":
        return rest[0].text, 1
    if len(rest) == 3 and rest[0].is_("{") and rest[1].kind == "number" and rest[2].is_("}"):
        return rest[1].text, 3
    return None


def _spelled(names: list[str]) -> str:
    """ "square cm" and "cm^2" alike; "unit" says nothing."""
    if len(names) >= 2 and names[0].startswith("^"):
        names = [names[1], names[0], *names[2:]]
    text = "".join(names)
    return {"mph": "mi/h", "kmh": "km/h"}.get(text, text)
