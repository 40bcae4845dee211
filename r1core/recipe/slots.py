"""Slots: the pipeline says `model: base` and `problems: reasoning`; a profile says what those are.

`models:` become stages of the same name, placed first. `problems:` and `rewards:` are put where a
stage names them; `{use: <slot>, weight: 2}` lays options over the slot. `engines:`, `sampling:`,
`scoring:`, `checkpoint:`, `rollouts:`, `threads:` and `stall_s:` are defaults under each stage's own keys, given
only to stages that use them, so that a sampling knob never makes a supervised stage stale.
"""

from __future__ import annotations

from collections.abc import Mapping

from r1core.errors import Diagnostic, RecipeError
from r1core.recipe.findings import at_node, refused
from r1core.recipe.nodes import Node, is_options, merge
from r1core.schedules import is_schedule


def model_stages(root: Node) -> Node:
    """`models:` as stages, first in the pipeline; unbound ones (null) are left out."""
    models = root.map.get("models", Node({}, root.mark))
    stages = root.map.get("stages", Node({}, root.mark))
    for name, body in models.map.items():
        if name in stages.map:
            raise RecipeError.of([at_node(body, f"models.{name}", f"{name!r} is both a model slot and a stage")])
    bound = {name: _imported(body) for name, body in models.map.items() if body.value is not None}
    return root.with_children({"stages": Node({**bound, **stages.map}, stages.mark)})


def unbound_models(root: Node) -> frozenset[str]:
    """Model slots that nothing is bound to."""
    models = root.map.get("models")
    return frozenset(name for name, body in models.map.items() if body.value is None) if models else frozenset()


def _imported(body: Node) -> Node:
    return Node({"import": body}, body.mark) if isinstance(body.value, str) else body


def fill_stages(root: Node, profile: str) -> Node:
    """Every stage with its slots filled and its defaults laid under."""
    stages = root.map.get("stages")
    if stages is None or not isinstance(stages.value, dict):
        return root
    filler = _Filler(root, profile)
    filled = {name: filler.stage(f"stages.{name}", stage) for name, stage in stages.map.items()}
    if filler.findings:
        raise refused(filler.findings)
    return root.with_children({"stages": Node(filled, stages.mark)})


