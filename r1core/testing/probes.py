"""Answers that models really write and nobody puts into a file of cases: empty, cut off, evasive, hostile.

They are made from an answer that is worth the most: what it says is the gold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from r1core.types import Response

HOSTILE_CHARACTERS = 100_000
ALTERNATIVES = 10
DEEP = 20_000
"""Brackets within brackets: enough to exhaust any parser that recurses."""
Sort: TypeAlias = Literal["absent", "spam", "hostile"]


def _never(response: Response) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One answer; `is_like` tells answers of its like: where the author's cases pay for one, that is meant."""

    label: str
    sort: Sort
    response: Response
    is_like: Callable[[Response], bool] = _never


def probes(gold: Response, others: Sequence[str]) -> list[Probe]:
    """All of them; `others` are final answers that are not the gold's. The hostile ones come last: they may hang."""
    return [*_absent(gold), *_spam(gold, others), *_hostile()]


def _absent(gold: Response) -> list[Probe]:
    """Answers without the gold in the place for it."""
    thinking, answer = gold.thinking or "", _final(gold)
    closed = f"<think>{thinking}</think>"
    found = [
        ("an empty answer", Response.parse(""), _is_empty),
        ("an empty final answer", Response.parse(f"{closed}<answer></answer>"), _is_empty),
        ("the gold without a think block", Response.parse(answer), _is_unthought),
        ("nothing after an opened think block", Response.parse("", prefilled="<think>"), _is_empty),
        ("an answer cut off while thinking", _cut(f"<think>{thinking[: len(thinking) // 2]}"), _is_cut),
        ("an answer cut off after thinking", _cut(closed), _is_cut),
    ]
    if gold.tagged:
        found.append(("an answer cut off before its last tag", _cut(f"{closed}<answer>{answer}"), _is_cut))
    return [Probe(label=label, sort="absent", response=response, is_like=like) for label, response, like in found]


def _spam(gold: Response, others: Sequence[str]) -> list[Probe]:
    """The gold among ten alternatives, in the ways that loose verifiers fall for."""
    thinking, answer = gold.thinking or "", _final(gold)
    numbers = map(str, range(ALTERNATIVES + 1))
    wrong = [one for one in dict.fromkeys([*others, *numbers]) if one not in ("", answer)][:ALTERNATIVES]
    every = [*wrong[: ALTERNATIVES // 2], answer, *wrong[ALTERNATIVES // 2 :]]
    said = {
        "a list of eleven answers": tagged(thinking, "\n".join(every)),
        "a choice between eleven answers": tagged(thinking, " or ".join(every)),
        "eleven answers in tags of their own": f"<think>{thinking}</think>" + "".join(map(_answer, every)),
        "eleven boxed answers": tagged(thinking, " ".join(f"\\boxed{{{one}}}" for one in every)),
    }
    return [Probe(label=label, sort="spam", response=Response.parse(text)) for label, text in said.items()]


def _hostile() -> list[Probe]:
    """Answers that make careless code hang, recurse or raise."""
    rng = random.Random(0)
    printable = "".join(map(chr, range(32, 127))) + "\n"
    controls = "".join(map(chr, (*range(32), *range(127, 160), 0x200B, 0x202E, 0x2066, 0xFEFF, 0xD800)))
    said = {
        "100 kB of garbage": "".join(rng.choices(printable, k=HOSTILE_CHARACTERS)),
        "100 kB of one letter": "a" * HOSTILE_CHARACTERS + "!",
        "a number of 100,000 digits": "9" * HOSTILE_CHARACTERS,
        "a tower of powers": "9**9**9**9",
        "deeply nested brackets": "(" * DEEP + "1" + ")" * DEEP,
        "brackets that never close": r"\frac{" * DEEP,
        "control characters": controls * (HOSTILE_CHARACTERS // len(controls)),
    }
    return [
        Probe(label=label, sort="hostile", response=Response.parse(tagged("hm", text))) for label, text in said.items()
    ]


def opened(gold: Response) -> tuple[Response, Response] | None:
    """The same answer twice, its think tag written by the model and opened by the prompt; None where it has none."""
    whole = gold.prefilled + gold.text
    if not whole.startswith("<think>"):
        return None
    rest = whole.removeprefix("<think>")
    return Response.parse(whole, finish=gold.finish), Response.parse(rest, finish=gold.finish, prefilled="<think>")


def tagged(thinking: str, answer: str) -> str:
    """Well formed: a closed think block and a tagged answer."""
    return f"<think>{thinking}</think>{_answer(answer)}"


def _answer(answer: str) -> str:
    return f"<answer>{answer}</answer>"


def _cut(text: str) -> Response:
    return Response.parse(text, finish="length")


def _final(gold: Response) -> str:
    return gold.text if gold.answer is None else gold.answer


def _is_empty(response: Response) -> bool:
    return not (response.answer or "").strip()


def _is_unthought(response: Response) -> bool:
    return response.answer is None


def _is_cut(response: Response) -> bool:
    return response.finish == "length"
