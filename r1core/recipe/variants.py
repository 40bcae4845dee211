"""A matrix as one graph: what all variants have in common is there once, what differs once for each variant.

    base -> r1_zero@grpo,seed=0 -> evaluation@grpo,seed=0        base is trained once, and measured once
         -> r1_zero@rloo,seed=0 -> evaluation@rloo,seed=0

A stage is copied along the axes that change it, or something that it is made from, and no others. A copy's
randomness is derived from the original's id, so variants see the same problems with the same keys; an
evaluation is copied for what it measures, and each model is measured once. Edges are those that the
components declare, so names of stages are followed wherever they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from r1core.errors import Diagnostic, RecipeError
from r1core.plugins import PluginHost
from r1core.recipe.findings import at_node, gathered, refused
from r1core.recipe.fingerprint import digest
from r1core.recipe.loader import Document
from r1core.recipe.matrix import Variant
from r1core.recipe.names import Draft, draft_stages
from r1core.recipe.nodes import Node, node_of
from r1core.recipe.reading import read_keys
from r1core.recipe.renaming import measuring, renamed
from r1core.recipe.resolve import Resolved, typed

NOWHERE = "nowhere"
MOST_STAGES = 256
"""Every stage's process reads the whole plan, which takes it some seconds when there are this many."""


@dataclass(frozen=True, kw_only=True)
class PlannedVariant:
    """A variant, and the stages that stand for the recipe's in it: `r1_zero` -> `r1_zero@rloo,seed=1`."""

    label: str
    where: Mapping[str, str]
    stages: Mapping[str, str]
    plain: Mapping[str, Any]
    """The recipe's stages as they are in this variant, every default filled in."""


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A stage of one variant in the graph of all."""

    id: str
    where: Mapping[str, str]
    """The choices that made it what it is, by axis; none: it is the same in all variants."""


def expanded(resolved: Resolved, host: PluginHost) -> tuple[Resolved, tuple[PlannedVariant, ...]]:
    """The recipe with every variant's stages in it, and no matrix; as it is where it has none."""
    if not resolved.variants:
        return resolved, ()
    drafts = gathered([partial(draft_stages, each, host) for _, each in resolved.variants])
    graph = _Graph(resolved.variants, drafts)
    stages: dict[str, Node] = {}
    planned = []
    for number, (variant, _) in enumerate(resolved.variants):
        ids = {stage_id: graph.copy(number, stage_id).id for stage_id in graph.drafts[number]}
        made = {ids[stage_id]: graph.node(number, stage_id) for stage_id in ids if ids[stage_id] not in stages}
        stages |= {copy_id: node for copy_id, node in made.items() if node is not None}
        where = {axis: choice.name for axis, choice in variant.choices.items()}
        kept = {stage_id: copy_id for stage_id, copy_id in ids.items() if copy_id in stages}
        plain = {stage_id: graph.content(number, stage_id) for stage_id in ids}
        planned.append(PlannedVariant(label=variant.label, where=where, stages=kept, plain=plain))
    if graph.findings:
        raise refused(graph.findings)
    if len(stages) > MOST_STAGES:
        message, fix = f"its variants make {len(stages)} stages, at most {MOST_STAGES} are run", "vary less at a time"
        raise RecipeError(message, where=str(resolved.path), fix=fix)
    root = resolved.document.root
    document = Document(root.with_children({"stages": Node(stages, root.map["stages"].mark)}))
    return replace(resolved, document=document, recipe=typed(document), variants=()), tuple(planned)


