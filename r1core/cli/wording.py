"""Types and values of a component's options in the words of a recipe, for `r1 explain` and the plan."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from r1core.choices import Kind, Options, Ref, Use
from r1core.schedules import Schedule

BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def field_type(field: FieldInfo) -> str:
    """The type of one option, with its bounds: `int >= 1`, `list of filter, by name`."""
    bounds = [
        f"{sign} {getattr(mark, name)}" for mark in field.metadata for name, sign in BOUNDS if hasattr(mark, name)
    ]
    return " ".join([_marked(field.metadata) or _named(field.annotation), *bounds])


def options_within(annotation: Any) -> list[type[BaseModel]]:
    """The blocks of options that a value of this type may be, or hold: of `X | None`, a list, a schedule, a union. What
    is chosen by name has its own page; what stands beside the name (a reward's weight) is a block."""
    if isinstance(annotation, type) and issubclass(annotation, Schedule):
        return options_within(annotation.model_fields["points"].annotation)
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, (Options, Use)) and annotation is not Use else []
    parts = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return list(dict.fromkeys(block for part in parts for block in options_within(part)))


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
        whole = "list" if origin is tuple else _named(origin)
        return f"{whole} of {', '.join(_named(part) for part in inner if part is not Ellipsis)}"
    if isinstance(annotation, type) and issubclass(annotation, Schedule):
        return f"{_named(annotation.model_fields['points'].annotation).rpartition(' ')[2]}, or a schedule"
    if options_within(annotation):
        return "options"
    return getattr(annotation, "__name__", str(annotation))
