"""Forms of the right answer that must be paid: white space, other thinking, a think tag that the prompt opened.

What a checker refuses here it refuses by accident, and a model learns to please the accident.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from r1core.stress.hedged import wrong_answers
from r1core.stress.target import Target
from r1core.types import Response

LONG = 50_000


@dataclass(frozen=True, kw_only=True)
class Form:
    """One response that is worth what the right one is. `thinks` marks those that think something else."""

    label: str
    response: Response
    thinks: bool = False


def equivalents(target: Target) -> Iterator[Form]:
    """All of them; none where the right answer is cut off: what is added comes after the cut."""
    if target.response.finish == "length":
        return
    text, answer = target.text, target.answer
    spaced = {
        "a line end after it": f"{text}\n",
        "white space around it": f"\n  {text}  \n\n",
        "white space around the answer": target.shell(f"\n  {answer} \n") if answer else text,
        "a line end before the answer": text.replace("</think>", "</think>\n\n", 1),
    }
    for label, whole in spaced.items():
        if whole != text:
            yield Form(label=label, response=target.whole(whole))
    pair = opened(target.response)
    if pair is not None:
        yield Form(label="a think tag that the model wrote", response=replace(pair[0], tokens=target.response.tokens))
        yield Form(label="a think tag that the prompt opened", response=replace(pair[1], tokens=target.response.tokens))
    yield from _thinking(target)


def _thinking(target: Target) -> Iterator[Form]:
    if target.response.thinking is None:
        return
    wrong = wrong_answers(target, 1)[0]
    said = {
        "other thinking": "Let me look at this in another way, and then once more from the end.",
        "thinking that tries a wrong answer": f"Is it {wrong}? No, that cannot be. Wait, let me see.",
        "thinking with a formula and a list": "1. $x^2 = 4$\n2. so\n\n- a\n- b\n\n```python\nprint(1)\n```",
        "50 kB of thinking": "and then I look at it once more, " * (LONG // 33),
    }
    for label, thinking in said.items():
        response = target.whole(target.shell(target.answer, thinking=thinking))
        yield Form(label=label, response=response, thinks=True)


def opened(right: Response) -> tuple[Response, Response] | None:
    """The same answer twice, its think tag written by the model and opened by the prompt; None where it has none."""
    whole = right.prefilled + right.text
    if not whole.startswith("<think>"):
        return None
    rest = whole.removeprefix("<think>")
    return Response.parse(whole, finish=right.finish), Response.parse(rest, finish=right.finish, prefilled="<think>")