class _Graph:
    """The stages of all variants, with their edges. Variants and stages go by number and id."""

    def __init__(self, variants: Sequence[tuple[Variant, Resolved]], drafts: Sequence[Sequence[Draft]]) -> None:
        self.findings: list[Diagnostic] = []
        self.drafts: list[dict[str, Draft]] = [{draft.id: draft for draft in own} for own in drafts]
        self._variants = [variant for variant, _ in variants]
        self._resolved = [resolved for _, resolved in variants]
        self._marks: dict[tuple[int, str], str] = {}
        self._relevant: dict[str, list[str]] = {}
        self._measured: dict[str, set[str]] = {}
        """What a copy of an evaluate stage is made of, less its models -> the models that are measured so already."""

    def copy(self, number: int, stage_id: str) -> _Copy:
        """The stage's id in the graph of all: that of the first variant with the same content."""
        axes = self._axes_of(stage_id)
        if not axes:
            return _Copy(id=stage_id, where={})
        mark = self._mark(number, stage_id)
        first = next(i for i in range(len(self._variants)) if self._mark(i, stage_id) == mark)
        choices = {axis: self._variants[first].choices[axis] for axis in axes}
        label = ",".join(choice.label for choice in choices.values())
        return _Copy(id=f"{stage_id}@{label}", where={axis: choice.name for axis, choice in choices.items()})

    def node(self, number: int, stage_id: str) -> Node | None:
        """The stage as it is written in the graph of all; None for an evaluation with nothing left to measure."""
        draft, resolved = self.drafts[number][stage_id], self._resolved[number]
        node = resolved.document.root.map["stages"].map[stage_id]
        names = {r.stage: self.copy(number, r.stage).id for r in draft.references if r.stage in self.drafts[number]}
        try:
            node = renamed(node, draft, names)
        except RecipeError as error:
            self.findings.append(at_node(node, f"stages.{stage_id}", error.what, error.fix))
            return node
        if draft.kind == "evaluate":
            seen = self._measured.setdefault(self._measuring(number, stage_id), set())
            models = dict.fromkeys(names.get(model, model) for model in draft.stage.models)
            left = [model for model in models if model not in seen]
            seen.update(left)
            if models and not left:
                return None
            node = measuring(node, left)
        copy = self.copy(number, stage_id)
        if copy.where:
            node = node.with_children({"variant": node_of({"of": stage_id, "where": dict(copy.where)}, node.mark)})
        return self._with_seed(number, draft, node)

    def _with_seed(self, number: int, draft: Draft, node: Node) -> Node:
        """The stage with its variant's seed, where that is not the recipe's."""
        seed, base = self._resolved[number].recipe.seed, self._resolved[0].recipe.seed
        if seed == base or draft.stage.seed is not None or not _draws(draft):
            return node
        return node.with_children({"seed": Node(seed, node.mark)})

    # --- what differs ----------------------------------------------------------------------------------

    def _axes_of(self, stage_id: str) -> list[str]:
        """The axes along which the stage's content changes."""
        if stage_id not in self._relevant:
            axes = list(self._variants[0].choices)
            self._relevant[stage_id] = [axis for axis in axes if self._changes(stage_id, axis)]
        return self._relevant[stage_id]

    def _changes(self, stage_id: str, axis: str) -> bool:
        """Whether two variants that differ in this axis alone have it different."""
        found: dict[str, str] = {}
        for number, variant in enumerate(self._variants):
            others = ",".join(choice.label for name, choice in variant.choices.items() if name != axis)
            mark = self._mark(number, stage_id)
            if found.setdefault(others, mark) != mark:
                return True
        return False

    def _mark(self, number: int, stage_id: str) -> str:
        """The hash of all that makes the stage what it is in a variant, its inputs among it."""
        if stage_id not in self.drafts[number]:
            return NOWHERE
        if (number, stage_id) not in self._marks:
            self._marks[number, stage_id] = NOWHERE  # a cycle ends here, and is refused with the graph
            self._marks[number, stage_id] = digest([self.content(number, stage_id), self._edges(number, stage_id)])
        return self._marks[number, stage_id]

    def content(self, number: int, stage_id: str) -> dict[str, Any]:
        """The stage in one variant, its seed among it where it draws anything."""
        draft = self.drafts[number][stage_id]
        own = draft.stage.seed
        seed = self._resolved[number].recipe.seed if own is None else own
        return {**draft.plain, "seed": seed if _draws(draft) else None}

    def _edges(self, number: int, stage_id: str, *, without: str = "") -> list[str]:
        """The hashes of what it is made from, less those that one of its keys names."""
        references = self.drafts[number][stage_id].references
        return [self._mark(number, each.stage) for each in references if each.path[2] != without]

    def _measuring(self, number: int, stage_id: str) -> str:
        """How an evaluate stage measures, whatever the models."""
        how = {key: value for key, value in self.content(number, stage_id).items() if key != "models"}
        return digest([stage_id, how, self._edges(number, stage_id, without="models")])


def _draws(draft: Draft) -> bool:
    """Whether anything in the stage is random."""
    return "seed" in read_keys(draft.stage, draft.trainer_reads)
