"""pydantic's errors as findings with a place, one for each fault, in words that say what to do.

pydantic reports every arm of a union, and a misspelled key twice (one unknown, one missing). Here the
arm that the writer meant speaks alone, and a key that is missing while one like it is unknown is a slip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from r1core.errors import Diagnostic, RecipeError
from r1core.recipe.annotations import Path, keys_at
from r1core.recipe.loader import Document
from r1core.recipe.nodes import Mark, Node
from r1core.recipe.wanted import choices, given, one_of, sentence, wanted
from r1core.schedules import is_schedule
from r1core.suggest import closest, did_you_mean, is_slip

T = TypeVar("T")


def findings(
    error: ValidationError,
    model: type[BaseModel],
    document: Document,
    *,
    at: Sequence[str | int] = (),
    owner: str = "",
    also: Sequence[str] = (),
) -> list[Diagnostic]:
    """One finding for each fault of `model`, whose data stands `at` a place of the document.

    `owner` names the component whose options these are; `also` are keys known beside the model's.
    """
    errors = [_placed(e, document.root, tuple(at)) for e in error.errors(include_url=False)]
    telling = _Telling(model, document, tuple(at), owner, tuple(also))
    return list(telling.findings(telling.meant(errors)))


def at_node(node: Node, path: str, message: str, hint: str = "") -> Diagnostic:
    """A finding at a node that is not in a document yet."""
    mark = node.mark
    return Diagnostic(message=message, path=path, file=mark.file, line=mark.line, column=mark.column, hint=hint)


def gathered(makers: Iterable[Callable[[], T]]) -> list[T]:
    """What each makes, or one error with all that any of them was refused for."""
    made: list[T] = []
    found: list[Diagnostic] = []
    for make in makers:
        try:
            made.append(make())
        except RecipeError as error:
            if not error.findings:
                raise
            found += error.findings
    if found:
        raise refused(found)
    return made


def refused(found: Iterable[Diagnostic]) -> RecipeError:
    """The findings as one error, in the order of the files; a slot's fault is told once, however often it is used."""
    once: dict[tuple[str, int, int, str, str], Diagnostic] = {}
    for finding in sorted(found, key=lambda f: (f.file, f.line, f.column)):
        path = "" if finding.line else finding.path
        once.setdefault((finding.file, finding.line, finding.column, finding.message, path), finding)
    return RecipeError.of(list(once.values()))


@dataclass(frozen=True, kw_only=True)
class _Error:
    """One of pydantic's errors, and where it stands in the document."""

    error: Any
    place: Path
    loc: Path
    """As pydantic says it, from the model on."""
    arms: tuple[tuple[Path, str, int], ...]
    """The arms of unions on the way: where, which, and how much of `loc` lies before."""

    @property
    def is_shape(self) -> bool:
        """Whether a value of another kind was wanted at the very place."""
        return bool(wanted(self.error, ("use",)))


def _placed(error: Any, root: Node, at: Path) -> _Error:
    """Follow pydantic's `loc` through the document, which knows no arms of unions and no insides of a schedule."""
    loc: Path = tuple(error["loc"])
    inner = loc[:-1] if error["type"] == "missing" else loc
    node, place = _stand(root, at) or (Node(None, Mark("")), at)
    arms, index = [], 0
    while index < len(inner):
        part = inner[index]
        if part == "points" and node.child(part) is None:
            index += 1
            part = inner[index] if index < len(inner) and is_schedule(node.map) else ""
        child = node.child(part) if part != "" else None
        if child is not None:
            node, place = child, (*place, part)
        elif isinstance(part, str) and part:
            arms.append((place, part, index))
        index += 1
    return _Error(error=error, place=place, loc=loc, arms=tuple(arms))


def _stand(root: Node, at: Path) -> tuple[Node, Path] | None:
    """The node there, and the way to it in the document, which leaves out the step of a schedule of one value; None
    where a preset, and no file, says what stands there."""
    node: Node = root
    place: Path = ()
    for part in at:
        child = node.child(part)
        if child is not None:
            node, place = child, (*place, part)
        elif not is_schedule({part: None}):
            return None
    return node, place


