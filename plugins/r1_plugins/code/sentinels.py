"""Two programs whose worth is known beforehand: one that adds, and one that is right for one test of three."""

from __future__ import annotations

from r1core.types import Problem, Response, Sentinel

_TESTS = [{"input": [2, 3], "output": 5}, {"input": [-1, 0.5], "output": -0.5}, {"input": [0, 0], "output": 0}]


def sentinels(*, shares: bool) -> list[Sentinel]:
    """The right one, and the wrong one; `shares`: whether a share of tests is paid."""
    return [_sentinel("a + b", 1.0), _sentinel("5", 1 / 3 if shares else 0.0)]


def _sentinel(returned: str, value: float) -> Sentinel:
    problem = Problem(id="code/sentinel", reference={"entry_point": "add", "tests": _TESTS})
    text = f"<think>two numbers</think><answer>```python\ndef add(a, b):\n    return {returned}\n```</answer>"
    return Sentinel(problem=problem, response=Response.parse(text), value=value)
