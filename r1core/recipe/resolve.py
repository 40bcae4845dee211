"""From files and flags to one typed recipe: extends < recipe < profile < --set, slots filled.

    resolved = resolve(find_recipe("recipes/deepseek_r1.yaml"), "tiny", ["stages.r1.train.steps=20"])

Every value remembers the file and line that wrote it, through all of this, so later phases can point
at it. Paths that start with `./` or `../` become absolute here, relative to the file that says them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from r1core.errors import Diagnostic, RecipeError
from r1core.recipe.findings import at_node, findings, gathered, refused
from r1core.recipe.idle import lent, without_idle
from r1core.recipe.loader import Document, load_yaml
from r1core.recipe.matrix import KEY, Variant, paths_to, variants_of
from r1core.recipe.nodes import Loc, Mark, Node, merge, node_of, transform
from r1core.recipe.overrides import Override, apply_all
from r1core.recipe.profiles import check_profile, lay_over
from r1core.recipe.schema import Recipe
from r1core.recipe.shapes import misshapen
from r1core.recipe.shipped import DEFAULT_PROFILE, NO_PROFILE, find_profile, find_recipe
from r1core.recipe.slots import fill_stages, model_stages, unbound_models
from r1core.recipe.wanted import given
from r1core.recipe.written import DEFAULTS, SLOTS

__all__ = ["Resolved", "find_recipe", "resolve", "resolved_again"]

_STAGE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(@[A-Za-z0-9_.,=+-]+)?")
_LOCAL_CLASS = re.compile(r"\.\.?/.*\.py:\w+")
_PATH_KEYS = ("use", "path", "import", "python", "ledger")
_RECIPE_KEYS = ("extends", "profile", KEY, *SLOTS, *DEFAULTS)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A recipe that is whole and well formed; names of components are not looked up yet."""

    recipe: Recipe
    document: Document
    path: Path
    profile: str
    unbound: frozenset[str]
    """Model slots that nothing is bound to."""
    slots: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Slots of each kind: models, problems, rewards."""
    variants: tuple[tuple[Variant, Resolved], ...] = ()
    """Every variant of a recipe with a `matrix`, the base first, which is this recipe."""

    @property
    def data(self) -> dict[str, Any]:
        """The recipe as plain data."""
        data: dict[str, Any] = self.document.data
        return data


def resolve(path: str | Path, profile: str | None = None, sets: Sequence[str] = ()) -> Resolved:
    """Load, merge, override, fill and check the structure; all findings of a step in one RecipeError (exit 2)."""
    overrides = [Override.parse(text) for text in sets]
    path = Path(path)
    root, chosen, slots = _laid_out(path, profile)
    root = apply_all(root, [each for each in overrides if each.keys[0] == KEY], (KEY,), stages=False)
    overrides = [each for each in overrides if each.keys[0] != KEY]
    variants = variants_of(root)
    applied = _applied(root, overrides) if slots else root
    settings = [*overrides, *(setting for each in variants for setting in each.settings)]
    root = without_idle(root, applied, slots, settings)
    if not variants:
        return _whole(root, overrides, path, chosen)
    made = gathered([partial(_whole, root, [*overrides, *each.settings], path, chosen) for each in variants])
    return replace(made[0], variants=tuple(zip(variants, made, strict=True)))


def resolved_again(data: Mapping[str, Any], path: Path) -> Resolved:
    """What is written in `recipe.resolved.yaml` at `path`, for whoever was given it: to read one takes a while."""
    return _whole(node_of(data, Mark(str(path))), [], path, NO_PROFILE)


def _whole(root: Node, overrides: Sequence[Override], path: Path, profile: str) -> Resolved:
    """One recipe without its matrix: overridden, slots filled, well formed."""
    root = _absolute(_applied(root, overrides), Path.cwd())
    unbound = unbound_models(root)
    slots = {kind: frozenset(root.map[kind].map) for kind in SLOTS if kind in root.map}
    root = fill_stages(root, profile)
    document = Document(root.without(_RECIPE_KEYS))
    return Resolved(recipe=typed(document), document=document, path=path, profile=profile, unbound=unbound, slots=slots)


def _applied(root: Node, overrides: Sequence[Override]) -> Node:
    """The recipe with its overrides, its models among its stages."""
    known = (*Recipe.model_fields, KEY, *SLOTS, *DEFAULTS)
    root = model_stages(apply_all(root, overrides, known, stages=False))
    return apply_all(root, overrides, known, stages=True)


def _laid_out(path: Path, profile: str | None) -> tuple[Node, str, frozenset[str]]:
    """The recipe over the one it extends, its profile over both, the profile's name, and the model slots that it fills.
    Each file is looked at by itself first: what lies over a slip would hide it."""
    own = _load(path)
    base = _extended(own, path)
    root = recipe = own if base is None else merge(base, own)
    chosen = profile or _text(root, "profile") or DEFAULT_PROFILE
    found = [finding for file in (own, base) if file is not None for finding in misshapen(file)]
    if chosen != NO_PROFILE:
        layers = _layers(_profile(chosen, path, root if profile is None else None))
        found += [each for over, file in layers for each in (*misshapen(over), *check_profile(root, over, file))]
        for over, file in layers if not found else ():
            root = lay_over(root, over, file)
    if found:
        raise refused(found)
    return root, chosen, lent(recipe, root)


def _load(path: Path) -> Node:
    return _absolute(load_yaml(path).root, path.parent)


def _text(root: Node, key: str) -> str | None:
    node = root.map.get(key)
    if node is not None and not isinstance(node.value, str):
        raise RecipeError.of([at_node(node, key, f"a name is wanted, got {given(node.plain())}")])
    return node.value if node is not None else None


def _extended(root: Node, path: Path) -> Node | None:
    """The recipe that this one is laid over; one level, so that a reader opens two files at most."""
    name = _text(root, "extends")
    if name is None:
        return None
    try:
        under = _load(find_recipe(name, beside=path.parent))
    except RecipeError as error:
        raise _there(error, root, "extends") from error
    if "extends" in under.map:
        hint = "copy what is needed, or extend the first recipe"
        message = f"{name!r} extends another recipe itself; one level is allowed"
        raise RecipeError.of([at_node(root.map["extends"], "extends", message, hint)])
    return under


def _profile(name: str, path: Path, root: Node | None) -> Path:
    """The profile's file; `root` is the recipe where it is the recipe that names it."""
    try:
        return find_profile(name, path)
    except RecipeError as error:
        if root is None or "profile" not in root.map:
            raise
        raise _there(error, root, "profile") from error


