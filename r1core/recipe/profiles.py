"""A profile laid over a recipe, perhaps over another profile that it `extends`.

A profile serves several recipes, so what this one does not name is dropped: entries for stages that it does not have,
sizes of evaluation sets that it does not measure, and models that none of its stages speaks of. A name that is almost
one of this recipe's, and that none of the recipes has which the profile serves (those beside it, and those that ship),
is a slip, and refused: dropped in silence it would leave a stage at its defaults.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from r1core.errors import Diagnostic
from r1core.recipe.findings import at_node
from r1core.recipe.loader import MAX_BYTES
from r1core.recipe.nodes import Node, merge, texts_below
from r1core.recipe.shipped import shipped_folder
from r1core.recipe.written import DEFAULTS, SLOTS
from r1core.suggest import did_you_mean, is_slip

PROFILE_KEYS = ("r1", "description", "extends", "seed", "requires", "observers", "stages", *SLOTS, *DEFAULTS)
_COMMENT = re.compile(r"(^|\s)#.*")
NOUNS = {"stages": "stage", "models": "model slot", "problems": "problem slot", "rewards": "reward slot"}


def lay_over(root: Node, profile: Node, path: Path) -> Node:
    """The profile's values over the recipe's, less what this recipe does not name; `path` is the profile's file."""
    if (models := profile.map.get("models")) is not None:
        named = {*_names(root, "models"), *texts_below(root.map["stages"])} if "stages" in root.map else set()
        profile = profile.with_children({"models": Node(_made(models, named), models.mark)})
    if (stages := profile.map.get("stages")) is not None:
        own = {*_names(root, "stages"), *_names(root, "models"), *_names(profile, "models")}
        under = root.map.get("stages", Node({}, root.mark))
        kept = {
            name: _measuring(under.map.get(name, body.without(["evaluate"])), body, own, path)
            for name, body in stages.map.items()
            if name in own
        }
        profile = profile.with_children({"stages": Node(kept, stages.mark)})
    return merge(root, profile.without(["r1", "description", "extends"]))


def _measuring(own: Node, laid: Node, models: Collection[str], path: Path) -> Node:
    """A stage's entry less its evaluation sets for other recipes."""
    sets = _sets(laid)
    foreign = [name for name in sets if name not in _sets(own) and _is_foreign(name, sets[name], models, path)]
    if not foreign:
        return laid
    if len(foreign) == len(sets) and "evaluate" not in own.map:
        return laid.without(["evaluate"])
    evaluate = laid.map["evaluate"]
    return laid.with_children({"evaluate": evaluate.with_children({"sets": evaluate.map["sets"].without(foreign)})})


def _sets(stage: Node) -> dict[str, Node]:
    """The evaluation sets that a stage's entry has something to say of."""
    evaluate = stage.map.get("evaluate")
    return evaluate.map["sets"].map if evaluate is not None and "sets" in evaluate.map else {}


def _is_foreign(name: str, evaluation_set: Node, models: Collection[str], path: Path) -> bool:
    """Whether it is some other recipe's: without problems of its own, or of models that this recipe has not."""
    if "problems" not in evaluation_set.map:
        return _is_others(name, path)
    asked = [str(model.value) for model in evaluation_set.map.get("models", evaluation_set).items]
    return any(model not in models and _is_others(model, path) for model in asked)


def _made(models: Node, named: set[str]) -> dict[str, Node]:
    """The profile's models that are named, and those that they are made from, in the profile's order."""
    wanted: set[str] = set()
    while found := (named - wanted) & set(models.map):
        wanted |= found
        named = set().union(*(texts_below(models.map[name]) for name in found))
    return {name: body for name, body in models.map.items() if name in wanted}


def check_profile(root: Node, profile: Node, path: Path) -> Iterator[Diagnostic]:
    """Keys that no profile has, and names that are slips of the recipe's; `path` is the profile's file."""
    for key in profile.map:
        if key not in PROFILE_KEYS:
            hint = did_you_mean(key, PROFILE_KEYS, otherwise="keys: ")
            yield at_node(profile.map[key], key, f"a profile has no key {key!r}", hint)
    words = {*_words(root), *texts_below(profile)}
    for kind, noun in NOUNS.items():
        known = [*_names(root, kind), *(_names(root, "models") if kind == "stages" else [])]
        for name, body in profile.map[kind].map.items() if kind in profile.map else ():
            if name in words or not any(is_slip(name, other) for other in known):
                continue
            if not _is_others(name, path):
                message = f"no recipe that this profile completes has a {noun} {name!r}"
                yield at_node(body, f"{kind}.{name}", message, did_you_mean(name, known))


def _is_others(name: str, profile: Path) -> bool:
    """Whether some recipe that the profile may complete has the name."""
    return name[:1].isalpha() and any(_says(text, name) for text in _served(profile))


def _served(profile: Path) -> Iterator[str]:
    """The text of every recipe that the profile may complete, beside the one at hand."""
    shipped = shipped_folder()
    beside = profile.parent.parent.glob("*.yaml")
    for file in {*beside, *(p for p in shipped.rglob("*.yaml") if p.parent.name != "profiles")}:
        if file.stat().st_size <= MAX_BYTES:
            yield _COMMENT.sub("", file.read_text(encoding="utf-8", errors="replace"))


def _says(text: str, name: str) -> bool:
    """Whether the name stands in a recipe, as a key or a value."""
    return re.search(rf"(?<![\w@-]){re.escape(name)}(?![\w@-])", text) is not None


def _names(root: Node, key: str) -> list[str]:
    return list(root.map[key].map) if key in root.map else []


def _words(node: Node) -> set[str]:
    """Every key and every text below a node."""
    below = [*node.map.values(), *node.items]
    return {*node.map, *texts_below(node)}.union(*map(_words, below))
