"""Types and values of a component's options in the words of a recipe, for `r1 explain` and the plan."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from r1core.choices import Kind, Ref
from r1core.schedules import Schedule

BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def field_type(field: FieldInfo) -> str:
    """The type of one option, with its bounds: `int >= 1`, `list of filter, by name`."""
    bounds = [
        f"{sign} {getattr(mark, name)}" for mark in field.metadata for name, sign in BOUNDS if hasattr(mark, name)
    ]
    return " ".join([_marked(field.metadata) or _named(field.annotation), *bounds])


def value_text(value: Any) -> str:
    """A value as it would stand in a recipe, on one line."""
    if isinstance(value, BaseModel):
        return value_text(value.model_dump())
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, frozenset | set):
        return ", ".join(sorted(map(str, value))) or "nothing"
    if isinstance(value, str) and value and value.isprintable():
        return value
    return json.dumps(value, default=str)


def _marked(metadata: Sequence[Any]) -> str:
    for mark in metadata:
        if isinstance(mark, Kind):
            return f"{mark.kind}, by name"
        if isinstance(mark, Ref):
            return f"stage id (its {mark.artifact})"
    return ""


def _named(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _marked(inner[1:]) or _named(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(_named(part) for part in inner if part is not type(None))
    if origin is not None:
        return f"{_named(origin)} of {', '.join(_named(part) for part in inner if part is not Ellipsis)}"
    if isinstance(annotation, type) and issubclass(annotation, Schedule):
        return f"{_named(annotation.model_fields['points'].annotation).rpartition(' ')[2]}, or a schedule"
    return getattr(annotation, "__name__", str(annotation))
