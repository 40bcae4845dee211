"""A scoring worker: forked from the server when the rewards' modules are imported; builds them, answers, and dies.

It leads a session of its own, so that SIGKILL takes what a reward started too; it ends with the server,
which ends with the stage. What reward code prints goes to stderr, and what it reads from stdin is empty:
neither can reach the protocol (wire.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import operator
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from r1core.components import Reward
from r1core.orphans import die_with
from r1core.scoring.wire import (
    PRESENT,
    SPOILED,
    Outcome,
    Sees,
    cut,
    decode,
    encode,
    encode_question,
    failure,
    outcome_of,
    seen,
)
from r1core.types import Problem, Response


class Entry(NamedTuple):
    """A reward whose class has been imported, to be built in each worker."""

    name: str
    kind: type[Reward]
    options: Mapping[str, Any]
    sees: Sees


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


def load_reward(target: str) -> type[Reward]:
    """The reward's class, its `preload`ed modules imported."""
    kind = load_class(target)
    if not (isinstance(kind, type) and issubclass(kind, Reward)):
        raise TypeError(f"{target} is not a Reward")
    for module in kind.preload:
        importlib.import_module(module)
    return kind


def build_reward(kind: type[Reward], options: Mapping[str, Any]) -> Reward:
    """The reward itself."""
    return kind(kind.Config.model_validate(dict(options)))


# --- in the worker -------------------------------------------------------------------------------


def work(server: int, requests: int, replies: int, entries: Mapping[int, Entry], memory_mib: int) -> None:
    """Answer until `requests` ends. `server` is the process that forked this one."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(server)
    _limit(memory_mib)
    with os.fdopen(requests, "rb") as lines, os.fdopen(replies, "wb", buffering=0) as told:
        try:
            rewards = {index: _built(entry) for index, entry in entries.items()}
            sentinels = {index: _sentinels(reward) for index, (reward, _) in rewards.items()}
        except _UnbuildableError as error:
            told.write(json.dumps({"error": str(error)}).encode() + b"\n")
            return
        told.write(json.dumps({"ready": sentinels}).encode() + b"\n")
        for line in lines:
            _reply(told, line, rewards)


class _UnbuildableError(Exception):
    pass


def _limit(memory_mib: int) -> None:
    """No core files, and no more address space than this: a bomb is a MemoryError in its worker, not the machine's."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit is not enforced
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))


def _built(entry: Entry) -> tuple[Reward, Sees]:
    try:
        return build_reward(entry.kind, entry.options), entry.sees
    except BaseException as error:
        raise _UnbuildableError(f"reward {entry.name!r} cannot be built: {type(error).__name__}: {error}") from error


def _sentinels(reward: Reward) -> list[tuple[str, float, str]]:
    """(question, value, text) of each."""
    try:
        return [
            (encode_question(s.problem, s.response).decode("utf-8", "surrogatepass"), float(s.value), s.response.text)
            for s in reward.sentinels()
        ]
    except BaseException as error:
        raise _UnbuildableError(
            f"reward {reward.name!r} has no sentinels to tell: {type(error).__name__}: {error}"
        ) from error


def _reply(told: Any, line: bytes, rewards: Mapping[int, tuple[Reward, Sees]]) -> None:
    serial, asked, problem, response = decode(line)
    if problem is None:
        told.write(b'[%d,%d,"verdict",0.0,""]\n' % (serial, PRESENT))
        return
    for index in asked:
        reward, sees = rewards[index]
        reply = [serial, index, *_answer(reward, sees, problem, response)]
        told.write(encode(reply).encode("utf-8", "backslashreplace") + b"\n")


def _answer(
    reward: Reward, sees: Sees, problem: Problem, response: Response | None
) -> tuple[str, float, str] | Outcome:
    """What a reward says; its memory is given back before the answer is told."""
    try:
        if response is None:
            return Outcome("verdict", 0.0, cut(reward.refuses(problem)))
        return outcome_of(reward.score(problem, seen(response, sees)))
    except MemoryError:
        return SPOILED, 0.0, "verifier_error: MemoryError"
    except BaseException as error:  # verifiers raise time-outs and exits that are no `Exception`
        return failure(f"verifier_error: {type(error).__name__}")
