"""Model slots that a profile fills for nobody: left out, so that no teacher is trained beside the one you brought.

A profile binds `base` because its own `teacher` begins there. With `--set models.teacher=<folder>` nothing begins at
`base` any more. What the recipe itself binds stays, and so does what a setting speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r1core.recipe.nodes import Node, texts_below
from r1core.recipe.overrides import Override


def lent(recipe: Node, whole: Node) -> frozenset[str]:
    """The model slots that are bound in `whole`, its profile laid over it, and not in the recipe alone."""
    own = _models(recipe)
    return frozenset(
        name for name, body in _models(whole).items() if body.value is not None and _is_open(own.get(name))
    )


def without_idle(root: Node, applied: Node, slots: frozenset[str], settings: Sequence[Override]) -> Node:
    """`root` less those `slots` that nothing reaches in `applied`, the recipe with its overrides (its models are among
    the stages there), and that none of the settings names."""
    stages = applied.map["stages"].map if "stages" in applied.map else {}
    spoken = {name for each in settings for name in (*each.keys[1:2], *texts_below(each.value))}
    rest = applied.without(["stages", "models"])
    wanted = {*spoken, *texts_below(rest), *_reached({n: body for n, body in stages.items() if n not in slots})}
    kept: set[str] = set()
    while found := (wanted - kept) & slots:
        kept |= found
        wanted = _reached({name: stages[name] for name in found if name in stages})
    idle = slots - kept
    models = {name: body for name, body in _models(root).items() if name not in idle}
    return root.with_children({"models": Node(models, root.map["models"].mark)}) if idle else root


def _reached(stages: Mapping[str, Node]) -> set[str]:
    return set().union(*(texts_below(body) for body in stages.values()))


def _models(root: Node) -> Mapping[str, Node]:
    return root.map["models"].map if "models" in root.map else {}


def _is_open(body: Node | None) -> bool:
    return body is None or body.value is None
