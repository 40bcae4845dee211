r"""A problem's tests as data: what a function is called with and has to return, or stdin and stdout of a program.

    {"entry_point": "add", "tests": [{"input": [1, 2], "output": 3}]}
    {"entry_point": "Solution.add", "tests": [...]}                     # a method of a new object for each test
    {"entry_point": null, "tests": [{"stdin": "1 2\n", "output": "3\n"}]}

Whatever else stands there is a slip, and refused when the data is loaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", re.ASCII)
_KEYS = {"tests", "entry_point"}


class UntestableError(ValueError):
    """Nothing can be tested with this reference; the message is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One of them: `arguments` for a function, `stdin` for a program."""

    output: Any
    arguments: tuple[Any, ...] = ()
    stdin: str = ""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """All tests of a problem. Without an entry point they are a program's."""

    entry_point: str | None
    tests: tuple[Test, ...]


def read_reference(reference: Any) -> Reference:
    """The tests. Raises UntestableError with the first thing that is wrong."""
    if not isinstance(reference, Mapping):
        raise UntestableError(f"the reference is {type(reference).__name__}, not a mapping with `tests`")
    _only(reference, _KEYS, "the reference")
    entry_point = reference.get("entry_point")
    if entry_point is not None and not (isinstance(entry_point, str) and _NAME.fullmatch(entry_point)):
        raise UntestableError(f"entry_point is {str(entry_point)[:60]!r}; write a function's name, or Class.method")
    tests = reference.get("tests")
    if not isinstance(tests, list | tuple) or not tests:
        raise UntestableError("there are no tests: `tests` is a list with one at least")
    read = _of_program if entry_point is None else _of_function
    return Reference(entry_point=entry_point, tests=tuple(read(test, f"test {n}") for n, test in enumerate(tests, 1)))


def _of_function(test: Any, where: str) -> Test:
    _shaped(test, {"input", "output"}, where)
    if not isinstance(test["input"], list | tuple):
        raise UntestableError(f"{where}: input is no list; write the arguments as one, [3] for a single 3")
    _plain(test["input"], where)
    _plain(test["output"], where)
    return Test(arguments=tuple(test["input"]), output=test["output"])


def _of_program(test: Any, where: str) -> Test:
    _shaped(test, {"stdin", "output"}, where)
    for key in ("stdin", "output"):
        if not isinstance(test[key], str):
            raise UntestableError(f"{where}: {key} of a program is text, got {type(test[key]).__name__}")
    if not test["output"].strip():
        raise UntestableError(f"{where}: output is empty, which a program that does nothing prints, too")
    return Test(stdin=test["stdin"], output=test["output"])


def _shaped(test: Any, keys: set[str], where: str) -> None:
    if not isinstance(test, Mapping):
        raise UntestableError(f"{where} is {type(test).__name__}, not a mapping")
    _only(test, keys, where)
    missing = sorted(keys - set(test))
    if missing:
        raise UntestableError(f"{where} has no {missing[0]!r}; `stdin` is for programs (no entry_point), `input` else")


def _only(mapping: Mapping[Any, Any], keys: set[str], where: str) -> None:
    unknown = [str(key) for key in mapping if key not in keys]
    if unknown:
        raise UntestableError(f"{where} has an unknown key {unknown[0][:60]!r}; there may be {', '.join(sorted(keys))}")


def _plain(value: Any, where: str) -> None:
    """Values that JSON has; a NaN equals nothing, so no answer could be right."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            if not all(isinstance(key, str) for key in one):
                raise UntestableError(f"{where} has a key that is no text")
            pending += one.values()
        elif isinstance(one, list | tuple):
            pending += one
        elif isinstance(one, float) and not math.isfinite(one):
            raise UntestableError(f"{where} has the number {one}, which JSON has not")
        elif not (one is None or isinstance(one, bool | int | float | str)):
            raise UntestableError(f"{where} has a value of type {type(one).__name__}")
