"""Traces for curation tests: groups of texts, and what a filter says of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from r1core.components import DataFilter
from r1core.types import Finish, Group, Problem, Response, Rollout, Score


def group(
    *texts: str, scores: Sequence[float | None] = (), finish: Finish = "stop", prefilled: str = "", name: str = "p"
) -> Group:
    """Answers to one problem; a score of None is one that infrastructure failed to give."""
    problem = Problem(id=name, messages=({"role": "user", "content": f"what of {name}?"},))
    none = np.array([], dtype=np.int64)
    rollouts = tuple(
        Rollout(
            problem=problem,
            sample=sample,
            prompt_ids=none,
            completion_ids=none,
            logprobs=None,
            response=Response.parse(text, finish=finish, prefilled=prefilled),
        )
        for sample, text in enumerate(texts)
    )
    lost = Score(value=float("nan"), status="infrastructure", reason="worker_died")
    marks = tuple(lost if mark is None else Score(value=mark, parts={"accuracy": mark}) for mark in scores)
    return Group(problem=problem, rollouts=rollouts, scores=marks)


def reasons(judge: DataFilter, judged: Group) -> list[str]:
    """The reason of each rejection, `kept` for what is kept."""
    verdicts = judge.judge(judged)
    assert all(verdict.reason for verdict in verdicts if not verdict.keep)
    return ["kept" if verdict.keep else verdict.reason for verdict in verdicts]


def words(count: int, seed: str) -> list[str]:
    """Words drawn so that two seeds have no five in a row in common."""
    draw = Random(seed)
    return [f"w{draw.randrange(5000)}" for _ in range(count)]
