"""The child of `scoring`: a fresh interpreter that rebuilds rewards and answers one question at a time.

    python -m r1core.scoring_worker        # started by scoring_process, JSON lines on stdin and stdout;
                                           # by way of scoring_boot in another interpreter

In: one hello (rewards, parent, memory_mib), then questions: `[number, [reward, ...], problem, response]`.
Out: `{"ready": true}` or `{"error": ...}`, then `[number, reward, status, value, reason]` for each
reward of each question, in order. What reward code prints goes to stderr, and what it reads from
stdin is empty: it cannot reach the protocol.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import math
import numbers
import operator
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from r1core.components import Reward
from r1core.orphans import die_with
from r1core.scoring_source import Source, changed
from r1core.types import Problem, Response, Score, Status

_REASON_LIMIT = 500  # characters; a reason is a label or a sentence, not a log


Sees: TypeAlias = Literal["response", "answer"]


class Outcome(NamedTuple):
    """One reward's verdict on one answer. `value` counts only with the status "verdict"."""

    status: Status
    value: float
    reason: str


def load_class(target: str) -> Any:
    """The class at "package.module:Class" or "/abs/file.py:Class"."""
    place, _, name = target.rpartition(":")
    if not place.endswith(".py"):
        return operator.attrgetter(name)(importlib.import_module(place))
    spec = importlib.util.spec_from_file_location(f"r1_file_{place}", place)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python file at {place}")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return operator.attrgetter(name)(module)


def build_reward(target: str, options: Mapping[str, Any]) -> Reward:
    """The reward itself, its `preload`ed modules imported."""
    kind = load_class(target)
    if not (isinstance(kind, type) and issubclass(kind, Reward)):
        raise TypeError(f"{target} is not a Reward")
    for module in kind.preload:
        importlib.import_module(module)
    return kind(kind.Config.model_validate(dict(options)))


def judge(reward: Reward, sees: Sees, problem: Problem, response: Response) -> Outcome:
    """Ask once. What `score` raises passes through; a score that is no number is "bad_score"."""
    return outcome_of(reward.score(problem, seen(response, sees)))


def seen(response: Response, sees: Sees) -> Response:
    """The part of a response that a reward is shown."""
    if sees == "response":
        return response
    return Response(text="", thinking=None, answer=response.answer, tagged=response.tagged, finish=response.finish)


def outcome_of(score: Any) -> Outcome:
    """What a reward returned, checked."""
    if not isinstance(score, Score) or score.status not in get_args(Status):
        return Outcome("answer_failure", math.nan, "bad_score")
    reason = str(score.reason)[:_REASON_LIMIT]
    if score.status != "verdict":
        return Outcome(score.status, math.nan, reason)
    if not isinstance(score.value, numbers.Real) or not math.isfinite(score.value):
        return Outcome("answer_failure", math.nan, "bad_score")
    return Outcome("verdict", float(score.value), reason)


# --- the wire --------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is not JSON")


_encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def encode_question(problem: Problem, response: Response) -> bytes:
    """The part of a question that stays the same when it is asked again."""
    return f"{_encode(vars(problem))},{_encode(vars(response))}".encode("utf-8", "surrogatepass")


def address(number: int, rewards: Sequence[int], question: bytes) -> bytes:
    """One line: which rewards to ask about which question."""
    return b"[%d,%s,%s]\n" % (number, json.dumps(list(rewards)).encode(), question)


def _decode(line: bytes) -> tuple[int, list[int], Problem, Response]:
    number, rewards, problem, response = json.loads(line.decode("utf-8", "surrogatepass"))
    return number, rewards, Problem(**{**problem, "messages": tuple(problem["messages"])}), Response(**response)


# --- the process -----------------------------------------------------------------------------


def take_streams() -> tuple[io.BufferedReader, io.FileIO]:
    """stdin and stdout for the protocol alone: from here on both are something else to everyone."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, replies


def _limit_memory(mib: int | None) -> None:
    if mib is not None:
        resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20))


def _build_all(hello: Mapping[str, Any]) -> dict[int, tuple[Reward, Sees]]:
    rewards: dict[int, tuple[Reward, Sees]] = {}
    for index, name, target, options, sees, source in hello["rewards"]:
        try:
            difference = changed(Source(*source)) if source is not None else ""
            rewards[index] = build_reward(target, options), sees
        except BaseException as error:
            raise RuntimeError(f"reward {name!r} cannot be built: {type(error).__name__}: {error}") from error
        if difference:
            raise RuntimeError(f"reward {name!r}: {difference}")
    return rewards


def _answer(reward: Reward, sees: Sees, problem: Problem, response: Response) -> Outcome:
    try:
        return judge(reward, sees, problem, response)
    except BaseException as error:  # verifiers raise time-outs and exits that are no `Exception`
        return Outcome("answer_failure", math.nan, f"verifier_error: {type(error).__name__}")


def main() -> None:
    """Answer until stdin ends."""
    requests, replies = take_streams()
    hello = json.loads(requests.readline())
    die_with(hello["parent"])
    _limit_memory(hello["memory_mib"])
    try:
        rewards = _build_all(hello)
    except RuntimeError as error:
        replies.write(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    replies.write(b'{"ready":true}\n')
    for line in requests:
        number, asked, problem, response = _decode(line)
        for index in asked:
            reply = [number, index, *_answer(*rewards[index], problem, response)]
            replies.write(json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main()
