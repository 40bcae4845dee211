"""`--set path=value`: the last word on any key. `stages.r1_zero.rewards.1.weight=0.2`

The value is read by the recipe's own YAML rules (`1e-6` is a number, `{a: 1}` a mapping). Lists go
by index. A path that goes into a bare component name gives that component options:
`stages.r1_zero.train.steps=20` turns `train: rl` into `train: {use: rl, steps: 20}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from r1core.errors import RecipeError
from r1core.recipe.loader import parse_value
from r1core.recipe.nodes import Mark, Node
from r1core.suggest import did_you_mean

ORIGIN = "--set"
NAMED = ("stages", "models", "problems", "rewards")
"""Top-level maps whose keys are names: an override may not invent one."""


@dataclass(frozen=True, kw_only=True)
class Override:
    """One value for one path: a `--set`, or what a variant of a `matrix:` sets."""

    keys: tuple[str, ...]
    value: Node
    origin: str
    """Who says so, for messages."""
    mark: Mark
    """Where the mappings stand that are made on the way."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The override that `--set` says."""
        path, equals, value = text.partition("=")
        keys = tuple(path.strip().split("."))
        if not equals or not all(keys):
            raise RecipeError(f"--set {text!r} is not path=value", fix="such as --set stages.r1_zero.train.steps=20")
        return cls(keys=keys, value=parse_value(value, ORIGIN), origin=f"{ORIGIN} {path.strip()}", mark=Mark(ORIGIN))

    def apply(self, root: Node, known: Iterable[str]) -> Node:
        """`root` with the value in its place; `known` are the top-level keys there may be."""
        if self.keys[0] not in known:
            raise self._unknown(self.keys[0], known, "")
        return self._set(root, 0)

    def _set(self, node: Node, depth: int) -> Node:
        if depth == len(self.keys):
            return self.value
        key = self.keys[depth]
        if isinstance(node.value, list):
            return self._set_item(node, key, depth)
        if isinstance(node.value, str):
            node = Node({"use": node}, node.mark)
        if node.value is not None and not isinstance(node.value, dict):
            above = ".".join(self.keys[:depth])
            raise RecipeError(f"{above} is {node.value!r}, so it has no {key!r}", where=self.origin)
        if depth == 1 and self.keys[0] in NAMED and key not in node.map:
            raise self._unknown(key, node.map, f" in {self.keys[0]}")
        child = node.map.get(key, Node(None, self.mark))
        return Node({**node.map, key: self._set(child, depth + 1)}, node.mark)

    def _set_item(self, node: Node, key: str, depth: int) -> Node:
        items = list(node.items)
        if not key.isdecimal() or int(key) >= len(items):
            above = ".".join(self.keys[:depth])
            fix = f"{above} has the indices 0 to {len(items) - 1}" if items else f"{above} is empty"
            raise RecipeError(f"no item {key!r} in {above}", where=self.origin, fix=fix)
        items[int(key)] = self._set(items[int(key)], depth + 1)
        return Node(items, node.mark)

    def _unknown(self, key: str, known: Iterable[str], place: str) -> RecipeError:
        return RecipeError(
            f"no {key!r}{place}", where=self.origin, fix=did_you_mean(key, known, otherwise="there are: ")
        )


def apply_all(root: Node, overrides: Sequence[Override], known: Iterable[str], *, stages: bool) -> Node:
    """Apply the overrides of the pipeline's stages, or all the others."""
    for override in overrides:
        if (override.keys[0] == "stages") == stages:
            root = override.apply(root, known)
    return root
