"""Groups that wait for the next batch as JSON, so that a killed stage goes on with the same ones, bit for bit.

Token ids and log-probs are packed as base64: as digits they would be several times as large.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r1core.types import Group, Problem, Response, Rollout, Score


def packed(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The groups as JSON."""
    return [
        {
            "problem": _fields(group.problem),
            "rollouts": [_packed(rollout) for rollout in group.rollouts],
            "scores": [_fields(score) for score in group.scores],
        }
        for group in groups
    ]


def unpacked(rows: Sequence[Mapping[str, Any]]) -> list[Group]:
    """The groups that `packed` was given."""
    return [_group(row) for row in rows]


def _packed(rollout: Rollout) -> dict[str, Any]:
    own = {name: value for name, value in vars(rollout).items() if name != "problem"}
    arrays = {
        "prompt_ids": _text(rollout.prompt_ids, "<i8"),
        "completion_ids": _text(rollout.completion_ids, "<i8"),
        "logprobs": None if rollout.logprobs is None else _text(rollout.logprobs, "<f8"),
    }
    return {**own, **arrays, "response": _fields(rollout.response)}


def _group(row: Mapping[str, Any]) -> Group:
    problem = Problem(**{**row["problem"], "messages": tuple(row["problem"]["messages"])})
    rollouts = tuple(_rollout(problem, each) for each in row["rollouts"])
    return Group(problem=problem, rollouts=rollouts, scores=tuple(Score(**score) for score in row["scores"]))


def _rollout(problem: Problem, row: Mapping[str, Any]) -> Rollout:
    logprobs = row["logprobs"]
    arrays = {
        "prompt_ids": _array(row["prompt_ids"], "<i8"),
        "completion_ids": _array(row["completion_ids"], "<i8"),
        "logprobs": None if logprobs is None else _array(logprobs, "<f8"),
    }
    return Rollout(**{**row, **arrays, "problem": problem, "response": Response(**row["response"])})


def _fields(value: Problem | Response | Score) -> dict[str, Any]:
    """Plain data already, but for mappings of other kinds and tuples."""
    found = {name: dict(own) if isinstance(own, Mapping) else own for name, own in vars(value).items()}
    if isinstance(value, Problem):
        found["messages"] = [dict(message) for message in value.messages]
    return found


def _text(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode("ascii")


def _array(text: str, kind: str) -> NDArray[Any]:
    found = np.frombuffer(base64.b64decode(text), dtype=kind)
    return found.astype(np.int64 if kind == "<i8" else np.float64)
