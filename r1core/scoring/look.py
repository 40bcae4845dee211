"""What only the interpreter of a reward can tell, asked before a run: whether its code is the plan's and has what it
needs. Runs there (boot.py): JSON on stdin, a JSON list of sentences on stdout."""

from __future__ import annotations

import importlib.util
import io
import json
import os
from collections.abc import Iterator

from r1core.orphans import die_with
from r1core.scoring.source import Source, changed
from r1core.scoring.worker import load_class


def _findings(target: str, source: Source) -> Iterator[str]:
    try:
        difference = changed(source)
        if difference:
            yield difference
            return
        kind = load_class(target)
        yield from (f"it needs the module {name}" for name in kind.preload if not _is_there(name))
        yield from kind.check()
    except BaseException as error:  # code of strangers: its failure is a finding
        yield f"it cannot be imported: {type(error).__name__}: {error}"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


def _take_streams() -> tuple[io.BufferedReader, io.FileIO]:
    """stdin and stdout for the question and the reply alone: from here on both are something else to everyone."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, replies


def main() -> None:
    """Answer once."""
    requests, replies = _take_streams()
    asked = json.loads(requests.readline())
    die_with(asked["parent"])
    found = [
        (name, finding) for name, target, source in asked["rewards"] for finding in _findings(target, Source(*source))
    ]
    replies.write(json.dumps(found).encode() + b"\n")