@dataclass(frozen=True)
class _Telling:
    model: type[BaseModel]
    document: Document
    at: Path
    owner: str
    also: tuple[str, ...]

    # --- which errors ----------------------------------------------------------------------------

    def meant(self, errors: list[_Error]) -> list[_Error]:
        """The errors of the arms that the writer meant."""
        chosen = [e for e in errors if not e.arms]
        inside = sorted((e for e in errors if e.arms), key=lambda e: str(e.arms[0][0]))
        for _, group in groupby(inside, key=lambda e: e.arms[0][0]):
            kept = [replace(e, arms=e.arms[1:]) for e in self._arm(list(group))]
            chosen += self.meant(kept)
        return chosen

    def _arm(self, errors: list[_Error]) -> list[_Error]:
        """The arm that goes on where the others wanted another kind of value; of several, the one whose keys fit."""
        place, telling = errors[0].arms[0][0], [e for e in errors if not (e.is_shape and e.place == e.arms[0][0])]
        names = list(dict.fromkeys(e.arms[0][1] for e in telling))
        if not names:
            return errors
        given_keys = self.document.root.at(place).map
        fits = {name: self._fit(given_keys, next(e for e in telling if e.arms[0][1] == name)) for name in names}
        fewest = {name: sum(e.arms[0][1] == name for e in telling) for name in names}
        best = max(names, key=lambda name: (fits[name], -fewest[name]))
        return [e for e in telling if e.arms[0][1] == best]

    def _fit(self, keys: Iterable[str], error: _Error) -> float:
        known = self._keys(error.loc[: error.arms[0][2] + 1])
        return sum(1.0 if key in known else 0.5 * bool(_meant(key, known)) for key in keys)

    def _keys(self, loc: Path) -> list[str]:
        """The keys that may stand there."""
        return [*keys_at(self.model, loc), *(self.also if not loc else ())]

    # --- what is said ----------------------------------------------------------------------------

    def findings(self, errors: list[_Error]) -> Iterator[Diagnostic]:
        slips = {slip: e for e in errors if e.error["type"] == "missing" and (slip := self._slip(e, errors))}
        for place, group in groupby(sorted(errors, key=lambda e: str(e.place)), key=lambda e: e.place):
            here = list(group)
            shapes = [e for e in here if e.is_shape]
            if shapes:
                yield self._shape(place, shapes)
            for e in here:
                if e.error["type"] == "missing":
                    if e not in slips.values():
                        yield self._missing(e)
                elif not e.is_shape and e.place not in slips:
                    yield self._other(e)
        for slip, e in slips.items():
            yield self._unknown(slip, [str(e.loc[-1])])

    def _slip(self, missing: _Error, errors: Sequence[_Error]) -> Path | None:
        """The unknown key that must have been meant where one is missing."""
        node, key = self.document.root.at(missing.place), str(missing.loc[-1])
        known = {*self._keys(missing.loc[:-1])} - {key}
        unknown = {
            e.place[-1] for e in errors if e.error["type"] == "extra_forbidden" and e.place[:-1] == missing.place
        }
        near = [k for k in node.map if (k in unknown or k not in known) and k != key and is_slip(k, key)]
        return (*missing.place, closest(key, near)) if near and _stand(self.document.root, missing.place) else None

    def _shape(self, place: Path, errors: Sequence[_Error]) -> Diagnostic:
        wants = one_of([noun for e in errors for noun in wanted(e.error, self._keys(e.loc))])
        value = errors[0].error["input"]
        words = [word.strip("'") for e in errors for word in choices(e.error)]
        hint = did_you_mean(str(value), words) if isinstance(value, str | int) else ""
        return self._finding(place, f"{wants} is wanted, got {given(value)}", hint)

    def _missing(self, e: _Error) -> Diagnostic:
        what, of = self._what()
        return self.document.finding(e.place, f"missing {what} {str(e.loc[-1])!r}{of}", hint=self._namesake(e.place))

    def _other(self, e: _Error) -> Diagnostic:
        if e.error["type"] == "extra_forbidden":
            return self._unknown(
                e.place if e.place[-1:] == e.loc[-1:] else (*e.place, e.loc[-1]), self._keys(e.loc[:-1])
            )
        hint = self._namesake(e.place) if e.error["type"] == "value_error" else ""
        return self._finding(e.place, sentence(e.error), hint)

    def _namesake(self, place: Path) -> str:
        """ "did you mean 'x'?" where a block is incomplete and goes by almost the name of one beside it."""
        inside = place[len(self.at) :]
        above = self.document.root.at(place[:-1]).map if inside else {}
        is_named = inside and str(place[-1]) in above and str(place[-1]) not in keys_at(self.model, inside[:-1])
        if not is_named or is_schedule(above):
            return ""
        return did_you_mean(str(place[-1]), [name for name in above if is_slip(str(place[-1]), name)])

    def _unknown(self, place: Path, known: Sequence[str]) -> Diagnostic:
        what, of = self._what()
        hint = did_you_mean(str(place[-1]), known, otherwise=f"{what}s: ") or f"there are no {what}s{of}"
        return self.document.finding(place, f"unknown {what} {str(place[-1])!r}{of}", hint=hint)

    def _finding(self, place: Path, message: str, hint: str = "") -> Diagnostic:
        message = f"{message} (option of {self.owner})" if self.owner else message
        return self.document.finding(place, message, hint=hint)

    def _what(self) -> tuple[str, str]:
        return ("option", f" of {self.owner}") if self.owner else ("key", "")


def _meant(key: str, known: Iterable[str]) -> str:
    return next((name for name in known if is_slip(key, name)), "")
