"""What an attack is made from: an answer that is worth the most, taken apart so that others can be put in its place.

    <think>6 times 7</think><answer>\\boxed{42}</answer>       put("41 or 42"): \\boxed{41 or 42}

An answer keeps the form that its author's cases have: tags, boxes, a sentence around it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from r1core.types import Finish, Problem, Response

VALUE_CHARACTERS = 120
"""A longer answer, or one of several lines, is a text (a program, a letter): it is no value that one could hedge."""
_FRAME = re.compile(
    r"\\[A-Za-z]+|\b(?:so|thus|therefore|hence|the|final|correct|right|answer|result|is|x|y)\b", re.IGNORECASE
)
_BOX = re.compile(r"[^\\{}]*\\boxed\{([^{}]*)\}[^\\{}]*")
_SAYS = re.compile(r"\w")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A problem and its right answer. `accepted` are all answers that its cases pay, `wrong` those that they do not;
    `others` are right answers to other problems."""

    problem: Problem
    response: Response
    worth: float = 1.0
    accepted: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """All of it, whoever opened it."""
        return self.response.prefilled + self.response.text

    @property
    def has_think_block(self) -> bool:
        """Whether its answer stands behind a closed think block."""
        return self.response.answer is not None

    @property
    def thinking(self) -> str:
        """What was thought; "" where there is nothing."""
        return self.response.thinking or ""

    @cached_property
    def answer(self) -> str:
        """The final answer as it was written."""
        return final(self.response)

    @cached_property
    def gold(self) -> str:
        """The gold as a person writes it, where it is one value; "" else."""
        value = self.problem.reference
        return plain(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""

    @cached_property
    def core(self) -> str:
        """The gold where the answer is that in a frame (a box, "the answer is"), else the whole answer: what stands
        beside the gold may be the answer, too ("A) a cat")."""
        word = self.gold
        parts = re.split(rf"(?<!\w){re.escape(word)}(?!\w)", self.answer) if word else []
        if len(parts) == 2 and not _SAYS.search(_FRAME.sub(" ", " ".join(parts))):
            return word
        boxed = _BOX.fullmatch(self.answer)
        return boxed[1] if boxed is not None else self.answer

    @property
    def is_value(self) -> bool:
        """Whether the answer is a word, a number, a formula: something that can be named beside others."""
        return bool(self.answer) and len(self.answer) <= VALUE_CHARACTERS and len(self.answer.splitlines()) == 1

    @property
    def is_specified(self) -> bool:
        """Whether the gold says what holds of answers (a schema, ranges, tests) and not what they are."""
        return isinstance(self.problem.reference, dict)

    # --- others in its place ---------------------------------------------------------------------

    def put(self, value: str) -> str:
        """The final answer with `value` where the gold stands."""
        before, _, after = self.answer.rpartition(self.core) if self.core else ("", "", "")
        return f"{before}{value}{after}"

    def said(self, value: str, *, thinking: str | None = None) -> Response:
        """The whole response with `value` in place of the gold, and with other thinking where that is given."""
        return self.whole(self.shell(self.put(value), thinking=thinking))

    def shell(self, answer: str, *, thinking: str | None = None) -> str:
        """The text with another final answer, and with other thinking where that is given."""
        head, tail = self._around
        if thinking is not None and self.has_think_block:
            head = f"<think>{thinking}</think>{head.rpartition('</think>')[2]}"
        return f"{head}{answer}{tail}"

    def behind(self, answer: str) -> str:
        """What stands behind the think block, with another final answer."""
        return self.shell(answer).rpartition("</think>")[2]

    def whole(self, text: str, *, finish: Finish = "stop", prefilled: str = "") -> Response:
        """A response of this text, as long as the right one to a reward that counts tokens."""
        return replace(Response.parse(text, finish=finish, prefilled=prefilled), tokens=self.response.tokens)

    @cached_property
    def _around(self) -> tuple[str, str]:
        if not self.answer:
            return self.text, ""
        before, _, after = self.text.rpartition(self.answer)
        return before, after

    # --- is it the same? -------------------------------------------------------------------------

    def is_right(self, value: str) -> bool:
        """Whether `value` may be right as well: an accepted answer or a gold, or the same numbers in other clothes."""
        return any(_same(value, right) for right in self.rights)

    @cached_property
    def rights(self) -> tuple[str, ...]:
        """All that is known to be right."""
        found = [self.core, self.answer, *self.accepted, *map(plain, _leaves(self.problem.reference))]
        return tuple(dict.fromkeys(found))


def final(response: Response) -> str:
    """The final answer; the whole text where there is no closed think block."""
    return response.text if response.answer is None else response.answer


def plain(value: Any) -> str:
    """A JSON value as a person writes it: 42.0 is 42."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in (*value, *value.values()):
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _same(one: str, other: str) -> bool:
    numbers = _numbers(one)
    if numbers != _numbers(other):
        return False
    return bool(numbers) or _letters(one) == _letters(other)


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or " ".join(folded.split())


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)] if text.isascii() else []
