"""The JSON Schema (draft 2020-12) of recipe and profile files, for editors: names and options complete, slips show.

Made of the types that the loader checks with, and of the components that a plugin host has; nothing is
written twice. A file is not yet a whole recipe: what it lacks a profile may bring, so nothing is
required; names that slots and stages go by are free text. What only the whole can tell (edges, needs)
is for `r1 recipe --dry-run`.
"""

from __future__ import annotations

import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from r1core.choices import KIND_IN_SCHEMA, ObserverOptions, Use
from r1core.components import CONTRACTS, NAME, Component, Trainer
from r1core.plugins import Loaded
from r1core.recipe.schema import UseReward
from r1core.recipe.written import Written
from r1core.schedules import Schedule

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BESIDE: Mapping[str, type[Use]] = {"reward": typing.get_args(UseReward)[0]}
"""What a recipe writes beside a component's options, by kind; for all others `use` alone."""
REF = "#/$defs/"
IN_SLOTS = ("source", "reward")
"""The kinds that a slot may stand for: their names are free."""
LOCAL = r"^\.\.?/.*\.py:\w+$"
SLOT = r"^[^./][^/:]*$"
Json = dict[str, Any]
NO_OBSERVERS: Mapping[str, type[ObserverOptions] | None] = {}


class _Generator(GenerateJsonSchema):
    """With the defaults that factories make."""

    def get_default_value(self, schema: Any) -> Any:
        if "default_factory" in schema and not schema.get("default_factory_takes_data"):
            return schema["default_factory"]()
        return super().get_default_value(schema)


def recipe_schema(
    components: Sequence[Loaded],
    observers: Mapping[str, type[ObserverOptions] | None] = NO_OBSERVERS,
    report: Callable[[str], None] = print,
) -> Json:
    """The schema, with the options of all these components and observers; `report` gets a line for each component
    whose options cannot be told (they are free then)."""
    told = [c for c in components if _can_tell(c, report)]
    configs = {c.cls.Config: None for c in told}
    watching = [options for options in observers.values() if options is not None]
    models: list[type[Any]] = [Written, *BESIDE.values(), *configs, *watching]
    with warnings.catch_warnings(action="ignore"):  # of defaults that JSON has no words for
        schemas, defs = models_json_schema([(m, "validation") for m in models], schema_generator=_Generator)
    definitions: dict[str, Json] = defs.get("$defs", {})
    blocks = {model: _block(schemas[model, "validation"], definitions) for model in models}
    for loaded in components:
        block = blocks.get(loaded.cls.Config) if loaded in told else None
        definitions[_key(loaded)] = _component(loaded, block, blocks)
    for kind in CONTRACTS:
        definitions[kind] = _kind(kind, [c for c in components if c.kind == kind], blocks)
    definitions["observer"] = _observer(observers, blocks)
    whole = {"$schema": DIALECT, **blocks[Written], "$defs": definitions}
    return _without_unused(typing.cast(Json, _cleaned(whole, definitions)))


def _can_tell(loaded: Loaded, report: Callable[[str], None]) -> bool:
    """Whether the options of a component can be told as JSON Schema; a stranger's types may refuse."""
    try:
        with warnings.catch_warnings(action="ignore"):
            loaded.cls.Config.model_json_schema(schema_generator=_Generator)
    except Exception as error:
        pinned = f"{loaded.distribution} {loaded.version}"
        report(f"{loaded.kind} {loaded.name} ({pinned}): its options are left free: {error}")
        return False
    return True


def _block(schema: Json, definitions: Mapping[str, Json]) -> Json:
    return definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _key(loaded: Loaded) -> str:
    return f"{loaded.kind}:{loaded.name.replace('/', '.')}"


