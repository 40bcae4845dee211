"""Walk pydantic types: which keys there are at a place, and where component names and artifact refs stand.

`Annotated[Use, Kind("reward")]` marks a component to resolve, `Annotated[str, Ref("model")]` an edge
of the graph; both may sit inside lists, maps, optionals, schedules and nested models.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from r1core.choices import Kind, Ref, Use
from r1core.schedules import Schedule

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Rewriter:
    """Turns a validated value into plain JSON data, with `use` and `ref` deciding what components and refs become."""

    use: Callable[[Use, str, Path], Any]
    ref: Callable[[str, Ref, Path], Any]

    def model(self, value: BaseModel, path: Path = (), *, skip: Iterable[str] = ()) -> dict[str, Any]:
        """The fields of a model under the names that a recipe writes."""
        plain = {}
        for name, field in type(value).model_fields.items():
            key = field.alias or name
            if key not in skip:
                plain[key] = self.value(field.annotation, field.metadata, getattr(value, name), (*path, key))
        return plain

    def value(self, annotation: Any, metadata: Sequence[Any], value: Any, path: Path) -> Any:
        """One value of a type."""
        annotation, metadata = _marked(annotation, metadata, value)
        if isinstance(value, Use):
            kind = next((m.kind for m in metadata if isinstance(m, Kind)), "")
            return self.use(value, kind, path)
        ref = next((m for m in metadata if isinstance(m, Ref)), None)
        if isinstance(value, str) and ref is not None:
            return self.ref(value, ref, path)
        if isinstance(value, Schedule):
            return self._schedule(value, path)
        if isinstance(value, BaseModel) and not value.__pydantic_decorators__.model_serializers:
            return self.model(value, path)
        return self._collection(annotation, value, path)

    def _schedule(self, value: Schedule[Any], path: Path) -> Any:
        inner = type(value).model_fields["points"].annotation
        annotation = typing.get_args(inner)[1]
        plain = {key: self.value(annotation, (), point, (*path, key)) for key, point in value.points.items()}
        return next(iter(plain.values())) if len(plain) == 1 else plain

    def _collection(self, annotation: Any, value: Any, path: Path) -> Any:
        arguments = typing.get_args(annotation)
        if isinstance(value, dict):
            inner = arguments[1] if len(arguments) == 2 else Any
            return {str(key): self.value(inner, (), item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(_item(arguments, i), (), item, (*path, i)) for i, item in enumerate(value)]
        if isinstance(value, set | frozenset):
            return sorted(to_jsonable_python(value, by_alias=True), key=repr)
        return to_jsonable_python(value, by_alias=True)


def _item(arguments: tuple[Any, ...], index: int) -> Any:
    if not arguments:
        return Any
    return arguments[min(index, len(arguments) - 1)] if Ellipsis not in arguments else arguments[0]


def _marked(annotation: Any, metadata: Sequence[Any], value: Any) -> tuple[Any, list[Any]]:
    """The arm of the annotation that fits the value, with all metadata on the way to it."""
    found = list(metadata)
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *more = typing.get_args(annotation)
            found += more
        elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
            annotation = _arm(typing.get_args(annotation), value)
        else:
            return annotation, found


def _arm(arms: tuple[Any, ...], value: Any) -> Any:
    """The first arm whose class the value is an instance of; the more telling marked arm first."""
    return next((arm for arm in arms if _fits(arm, value)), Any)


def _fits(arm: Any, value: Any) -> bool:
    if typing.get_origin(arm) is typing.Annotated:
        arm = typing.get_args(arm)[0]
    origin = typing.get_origin(arm) or arm
    if origin in (typing.Union, types.UnionType):
        return any(_fits(inner, value) for inner in typing.get_args(arm))
    return isinstance(origin, type) and isinstance(value, origin)


def keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that may stand at `loc` inside a model: for "did you mean"."""
    current: Any = model
    for part in loc:
        current = _descend(current, part)
    models = [arm for arm in arms_of(current) if isinstance(arm, type) and issubclass(arm, BaseModel)]
    return [field.alias or name for arm in models for name, field in arm.model_fields.items()]


def _descend(annotation: Any, part: str | int) -> Any:
    """The type one step down; a part that is no key (the name of a union's arm) stays where it is."""
    for arm in arms_of(annotation):
        if isinstance(arm, type) and issubclass(arm, BaseModel):
            for name, field in arm.model_fields.items():
                if part in (name, field.alias):
                    return field.annotation
            if part == arm.__name__:
                return arm
        elif typing.get_origin(arm) in (dict, list, tuple):
            return typing.get_args(arm)[-1 if typing.get_origin(arm) is dict else 0]
    return annotation


def arms_of(annotation: Any) -> list[Any]:
    """The arms of a union, through Annotated."""
    if typing.get_origin(annotation) is typing.Annotated:
        return arms_of(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [arm for outer in typing.get_args(annotation) for arm in arms_of(outer)]
    return [annotation]
