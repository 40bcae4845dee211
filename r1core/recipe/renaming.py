"""Stages under other names: every place of a stage that names another one, found by the edges it declares.

Beside the edges themselves three places speak of stages by name: the weights of `balance`, the models of
an evaluation's sets, and a gate on `<model>/<metric>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r1core.errors import RecipeError
from r1core.recipe.annotations import Path
from r1core.recipe.names import Draft
from r1core.recipe.nodes import Node


def renamed(node: Node, draft: Draft, names: Mapping[str, str]) -> Node:
    """The stage with the stages that it names under their new `names`. Raises RecipeError where one of them stands
    in no file, so that nothing can be changed."""
    for reference in draft.references:
        new = names.get(reference.stage, reference.stage)
        if new != reference.stage:
            changed = _replaced(node, reference.path[2:], reference.stage, new)
            if changed == node:
                raise RecipeError(
                    f"a variant has {reference.stage!r} under another name, and what names it is not in the recipe",
                    fix="name the stage in the recipe, not in a default or a preset",
                )
            node = changed
    if draft.stage.balance:
        weights = node.map["balance"]
        kept = {names.get(name, name): weight for name, weight in weights.map.items()}
        node = node.with_children({"balance": Node(kept, weights.mark)})
    return _evaluation(node, names) if draft.kind == "evaluate" else node


def _replaced(node: Node, path: Path, old: str, new: str) -> Node:
    """The node with `new` where `path` leads to `old`; parts that the file does not have are passed over."""
    if not path:
        return Node(new, node.mark) if node.value == old else node
    child = node.child(path[0])
    if child is None:
        return _replaced(node, path[1:], old, new)
    changed = _replaced(child, path[1:], old, new)
    if isinstance(node.value, list):
        items = list(node.items)
        items[int(path[0])] = changed
        return Node(items, node.mark)
    return node.with_children({str(path[0]): changed})


def _evaluation(node: Node, names: Mapping[str, str]) -> Node:
    """The names that an evaluate stage gives its models beside `models`."""
    evaluate, sets = node.map["evaluate"], node.map["evaluate"].map.get("sets")
    if sets is not None:
        changed = {name: _each_model(body, names) for name, body in sets.map.items()}
        node = node.with_children({"evaluate": evaluate.with_children({"sets": Node(changed, sets.mark)})})
    if "gate" in node.map:
        gates = [_gate(gate, names) for gate in node.map["gate"].items]
        node = node.with_children({"gate": Node(gates, node.map["gate"].mark)})
    return node


def _each_model(body: Node, names: Mapping[str, str]) -> Node:
    models = body.map.get("models")
    if models is None or models.value is None:
        return body
    found = [Node(names.get(str(item.value), item.value), item.mark) for item in models.items]
    return body.with_children({"models": Node(found, models.mark)})


def _gate(gate: Node, names: Mapping[str, str]) -> Node:
    metric = gate.map.get("metric")
    if metric is None or not isinstance(metric.value, str):
        return gate
    model, slash, rest = metric.value.partition("/")
    return gate.with_children({"metric": Node(f"{names.get(model, model)}{slash}{rest}", metric.mark)})


def measuring(node: Node, models: Sequence[str]) -> Node:
    """An evaluate stage of these models alone, less the sets and the gates that are for others."""
    if "models" not in node.map:
        return node
    items = {str(item.value): item for item in node.map["models"].items}
    evaluate, sets = node.map["evaluate"], node.map["evaluate"].map["sets"]
    kept = {name: only for name, body in sets.map.items() if (only := _only(body, models)) is not None}
    node = node.with_children(
        {
            "models": Node([items[name] for name in models], node.map["models"].mark),
            "evaluate": evaluate.with_children({"sets": Node(kept or sets.map, sets.mark)}),
        }
    )
    if "gate" in node.map:
        others = items.keys() - set(models)
        gates = [g for g in node.map["gate"].items if _model_of(g) not in others]
        node = node.with_children({"gate": Node(gates, node.map["gate"].mark)})
    return node


def _only(body: Node, models: Sequence[str]) -> Node | None:
    """A set for those of `models` that it is for; None where it is for none of them."""
    own = body.map.get("models")
    if own is None or own.value is None:
        return body
    kept = [item for item in own.items if item.value in models]
    return body.with_children({"models": Node(kept, own.mark)}) if kept else None


def _model_of(gate: Node) -> str:
    metric = gate.map.get("metric")
    return str(metric.value).partition("/")[0] if metric is not None else ""
