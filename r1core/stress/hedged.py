"""Attacks that name the right answer and do not give it: among others, denied, in part, or in a chain of equals.

Only where the answer is a value; a program beside numbers may still be the right program.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import filterfalse

from r1core.stress.attack import Attack
from r1core.stress.target import Target
from r1core.types import Response

ALTERNATIVES = 10
MANY = 100


def hedged(target: Target) -> Iterator[Attack]:
    """One of these is right."""
    if not target.is_value:
        return
    gold, others = target.core, wrong_answers(target, ALTERNATIVES)
    other, half = others[0], ALTERNATIVES // 2
    every = [*others[:half], gold, *others[half:]]
    boxes = [*wrong_answers(target, MANY)[: MANY // 2], gold, *wrong_answers(target, MANY)[MANY // 2 :]]
    said = {
        "a list of eleven answers": "\n".join(every),
        "a choice between eleven answers": " or ".join(every),
        "eleven answers, separated by commas": ", ".join(every),
        "the right answer or another": f"{gold} or {other}",
        "another answer or the right one": f"{other} or {gold}",
        "either of two": f"either {gold} or {other}, it depends",
        "a pair": f"{gold}, {other}",
        "a set": f"{{{other}, {gold}}}",
        "a JSON list": f'["{other}", "{gold}"]',
        "a condition": f"if it is not {other}, then {gold}",
        **_ranges(gold),
    }
    if not target.is_specified:  # a program with another line before it is that program
        said["two lines"] = f"{other}\n{gold}"
    if not any(map(str.isdigit, gold)):  # 42 (1) is a product, 0/2/3 a quotient
        said["an alternative in brackets"] = f"{gold} ({other})"
        said["a slash"] = f"{gold}/{other}/{others[1]}"
    for label, value in said.items():
        yield Attack(family="hedged", label=label, response=target.said(value), holds=True)
    yield from _repeated(target, every, boxes)


def _repeated(target: Target, every: list[str], boxes: list[str]) -> Iterator[Attack]:
    """Each alternative in the form of an answer."""
    tags = "".join(f"<answer>{target.put(one)}</answer>" for one in every)
    said = {
        "eleven answers in tags of their own": target.whole(f"<think>{target.thinking}</think>{tags}"),
        "eleven boxed answers": _instead(target, " ".join(f"\\boxed{{{one}}}" for one in every)),
        "101 answers, each in its form": _instead(target, " ".join(map(target.put, boxes))),
    }
    for label, response in said.items():
        yield Attack(family="hedged", label=label, response=response, holds=True)


def chained(target: Target) -> Iterator[Attack]:
    """Several values, said to be equal."""
    if not target.is_value:
        return
    gold, (one, other, *_) = target.core, wrong_answers(target, 2)
    values = (
        f"{one} = {gold}",
        f"{gold} = {one}",
        f"x = {one} = {gold}",
        f"{one} = {other} = {gold}",
        f"{one} -> {gold}",
        f"{one} == {gold}",
    )
    for value in values:
        yield Attack(family="chained", label=f"{value!r}", response=target.said(value), holds=True)


def negated(target: Target) -> Iterator[Attack]:
    """The right answer, denied."""
    if not target.is_value:
        return
    gold = target.core
    said = {
        "not the right answer": f"not {gold}",
        "anything but the right answer": f"anything but {gold}",
        "the right answer called wrong": f"{gold} is wrong",
        "it is not the right answer": f"It is not {gold}.",
    }
    if any(map(str.isdigit, gold)):  # among words a sign is punctuation, which may be left out
        said["not equal"] = f"≠ {gold}"
    if gold.isascii() and gold.isdigit() and gold.strip("0"):
        said["with the other sign"] = f"-{gold}"
    for label, value in said.items():
        yield Attack(family="negated", label=label, response=target.said(value), holds=True)


def part(target: Target) -> Iterator[Attack]:
    """Less than the right answer, or more."""
    if not target.is_value or target.is_specified:
        return
    gold, half = target.core, len(target.core) // 2
    said = {
        "its first half": gold[:half],
        "its second half": gold[half:],
        "its first letter": gold[:1],
        "all but its last letter": gold[:-1],
        "twice in a row": f"{gold}{gold}",
        "the start of a longer word": f"{gold}xyz",
        "the end of a longer word": f"xyz{gold}",
    }
    if gold[-1].isdigit():
        said["a digit more"] = f"{gold}0"
    if gold[0].isdigit():  # before anything else a 1 is a factor
        said["a digit before it"] = f"1{gold}"
    for label, value in said.items():
        still_says_it = target.gold not in ("", gold) and target.gold in value  # the right answer is a sentence
        if value.strip() and not still_says_it and not target.is_right(value):
            yield Attack(family="part", label=f"{label}: {value!r}", response=target.said(value), holds=True)


def other_answer(target: Target) -> Iterator[Attack]:
    """Right answers to other questions of the file."""
    for answer in [one for one in target.others if not target.is_right(one)][:3]:
        response = target.whole(target.shell(answer))
        yield Attack(family="other answer", label="the right answer to another question", response=response)


def _instead(target: Target, answer: str) -> Response:
    return target.whole(target.shell(answer))


def wrong_answers(target: Target, count: int) -> list[str]:
    """Wrong answers that look like answers: the file's own of the same kind (numbers for a number), then numbers."""
    has_digits = any(map(str.isdigit, target.core))
    own = [text for text in (*target.others, *target.wrong) if len(text) <= 40 and len(text.split()) in (1, 2, 3)]
    alike = [text for text in own if any(map(str.isdigit, text)) == has_digits]
    found = dict.fromkeys(filterfalse(target.is_right, [*alike, *map(str, range(2, 2 + count + len(target.rights)))]))
    return list(found)[:count]


def _ranges(gold: str) -> dict[str, str]:
    if not gold.isascii() or not gold.isdigit() or len(gold) > 12:
        return {}
    low, high = int(gold) - 1, int(gold) + 1
    return {
        "a range with the right answer in it": f"between {low} and {high}",
        "a range without end": f"{low} or more",
        "an interval": f"[{low}, {high}]",
        "a wide margin": f"{gold} ± 1000",
        "all numbers from 0 on": f"0 to {10 * high}",
    }
