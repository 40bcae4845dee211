r"""Tokens to a shape, found by brackets, separators and signs at the top level; what is left are expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from r1_plugins.math.grammar import tree_of
from r1_plugins.math.inequalities import inequality
from r1_plugins.math.known import FUNCTIONS
from r1_plugins.math.leaves import Asked, leaf
from r1_plugins.math.names import names_only, spelled_whole
from r1_plugins.math.sets import all_reals, condition, line
from r1_plugins.math.shapes import (
    INFINITE,
    Equation,
    Interval,
    Intervals,
    Matrix,
    Nothing,
    Ratio,
    Several,
    Shape,
    Tokens,
    Tuple,
    Value,
    Words,
    intervals_of,
)
from r1_plugins.math.token import Token, UnreadableError

_OPENING = ("(", "[", "{", r"\{", r"\begin")
_CLOSING = (")", "]", "}", r"\}", r"\end")
_SIGNS = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
_JOINS = frozenset(("and", "or"))
_MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "array", "smallmatrix", "Bmatrix"))


def shape_of(tokens: Tokens, asked: Asked) -> Shape:
    """What the tokens say. Raises UnreadableError."""
    tokens = _trimmed(tokens)
    if not tokens:
        raise UnreadableError("no_answer")
    parts, joins = _split(tokens)
    if len(parts) > 1:
        return _several(parts, joins, asked)
    if any(token.is_(r"\pm", r"\mp") for token in tokens):
        return _both_signs(tokens, asked)
    pieces = _split_at(tokens, (r"\cup",))
    if len(pieces) > 1:
        return _union(tuple(shape_of(piece, asked) for piece in pieces))
    return _single(tokens, asked)


def _single(tokens: Tokens, asked: Asked) -> Shape:
    whole = all_reals(tokens)
    if whole is not None:
        return whole
    relation = _relation(tokens, asked)
    if relation is not None:
        return relation
    ratio = _split_at(tokens, (":",))
    if len(ratio) > 1:
        return Ratio(tuple(leaf(part, asked) for part in ratio), clock=_may_be_time(ratio))
    words = _words(tokens)
    if words is not None:
        return words
    if _whole_bracket(tokens):
        return _bracketed(tokens, asked)
    if tokens[0].is_(r"\begin"):
        return _matrix(tokens, asked)
    if len(tokens) == 1 and tokens[0].is_(r"\emptyset"):
        return Nothing()
    return leaf(tokens, asked)


# --- the top level ---------------------------------------------------------------------------------


def _trimmed(tokens: Tokens) -> Tokens:
    """Without a last full stop and without groups and brackets that change nothing."""
    while tokens and tokens[-1].is_(".", ";", ","):
        tokens = tokens[:-1]
        if tokens and tokens[-1].is_("."):
            raise UnreadableError("no_expression")
    while len(tokens) > 2 and tokens[0].is_("{") and _whole_bracket(tokens):
        tokens = tokens[1:-1]
    return tokens


def _depths(tokens: Tokens) -> list[int]:
    """How deep each token lies; brackets count as outside."""
    depth, found = 0, []
    for token in tokens:
        if token.is_(*_CLOSING):
            depth -= 1
        if depth < 0:
            raise UnreadableError("unbalanced")
        found.append(depth)
        if token.is_(*_OPENING):
            depth += 1
    if depth:
        raise UnreadableError("unbalanced")
    return found


def _whole_bracket(tokens: Tokens) -> bool:
    """Whether the first token's bracket closes with the last one."""
    if len(tokens) < 2 or not tokens[0].is_("(", "[", "{", r"\{") or not tokens[-1].is_(")", "]", "}", r"\}"):
        return False
    return all(depth > 0 for depth in _depths(tokens)[1:-1])


def _split(tokens: Tokens) -> tuple[list[list[Token]], set[str]]:
    """The parts between commas, semicolons, "and" and "or"; and which of these there were."""
    parts: list[list[Token]] = [[]]
    joins: set[str] = set()
    for token, depth in zip(tokens, _depths(tokens), strict=True):
        word = token.text.lower() if token.kind == "word" else ""
        if depth == 0 and (token.is_(",", ";", r"\vee", r"\wedge") or word in _JOINS):
            joins.add({r"\vee": "or", r"\wedge": "and"}.get(token.text, word or ","))
            parts.append([])
        else:
            parts[-1].append(token)
    if len(parts) > 1 and not parts[0]:
        raise UnreadableError("no_expression")
    return [part for part in parts if part], joins


