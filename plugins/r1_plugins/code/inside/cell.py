"""A cell: the process that runs what a model wrote. It has the inputs, one at a time, and nothing to compare with.

A program reads its input from stdin and is all of `__main__`. A function is called for each line that comes by the
request pipe; what it returns goes back by the reply pipe, as plain values. Whatever the program does to this process,
it can change nothing but what is said in its own name.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .calling import called, load, new_module
from .confine import give_up
from .wire import decode

FIRST = 3
"""Descriptors from here on: requests, replies, Landlock's rules; 0 to 2 are the program's."""


def run(limits: Mapping[str, int], parent: int, rules: int | None) -> None:
    """Give up what is not needed, then run the program, or answer as its function."""
    requests, replies = os.fdopen(FIRST, "rb"), FIRST + 1
    try:
        give_up(limits, parent, rules)
        job = json.loads(requests.readline())
    except OSError as error:
        _say(replies, {"trouble": str(error)})
        os._exit(1)
    _take_streams()
    _say(replies, {"nonce": job["nonce"], "ready": True})
    if job["entry_point"] is None:
        requests.close()
        _run_program(job["code"])
        return
    for reply in _replies(job, requests):
        _say(replies, {"nonce": job["nonce"], **reply})
    os._exit(0)


def _run_program(code: str) -> None:
    """As `python answer.py` does: what it raises ends the process; its threads and exit functions are waited for."""
    exec(compile(code, "answer.py", "exec"), new_module("__main__").__dict__)


def _replies(job: Mapping[str, Any], requests: io.BufferedReader) -> Iterator[dict[str, Any]]:
    """Whether the code could be loaded; then one reply for each request."""
    function, reply = load(job["code"], job["entry_point"])
    yield reply
    if function is None:
        return
    for line in requests:
        yield called(function, [decode(argument) for argument in json.loads(line)])


def _take_streams() -> None:
    """What the program knows as stdin and stdout are the pipes that it was given, in UTF-8."""
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        stream = open(descriptor, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _say(replies: int, reply: Mapping[str, Any]) -> None:
    line = memoryview(json.dumps(reply).encode() + b"\n")
    while line:
        line = line[os.write(replies, line) :]
