r"""Attacks around a box: the right answer in a \boxed{} that was only thought, is one of several, or is taken back.

A checker that takes the last box of a text, or any, pays for all of these. They stand outside of answer tags, as models
write boxes, whatever form the right answer of the case has.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.stress.attack import Attack
from r1core.stress.hedged import ALTERNATIVES, wrong_answers
from r1core.stress.target import Target

UNKNOWN = "I do not know."


def boxed(target: Target) -> Iterator[Attack]:
    """Each of them, behind a think block; nothing where the answer is no value or has braces of its own."""
    if not target.is_value or target.is_specified or not target.has_think_block or target.core.count("{") > 3:
        return
    others = wrong_answers(target, ALTERNATIVES)
    right, wrong = box(target.core), box(others[0])
    thought = {
        "a box in the thinking, and no idea": UNKNOWN,
        "a box in the thinking, and another one behind it": wrong,
        "a box in the thinking, and an empty one behind it": box(""),
    }
    for label, answer in thought.items():
        yield _attack(target, label, answer, thinking=f"It is {right}.")
    for label, answer in {**_several(right, list(map(box, others))), **_taken_back(target, right, others[0])}.items():
        yield _attack(target, label, answer, thinking=target.thinking or "hm")


def _several(right: str, wrong: list[str]) -> dict[str, str]:
    half = len(wrong) // 2
    return {
        "two boxes": f"{right} {wrong[0]}",
        "two boxes, the right one last": f"First {wrong[0]}, then {right}",
        "one box or another": f"{wrong[0]} or {right}",
        "eleven boxes": " ".join([*wrong[:half], right, *wrong[half:]]),
        "a box in another": box(f"{wrong[0]} {right}"),
    }


def _taken_back(target: Target, right: str, other: str) -> dict[str, str]:
    said = {
        "a box or another answer": f"{right} or {other}",
        "another answer or a box": f"either {other} or {right}",
        "a box denied": f"It is not {right}.",
        "a box called wrong": f"{right} is wrong.",
        "a box, and no idea": f"{right}? {UNKNOWN}",
        "a box, perhaps": f"Perhaps {right}, perhaps {other}.",
        "a box, then another final answer": f"{right}. Final answer: {other}",
        "a box, then another answer in tags": f"{right} <answer>{other}</answer>",
        "another final answer, then a box": f"The final answer is {other}. {right}",
        "a box on a condition": f"if it is not {other}, then {right}",
    }
    if any(map(str.isdigit, target.core)):
        said["a box with another sign"] = f"-{right}"
        said["a box as a factor"] = f"3 \\cdot {right}"
    return said


def _attack(target: Target, label: str, answer: str, *, thinking: str) -> Attack:
    return Attack(family="box", label=label, response=target.whole(f"<think>{thinking}</think>{answer}"), holds=True)


def box(value: str) -> str:
    """The value, boxed."""
    return f"\\boxed{{{value}}}"
