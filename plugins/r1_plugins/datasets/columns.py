"""From a row to a problem: which column is what, the same for every kind of file.

    {use: parquet, path: train.parquet, prompt: question, reference: answer, reference_from: after_hashes}
    {use: datasets, path: cais/mmlu, split: test, template: "{question}\n{choices}", reference: answer}

A name with dots walks into nested columns (`extra.answer`, `messages.0.content`). A prompt is text, or a list of chat
messages, or a template of columns. What no option names goes to the problem's `meta`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha1
from string import Formatter
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from r1_plugins.datasets.decontamination import Decontaminate
from r1core.components import ProblemSource
from r1core.types import Message, Problem

MISSING = object()
BRACES = "a brace that is no column is written {{ or }}"


class RowError(ValueError):
    """What is wrong with one row; becomes a finding with its file and line."""


class Columns(ProblemSource.Config):
    """Which column is what."""

    prompt: str = Field("prompt", description="field with the question: text, or a list of chat messages")
    template: str | None = Field(
        None, min_length=1, description="the question built of fields instead of `prompt`; {name} stands for a field"
    )
    reference: str = Field("reference", description="field with what rewards compare with; any JSON value, optional")
    reference_from: Literal["whole", "after_hashes", "last_box"] = Field(
        "whole", description='the part of it: all, what follows "####", or what the last \\boxed{} holds'
    )
    completion: str | None = Field(
        None,
        description="field with the text to learn from, or with a list of them: several answers to one question; none "
        "is read when absent",
    )
    finish: str | None = Field(
        None,
        description='field with how the text ended, "length" where it was cut off; a list where `completion` is one',
    )
    each: list[str] = Field(
        default_factory=list, description="other fields with an item for each text of a list; the rest is of all"
    )
    domain: str = Field("domain", description="field with the domain, optional")
    language: str = Field("language", description="field with the language, optional")
    id: str = Field("id", description="field with an id that no other row has, optional")
    decontaminate: Decontaminate | None = Field(
        None, description="drops rows whose question has words in a row in common with evaluation sets"
    )

    @model_validator(mode="after")
    def _template_names_columns(self) -> Self:
        if self.template is not None and not named(self.template):
            raise ValueError(f"template {self.template!r} names no field")
        return self

    @model_validator(mode="after")
    def _ends_of_texts(self) -> Self:
        if self.completion is None and (self.finish is not None or self.each):
            raise ValueError("`finish` and `each` tell of texts: give `completion`")
        return self


def problems_of(row: Mapping[str, Any], number: int, columns: Columns) -> list[Problem]:
    """The row as a problem, or as one for each text of a list. Raises RowError."""
    texts = at(row, columns.completion) if columns.completion is not None else None
    if not isinstance(texts, list):
        return [_problem(row, number, columns)]
    if not texts:
        raise RowError(f"field {columns.completion!r} is an empty list")
    found = [_problem(each, number, columns) for each in _alone(row, len(texts), columns)]
    return [replace(each, id=f"{each.id}.{place}" if place else each.id) for place, each in enumerate(found)]


def _alone(row: Mapping[str, Any], count: int, columns: Columns) -> Iterator[Mapping[str, Any]]:
    """The row once for each of its texts, with that text's own items."""
    lists = [name for name in (columns.completion, columns.finish, *columns.each) if name is not None]
    items = {name: _required(row, name, columns) for name in lists}
    for name, found in items.items():
        if not isinstance(found, list) or len(found) != count:
            had = f"{len(found)} items" if isinstance(found, list) else json.dumps(found)[:60]
            raise RowError(f"field {name!r} must have an item for each of the {count} texts, got {had}")
    for place in range(count):
        yield {**row, **{name: found[place] for name, found in items.items()}}


def _problem(row: Mapping[str, Any], number: int, columns: Columns) -> Problem:
    messages = _messages(_required(row, columns.prompt, columns), columns.prompt) if columns.template is None else None
    if messages is None:
        assert columns.template is not None
        messages = ({"role": "user", "content": filled(columns.template, row)},)
    completion = None
    if columns.completion is not None:
        completion = _text(_required(row, columns.completion, columns), columns.completion)
    own = {columns.prompt, columns.reference, columns.completion, columns.domain, columns.language, columns.id}
    own |= {columns.finish}
    if columns.template is not None:
        own = own - {columns.prompt} | named(columns.template)
    return Problem(
        id=_id(row, messages, number, columns.id),
        messages=messages,
        reference=_reference(row, columns),
        domain=_text(_or(row, columns.domain, "reasoning"), columns.domain),
        language=_text(_or(row, columns.language, "en"), columns.language),
        meta={key: value for key, value in row.items() if key not in own},
        completion=completion,
        finish="length" if columns.finish is not None and at(row, columns.finish) == "length" else "stop",
    )


