"""From files and flags to one typed recipe: extends < recipe < profile < --set, slots filled.

    resolved = resolve(find_recipe("recipes/deepseek_r1.yaml"), "tiny", ["stages.r1.train.steps=20"])

Every value remembers the file and line that wrote it, through all of this, so later phases can point
at it. Paths that start with `./` or `../` become absolute here, relative to the file that says them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from r1core.errors import Diagnostic, RecipeError
from r1core.recipe.findings import at_node, findings, refused
from r1core.recipe.loader import Document, load_yaml
from r1core.recipe.nodes import Loc, Node, merge, transform
from r1core.recipe.overrides import Override, apply_all
from r1core.recipe.schema import Recipe
from r1core.recipe.shipped import DEFAULT_PROFILE, NO_PROFILE, find_profile, find_recipe
from r1core.recipe.slots import DEFAULTS, SLOTS, fill_stages, model_stages, unbound_models
from r1core.suggest import did_you_mean

__all__ = ["Resolved", "find_recipe", "resolve"]

_STAGE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LOCAL_CLASS = re.compile(r"\.\.?/.*\.py:\w+")
_PATH_KEYS = ("use", "path", "import")
_RECIPE_KEYS = ("extends", "profile", *SLOTS, *DEFAULTS)
_PROFILE_KEYS = ("r1", "description", "seed", "requires", "observers", "stages", *SLOTS, *DEFAULTS)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A recipe that is whole and well formed; names of components are not looked up yet."""

    recipe: Recipe
    document: Document
    path: Path
    profile: str
    unbound: frozenset[str]
    """Model slots that nothing is bound to."""
    slots: frozenset[str] = frozenset()
    """Problem slots."""

    @property
    def data(self) -> dict[str, Any]:
        """The recipe as plain data."""
        data: dict[str, Any] = self.document.data
        return data


def resolve(path: str | Path, profile: str | None = None, sets: Sequence[str] = ()) -> Resolved:
    """Load, merge, override, fill and check the structure; all findings of a step in one RecipeError (exit 2)."""
    overrides = [Override(text) for text in sets]
    path = Path(path)
    root = _with_extends(_load(path), path)
    chosen = profile or _text(root, "profile") or DEFAULT_PROFILE
    if chosen != NO_PROFILE:
        root = _with_profile(root, find_profile(chosen, path))
    known = (*Recipe.model_fields, *SLOTS, *DEFAULTS)
    root = model_stages(apply_all(root, overrides, known, stages=False))
    root = _absolute(apply_all(root, overrides, known, stages=True), Path.cwd())
    unbound = unbound_models(root)
    slots = frozenset(root.map["problems"].map) if "problems" in root.map else frozenset[str]()
    root = fill_stages(root, chosen)
    document = Document(root.without(_RECIPE_KEYS))
    recipe = _typed(document)
    return Resolved(recipe=recipe, document=document, path=path, profile=chosen, unbound=unbound, slots=slots)


def _load(path: Path) -> Node:
    return _absolute(load_yaml(path).root, path.parent)


def _text(root: Node, key: str) -> str | None:
    node = root.map.get(key)
    if node is not None and not isinstance(node.value, str):
        raise RecipeError.of([at_node(node, key, f"a name is wanted, got {node.plain()!r}")])
    return node.value if node is not None else None


def _with_extends(root: Node, path: Path) -> Node:
    """The recipe laid over the one it extends; one level, so that a reader opens two files at most."""
    name = _text(root, "extends")
    if name is None:
        return root
    base = find_recipe(name, beside=path.parent)
    under = _load(base)
    if "extends" in under.map:
        hint = "copy what is needed, or extend the first recipe"
        message = f"{name!r} extends another recipe itself; one level is allowed"
        raise RecipeError.of([at_node(root.map["extends"], "extends", message, hint)])
    return merge(under, root)


def _with_profile(root: Node, path: Path) -> Node:
    """The profile laid over the recipe. It serves several recipes, so what this one does not name is dropped: entries
    for stages that it does not have, and models that none of its stages speaks of."""
    profile = _load(path)
    wrong = [key for key in profile.map if key not in _PROFILE_KEYS]
    if wrong:
        hints = {key: did_you_mean(key, _PROFILE_KEYS, otherwise="keys: ") for key in wrong}
        raise RecipeError.of(
            [at_node(profile.map[key], key, f"a profile has no key {key!r}", hints[key]) for key in wrong]
        )
    if (models := profile.map.get("models")) is not None:
        named = {*_names(root, "models"), *_texts(root.map["stages"])} if "stages" in root.map else set()
        bound = {name: body for name, body in models.map.items() if name in named}
        profile = profile.with_children({"models": Node(bound, models.mark)})
    stages = profile.map.get("stages")
    if stages is not None:
        own = [*_names(root, "stages"), *_names(root, "models"), *_names(profile, "models")]
        kept = {name: body for name, body in stages.map.items() if name in own}
        profile = profile.with_children({"stages": Node(kept, stages.mark)})
    return merge(root, profile.without(["r1", "description"]))


def _names(root: Node, key: str) -> list[str]:
    return list(root.map[key].map) if key in root.map else []


def _texts(node: Node) -> set[str]:
    """Every text below a node."""
    below = [*node.map.values(), *node.items]
    return set().union(*map(_texts, below)) if below else {node.value} if isinstance(node.value, str) else set()


def _absolute(root: Node, folder: Path) -> Node:
    def change(loc: Loc, node: Node) -> Node:
        text = node.value
        if not isinstance(text, str) or not text.startswith(("./", "../")):
            return node
        is_path = loc[-1] in _PATH_KEYS or (len(loc) == 2 and loc[0] == "models") or _LOCAL_CLASS.fullmatch(text)
        return Node(os.path.abspath(folder / text), node.mark) if is_path else node  # noqa: PTH100 - keeps links

    return transform(root, change)


def _typed(document: Document) -> Recipe:
    wrong = [_bad_id(document, name) for name in _names(document.root, "stages") if not _STAGE_ID.fullmatch(name)]
    if wrong:
        raise RecipeError.of(wrong)
    try:
        return Recipe.model_validate(document.data)
    except ValidationError as error:
        raise refused(findings(error, Recipe, document, also=_RECIPE_KEYS)) from error


def _bad_id(document: Document, name: str) -> Diagnostic:
    return document.finding(["stages", name], f"stage id {name!r}: use letters, digits, '_' and '-', a letter first")
