"""`matrix:`: one recipe in several variants, every choice of one axis with every choice of the others.

    matrix:
      estimator:                              # a name: its variants by name, each with the paths that it sets
        grpo: {stages.r1_zero.train.advantage.use: grpo}
        rloo: {stages.r1_zero.train.advantage.use: rloo}
      stages.r1_zero.seed: [0, 1, 2]          # a path: its values in a list, or by name

The first choice of each axis is the base, which the others are compared with. Paths are those of `--set`;
a profile and `--set` come before the variants. Which stages have to be made again is found in variants.py.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from r1core.errors import Diagnostic
from r1core.recipe.annotations import keys_at
from r1core.recipe.findings import at_node, refused
from r1core.recipe.nodes import Loc, Node
from r1core.recipe.overrides import NAMED, Override
from r1core.recipe.schema import Stage
from r1core.recipe.wanted import given
from r1core.recipe.written import DEFAULTS, SLOTS
from r1core.suggest import did_you_mean

KEY = "matrix"
MOST = 64
"""Variants of a recipe: beyond, it is rather a list of settings that was written as a product."""
VARIED = ("seed", "stages", *SLOTS, *DEFAULTS)
"""The top-level keys that a variant may set; the others are the recipe's, not the run's."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
NAMES = "use letters, digits and _ . + -, a letter or digit first"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One variant of an axis."""

    name: str
    label: str
    """Its name where it stands for itself, in a stage's id: `rloo`, `seed=1`."""
    settings: tuple[Override, ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is varied, and how; the first choice is the base."""

    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One choice of each axis, by the axis's name, in the order of the recipe."""

    choices: Mapping[str, Choice]

    @property
    def label(self) -> str:
        """`rloo,seed=1`."""
        return ",".join(choice.label for choice in self.choices.values())

    @property
    def settings(self) -> list[Override]:
        """What it sets, the last axis last."""
        return [setting for choice in self.choices.values() for setting in choice.settings]


def variants_of(root: Node) -> list[Variant]:
    """Every variant of a recipe, the base first; none where it has no matrix. `root` has its profile and `--set`."""
    matrix = root.map.get(KEY)
    if matrix is None or not matrix.map:
        return []
    reader = _Reader(root)
    axes = [reader.axis(name, body) for name, body in matrix.map.items()]
    reader.check_clashes(axes, matrix)
    count = math.prod(len(axis.choices) for axis in axes)
    if count > MOST:
        sizes = " x ".join(str(len(axis.choices)) for axis in axes)
        message = f"{sizes} = {count} variants; a recipe has at most {MOST}"
        reader.found.append(at_node(matrix, KEY, message, "vary less at a time, or split it in two recipes"))
    if reader.found:
        raise refused(reader.found)
    names = [axis.name for axis in axes]
    product = itertools.product(*(axis.choices for axis in axes))
    return [Variant(choices=dict(zip(names, chosen, strict=True))) for chosen in product]


def paths_to(loc: Loc) -> list[Loc]:
    """Where in a recipe a value will stand: where it does, or, in a matrix, the paths that it may be set at."""
    if loc[0] != KEY:
        return [loc]
    number = next((i for i, part in enumerate(loc) if "." in str(part)), None)
    if number is None:
        return [loc[-1:]]
    path, below = str(loc[number]).split("."), loc[number + 1 :]
    return [[*path, *below], [*path, *below[1:]]]  # below a path are its value, or its values in a list or by name


class _Reader:
    """Reads axes from their nodes and collects what is wrong with them."""

    def __init__(self, root: Node) -> None:
        self.found: list[Diagnostic] = []
        self._root = root

    def axis(self, name: str, body: Node) -> Axis:
        """A path with its values, or a name with variants that set paths."""
        at = f"{KEY}.{name}"
        choices: list[Choice] = []
        if "." in name or (name in VARIED and isinstance(body.value, list)):
            choices = list(self._values(name, body, at))
        elif isinstance(body.value, dict):
            choices = [self._named(choice, settings, f"{at}.{choice}") for choice, settings in body.map.items()]
        else:
            hint = "a list of values belongs to a path, such as stages.r1_zero.seed: [0, 1, 2]"
            self._say(body, at, f"a mapping of variants is wanted, got {given(body.plain())}", hint)
        if not choices and isinstance(body.value, dict | list):
            self._say(body, at, "it has no variants", "remove it, or name some")
        short = name.rpartition(".")[2]
        if not _NAME.fullmatch(short):
            self._say(body, at, f"axis {name!r}: {NAMES}")
        return Axis(name=short, choices=tuple(choices))

    def _values(self, path: str, body: Node, at: str) -> Iterator[Choice]:
        """The values of one path, by name or by themselves."""
        if not self._is_path(path, body, at):
            return
        if isinstance(body.value, dict):
            for name, value in body.map.items():
                self._check_name(name, value, f"{at}.{name}")
                yield Choice(name=name, label=name, settings=(self._setting(path, value, f"{at}.{name}"),))
        elif isinstance(body.value, list):
            for index, value in enumerate(body.items):
                name, label = self._by_value(path, value, f"{at}.{index}")
                yield Choice(name=name, label=label, settings=(self._setting(path, value, f"{at}.{index}"),))
        else:
            self._say(body, at, f"a list of values or a mapping of named ones is wanted, got {given(body.plain())}")

    def _by_value(self, path: str, node: Node, at: str) -> tuple[str, str]:
        """(name, label) of a value in a list."""
        value = node.value
        if isinstance(value, str):
            self._check_name(value, node, at)
            return value, value
        if value is None or isinstance(value, dict | list):
            hint = f"write `{path}: {{<name>: {json.dumps(node.plain())}, ...}}`"
            self._say(node, at, f"a value that can go by itself is wanted, got {given(node.plain())}", hint)
            return at, at
        name = json.dumps(value)
        return name, f"{path.rpartition('.')[2]}={name}"

    def _named(self, name: str, body: Node, at: str) -> Choice:
        """A variant with the paths that it sets; none: the recipe as it is."""
        self._check_name(name, body, at)
        if body.value is not None and not isinstance(body.value, dict):
            message = f"a mapping from paths to values is wanted, got {given(body.plain())}"
            self._say(body, at, message, "such as {stages.r1_zero.train.steps: 20}")
        settings = [
            self._setting(path, value, f"{at}.{path}")
            for path, value in body.map.items()
            if self._is_path(path, value, f"{at}.{path}")
        ]
        return Choice(name=name, label=name, settings=tuple(settings))

    def _setting(self, path: str, value: Node, at: str) -> Override:
        mark = value.mark
        origin = f"{mark.file}:{mark.line}:{mark.column}: {at}" if mark.line else f"{mark.file}: {at}"
        return Override(keys=tuple(path.split(".")), value=value, origin=origin, mark=mark)

    # --- what may stand there ------------------------------------------------------------------------

    def _is_path(self, path: str, node: Node, at: str) -> bool:
        """Whether a path leads somewhere, as far as a recipe's own keys go; options are for their components."""
        keys = path.split(".")
        for depth, known in enumerate(self._known(keys)):
            if depth < len(keys) and keys[depth] not in known:
                paths = [".".join([*keys[:depth], name, *keys[depth + 1 :]]) for name in known]
                otherwise = f"a variant sets paths below {', '.join(VARIED)}" if depth == 0 else ""
                hint = (
                    did_you_mean(path, paths) or otherwise or did_you_mean(keys[depth], known, otherwise="there are: ")
                )
                within = f" in {'.'.join(keys[:depth])}" if depth else ""
                self._say(node, at, f"no {keys[depth]!r}{within} to vary", hint)
                return False
        return True

    def _known(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """What may stand at the first places of a path."""
        yield VARIED
        if keys[0] in NAMED:
            names = list(self._root.map[keys[0]].map) if keys[0] in self._root.map else []
            slots = list(self._root.map["models"].map) if keys[0] == "stages" and "models" in self._root.map else []
            yield [*names, *slots]
        if keys[0] == "stages":
            yield keys_at(Stage, ())

    def _check_name(self, name: str, node: Node, at: str) -> None:
        if not _NAME.fullmatch(name):
            self._say(node, at, f"variant {name!r}: {NAMES}", "it becomes part of stage ids and folders")

    def check_clashes(self, axes: Sequence[Axis], matrix: Node) -> None:
        """Two axes of one name, or two choices that a folder's name would not tell apart."""
        for number, (axis, body) in enumerate(zip(axes, matrix.map.values(), strict=True)):
            at = f"{KEY}.{list(matrix.map)[number]}"
            if axis.name in [other.name for other in axes[:number]]:
                hint = "give one a name: `{<name>: {<variant>: {<path>: <value>}}}`"
                self._say(body, at, f"two axes are called {axis.name!r}", hint)
            names = [choice.name.casefold() for choice in axis.choices]
            for place, choice in enumerate(axis.choices):
                if choice.name.casefold() in names[:place]:
                    self._say(body, at, f"two variants are called {choice.name!r}", "keep one, or rename it")

    def _say(self, node: Node, at: str, message: str, hint: str = "") -> None:
        self.found.append(at_node(node, at, message, hint))