def _layers(file: Path) -> list[tuple[Node, Path]]:
    """A profile and its file, after the one that it extends; one level, as with recipes."""
    own = _load(file)
    name = _text(own, "extends")
    if name is None:
        return [(own, file)]
    try:
        under = find_profile(name, file.parent)
    except RecipeError as error:
        raise _there(error, own, "extends") from error
    base = _load(under)
    if "extends" in base.map:
        message = f"{name!r} extends another profile itself; one level is allowed"
        raise RecipeError.of([at_node(own.map["extends"], "extends", message, "extend that one")])
    return [(base, under), (own, file)]


def _there(error: RecipeError, root: Node, key: str) -> RecipeError:
    """The error at the key that names what is not there; one with places of its own stays as it is."""
    if error.what.startswith("no "):
        return RecipeError.of([at_node(root.map[key], key, error.what, error.fix)])
    return error


def _names(root: Node, key: str) -> list[str]:
    return list(root.map[key].map) if key in root.map else []


def _absolute(root: Node, folder: Path) -> Node:
    def change(loc: Loc, node: Node) -> Node:
        text = node.value
        if not isinstance(text, str) or not text.startswith(("./", "../")):
            return node
        if not (_LOCAL_CLASS.fullmatch(text) or any(_names_a_path(keys) for keys in paths_to(loc))):
            return node
        return Node(os.path.abspath(folder / text), node.mark)  # noqa: PTH100 - keeps links

    return transform(root, change)


def _names_a_path(keys: Sequence[int | str]) -> bool:
    return keys[-1] in _PATH_KEYS or (len(keys) == 2 and keys[0] == "models")


def typed(document: Document) -> Recipe:
    """The recipe as typed data; RecipeError with everything that has the wrong form."""
    wrong = [_bad_id(document, name) for name in _names(document.root, "stages") if not _may_be_called(document, name)]
    if wrong:
        raise RecipeError.of(wrong)
    try:
        return Recipe.model_validate(document.data)
    except ValidationError as error:
        raise refused(findings(error, Recipe, document, also=_RECIPE_KEYS)) from error


def _may_be_called(document: Document, name: str) -> bool:
    """Only a variant of another stage has an @ in its id."""
    is_variant = "variant" in document.root.at(["stages", name]).map
    return _STAGE_ID.fullmatch(name) is not None and ("@" not in name or is_variant)


def _bad_id(document: Document, name: str) -> Diagnostic:
    return document.finding(["stages", name], f"stage id {name!r}: use letters, digits, '_' and '-', a letter first")
