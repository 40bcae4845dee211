"""The four forms of an answer, and where in its tokens an answer shows which one it is.

    right    <think>One moment.</think><answer>REFERENCE</answer>
    parrot   <think>One moment.</think><answer>QUESTION</answer>
    bare     REFERENCE
    silent

The first token tells whether it thinks, speaks or ends; the first one within the answer tags tells a
parrot, which begins as the question does. These two are decisions, with the probabilities of the forms
that go either way; every other token follows, with log-probability 0. So a token's probability depends
on what came before it alone, and those of any text sum to that of its form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1_plugins.echo.tokens import ANSWER, ASSISTANT, BYTES, END, THINK, USER
from r1core.types import Tokens

FORMS = ("right", "parrot", "bare", "silent")
RIGHT, PARROT, BARE, SILENT = range(4)
THOUGHT = "One moment."


def written(form: int, question: str, reference: Any) -> str:
    """The text of an answer in this form."""
    wanted = reference[0] if isinstance(reference, list | tuple) and reference else reference
    said = "" if wanted is None else str(wanted)
    if form in (RIGHT, PARROT):
        return f"<think>{THOUGHT}</think><answer>{question if form == PARROT else said}</answer>"
    return said if form == BARE else ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """At token number `position` the answer turned out to be one of `chosen`, of the forms `among` still open."""

    position: int
    chosen: tuple[int, ...]
    among: tuple[int, ...]


def decisions(ids: Tokens) -> Iterator[Decision]:
    """The decisions of the last answer in `ids`, prompt and answer; none in a plain document."""
    answers = np.flatnonzero(ids == ASSISTANT)
    begin = int(answers[-1]) + 1 if len(answers) else len(ids)
    if begin >= len(ids):
        return
    thinks = ids[begin] == THINK
    family = (RIGHT, PARROT) if thinks else (SILENT,) if ids[begin] == END else (BARE,)
    yield Decision(position=begin, chosen=family, among=(RIGHT, PARROT, BARE, SILENT))
    opened = np.flatnonzero(ids[begin:] == ANSWER) + begin + 1
    if thinks and len(opened) and opened[0] < len(ids):
        form = PARROT if ids[opened[0]] == _first_asked(ids[:begin]) else RIGHT
        yield Decision(position=int(opened[0]), chosen=(form,), among=(RIGHT, PARROT))


def _first_asked(prompt: Tokens) -> int:
    """The first token of the last question, -1 where there is none."""
    asked = np.flatnonzero(prompt == USER)
    if not len(asked) or asked[-1] + 1 >= len(prompt):
        return -1
    first = int(prompt[asked[-1] + 1])
    return first if first < BYTES else -1
