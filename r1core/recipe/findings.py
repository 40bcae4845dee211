"""pydantic's errors as findings with a place, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from r1core.errors import Diagnostic, RecipeError
from r1core.recipe.annotations import keys_at
from r1core.recipe.loader import Document
from r1core.recipe.nodes import Node
from r1core.suggest import did_you_mean

_WRONG_SHAPE = {"string_type", "model_type", "dict_type", "model_attributes_type"}


def findings(
    error: ValidationError,
    model: type[BaseModel],
    document: Document,
    *,
    at: Sequence[str | int] = (),
    owner: str = "",
    also: Sequence[str] = (),
) -> list[Diagnostic]:
    """One finding for each error of `model`, whose data stands `at` a place of the document.

    `owner` names the component whose options these are; `also` are keys known beside the model's.
    """
    errors = error.errors(include_url=False, include_context=False)
    return [_finding(e, model, document, at, owner, also) for e in errors if not _beside_the_point(e, errors)]


def at_node(node: Node, path: str, message: str, hint: str = "") -> Diagnostic:
    """A finding at a node that is not in a document yet."""
    mark = node.mark
    return Diagnostic(message=message, path=path, file=mark.file, line=mark.line, column=mark.column, hint=hint)


def refused(found: Iterable[Diagnostic]) -> RecipeError:
    """The findings as one error, in the order of the files; a slot's fault is told once, however often it is used."""
    once: dict[tuple[str, int, int, str, str], Diagnostic] = {}
    for finding in sorted(found, key=lambda f: (f.file, f.line, f.column)):
        path = "" if finding.line else finding.path
        once.setdefault((finding.file, finding.line, finding.column, finding.message, path), finding)
    return RecipeError.of(list(once.values()))


def _beside_the_point(one: Any, errors: Sequence[Any]) -> bool:
    """A union reports every arm: leave out "should be a string" where another arm says what is wrong inside."""
    above = one["loc"][:-1]
    return one["type"] in _WRONG_SHAPE and any(
        other is not one and other["loc"][: len(above)] == above and len(other["loc"]) > len(one["loc"])
        for other in errors
    )


def _finding(
    error: Any,
    model: type[BaseModel],
    document: Document,
    at: Sequence[str | int],
    owner: str,
    also: Sequence[str],
) -> Diagnostic:
    loc, what = error["loc"], "option" if owner else "key"
    of = f" of {owner}" if owner else ""
    if error["type"] == "extra_forbidden":
        known = [*keys_at(model, loc[:-1]), *(also if len(loc) == 1 else ())]
        hint = did_you_mean(str(loc[-1]), known, otherwise=f"{what}s: ") or f"there are no {what}s{of}"
        return document.finding((*at, *loc), f"unknown {what} {str(loc[-1])!r}{of}", hint=hint)
    if error["type"] == "missing":
        return document.finding((*at, *loc), f"missing {what} {str(loc[-1])!r}{of}")
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] != "value_error" and loc and isinstance(error["input"], str | int | float | bool | None):
        message += f", got {error['input']!r}"
    return document.finding((*at, *loc), f"{message} (option of {owner})" if owner else message)
