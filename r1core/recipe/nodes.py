"""YAML values that remember where they were written, through every merge.

A `Node` is a scalar, a mapping or a list with a `Mark`. Maps merge by key; lists and scalars
replace. Two rules keep component choices sane: options laid over a bare name belong to that name
(`rl` + `{steps: 20}` is `{use: rl, steps: 20}`), and a different `use` drops the old one's options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from r1core.schedules import is_schedule

Loc: TypeAlias = Sequence[int | str]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value was written: 1-based line and column, 0 where there is none (`--set`)."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One YAML value. A mapping's keys are strings; the mark of a mapping's value is that of its key."""

    value: Any
    mark: Mark

    @property
    def map(self) -> dict[str, Node]:
        """The children of a mapping, {} for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The children of a list, [] for anything else."""
        return self.value if isinstance(self.value, list) else []

    def child(self, key: int | str) -> Node | None:
        """The child under a key or an index, None when there is none."""
        if isinstance(self.value, list) and str(key).isdecimal():
            return self.value[int(key)] if int(key) < len(self.value) else None
        return self.map.get(str(key))

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        return [child.plain() for child in self.value] if isinstance(self.value, list) else self.value

    def at(self, loc: Loc) -> Node:
        """The node at `loc`, or its nearest ancestor; parts that are no keys (names of union arms) are passed over."""
        node = self
        for part in loc:
            node = node.child(part) or node
        return node

    def with_children(self, children: Mapping[str, Node]) -> Node:
        """The same mapping with these children on top of, or in the place of, its own."""
        return Node({**self.map, **children}, self.mark)

    def without(self, keys: Sequence[str]) -> Node:
        """The same mapping less some keys."""
        return Node({key: child for key, child in self.map.items() if key not in keys}, self.mark)


def node_of(value: Any, mark: Mark) -> Node:
    """Plain data as nodes that all carry one mark."""
    if isinstance(value, Mapping):
        return Node({str(key): node_of(child, mark) for key, child in value.items()}, mark)
    return Node([node_of(child, mark) for child in value] if isinstance(value, list | tuple) else value, mark)


def merge(under: Node, over: Node) -> Node:
    """`over` laid on `under`; a merged mapping stands where it was first written."""
    if isinstance(under.value, str) and is_options(over):
        under = Node({"use": under}, under.mark)
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    if is_schedule(under.map) or is_schedule(over.map):
        return over  # half of one schedule and half of another is what nobody meant
    if "use" in under.map and "use" in over.map and under.map["use"].value != over.map["use"].value:
        return over
    merged = dict(under.map)
    for key, child in over.map.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, under.mark)


def is_options(node: Node) -> bool:
    """Whether a mapping can only be options of a component that is named elsewhere."""
    return bool(node.map) and not {"use", "scratch"} & set(node.map) and not is_schedule(node.map)


def texts_below(node: Node) -> set[str]:
    """Every text of a value, or below it; keys are none."""
    below = [*node.map.values(), *node.items]
    return set().union(*map(texts_below, below)) if below else {node.value} if isinstance(node.value, str) else set()


def transform(node: Node, change: Callable[[Loc, Node], Node], loc: tuple[int | str, ...] = ()) -> Node:
    """Apply `change` to every scalar."""
    if isinstance(node.value, dict):
        return Node({key: transform(child, change, (*loc, key)) for key, child in node.value.items()}, node.mark)
    if isinstance(node.value, list):
        return Node([transform(child, change, (*loc, i)) for i, child in enumerate(node.value)], node.mark)
    return change(loc, node)