def at(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column; `MISSING` where there is none. A column whose own name has dots comes first."""
    if name in row:
        return row[name]
    found: Any = row
    for part in name.split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return MISSING
    return found


def _or(row: Mapping[str, Any], name: str, default: str) -> Any:
    found = at(row, name)
    return default if found is MISSING else found


def _required(row: Mapping[str, Any], name: str, columns: Columns) -> Any:
    found = at(row, name)
    if found is MISSING:
        raise RowError(f"no field {name!r}; got {', '.join(row) or 'no fields'}; expected {_shape(columns)}")
    return found


def _shape(columns: Columns) -> str:
    """What a row looks like with these options."""
    learned = f', "{columns.completion}": "..."' if columns.completion is not None else ""
    return f'{{"{columns.prompt}": "...", "{columns.reference}": ...{learned}}}'


# --- text ------------------------------------------------------------------------------------------


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise RowError(f"field {name!r} must be text, got {json.dumps(value, ensure_ascii=False)[:60]}")
    return value


def _messages(prompt: Any, name: str) -> tuple[Message, ...]:
    """A text is one message of the user; a list must hold `role` and `content` pairs."""
    if not isinstance(prompt, list):
        return ({"role": "user", "content": _text(prompt, name)},)
    for message in prompt:
        if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise RowError(f'field {name!r} must be text or a list of {{"role": "...", "content": "..."}}')
    if not prompt:
        raise RowError(f"field {name!r} is an empty list of messages")
    return tuple({"role": message["role"], "content": message["content"]} for message in prompt)


def filled(template: str, row: Mapping[str, Any]) -> str:
    """The template with the row's columns in it; a list is one item on a line."""
    parts = []
    for text, name, _, _ in Formatter().parse(template):
        parts.append(text)
        if name is None:
            continue
        value = at(row, name)
        if value is MISSING or value is None:
            raise RowError(f"no field {name!r}, which the template names; got {', '.join(row) or 'no fields'}")
        parts.append("\n".join(map(_written, value)) if isinstance(value, list) else _written(value))
    return "".join(parts)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def named(template: str) -> set[str]:
    """The columns that a template names. Raises ValueError for all that is more than a name."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{str(error).lower()}; {BRACES}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name or spec or conversion):
            raise ValueError(f"{{{name}}} with more than a name in it, or with none; {BRACES}")
    return {name for _, name, _, _ in parts if name}


# --- references ------------------------------------------------------------------------------------


def after_hashes(text: str) -> str:
    """GSM8K's form: the answer behind the last "####", a number without its thousands separators."""
    _, hashes, answer = text.rpartition("####")
    if not hashes:
        raise ValueError('has no "####"')
    answer = answer.strip()
    return answer.replace(",", "") if re.fullmatch(r"[-+]?\$?\d{1,3}(,\d{3})+(\.\d+)?", answer) else answer


def last_box(text: str) -> str:
    """MATH's form: what the last \\boxed{...} holds, braces balanced; \\boxed 5 and \\fbox{...} are read, too."""
    starts = list(re.finditer(r"\\(?:boxed|fbox)\s*", text))
    if not starts:
        raise ValueError("has no \\boxed{}")
    rest = text[starts[-1].end() :]
    if not rest.startswith("{"):
        return rest[:1].strip()
    depth = 0
    for place, sign in enumerate(rest):
        if rest[place - 1 : place] != "\\" or place == 0:
            depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return rest[1:place].strip()
    raise ValueError("has a \\boxed{ that is never closed")


PARTS: Mapping[str, Callable[[str], str]] = {"after_hashes": after_hashes, "last_box": last_box}


def _reference(row: Mapping[str, Any], columns: Columns) -> Any:
    found = at(row, columns.reference)
    if columns.reference_from == "whole":
        return None if found is MISSING else found
    whole = _text(_required(row, columns.reference, columns), columns.reference)
    try:
        part = PARTS[columns.reference_from](whole)
    except ValueError as error:
        raise RowError(f"field {columns.reference!r} {error}: {whole[-60:]!r}") from error
    if not part:
        raise RowError(f"field {columns.reference!r} has nothing where `{columns.reference_from}` looks")
    return part


def _id(row: Mapping[str, Any], messages: tuple[Message, ...], number: int, name: str) -> str:
    """The row's own id, else one made from its prompt and its line."""
    given = at(row, name)
    if given is MISSING or given is None:
        return sha1(f"{number}\n{json.dumps(messages)}".encode()).hexdigest()[:16]
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise RowError(f"field {name!r} must be text or a whole number, got {json.dumps(given)[:60]}")
    return str(given)


def plain(value: Any) -> Any:
    """A value of a typed column as JSON: dates and decimals as text, NaN as null; bytes are left out."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items() if not isinstance(each, bytes)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)
