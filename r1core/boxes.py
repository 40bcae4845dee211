r"""What stands in the boxes of an answer: `\boxed{\frac{1}{2}}` holds `\frac{1}{2}`. Braces count, `\{` does not."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def boxed(text: str) -> list[str]:
    """The contents of the outermost boxes, in order; one that never closes is none."""
    found: list[str] = []
    place = 0
    while (box := _BOX.search(text, place)) is not None:
        end = _closing(text, box.end())
        if end is None:
            break
        found.append(text[box.end() : end].strip())
        place = end + 1
    return found


def _closing(text: str, start: int) -> int | None:
    """Where the brace closes that is open at `start`."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if not depth:
            return brace.start()
    return None
