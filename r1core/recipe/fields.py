"""Slips in the fields that problems are picked by: `for: {domian: general}` would never apply, without a word.

Sources say which fields their problems have (`ProblemSource.fields`); a dataset has those of the problems that it
was sampled from. A name that no problem has is refused where it is almost one that they have: what else nobody
has, another profile's problems may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from r1core.choices import OfProblem, Use
from r1core.components import ProblemSource
from r1core.errors import Diagnostic
from r1core.recipe.annotations import Path
from r1core.recipe.loader import Document
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved
from r1core.suggest import did_you_mean, is_slip

Fields: TypeAlias = Mapping[str, frozenset[str]]


def check_fields(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    """Every field and value that is almost one of the stage's problems."""
    at: Path = ("stages", draft.id)
    known = _fields(draft, by_id, ())
    if known is not None:
        for path, picked in _picked(draft):
            yield from _slips(resolved.document, (*at, *path), picked, known)
    for name, chosen in (draft.stage.evaluate.sets if draft.stage.evaluate else {}).items():
        own = _of_source(draft, chosen.problems) if isinstance(chosen.problems, Use) else None
        for i, field in enumerate(chosen.by if own is not None else ()):
            if own is not None and _is_slip(field, own):
                place = (*at, "evaluate", "sets", name, "by", i)
                hint = did_you_mean(field, own)
                yield resolved.document.finding(place, f"no problem of the set has a field {field!r}", hint=hint)


def _picked(draft: Draft) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Where the stage picks problems by their fields, and by which."""
    for i, reward in enumerate(draft.stage.rewards):
        yield ("rewards", i, "for"), reward.only_for
    chosen: list[tuple[Path, str, Use]] = [(("filters", i), "filter", use) for i, use in enumerate(draft.stage.filters)]
    if draft.stage.train is not None:
        chosen.append((("train",), "trainer", draft.stage.train))
    for path, kind, use in chosen:
        cls = next(c.cls for c in draft.components if (c.kind, c.name) == (kind, use.use))
        for key, option in cls.Config.model_fields.items():
            if any(isinstance(mark, OfProblem) for mark in option.metadata):
                yield (*path, option.alias or key), use.options.get(option.alias or key) or {}


def _slips(document: Document, path: Path, picked: Mapping[str, str], known: Fields) -> Iterator[Diagnostic]:
    for field, value in picked.items():
        values = known.get(field, frozenset())
        if _is_slip(field, known):
            hint = did_you_mean(field, known)
            yield document.finding((*path, field), f"no problem of the stage has a field {field!r}", hint=hint)
        elif _is_slip(value, values):
            hint = did_you_mean(value, values)
            yield document.finding((*path, field), f"no problem of the stage has {field} {value!r}", hint=hint)


def _is_slip(name: str, known: Iterable[str]) -> bool:
    names = set(known)
    return name not in names and any(is_slip(name, other) for other in names)


def _fields(draft: Draft, by_id: Mapping[str, Draft], above: tuple[str, ...]) -> Fields | None:
    """The fields of all problems that a stage sees; None where some are not known."""
    found = [_of_source(draft, use) for use in draft.stage.sources()]
    for reference in draft.references:
        if reference.artifact == "data" and reference.stage in by_id and reference.stage not in above:
            found.append(_fields(by_id[reference.stage], by_id, (*above, draft.id)))
    merged: dict[str, frozenset[str]] = {}
    for fields in found:
        if fields is None:
            return None
        for name, values in fields.items():
            is_open = not values or (name in merged and not merged[name])
            merged[name] = frozenset() if is_open else merged.get(name, frozenset()) | values
    return merged or None


def _of_source(draft: Draft, use: Use) -> Fields | None:
    cls = next(c.cls for c in draft.components if (c.kind, c.name) == ("source", use.use))
    source = cls(cls.Config.model_validate(use.options))
    assert isinstance(source, ProblemSource), "the host gives what was asked for"
    return source.fields
