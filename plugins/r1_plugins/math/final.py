r"""Where the final answer stands: in a \boxed{}, or in <answer> tags. Only the text after the last `</think>` counts.

One that came apart from its thinking is in its place without tags, too.

Another final answer beside a box is one more answer. A box that never closes, a tag that stands beside other text, a
box within a box with something else in it are no place to look for an answer in.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from r1_plugins.math.around import says_more, spoilt
from r1_plugins.math.beside import other_answers
from r1_plugins.math.token import UnreadableError
from r1_plugins.math.tokens import LONGEST
from r1core.types import Response

Where: TypeAlias = Literal["boxed", "tags", "either"]
MOST = 20
"""Boxes; whoever writes more is guessing."""
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_LEAD = re.compile(
    r"(?:\*\*)?(?:(?:so|thus|therefore|hence),? (?=\S))?"
    r"(?:(?:the |my )?(?:final |correct )?(?:answer|result)(?: is)?:?)?(?:\*\*)?:? ",
    re.IGNORECASE,
)
_MARKS = ("**", "`", "*")


def final_answers(response: Response, where: Where) -> list[str]:
    """The different final answers, in order. Raises UnreadableError with "format" or "no_answer"."""
    text = response.answer
    if text is None or (response.thinking is None and not response.apart):
        raise UnreadableError("format")
    if not text:
        raise UnreadableError("no_answer")
    in_place = response.tagged or response.apart
    if not response.tagged and ((where == "tags" and not in_place) or "<answer>" in text or "</answer>" in text):
        raise UnreadableError("format")
    found = _boxes(text) if where != "tags" or "\\boxed" in text else []
    if found:
        _refuse_more(text, [(start, end) for start, end, _ in found], tagged=response.tagged)
        contents = list(dict.fromkeys(content for _, _, content in found))
        if response.tagged:
            return contents
        return [*contents, *other_answers(text[: found[0][0]], text[found[-1][1] :], contents[-1])]
    if where == "boxed" or not in_place:
        raise UnreadableError("no_answer")
    return [bare(text)]


def _refuse_more(text: str, places: list[tuple[int, int]], *, tagged: bool) -> None:
    """Raise UnreadableError where what stands around the boxes makes something else of them."""
    if any(spoilt(text[:start], text[end:]) for start, end in places):
        raise UnreadableError("format")
    ends = [0, *(end for _, end in places)]
    starts = [*(start for start, _ in places), len(text)]
    if tagged and says_more(" ".join(text[a:b] for a, b in zip(ends, starts, strict=True))):
        raise UnreadableError("format")


def boxes(text: str) -> list[str]:
    """What stands in each box, outermost ones. Raises UnreadableError where one is broken."""
    return [content for _, _, content in _boxes(text)]


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """(where it begins, where it ends, what stands in it) of each."""
    found: list[tuple[int, int, str]] = []
    place = 0
    while (match := _BOX.search(text, place)) is not None:
        start = match.end()
        while start < len(text) and text[start] in " \t\n":
            start += 1
        if start >= len(text) or text[start] != "{":
            raise UnreadableError("format")
        end = _closing(text, start)
        found.append((match.start(), end + 1, _unwrapped(text[start + 1 : end].strip())))
        place = end + 1
        if len(found) > MOST:
            raise UnreadableError("several_answers")
    return found


def _closing(text: str, start: int) -> int:
    """Where the brace that opens at `start` closes."""
    depth = 0
    place = start
    while place < len(text):
        sign = text[place]
        if sign == "\\":
            place += 2
            continue
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return place
        if place - start > 2 * LONGEST:
            break
        place += 1
    raise UnreadableError("format")


def _unwrapped(content: str) -> str:
    """A box that holds nothing but a box is that box."""
    inner = boxes(content) if content.startswith("\\boxed") or content.startswith("\\fbox") else []
    if len(inner) == 1 and content.endswith("}") and _closing(content, content.index("{")) == len(content) - 1:
        return inner[0]
    return content


def bare(text: str) -> str:
    """Without "The answer is", bold marks and a heading."""
    text = _unmarked(text[: 4 * LONGEST].strip())
    match = _LEAD.match(text)
    return _unmarked(text[match.end() :].strip()) if match is not None else text


def _unmarked(text: str) -> str:
    for mark in _MARKS:
        if text.startswith(mark) and text.endswith(mark) and text.count(mark) == 2:
            text = text[len(mark) : -len(mark)].strip()
    return text
