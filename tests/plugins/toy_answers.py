"""Final answers to one problem, asked of a rule as they would stand in a response."""

from __future__ import annotations

from typing import Any

from r1core.components import Reward
from r1core.types import Finish, Problem, Response, Score


def ask(
    rule: type[Reward], reference: Any, answer: str, *, meta: Any = None, finish: Finish = "stop", **options: Any
) -> Score:
    """What the rule with these options says of an answer in its tags."""
    built = rule(rule.Config(**options))
    response = Response.parse(f"<think>so it is</think><answer>{answer}</answer>", finish=finish)
    return built.score(Problem(id="p", reference=reference, meta=meta or {}), response)


def refusal(rule: type[Reward], reference: Any, *, meta: Any = None, **options: Any) -> str:
    """Why the rule with these options refuses a reference, "" where it does not."""
    return rule(rule.Config(**options)).refuses(Problem(id="p", reference=reference, meta=meta or {}))
