"""One wording for every "did you mean": the known name that a slip of the hand is nearest to, or nothing.

Nearest is the least edit distance (a letter lost, added, mistyped, or two neighbours swapped count one
each), since keys are short: swapping the letters of `by` leaves difflib's ratio at 0.5, where `as` is
no farther. What is more than slips away is compared by that ratio.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CUTOFF = 0.5
"""Of difflib's ratio: below it two names have nothing to do with each other."""
MOST = 4
"""Names that one question asks for."""


def closest(word: str, known: Iterable[str]) -> str:
    """The known name most like `word`, "" when none is near."""
    near = nearest(word, known)
    return near[0] if near else ""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known names most like `word`: several where a slip may have been made in any of them."""
    names = sorted(set(known))
    slips = {name: (_distance(word, name), sorted(word) != sorted(name)) for name in names if is_slip(word, name)}
    if slips:
        least = min(slips.values())
        return [name for name, far in slips.items() if far == least][:MOST]
    return difflib.get_close_matches(word, names, n=1, cutoff=CUTOFF)


def is_slip(word: str, meant: str) -> bool:
    """Whether `word` is `meant` with a slip of the hand in it, or two in a long one."""
    most = 1 if len(meant) < 8 else 2
    return word != meant and abs(len(word) - len(meant)) <= most and _distance(word, meant) <= most


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """ "did you mean 'x'?", "... 'x' or 'y'?" where both are as near, or `otherwise` followed by all names when none is
    near."""
    names = sorted(set(known))
    near = nearest(word, names)
    if near:
        *others, last = map(repr, near)
        return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"
    return f"{otherwise}{', '.join(names)}" if otherwise and names else ""


def _distance(one: str, other: str) -> int:
    """Edits from one to the other, neighbours swapped among them (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            least = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                least = min(least, before[j - 2] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]
