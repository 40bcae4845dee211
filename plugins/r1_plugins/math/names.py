r"""What only names the thing that is asked for: x, f(2), a + b, \angle ABC, P(A), Area.

"x = 42" states 42; "2x + 1 = 42", "-x = 42" and "x^2 = 42" say something else about x.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.math.known import FUNCTIONS, GREEK
from r1_plugins.math.token import Token


def spelled_whole(tokens: Sequence[Token]) -> str:
    """A name as it stands, without groups."""
    return "".join(token.text for token in tokens if not token.is_("{", "}"))


def spelled(tokens: Sequence[Token]) -> str:
    """A name without its subscripts: x_1 and x_2 are values of x."""
    text = spelled_whole(tokens)
    return text.partition("_")[0] if text.count("_") == 1 and "(" not in text else text


def is_letter(token: Token) -> bool:
    """Whether it is a symbol: a Latin or Greek letter, a word."""
    return (token.kind == "word" and token.text not in FUNCTIONS) or (token.kind == "command" and token.text in GREEK)


_IN_NAMES = (
    *(
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "|",
        "+",
        "-",
        "*",
        "/",
        "^",
        "_",
        ",",
        ":",
        "'",
        r"\frac",
        r"\cap",
        r"\cup",
        r"\circ",
    ),
    *(r"\to", r"\angle", r"\measuredangle", r"\triangle", r"\overline", r"\overrightarrow", r"\widehat", r"\vec"),
    *(r"\hat", r"\bar"),
)


def names_only(tokens: Sequence[Token]) -> bool:
    """Whether it only names what is asked for: x, f(2), a + b, \\angle ABC, P(A), Area. -x, 2x, x/2 and x^2 do not."""
    if not tokens or tokens[0].is_("-", "+") or not any(is_letter(token) for token in tokens):
        return False
    letters = {token.text for token in tokens if is_letter(token)}
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else None
        if token.kind == "number":
            subscript = before is not None and (before.is_("_") or (before.is_("{") and tokens[place - 2].is_("_")))
            argument = before is not None and before.is_("(", ",") and is_letter(tokens[0])
            power = before is not None and before.is_("^") and len(letters) > 1
            if not (subscript or argument or power):
                return False
        elif (
            (token.is_("^") and len(letters) < 2)
            or (token.is_("|") and not any(letter.isupper() for letter in letters))
            or (not is_letter(token) and not token.is_(*_IN_NAMES))
        ):
            return False
    return True
