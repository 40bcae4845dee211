"""Where the program is in an answer: the last fenced block of Python, else the whole answer.

A block counts when its fence says nothing, `python`, `python3` or `py`. Answers explain with blocks on the way, so
earlier ones are drafts, whatever they say: one answer is one program, and a second guess replaces the first. A fence
that is never closed ends with the answer.
"""

from __future__ import annotations

import re

PYTHON = ("", "python", "python3", "py")
_FENCE = re.compile(r" {0,3}(`{3,})([^`]*)")


def program_of(answer: str) -> str:
    """The program's text."""
    found: str | None = None
    fence, language, lines = "", "", list[str]()
    for line in answer.split("\n"):
        match = _FENCE.fullmatch(line.rstrip())
        if not fence and match:
            fence, language, lines = match[1], match[2].strip().lower(), []
        elif fence and match and not match[2].strip() and len(match[1]) >= len(fence):
            found = "\n".join(lines) if language in PYTHON else found
            fence = ""
        elif fence:
            lines.append(line)
    if fence and language in PYTHON:
        found = "\n".join(lines)
    return answer if found is None else found
