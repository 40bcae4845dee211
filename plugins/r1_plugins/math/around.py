r"""What stands around a box: words and an equals sign before it are its sentence, arithmetic, a denial, a hedge is not.

`x = \boxed{18}.` is 18. `-\boxed{18}`, `\frac{\boxed{18}}{2}`, "not \boxed{18}", "either 17 or \boxed{18}" and
"\boxed{18}, or maybe 19" are not; in <answer> tags neither is anything that holds another number.
"""

from __future__ import annotations

import re

from r1_plugins.math.tokens import LONGEST

_NEAR = 200
"""Characters on each side that are looked at."""
_WRAPS = r"(?:[\s$*]|\\[\[\](),;!>]|\\(?:displaystyle|quad|qquad|text ?\{|begin\{\w{1,20}\*?\}|end\{\w{1,20}\*?\}))*+"
_SPOILT_BEFORE = re.compile(
    rf"(?:[-+/^_<>≠±\u00d7·÷{{]|\\(?:cdot|times|div|pm|mp|neq?|not|frac|sqrt|lnot|neg|lor|vee)|"
    rf"\b(?:not|never|nor|neither|except|but|or)\b[:,]?|n't){_WRAPS}\Z",
    re.IGNORECASE,
)
_SPOILT_AFTER = re.compile(
    rf"\A{_WRAPS}(?:[-+/_=<>≠±\u00d7·÷}}!\d]|\^(?!\{{?\\circ)|\\(?:cdot|times|div|pm|mp|neq?|lor|vee|frac|sqrt)(?![A-Za-z])|"
    rf"[,;&]{_WRAPS}-?\d|"
    rf"[\W_]*+\b(?:or|wait|no|actually|maybe|perhaps|hmm|but|is (?:not|wrong|false)|would be)\b)",
    re.IGNORECASE,
)
_NUMBER_BEFORE = re.compile(rf"\d{_WRAPS}\Z")
_SAYS = re.compile(r"[A-Za-z]{2}|=")
_SENTENCE = re.compile(r"[\n?!]|\.(?!\d)")
_HEDGED_BEFORE = re.compile(
    r"\b(?:(?<!in )either (?!way|case)|anything but|all but|perhaps|maybe|possibly|not sure|unsure|no idea|"
    r"(?:i|we) guess|(?:i|we) doubt|unlikely|if\b.{1,80}\bnot\b)|\A[-\s\d,;.$]{0,60}\d[\s$]{0,9}[,;][\s$]{0,9}\Z",
    re.IGNORECASE,
)
_HEDGED_AFTER = re.compile(
    r"\b(?:alternatively|perhaps|maybe|possibly|not sure|unsure|no idea|(?:do not|don't) know|(?:i|we|my|second) guess|"
    r"(?:i|we) doubt|wait|hmm|correction|scratch that|(?:is|was|be) (?:wrong|incorrect|false|a mistake)|then again)\b",
    re.IGNORECASE,
)
_SPOILT_TAGS = re.compile(
    r"\d|\b(?:not|or|either|neither|nor|no|maybe|perhaps|wrong)\b|n't|\\ne(?![a-z])|≠",
    re.IGNORECASE,
)


def spoilt(before: str, after: str) -> bool:
    """Whether a box is part of something else, one of several, or taken back."""
    near, line = before[-_NEAR:], after[:_NEAR]
    if _HEDGED_BEFORE.search(_SENTENCE.split(near)[-1]) or _HEDGED_AFTER.search(line):
        return True
    if line.lstrip(" ").startswith("\n"):  # a new line begins with a sign: a list, no sum
        line = re.sub(r"\A[\s]*[-+*]\s", "\n", line)
    return bool(_SPOILT_BEFORE.search(near) or _is_factor(near) or _SPOILT_AFTER.match(line))


def _is_factor(near: str) -> bool:
    """Whether a number stands right before a box; one that ends a sentence or an equation on a line above does not."""
    number = _NUMBER_BEFORE.search(near)
    if number is None:
        return False
    above = near[: number.start() + 1].rpartition("\n")[2]
    return "\n" not in number[0] or _SAYS.search(above) is None


def says_more(rest: str) -> bool:
    """Whether an answer in tags says anything beside its boxes that could be another answer."""
    return len(rest) > LONGEST or _SPOILT_TAGS.search(rest) is not None
