"""The schema rule: the answer, or the only fenced block in it, is JSON that is valid under a JSON Schema.

    rewards: [{use: json_schema, schema: {type: object, required: [name], ...}}]     one schema for all problems
    rewards: [json_schema]                                the problem's reference is its schema
    rewards: [{use: json_schema, partial: 0.5}]           half for an object whose required keys are all there and right

A schema is checked where it is loaded. It may not refer to other documents, nor accept everything. Its
patterns are run against what models write; the worker's deadline ends those that would take for ever.
Reasons: correct, wrong, partly, no_json, and those of every answer rule.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, Self

from pydantic import Field, model_validator

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1core.types import Problem, Score, Sentinel

MAX_CHARACTERS = 100_000
MAX_DEPTH = 64
_FENCE = "```"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_PROBES: tuple[Any, ...] = (None, True, 0, -1.5, "", "x", [], {}, [0], {"x": 0})


class JsonSchema(AnswerRule[str]):
    """1 for JSON valid under the schema, else 0, or a share of `partial`. The gold is the schema or its text."""

    name = "json_schema"
    gold_form: ClassVar[str] = "a JSON Schema, as an object or as its text; any, where the option `schema` is given"
    preload = ("jsonschema",)

    class Config(AnswerRule.Config):
        schema_: dict[str, Any] | None = Field(
            None,
            alias="schema",
            description="the JSON Schema of every answer; else each problem's reference is its own",
        )
        partial: float = Field(
            0.0,
            ge=0,
            lt=1,
            description="worth of an object whose required keys are all valid and something else is not",
        )

        @model_validator(mode="after")
        def _is_a_schema(self) -> Self:
            fault = (
                _fault(json.dumps(self.schema_, sort_keys=True)) if self.schema_ is not None and _installed() else ""
            )
            if fault:
                raise ValueError(fault)
            return self

    config: Config

    @classmethod
    def check(cls) -> list[str]:
        """Whether what validates is installed."""
        return [] if _installed() else ["jsonschema not installed: pip install 'r1core[train]'"]

    def gold(self, problem: Problem) -> str:
        """The schema, checked."""
        schema = problem.reference if self.config.schema_ is None else self.config.schema_
        if isinstance(schema, str):
            schema = _parsed(schema)
        if not isinstance(schema, Mapping):
            raise GoldError(f"the reference is {schema!r:.200}: give a JSON Schema, or the option `schema`")
        try:
            text = json.dumps(schema, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise GoldError(f"the schema is no JSON: {error}") from error
        fault = _fault(text)
        if fault:
            raise GoldError(fault)
        return text

    def verdict(self, gold: str, answer: str) -> Score:
        """1, 0 or a share."""
        try:
            value = read_json(_block(answer))
        except ValueError:
            return Score(value=0.0, reason="no_json")
        validator = _validator(gold)
        if validator.is_valid(value):
            return Score(value=1.0, reason="correct")
        share = (
            self.config.partial * _required_share(validator, json.loads(gold), value) if self.config.partial else 0.0
        )
        return Score(value=share, reason="partly" if share else "wrong")

    def sentinels(self) -> Sequence[Sentinel]:
        """One right, one wrong, one that is no JSON; none where the schema is the recipe's own."""
        if self.config.schema_ is not None:
            return ()
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        return known(schema, [('{"n": 8}', 1.0), ('{"n": "8"}', 0.0), ("n: 8", 0.0)])


def read_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, has a key twice, or is too long or too deep."""
    if len(text) > MAX_CHARACTERS or _depth(text) > MAX_DEPTH:
        raise ValueError("too long or too deep")
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _depth(text: str) -> int:
    """How deep its brackets are nested, those in strings apart."""
    depth = deepest = 0
    for character in _STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


def _block(answer: str) -> str:
    """The answer, or what stands in its only fenced block. Raises ValueError where there are several."""
    if _FENCE not in answer:
        return answer
    pieces = answer.split(_FENCE)
    if len(pieces) != 3:
        raise ValueError("not one fenced block")
    first, _, rest = pieces[1].partition("\n")
    return rest if first.strip().lower() in ("", "json") else pieces[1]


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    """A validator that reads nothing but the schema itself: no file, no host."""
    import jsonschema
    import referencing

    value = json.loads(schema)
    kind = jsonschema.validators.validator_for(value, default=jsonschema.Draft202012Validator)
    return kind(value, registry=referencing.Registry())


@functools.lru_cache(maxsize=256)
def _installed() -> bool:
    return importlib.util.find_spec("jsonschema") is not None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _fault(schema: str) -> str:
    """Why answers cannot be judged by this schema, "" where they can."""
    import jsonschema
    import referencing.exceptions

    validator = _validator(schema)
    away = [ref for ref in _references(validator.schema) if not ref.startswith("#")]
    if away:
        return f"the schema refers to {away[0]!r:.100}, another document: write it into `$defs`"
    try:
        type(validator).check_schema(validator.schema)
        accepted = [validator.is_valid(probe) for probe in _PROBES]
        for ref in _references(validator.schema):
            validator.evolve(schema={"$ref": ref}).is_valid(None)
    except jsonschema.SchemaError as error:
        return f"the schema is none: {error.message:.200} at {error.json_path}"
    except (referencing.exceptions.Unresolvable, RecursionError, re.error) as error:
        return f"the schema cannot be followed: {type(error).__name__}: {error!s:.200}"
    return "the schema accepts everything, so every answer would be right" if all(accepted) else ""


def _references(schema: Any) -> Iterator[str]:
    """Every `$ref` and its like, wherever it stands."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _required_share(validator: Any, schema: Mapping[str, Any], value: Any) -> float:
    """The share of the required keys of an object that are there and valid."""
    required = schema.get("required") or []
    if not isinstance(value, dict) or not required:
        return 0.0
    own = schema.get("properties", {})
    valid = [key in value and validator.evolve(schema=own.get(key, True)).is_valid(value[key]) for key in required]
    return float(sum(valid) / len(required))
