r"""Another final answer beside a box: "\boxed{42}. Final answer: 41", "The final answer is 41. \boxed{42}".

What is said again (the answer is 42 marbles) changes nothing. Anything else is one more answer, which has to be right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SAYS = (
    r"answers?\b[\s*]{0,4}(?P<says>(?:is|are|(?:would|could|may|might|must) be)\b|:|=)?"
    r"(?:[:=\s*$]|\\[\[(]|\\text ?\{){0,8}"
)
_BEFORE = re.compile(rf"\b(?P<final>final |(?=answer[\s*]{{0,4}}:)){_SAYS}", re.IGNORECASE)
_AFTER = re.compile(rf"\b(?:(?P<final>final )?{_SAYS}|i\.e\.,?[\s$]{{0,4}})", re.IGNORECASE)
_BEGINS = re.compile(r"[-\d(\[.]|\\(?:[dt]?frac|sqrt|pi|pm|text|math)")
_ENDS = re.compile(r"\n|\*|[.;!?,](?=\s|\Z)")
_LONGEST = 120
_WORD = re.compile(r"[A-Za-z]{2,30}\b")
_DROPPED = str.maketrans("", "", " \t\n$*{}\\")
_FONTS = re.compile(r"\\(?:text|math)[a-z]*|\\(?:left|right)(?![a-z])")
_MOST = 5
_FAR = 2_000
"""Characters before and after that are looked at."""


def other_answers(before: str, after: str, content: str) -> list[str]:
    """The answers that stand in the prose around a box and are not what it holds."""
    found = [*_said(_BEFORE, before[-_FAR:], content), *_said(_AFTER, after[:_FAR], content)]
    return list(dict.fromkeys(found))[:_MOST]


def _said(lead: re.Pattern[str], text: str, content: str) -> Iterator[str]:
    for match in lead.finditer(text):
        value = _ENDS.split(text[match.end() : match.end() + _LONGEST], maxsplit=1)[0].strip(" $")
        word = _WORD.match(text, match.end()) if match["final"] and match["says"] else None
        if _BEGINS.match(value) and not _again(value, content):
            yield _whole(value)
        elif not _BEGINS.match(value) and word is not None and not _is_prose(word[0], content):
            yield word[0]


def _whole(value: str) -> str:
    """Without what was opened before it."""
    value = value.removesuffix(r"\)").removesuffix(r"\]")
    value = value.removesuffix(")") if value.count(")") > value.count("(") else value
    return value.strip(" $")


def _again(said: str, content: str) -> bool:
    """Whether it is the box's content and no further number."""
    said, content = (_FONTS.sub("", text).translate(_DROPPED) for text in (said, content))
    return said.startswith(content) and not any(map(str.isdigit, said[len(content) :]))


def _is_prose(word: str, content: str) -> bool:
    """Beside a number no word is another answer ("is therefore"); beside a word its own is none."""
    return any(map(str.isdigit, content)) or word.lower() in content.lower()
