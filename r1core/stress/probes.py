"""The attacks that every reward's suite asks about, in three sorts: absent answers, answer spam, hostile text.

A suite knows no file's problems, so it takes those that hold against any reward that compares with a gold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from r1core.stress import absent, hedged, hostile
from r1core.stress.attack import Attack, never
from r1core.stress.equivalent import opened
from r1core.stress.target import Target
from r1core.types import Problem, Response

__all__ = ["Probe", "Sort", "opened", "probes", "tagged"]

Sort: TypeAlias = Literal["absent", "spam", "hostile"]
ASKED: dict[str, Sort] = {
    "an empty answer": "absent",
    "an empty final answer": "absent",
    "the gold without a think block": "absent",
    "nothing after an opened think block": "absent",
    "an answer cut off while thinking": "absent",
    "an answer cut off after thinking": "absent",
    "an answer cut off before its last tag": "absent",
    "a list of eleven answers": "spam",
    "a choice between eleven answers": "spam",
    "eleven answers in tags of their own": "spam",
    "eleven boxed answers": "spam",
    "100 kB of garbage": "hostile",
    "100 kB of one letter": "hostile",
    "a number of 100,000 digits": "hostile",
    "a tower of powers": "hostile",
    "deeply nested brackets": "hostile",
    "brackets that never close": "hostile",
    "control characters": "hostile",
}
"""The labels of those that a suite asks, and what each is."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One answer; `is_like` tells answers of its like: where the author's cases pay for one, that is meant."""

    label: str
    sort: Sort
    response: Response
    is_like: Callable[[Response], bool] = never


def probes(gold: Response, others: Sequence[str]) -> list[Probe]:
    """All of them; `others` are final answers that are not the gold's. The hostile ones come last: they may hang."""
    target = Target(problem=Problem(id="probe"), response=gold, wrong=tuple(others))
    return [
        Probe(label=one.label, sort=ASKED[one.label], response=one.response, is_like=one.is_like)
        for one in _attacks(target)
        if one.label in ASKED
    ]


def _attacks(target: Target) -> Iterator[Attack]:
    for make in (absent.empty, absent.misplaced, absent.cut_off, hedged.hedged):
        yield from make(target)
    yield from hostile.size(lambda text: Response.parse(tagged("hm", text)))


def tagged(thinking: str, answer: str) -> str:
    """Well formed: a closed think block and a tagged answer."""
    return f"<think>{thinking}</think><answer>{answer}</answer>"
