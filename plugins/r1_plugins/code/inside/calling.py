"""A model's program as a module, and its function called: what comes of it is a reply, whatever it does short of
ending the process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .wire import UnsupportedError, encode

LONGEST_NAME = 100


def load(code: str, entry_point: str) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """The function, and the reply that says whether it is there."""
    module = new_module("answer")
    try:
        exec(compile(code, "answer.py", "exec"), module.__dict__)
        function = _found(module, entry_point)
    except BaseException as error:
        return None, {"raised": _name(error)}
    return function, {"missing": True} if function is None else {"loaded": True}


def called(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    """The reply to one call."""
    try:
        reply = {"value": encode(function(*arguments))}
        json.dumps(reply)  # so deep that it cannot be written
        return reply
    except UnsupportedError as error:
        return {"type": str(error)[:LONGEST_NAME]}
    except BaseException as error:
        return {"raised": _name(error)}


def new_module(name: str) -> ModuleType:
    """A new module of this name, where classes that the program defines look for it."""
    module = sys.modules[name] = ModuleType(name)
    return module


def _found(module: ModuleType, entry_point: str) -> Callable[..., Any] | None:
    """`name`, or `Class.method`, which is called on a new object each time."""
    owner, _, method = entry_point.rpartition(".")
    cls = module.__dict__.get(owner or method)
    if not owner or cls is None:
        return cls
    return (lambda *arguments: getattr(cls(), method)(*arguments)) if hasattr(cls, method) else None


def _name(error: BaseException) -> str:
    return str(type(error).__name__)[:LONGEST_NAME]
