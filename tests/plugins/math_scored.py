"""What the reward `math` says of one answer."""

from __future__ import annotations

from typing import Any

from r1_plugins.math import Math
from r1core.types import Finish, Problem, Response, Score

T = "<think>hm</think>"


def problem(gold: Any, question: str = "Find it.") -> Problem:
    return Problem(id="p", reference=gold, messages=({"role": "user", "content": question},))


def score(text: str, gold: Any = "42", question: str = "Find it.", finish: Finish = "stop", **options: Any) -> Score:
    return Math(Math.Config(**options)).score(problem(gold, question), Response.parse(text, finish=finish))


def boxed(answer: str, gold: Any, question: str = "Find it.", **options: Any) -> Score:
    return score(f"{T}\\boxed{{{answer}}}", gold, question, **options)
