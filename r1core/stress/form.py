"""Attacks on the form: the right answer in its place, but with two think blocks, text around it, or tags in a fence.

Whoever trains on such answers cannot split them any more; a reward that pays them teaches them.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.stress.attack import Attack, is_thoughtless
from r1core.stress.target import Target

INVISIBLE = "\u200b"


def form(target: Target) -> Iterator[Attack]:
    """Broken forms; whether a reward cares is what its cases say."""
    if not target.has_think_block or not target.answer:
        return
    thinking, behind, text = target.thinking or "hm", target.behind(target.answer), target.text
    block = f"<think>{thinking}</think>"
    said = {
        "two think blocks": f"{block}{block}{behind}",
        "a think block in another": f"<think>{block}</think>{behind}",
        "two closing tags": f"{block}</think>{behind}",
        "no opening tag": f"{thinking}</think>{behind}",
        "text before the think block": f"So. {block}{behind}",
        "text after the answer": f"{text} I am sure.",
        "the answer twice": f"{text}{behind}",
        "a comment between thinking and answer": f"{block}<!-- here it is -->{behind}",
        "a heading before the answer": f"{block}\n# Answer\n{behind}",
        "all of it in a code fence": f"```\n{text}\n```",
        "the answer in a code fence": f"{block}\n```xml\n{behind}\n```",
        "an opening tag with an invisible letter": f"<thi{INVISIBLE}nk>{thinking}</think>{behind}",
        "an answer tag with an invisible letter": f"{block}{behind.replace('<answer>', f'<ans{INVISIBLE}wer>')}",
        "tags in capitals": f"<THINK>{thinking}</THINK>{block}{behind}",
        "tags with attributes": f"<think id='1'>{thinking}</think>{behind}",
    }
    for label, whole in said.items():
        response = target.whole(whole)
        if response.thinking is None or not response.tagged:
            yield Attack(family="form", label=label, response=response, holds=True)


def no_thinking(target: Target) -> Iterator[Attack]:
    """A think block with nothing in it."""
    if not target.has_think_block:
        return
    for label, thinking in {
        "empty thinking": "",
        "white space for thinking": " \n ",
        "invisible thinking": INVISIBLE * 40,
    }.items():
        response = target.whole(target.shell(target.answer, thinking=thinking))
        yield Attack(family="no thinking", label=label, response=response, is_like=is_thoughtless)