def _split_at(tokens: Tokens, signs: Sequence[str]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token, depth in zip(tokens, _depths(tokens), strict=True):
        if depth == 0 and token.is_(*signs):
            parts.append([])
        else:
            parts[-1].append(token)
    if len(parts) > 1 and not all(parts):
        raise UnreadableError("no_expression")
    return parts


def _both_signs(tokens: Tokens, asked: Asked) -> Shape:
    """1 \\pm \\sqrt 2 is two values; several such signs change together."""
    found = []
    for plus, minus in (("+", "-"), ("-", "+")):
        marks = {r"\pm": plus, r"\mp": minus}
        swapped = [
            replace(token, kind="mark", text=marks[token.text]) if token.is_(r"\pm", r"\mp") else token
            for token in tokens
        ]
        found.append(shape_of(swapped, asked))
    return _flat(found)


def _flat(shapes: Sequence[Shape]) -> Several:
    items: list[Shape] = []
    for shape in shapes:
        items += shape.items if isinstance(shape, Several) and not shape.braced else [shape]
    return Several(tuple(items))


def _several(parts: Sequence[Tokens], joins: set[str], asked: Asked) -> Shape:
    shapes = [shape_of(part, asked) for part in parts]
    if all(isinstance(shape, Intervals) for shape in shapes):
        plain = not any(shape.symbol for shape in shapes if isinstance(shape, Intervals))
        if joins <= {"or", ","} or plain:  # (1, 2) and (3, 4) lists both; x > 1 and x < 2 is neither
            return _union(tuple(shapes))
        raise UnreadableError("several_conditions")
    if any(isinstance(shape, Words) for shape in shapes):
        return Several(tuple(shapes))
    first = shapes[0]
    if isinstance(first, Equation) and all(isinstance(shape, Value) for shape in shapes[1:]):
        return Several((first, *(Equation((first.sides[0], tuple(part))) for part in parts[1:])))
    return _flat(shapes)


def _union(shapes: Sequence[Shape]) -> Shape:
    pieces: list[Interval] = []
    symbol = ""
    for shape in shapes:
        found = intervals_of(shape) or _points_of(shape)
        if found is None:
            raise UnreadableError("no_expression")
        pieces += found.pieces
        symbol = symbol or found.symbol
    return Intervals(tuple(pieces), symbol)


def _points_of(shape: Shape) -> Intervals | None:
    r"""The points of {-1} \cup [0, 7)."""
    if not isinstance(shape, Several) or not shape.braced:
        return None
    trees = [item.tree for item in shape.items if isinstance(item, Value)]
    return Intervals(tuple(Interval(tree, tree, False, False) for tree in trees))


# --- brackets and matrices ---------------------------------------------------------------------------


def _bracketed(tokens: Tokens, asked: Asked) -> Shape:
    opening, closing, inner = tokens[0].text, tokens[-1].text, tokens[1:-1]
    if opening == r"\{" and closing == r"\}":
        if not inner:
            return Nothing()
        holds = condition(inner)
        if holds is not None:
            return _of_members(inner[0], shape_of(holds, asked))
        shape = shape_of(inner, asked)
        return Several(shape.items if isinstance(shape, Several) else (shape,), braced=True)
    if opening not in ("(", "[") or closing not in (")", "]"):
        raise UnreadableError("unbalanced")
    parts = _split_at(inner, (",", ";"))
    if len(parts) == 2 and any(_is_infinite(part) for part in parts):  # no point has such an end
        return _interval(parts, opening, closing, asked)
    if len(parts) == 1:
        if opening + closing != "()":
            raise UnreadableError("no_expression")
        return shape_of(inner, asked) if inner else Words("")
    if opening + closing in ("()", "[]"):
        return Tuple(tuple(shape_of(part, asked) for part in parts), square=opening == "[")
    if len(parts) != 2:
        raise UnreadableError("no_expression")
    return _interval(parts, opening, closing, asked)


def _interval(parts: Sequence[Tokens], opening: str, closing: str, asked: Asked) -> Intervals:
    low, high = (leaf(_trimmed(part), asked).measure for part in parts)
    return Intervals((Interval(low, high, opening == "(", closing == ")"),))


def _is_infinite(tokens: Tokens) -> bool:
    try:
        return tree_of(_trimmed(tokens)) in INFINITE
    except UnreadableError:
        return False


def _of_members(member: Token, shape: Shape) -> Shape:
    """What a condition on a set's members says; of another variable it says nothing that is read here."""
    found = intervals_of(shape) if isinstance(shape, Intervals) else None
    if found is None or found.symbol not in ("", member.text):
        raise UnreadableError("no_expression")
    return found


def _may_be_time(parts: Sequence[Tokens]) -> bool:
    """Whether a ratio may be a time of day: 2:05, 12:30."""
    digits = [part[0].text if len(part) == 1 else "" for part in parts]
    return len(digits) == 2 and digits[0].isdigit() and len(digits[1]) == 2 and int(digits[0]) <= 24


def _matrix(tokens: Tokens, asked: Asked) -> Shape:
    if not tokens[1].is_("{") or tokens[2].kind != "word" or tokens[2].text not in _MATRICES:
        raise UnreadableError("unknown_environment")
    ends = [place for place, token in enumerate(tokens) if token.is_(r"\end")]
    start = 4
    if tokens[2].text == "array" and len(tokens) > 4 and tokens[4].is_("{"):
        start = next(place for place in range(5, len(tokens)) if tokens[place].is_("}")) + 1
    if len(ends) != 1 or ends[0] != len(tokens) - 4 or tokens[ends[0] + 2].text != tokens[2].text:
        raise UnreadableError("no_expression")
    rows = []
    for row in _rows(tokens[start : ends[0]]):
        cells = _split_at(row, ("&",))
        rows.append(tuple(leaf(cell, asked) for cell in cells))
    if not rows or len({len(row) for row in rows}) != 1:
        raise UnreadableError("no_expression")
    return Matrix(tuple(rows))


def _rows(tokens: Tokens) -> list[Tokens]:
    rows: list[list[Token]] = [[]]
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token.is_("\\\\"):
            rows.append([])
            if place + 1 < len(tokens) and tokens[place + 1].is_("["):
                while not tokens[place].is_("]"):
                    place += 1
        else:
            rows[-1].append(token)
        place += 1
    return [row for row in rows if row]


# --- relations -------------------------------------------------------------------------------------------


def _relation(tokens: Tokens, asked: Asked) -> Shape | None:
    sides: list[list[Token]] = [[]]
    signs: list[str] = []
    for token, depth in zip(tokens, _depths(tokens), strict=True):
        if depth == 0 and token.is_("=", r"\approx", r"\in", r"\ne", "<", ">", r"\le", r"\ge"):
            signs.append(token.text)
            sides.append([])
        else:
            sides[-1].append(token)
    if not signs:
        return None
    if not all(sides):
        raise UnreadableError("no_expression")
    if set(signs) <= {"=", r"\approx"}:
        loose = frozenset(place + 1 for place, sign in enumerate(signs) if sign == r"\approx")
        return Equation(tuple(map(tuple, sides)), loose)
    if signs == [r"\in"] and names_only(sides[0]):
        if len(sides[1]) == 1 and sides[1][0].text == "R":
            return line(spelled_whole(sides[0]))
        shape = shape_of(sides[1], asked)
        return intervals_of(shape) or shape
    if set(signs) <= set(_SIGNS):
        return inequality(sides, [_SIGNS[sign] for sign in signs])
    raise UnreadableError("no_expression")


# --- words -----------------------------------------------------------------------------------------------


def _words(tokens: Tokens) -> Words | None:
    """Only words: two letters or more that are no function, or upright ones. Brackets around a letter are dropped."""
    inner = [token for token in tokens if not token.is_("(", ")", ".", "-", "'")]
    if not inner or not all(token.kind == "word" for token in inner):
        return None
    plain = all(token.upright for token in inner) or any(
        len(token.text) > 2 and token.text not in FUNCTIONS and token.text not in ("pi", "infinity") for token in inner
    )
    if not plain or (len(inner) == 1 and inner[0].text in ("i", "e", "d")):
        return None
    return Words(" ".join(token.text.lower() for token in inner))
