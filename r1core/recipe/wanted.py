"""What was wanted and what was given, in words: pydantic's error types as a person who writes YAML would say them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WANTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
}
COMPONENT = ("a name", "a mapping with `use`")
"""What chooses a component: its name, bare or beside its options."""
LONGEST = 40
"""Characters of a value that are shown."""
_QUOTED = re.compile(r"'[^']*'")


def wanted(error: Any, keys: Iterable[str]) -> tuple[str, ...]:
    """What should stand there, as nouns; none where the error is about something else than the kind of value. `keys`
    are those of the mapping that is wanted there, if it is one."""
    if error["type"] in ("model_type", "model_attributes_type"):
        return COMPONENT if "use" in keys else (f"a mapping with keys of {', '.join(sorted(set(keys)))}",)
    if error["type"] == "literal_error":
        return tuple(choices(error)) or (str(error["ctx"]["expected"]),)
    return (WANTED[error["type"]],) if error["type"] in WANTED else ()


def choices(error: Any) -> list[str]:
    """The words that may stand there, quoted, where only some may."""
    return _QUOTED.findall(error["ctx"]["expected"]) if error["type"] == "literal_error" else []


def one_of(nouns: Sequence[str]) -> str:
    """`text, a number or a list`; a name is text already."""
    different = [noun for noun in dict.fromkeys(nouns) if noun != "text" or COMPONENT[0] not in nouns]
    *others, last = different
    return f"{', '.join(others)} or {last}" if others else last


def given(value: Any) -> str:
    """A value as it may have been written: `'many'`, `the list [1]`, `the mapping {a: 1}`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"the mapping {_short(_flow(value))}"
    if isinstance(value, list | tuple):
        return f"the list {_short(_flow(value))}"
    return _short(repr(value))


def sentence(error: Any) -> str:
    """An error that is not about the kind of value: `should be greater than 0, got -1`; a validator's own words."""
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    own = error["type"] in ("value_error", "assertion_error")
    is_scalar = isinstance(error["input"], str | int | float | bool | None)
    return f"{message}, got {given(error['input'])}" if is_scalar and not own else message


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