def _component(loaded: Loaded, config: Json | None, blocks: Mapping[Any, Json]) -> Json:
    """`{use: name, option: ...}`; without `use` in a profile, which lays options over the recipe's choice."""
    beside = blocks[BESIDE[loaded.kind]]["properties"] if loaded.kind in BESIDE else {}
    own: Json = {"use": {"const": loaded.name}, **_preset(loaded.cls)}
    options = config.get("properties", {}) if config is not None else {}
    return {
        "type": "object",
        "description": _says(loaded.cls),
        "properties": {**beside, **own, **options},
        "additionalProperties": config is None,
    }


def _preset(cls: type[Component]) -> Json:
    if not issubclass(cls, Trainer) or not cls.presets:
        return {}
    return {"preset": {"enum": list(cls.presets), "description": "a named set of options, laid under those given"}}


def _says(cls: type[Component]) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _kind(kind: str, components: Sequence[Loaded], blocks: Mapping[Any, Json]) -> Json:
    """All ways to choose a component of a kind: a name, a name with options, code of one's own."""
    names = [c.name for c in components]
    beside = blocks[BESIDE[kind]]["properties"] if kind in BESIDE else {}
    slots = [{"pattern": SLOT, "not": {"enum": names}}] if kind in IN_SLOTS else []
    free = [{"pattern": LOCAL}, _foreign(names), *slots]
    use = {"type": "string", "anyOf": free}
    loose = {"type": "object", "properties": {**beside, "use": use}, "required": ["use"]}
    chosen = [{"const": c.name, "description": _says(c.cls)} for c in components]
    return {"anyOf": [*chosen, use, *({"$ref": REF + _key(c)} for c in components), loose]}


def _observer(observers: Mapping[str, type[ObserverOptions] | None], blocks: Mapping[Any, Json]) -> Json:
    """A name, or `{use: name, option: ...}` with the options of that observer; of one that is not here, any."""
    named: Json = {"type": "string", "anyOf": [{"enum": sorted(observers)}, {"type": "string"}]}
    chosen = [
        {
            "type": "object",
            "properties": {"use": {"const": name}, **(blocks[options].get("properties", {}) if options else {})},
            "required": ["use"],
            "additionalProperties": False,
        }
        for name, options in sorted(observers.items())
    ]
    loose = {"type": "object", "properties": {"use": {"not": {"enum": sorted(observers)}}}, "required": ["use"]}
    return {"anyOf": [named, *chosen, loose]}


def _foreign(names: Sequence[str]) -> Json:
    """`plugin/component` of a plugin that was not there when the schema was made."""
    known = sorted({name.partition("/")[0] for name in names if "/" in name})
    pattern: Json = {"pattern": f"^[a-z][a-z0-9_-]*/{NAME.pattern}$"}
    return {**pattern, "not": {"pattern": f"^({'|'.join(known)})/"}} if known else pattern


# --- tidying -----------------------------------------------------------------------------------


def _cleaned(schema: Any, definitions: Mapping[str, Json]) -> Any:
    """Titles and what is required left out; components in the place of their kind's mark; schedules written out, since
    their definitions' names spell their Python types."""
    if isinstance(schema, list):
        return [_cleaned(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).removeprefix(REF)
    if name.startswith(f"{Schedule.__name__}_"):
        return _cleaned({**definitions[name], **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    cleaned: Json = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            cleaned[key] = {name: _cleaned(inner, definitions) for name, inner in value.items()}
        elif key == KIND_IN_SCHEMA:
            cleaned["$ref"] = f"{REF}{value}"
        elif key in ("default", "const", "enum"):
            cleaned[key] = value
        elif key != "title" and (key != "required" or value == ["use"]):
            cleaned[key] = _cleaned(value, definitions)
    return cleaned


def _without_unused(schema: Json) -> Json:
    """Only the definitions that something refers to."""
    definitions: dict[str, Json] = schema["$defs"]
    used: dict[str, None] = {}
    waiting = list(_references({key: value for key, value in schema.items() if key != "$defs"}))
    while waiting:
        name = waiting.pop()
        if name not in used:
            used[name] = None
            waiting += _references(definitions[name])
    return {**schema, "$defs": {name: definitions[name] for name in sorted(used)}}


def _references(schema: Any) -> typing.Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REF)
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)
