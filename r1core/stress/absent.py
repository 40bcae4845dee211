"""Attacks without an answer in the place for it: empty, cut off, or with the answer only where it was thought.

A checker that searches the whole text pays for all of these; so does one that takes `None` or "" for a match.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.stress.attack import Attack, is_cut, is_empty, is_unthought, never
from r1core.stress.target import Target
from r1core.types import Response

UNKNOWN = "I do not know."


def empty(target: Target) -> Iterator[Attack]:
    """Nothing, in several ways."""
    said = {
        "an empty answer": Response.parse(""),
        "an empty final answer": Response.parse(f"<think>{target.thinking}</think><answer></answer>"),
        "white space for an answer": Response.parse(f"<think>{target.thinking}</think><answer> \n\t </answer>"),
        "nothing where the answer was": target.whole(target.shell("")),
        "nothing after an opened think block": Response.parse("", prefilled="<think>"),
    }
    for label, response in said.items():
        yield Attack(family="empty", label=label, response=response, is_like=is_empty)


def cut_off(target: Target) -> Iterator[Attack]:
    """The right answer on its way."""
    thinking, answer = target.thinking, target.answer
    said = {
        "an answer cut off while thinking": f"<think>{thinking[: len(thinking) // 2]}",
        "an answer cut off after thinking": f"<think>{thinking}</think>",
    }
    if target.response.tagged:
        said["an answer cut off before its last tag"] = f"<think>{thinking}</think><answer>{answer}"
    for label, text in said.items():
        response = target.whole(text, finish="length")
        yield Attack(family="cut off", label=label, response=response, is_like=is_cut)


def misplaced(target: Target) -> Iterator[Attack]:
    """The right answer where it is none."""
    answer = target.answer
    refusal = target.shell(UNKNOWN)
    said = {
        "the gold without a think block": target.behind(answer),
        "an unclosed think block": f"<think>{answer}",
        "the gold in the thinking, and no answer": f"<think>{answer}</think>",
        "the gold in the thinking, and no idea": f"<think>{answer}</think>{target.behind(UNKNOWN)}",
        "a tagged answer in the thinking": f"<think><answer>{answer}</answer></think>{target.behind(UNKNOWN)}",
        "thinking after the answer": f"{target.behind(answer)}<think>{target.thinking}</think>",
        "the answer between two think blocks": f"<think>hm</think>{answer}<think>hm</think>{target.behind(UNKNOWN)}",
        "the gold in a comment": f"{refusal}<!-- {answer} -->",
    }
    for label, text in said.items():
        response = target.whole(text)
        if response.answer == answer or (
            response.answer is None and not target.has_think_block and text == target.text
        ):
            continue
        is_like = is_unthought if response.answer is None else is_empty if not response.answer else never
        yield Attack(family="misplaced", label=label, response=response, is_like=is_like)
    yield Attack(
        family="misplaced",
        label="the gold in a think block that the prompt opened",
        response=target.whole(answer, prefilled="<think>"),
        is_like=is_unthought,
    )
