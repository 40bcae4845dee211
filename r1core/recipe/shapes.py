"""Whether what stands in one file has the right shape, before anything is laid over it.

Laying a profile's mapping over a recipe's `7` would hide the slip, or blame the profile; a default that no
stage uses would never be looked at. So each file is checked by itself: mappings where mappings belong, lists
where lists do, numbers where numbers do, and the keys of the blocks that are defaults. How large a number may be
and what a component's options are wait for the whole.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from r1core.choices import Use
from r1core.errors import Diagnostic
from r1core.recipe.annotations import arms_of
from r1core.recipe.findings import at_node
from r1core.recipe.nodes import Node
from r1core.recipe.schema import Mix, Stage
from r1core.recipe.wanted import COMPONENT, given, one_of
from r1core.recipe.written import DEFAULTS, Written
from r1core.schedules import Schedule, Window, is_schedule
from r1core.suggest import did_you_mean

NO_STEP = "{!r} is no step, and the keys beside it are"
STEP = "the keys of a schedule are steps, such as 0 or 500, or shares of the steps, such as 60%"
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def misshapen(root: Node) -> Iterator[Diagnostic]:
    """Everything in a file that has the wrong shape."""
    yield from _block(Written, root, "")
    for key in DEFAULTS:
        block = Written.model_fields[key].annotation
        if key in root.map and isinstance(block, type) and issubclass(block, BaseModel):
            yield from _unknown(block, root.map[key], key)


def _block(model: type[BaseModel], node: Node, path: str) -> Iterator[Diagnostic]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in node.map:
            one = model is Stage and key == "data" and not node.map[key].items  # may stand alone
            annotation = typing.get_args(field.annotation)[0] if one else field.annotation
            yield from _value(annotation, node.map[key], f"{path}.{key}".lstrip("."))


def _value(annotation: Any, node: Node, path: str) -> Iterator[Diagnostic]:
    arms = [arm for arm in arms_of(annotation) if arm is not type(None)]
    if node.value is None or Any in arms:
        return
    if any(_is(arm, Schedule) for arm in arms) and (strange := _no_steps(node)):
        yield from (at_node(node.map[key], f"{path}.{key}", NO_STEP.format(key), STEP) for key in strange)
        return
    for arm in arms:
        if _takes(arm, node):
            yield from _inside(arm, node, path)
            return
    nouns = [noun for arm in arms for noun in _nouns(arm)]
    hint = did_you_mean(str(node.value), [noun.strip("'") for noun in nouns if noun[:1] == "'"])
    yield at_node(node, path, f"{one_of(nouns)} is wanted, got {given(node.plain())}", hint)


def _inside(arm: Any, node: Node, path: str) -> Iterator[Diagnostic]:
    if _is(arm, Schedule):
        inner = typing.get_args(arm.model_fields["points"].annotation)[1]
        points = node.map if is_schedule(node.map) else {"": node}
        for step, point in points.items():
            yield from _value(inner, point, f"{path}.{step}".rstrip("."))
    elif arm is Mix:
        yield from _weights(node.map.get("mix", node), f"{path}.mix")
    elif _is(arm, BaseModel) and not _is(arm, Use):
        yield from _block(arm, node, path)
    elif typing.get_origin(arm) is dict:
        for key, child in node.map.items():
            yield from _value(typing.get_args(arm)[1], child, f"{path}.{key}")
    elif typing.get_origin(arm) is list:
        for index, child in enumerate(node.items):
            yield from _value(typing.get_args(arm)[0], child, f"{path}.{index}")


def _weights(node: Node, path: str) -> Iterator[Diagnostic]:
    """`mix: {reasoning: 3}`; a list in resolved recipes."""
    if not isinstance(node.value, dict | list):
        yield at_node(node, path, f"a mapping from names to weights is wanted, got {given(node.plain())}")


def _no_steps(node: Node) -> list[str]:
    """The keys that are no steps, of a mapping whose other keys are: all of a schedule's keys must be."""
    steps = [key for key in node.map if is_schedule({key: None})]
    return [key for key in node.map if key not in steps] if steps else []


def _takes(arm: Any, node: Node) -> bool:
    """Whether a value of this shape may be one of these."""
    is_map, is_list = isinstance(node.value, dict), isinstance(node.value, list)
    if _is(arm, Schedule):
        inner = arms_of(typing.get_args(arm.model_fields["points"].annotation)[1])
        return is_schedule(node.map) or any(_takes(each, node) for each in inner)
    if _is(arm, Use):
        return is_map or isinstance(node.value, str)
    if _is(arm, Window) or arm is str:
        return not is_map and not is_list
    if _is(arm, BaseModel):
        return is_map
    origin = typing.get_origin(arm)
    if origin is Literal:
        return not is_map and not is_list and node.value in typing.get_args(arm)
    return is_map if origin is dict else is_list if origin is list else not is_map and not is_list and _reads(arm, node)


def _reads(arm: Any, node: Node) -> bool:
    """Whether a scalar may be one of these: words are no numbers."""
    if arm not in (int, float) or not isinstance(node.value, str):
        return True
    try:
        float(node.value)
    except ValueError:
        return False
    return True


def _nouns(arm: Any) -> tuple[str, ...]:
    if _is(arm, Schedule):
        inner = arms_of(typing.get_args(arm.model_fields["points"].annotation)[1])
        return tuple(noun for each in inner for noun in _nouns(each))
    if _is(arm, Use):
        return COMPONENT
    if arm is Mix:
        return ("a mapping with `mix`",)
    if typing.get_origin(arm) is Literal:
        return tuple(map(repr, typing.get_args(arm)))
    if (_is(arm, BaseModel) and not _is(arm, Window)) or typing.get_origin(arm) is dict:
        return ("a mapping",)
    if typing.get_origin(arm) is list:
        return ("a list",)
    return (WORDS[arm],) if arm in WORDS else ("text",) if _is(arm, Window) else ()


def _is(arm: Any, cls: type) -> bool:
    return isinstance(arm, type) and issubclass(arm, cls)


def _unknown(model: type[BaseModel], node: Node, path: str) -> Iterator[Diagnostic]:
    known = [field.alias or name for name, field in model.model_fields.items()]
    for key, child in node.map.items():
        if key not in known:
            yield at_node(child, f"{path}.{key}", f"unknown key {key!r}", did_you_mean(key, known, otherwise="keys: "))
