"""Slips in `scratch:`, the architecture of a model made from nothing.

`hiden_size: 96` would be passed over by the library that builds the model, and a laptop would be asked for one
of 4096. The policy says what an architecture is made of, as far as it can be told; a key that it does not
know is refused where it is almost one that it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from r1core.components import Policy
from r1core.errors import Diagnostic, RecipeError
from r1core.recipe.annotations import Path
from r1core.recipe.findings import findings
from r1core.recipe.loader import Document
from r1core.recipe.wanted import given
from r1core.suggest import did_you_mean, is_slip

TYPE = "model_type"


def check_architecture(
    document: Document, at: Path, keys: dict[str, Any], policy: type[Policy]
) -> Iterator[Diagnostic]:
    """What is wrong with the keys of `scratch`, which stand `at` a place of the document."""
    misspelled = [key for key in keys if key != TYPE and is_slip(key, TYPE)]
    if TYPE not in keys and misspelled:
        yield document.finding((*at, misspelled[0]), f"unknown key {misspelled[0]!r}", hint=f"did you mean {TYPE!r}?")
    if not isinstance(keys.get(TYPE, ""), str):
        yield document.finding((*at, TYPE), f"a model type is wanted, got {given(keys[TYPE])}")
        return
    try:
        options = policy.architecture_options(keys.get(TYPE, ""))
    except RecipeError as error:
        yield document.finding((*at, TYPE), error.what, hint=error.fix)
        return
    if options is None:
        return
    rest = {key: value for key, value in keys.items() if key != TYPE}
    known = [TYPE, *options.model_fields]
    for key in rest:
        if key not in known and any(is_slip(key, other) for other in known):
            yield document.finding((*at, key), f"unknown key {key!r}", hint=did_you_mean(key, known))
    try:
        options.model_validate({key: value for key, value in rest.items() if key in known})
    except ValidationError as error:
        yield from findings(error, options, document, at=at)