class _Filler:
    def __init__(self, root: Node, profile: str) -> None:
        self.findings: list[Diagnostic] = []
        self._root = root
        self._profile = profile
        self._stages = root.map["stages"].map

    def stage(self, path: str, stage: Node) -> Node:
        if not isinstance(stage.value, dict):
            return stage
        changed: dict[str, Node] = {}
        if "problems" in stage.map:
            changed["problems"] = self._scheduled(f"{path}.problems", stage.map["problems"])
        if "rewards" in stage.map:
            changed["rewards"] = self._rewards(f"{path}.rewards", stage.map["rewards"])
        if "data" in stage.map:
            changed["data"] = self._data(f"{path}.data", stage.map["data"])
        if "evaluate" in stage.map:
            changed["evaluate"] = self._evaluate(f"{path}.evaluate", stage.map["evaluate"])
        return self._defaults(stage.with_children(changed))

    # --- slots -----------------------------------------------------------------------------

    def _slot(self, path: str, node: Node, kind: str) -> Node:
        """The node with its slot's value in it, when it names one."""
        name = node.map["use"].value if "use" in node.map else node.value
        slots: Mapping[str, Node] = self._root.map[kind].map if kind in self._root.map else {}
        if not isinstance(name, str) or name not in slots:
            return node
        bound = slots[name]
        if bound.value is None:
            self.findings.append(at_node(node, path, *self._unbound(kind, name)))
            return node
        if isinstance(node.value, str):
            return bound
        over = node.without(["use"])
        base = Node({"use": bound}, bound.mark) if isinstance(bound.value, str) else bound
        return merge(base, over) if over.map else base

    def _unbound(self, kind: str, name: str) -> tuple[str, str]:
        who = "no profile is used" if self._profile == "none" else f"profile {self._profile!r} does not bind it"
        what = "a source" if kind == "problems" else "a reward"
        return (
            f"nothing is bound to slot {name!r} of {kind}: {who}",
            f"name {what} under `{kind}:` in the profile, or with --set {kind}.{name}=<name>",
        )

    def _scheduled(self, path: str, node: Node) -> Node:
        if not is_schedule(node.map):
            return self._mixed(path, node)
        return Node({step: self._point(f"{path}.{step}", child) for step, child in node.map.items()}, node.mark)

    def _point(self, path: str, node: Node) -> Node:
        """What holds from a step on; a slot that is a schedule itself becomes a mix of one."""
        filled = self._mixed(path, node)
        if not is_schedule(filled.map):
            return filled
        share = Node({"problems": filled, "weight": Node(1, node.mark)}, node.mark)
        return Node({"mix": Node([share], node.mark)}, node.mark)

    def _mixed(self, path: str, node: Node) -> Node:
        """One source, or several with their weights: `mix: {reasoning: 3}` names slots or sources."""
        weights = node.map.get("mix")
        if weights is None or not isinstance(weights.value, dict):
            return self._problem(path, node)
        shares = []
        for name, weight in weights.map.items():
            problems = self._problem(f"{path}.mix.{name}", Node(name, weight.mark))
            shares.append(Node({"problems": problems, "weight": weight}, weight.mark))
        return node.with_children({"mix": Node(shares, weights.mark)})

    def _problem(self, path: str, node: Node) -> Node:
        """A problem slot, or a source: a bare word that is no slot is a source's name."""
        filled = self._slot(path, node, "problems")
        return Node({"use": filled}, filled.mark) if isinstance(filled.value, str) else filled

    def _rewards(self, path: str, node: Node) -> Node:
        if not isinstance(node.value, list):
            return node
        return Node([self._reward(f"{path}.{i}", item) for i, item in enumerate(node.items)], node.mark)

    def _reward(self, path: str, node: Node) -> Node:
        """A reward from a slot goes by the slot's name: what filters and tables ask for is there whoever fills it."""
        filled = self._slot(path, node, "rewards")
        if filled is node or "as" in filled.map:
            return filled
        slot = node.map.get("use", node)
        chosen = Node({"use": filled}, filled.mark) if isinstance(filled.value, str) else filled
        return chosen.with_children({"as": Node(slot.value, slot.mark)})

    def _data(self, path: str, node: Node) -> Node:
        """Stages keep their name; problem slots are filled."""
        listed = node if isinstance(node.value, list) else Node([node], node.mark)
        return Node([self._datum(f"{path}.{i}", item) for i, item in enumerate(listed.items)], listed.mark)

    def _datum(self, path: str, node: Node) -> Node:
        if isinstance(node.value, str) and node.value in self._stages:
            return node
        filled = self._slot(path, node, "problems")
        is_slot = filled is not node and isinstance(filled.value, str)
        return Node({"use": filled}, filled.mark) if is_slot else filled

    def _evaluate(self, path: str, node: Node) -> Node:
        sets = node.map.get("sets")
        if sets is None or not isinstance(sets.value, dict):
            return node
        filled = {}
        for name, body in sets.map.items():
            problems = body.map.get("problems")
            place = f"{path}.sets.{name}.problems"
            filled[name] = (
                body if problems is None else body.with_children({"problems": self._problem(place, problems)})
            )
        return node.with_children({"sets": Node(filled, sets.mark)})

    # --- defaults ----------------------------------------------------------------------------

    def _defaults(self, stage: Node) -> Node:
        if "import" in stage.map or "review" in stage.map:
            return stage
        samples = "problems" in stage.map or "evaluate" in stage.map or "sample" in stage.map
        engines = self._root.map.get("engines", Node({}, stage.mark)).map
        wanted = {"policy": engines.get("policy"), **{key: self._root.map.get(key) for key in ("threads", "stall_s")}}
        if "train" in stage.map:
            wanted["checkpoint"] = self._root.map.get("checkpoint")
        if "train" in stage.map and "problems" in stage.map:
            wanted["rollouts"] = self._root.map.get("rollouts")
        if samples:
            wanted["sampler"] = engines.get("sampler")
            wanted |= {key: self._root.map.get(key) for key in ("sampling", "scoring")}
        laid = {key: _lay(default, stage.map.get(key)) for key, default in wanted.items() if default is not None}
        return stage.with_children(laid)


def _lay(default: Node, own: Node | None) -> Node:
    """A stage's own value over the default: whole components replace, options and plain maps merge."""
    if own is None:
        return default
    return merge(default, own) if is_options(own) else own
