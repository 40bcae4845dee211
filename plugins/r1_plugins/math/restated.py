r"""Whether an answer is the question's own expression: `\sqrt{1764}` to "Compute $\sqrt{1764}$" answers nothing.

Plain numbers are never taken for that: they stand in questions for many reasons.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1_plugins.math.golds import Gold
from r1_plugins.math.grammar import tree_of
from r1_plugins.math.stated import elementary
from r1_plugins.math.token import Token, UnreadableError
from r1_plugins.math.tokens import SIGNS

_SHORTEST = 3
_DROPPED = str.maketrans("", "", " \t\r\n{}$")
_SAME = (
    (r"\left", ""), (r"\right", ""), (r"\dfrac", r"\frac"), (r"\tfrac", r"\frac"), (r"\cdot", "*"), (r"\times", "*"),
)  # fmt: skip


def restated(tokens: Sequence[Token], gold: Gold) -> bool:
    """Whether the expression stands in the question as it is, and the reference has another form."""
    try:
        tree = tree_of(tokens)
    except UnreadableError:
        return False
    if elementary(tree):
        return False
    answer = _plain("".join(token.text for token in tokens))
    if answer == _plain("".join(token.text for token in gold.tokens)):
        return False
    return len(answer) >= _SHORTEST and answer in _plain(gold.question)


def _plain(text: str) -> str:
    text = text.translate(SIGNS)
    for sign, same in _SAME:
        text = text.replace(sign, same)
    return text.translate(_DROPPED)
