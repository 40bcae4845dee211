"""Text as sentences, without what belongs to no language: code, formulas, addresses.

One pass with `str.find`, so that a hundred thousand opened and never closed brackets cost no more than
any other text; a regular expression with `.*?` in it would try each of them to the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LETTERS = 300
"""A piece without a full stop is cut here, so that two languages in it can be told apart."""
_OPENS = re.compile(r"```|`|\$\$|\$|\\\(|\\\[")
_CLOSES = {"```": "```", "`": "`", "$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
_ON_ONE_LINE = {"`", "$"}
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>\"'\uff0c。、\uff1b\uff09]+|\\[A-Za-z]+")
"""An address, or a command of LaTeX that stands outside a formula."""
_ENDS = re.compile(r"(?<=[.!?;:。\uff01\uff1f\uff1b\uff1a।؟])\s+|(?<=[。\uff01\uff1f\uff1b।])|\n+")


def prose(text: str) -> str:
    """The text, a space where code, a formula or an address was. A fence that is not closed reaches to the end."""
    kept, at, shut = [], 0, set[str]()
    while True:
        opening = _OPENS.search(text, at)
        if opening is None:
            break
        mark, end = opening[0], -1
        if mark not in shut:
            end = _closed(text, mark, opening.end())
            if end < 0 and mark not in _ON_ONE_LINE:
                shut.add(mark)  # there is none further on either
        if end < 0 and mark == "$$":
            end = opening.end()  # an empty formula
        if end < 0:
            kept.append(text[at : opening.end()])
            at = opening.end()
            continue
        kept.append(f"{text[at : opening.start()]} ")
        at = end
    return _ADDRESS.sub(" ", "".join([*kept, text[at:]]))


def _closed(text: str, mark: str, start: int) -> int:
    """Where what `mark` opens ends; -1 where it does not."""
    last = len(text)
    if mark in _ON_ONE_LINE:
        line = text.find("\n", start)
        last = line if line >= 0 else last
    found = text.find(_CLOSES[mark], start, last)
    if found >= 0:
        return found + len(_CLOSES[mark])
    return last if mark == "```" else -1


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, none of them longer than `MAX_LETTERS` characters."""
    for sentence in _ENDS.split(text):
        for start in range(0, len(sentence), MAX_LETTERS):
            piece = sentence[start : start + MAX_LETTERS].strip()
            if piece:
                yield piece
