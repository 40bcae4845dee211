"""One wording for every "did you mean": the closest known name, or nothing.

Keys are short (`by`, `k`), so the cut-off lies below difflib's default of 0.6: swapping the two
letters of `by` gives a ratio of 0.5.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str:
    """The known name most like `word`, "" when none is near."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.5)
    return near[0] if near else ""


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """ "did you mean 'x'?", or `otherwise` followed by all names when none is near."""
    names = sorted(set(known))
    near = closest(word, names)
    if near:
        return f"did you mean {near!r}?"
    return f"{otherwise}{', '.join(names)}" if otherwise and names else ""
