"""`r1 explain sample`: the keys that a recipe itself has, at its top and in its stages, from the types that check them.

What a key says of a whole stage (`stages`, `models`) is not written out under it: each key of a stage has its own page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from pydantic.fields import FieldInfo

from r1core.choices import Options
from r1core.cli.explain_options import STEP, WIDTH, option_details, option_type
from r1core.cli.wording import options_within
from r1core.recipe.schema import KINDS, Stage
from r1core.recipe.written import Engines, Written

PLACES: Mapping[str, type[Options]] = {"a recipe": Written, "a stage": Stage, "engines": Engines}


def recipe_keys() -> frozenset[str]:
    """Every key that `key_pages` knows."""
    return frozenset(key for block in PLACES.values() for key in _fields(block))


def key_pages(name: str) -> Iterator[str]:
    """A page for each place in which a recipe has a key of this name."""
    for place, block in PLACES.items():
        if name in (fields := _fields(block)):
            yield "\n".join(_page(name, place, fields[name]))


def _fields(block: type[Options]) -> dict[str, FieldInfo]:
    return {field.alias or key: field for key, field in block.model_fields.items()}


def _page(name: str, place: str, field: FieldInfo) -> Iterator[str]:
    says = "the kind of a stage" if place == "a stage" and name in KINDS else f"a key of {place}"
    yield f"{name}, {says}: {option_type(field)}"
    if Stage not in options_within(field.annotation):
        yield from option_details(field, STEP)
        return
    text = f"{field.description}; `r1 explain` has each key of a stage: {', '.join(_fields(Stage))}"
    yield from textwrap.wrap(text, WIDTH, initial_indent=STEP, subsequent_indent=STEP)
