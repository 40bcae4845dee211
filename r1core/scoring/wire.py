"""What a scoring worker is told and what it answers: lines of JSON, never pickles.

To it:  [serial, [reward, ...], problem, response]    what is this answer worth?
        [serial, [reward, ...], problem, null]        can these rewards read its gold (`refuses`)?
        [serial, [], null, null]                      are you there?
From it, for each reward in turn: [serial, reward, status, value, reason, extracted]. A reward's sentinels
are asked as the first kind: nothing tells them from answers.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from r1core.types import Problem, Response, Score, Status

Sees: TypeAlias = Literal["response", "answer"]
NOBODY = b"null,null"
"""The question for a sign of life."""
SPOILED = "spoiled"
"""The status of an answer that left its worker without memory: a failure like a crash, whose worker must go."""
PRESENT = -1
"""The reward in the answer to a question that named none."""
_REASON_LIMIT = 500  # characters; a reason is a label or a sentence, not a log


class Outcome(NamedTuple):
    """One reward's verdict on one answer. `value` counts only with the status "verdict"."""

    status: Status
    value: float
    reason: str
    extracted: str = ""


def failure(reason: str) -> Outcome:
    """The answer broke the check."""
    return Outcome("answer_failure", math.nan, reason)


def lost(reason: str) -> Outcome:
    """Nobody could say what the answer is worth."""
    return Outcome("infrastructure", math.nan, reason)


def seen(response: Response, sees: Sees) -> Response:
    """The part of a response that a reward is shown."""
    if sees == "response":
        return response
    return Response(
        text="",
        thinking=None,
        answer=response.answer,
        tagged=response.tagged,
        finish=response.finish,
        apart=response.apart,
    )


def outcome_of(score: Any) -> Outcome:
    """What a reward returned, checked."""
    if not isinstance(score, Score) or score.status not in get_args(Status):
        return failure("bad_score")
    reason = cut(score.reason)
    if score.status != "verdict":
        return Outcome(score.status, math.nan, reason)
    if not isinstance(score.value, numbers.Real) or not math.isfinite(score.value):
        return failure("bad_score")
    return Outcome("verdict", float(score.value), reason, _ballot(str(score.extracted)))


def cut(reason: Any) -> str:
    """A reason as it is passed on."""
    return str(reason)[:_REASON_LIMIT]


def _ballot(extracted: str) -> str:
    """What a reward read of an answer, by its hash where it is long."""
    is_short = len(extracted) <= _REASON_LIMIT
    return extracted if is_short else hashlib.sha256(extracted.encode("utf-8", "surrogatepass")).hexdigest()


# --- lines ---------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is not JSON")


encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def encode_question(problem: Problem, response: Response | None) -> bytes:
    """The part of a question that stays the same when it is asked again. What is not `apart` says nothing of it: so
    the r1core of another environment may be an older one."""
    said = "null"
    if response is not None:
        said = encode({name: value for name, value in vars(response).items() if name != "apart" or value})
    return f"{encode(vars(problem))},{said}".encode("utf-8", "surrogatepass")


def address(serial: int, rewards: Sequence[int], question: bytes) -> bytes:
    """One line: which rewards to ask which question."""
    return b"[%d,%s,%s]\n" % (serial, json.dumps(list(rewards)).encode(), question)


def decode(line: bytes) -> tuple[int, list[int], Problem | None, Response | None]:
    """(serial, rewards, problem, response) of a question."""
    serial, rewards, asked, said = json.loads(line.decode("utf-8", "surrogatepass"))
    problem = Problem(**{**asked, "messages": tuple(asked["messages"])}) if asked is not None else None
    return serial, rewards, problem, Response(**said) if said is not None else None
