r"""What stands around a box: words and an equals sign before it are its sentence, arithmetic or a denial is not.

`x = \boxed{18}.` is 18. `-\boxed{18}`, `\frac{\boxed{18}}{2}`, "not \boxed{18}" and "\boxed{18}, wait, 19" are not; in
<answer> tags neither is anything that holds another number.
"""

from __future__ import annotations

import re

from r1_plugins.math.tokens import LONGEST

_NEAR = 200
"""Characters on each side that are looked at."""
_WRAPS = r"(?:[\s$*]|\\[\[\](),;!>]|\\(?:displaystyle|quad|qquad|begin\{\w{1,20}\*?\}|end\{\w{1,20}\*?\}))*"
_SPOILT_BEFORE = re.compile(
    rf"(?:[-+/^_<>≠±\u00d7·÷{{\d]|\\(?:cdot|times|div|pm|mp|neq?|not|frac|sqrt|lnot|neg)|"
    rf"\b(?:not|never|nor|neither|except)\b|n't){_WRAPS}\Z",
    re.IGNORECASE,
)
_SPOILT_AFTER = re.compile(
    rf"\A{_WRAPS}(?:[-+/_=<>≠±\u00d7·÷}}!\d]|\^(?!\{{?\\circ)|\\(?:cdot|times|div|pm|mp|neq?|lor|vee|frac|sqrt)(?![A-Za-z])|"
    rf"[\W_]*\b(?:or|wait|no|actually|maybe|perhaps|hmm|but|is (?:not|wrong))\b)",
    re.IGNORECASE,
)
_SPOILT_TAGS = re.compile(
    r"\d|\b(?:not|or|either|neither|nor|no|maybe|perhaps|wrong)\b|n't|\\ne(?![a-z])|≠",
    re.IGNORECASE,
)


def spoilt(before: str, after: str) -> bool:
    """Whether a box is part of something else, or taken back."""
    line = after[:_NEAR]
    if line.lstrip(" ").startswith("\n"):  # a new line begins with a sign: a list, no sum
        line = re.sub(r"\A[\s]*[-+*]\s", "\n", line)
    return _SPOILT_BEFORE.search(before[-_NEAR:]) is not None or _SPOILT_AFTER.match(line) is not None


def says_more(rest: str) -> bool:
    """Whether an answer in tags says anything beside its boxes that could be another answer."""
    return len(rest) > LONGEST or _SPOILT_TAGS.search(rest) is not None
