"""Read YAML 1.2 strictly, keeping positions. A recipe is untrusted input.

`1e-6` is a number and `on` a string; two equal keys, tags, merge keys, directives, several documents
and files above 1 MB are errors with a line; aliases may not blow a small file up. Local files only.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from r1core.errors import Diagnostic, RecipeError, SetupError
from r1core.recipe.nodes import Loc, Mark, Node, node_of
from r1core.suggest import did_you_mean

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 64
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_DIRECTIVE = re.compile(r"^%(YAML|TAG)\b", re.MULTILINE)
_TAG = "tag:yaml.org,2002:"
_TEXT = {"str", "timestamp", "value"}


@dataclass(frozen=True)
class Document:
    """Plain data with positions."""

    root: Node

    @property
    def data(self) -> Any:
        """The plain data."""
        return self.root.plain()

    def position(self, loc: Loc) -> tuple[str, int, int]:
        """(file, line, column) of the value at `loc`, or of its nearest ancestor."""
        mark = self.root.at(loc).mark
        return (mark.file, mark.line, mark.column)

    def finding(self, loc: Loc, message: str, *, hint: str = "") -> Diagnostic:
        """A diagnostic placed at `loc`; its path leaves out what is not in the file (names of union arms)."""
        file, line, column = self.position(loc)
        return Diagnostic(message=message, path=self.path(loc), file=file, line=line, column=column, hint=hint)

    def path(self, loc: Loc) -> str:
        """`loc` as `a.b.0.c`, the parts that the file has."""
        node, parts = self.root, []
        for part in loc:
            child = node.child(part)
            if child is not None:
                parts.append(str(part))
                node = child
        return ".".join(parts)


def load_yaml(path: str | Path) -> Document:
    """The document in a local file; every problem is a RecipeError with its place."""
    if _URL.match(str(path)):
        raise RecipeError(f"{str(path)!r} is not a local file", fix="download it, read it, then run the copy")
    path = Path(path)
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.yaml"))) if path.parent.is_dir() else ""
        raise RecipeError(f"no file {str(path)!r}", fix=near)
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"{path.stat().st_size} bytes; a recipe has at most {MAX_BYTES}", where=shown(path))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8 at byte {error.start}", where=shown(path)) from error
    except OSError as error:
        raise SetupError(f"it cannot be read: {error.strerror or error}", where=shown(path)) from error
    document = Document(parse(text, shown(path)))
    if not isinstance(document.root.value, dict):
        raise RecipeError("a recipe is a mapping of keys to values", where=shown(path), fix="start with: r1: 1")
    return document


def shown(path: Path) -> str:
    """A path as a person would type it: relative when it lies below the working directory."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they were typed
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def parse(text: str, file: str) -> Node:
    """One YAML document as nodes marked with `file`."""
    directive = _DIRECTIVE.search(text)
    if directive:
        line = text.count("\n", 0, directive.start()) + 1
        raise RecipeError.of([Diagnostic(message="YAML directives are not allowed", file=file, line=line, column=1)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            root = YAML(typ="safe", pure=True).compose(text)
    except ReusedAnchorWarning as error:
        raise RecipeError("an anchor (&) is defined twice", where=file, fix="give each its own name") from error
    except MarkedYAMLError as error:
        raise RecipeError.of([_syntax(error, file)]) from error
    except YAMLError as error:
        raise RecipeError(" ".join(str(error).split()), where=file) from error
    except RecursionError as error:
        raise RecipeError("nested too deeply", where=file) from error
    builder = _Builder(file)
    node = builder.build(root, 0) if root is not None else Node(None, Mark(file, 1, 1))
    if builder.findings:
        raise RecipeError.of(builder.findings)
    return node


def parse_value(text: str, origin: str) -> Node:
    """A value from the command line, read by the same rules; every node is marked with `origin`."""
    return node_of(parse(text, origin).plain(), Mark(origin))


def _syntax(error: MarkedYAMLError, file: str) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(filter(None, (error.context, error.problem))) or "not YAML"
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    hint = "indent with spaces, not tabs" if r"'\t'" in message else ""
    return Diagnostic(message=message, file=file, line=line, column=column, hint=hint)


class _Builder:
    """Turns ruamel's nodes into ours, collecting every finding."""

    def __init__(self, file: str) -> None:
        self.findings: list[Diagnostic] = []
        self._file = file
        self._count = 0
        self._constructor = YAML(typ="safe", pure=True).constructor

    def build(self, node: Any, depth: int, mark: Mark | None = None) -> Node:
        mark = mark or self._mark(node)
        self._count += 1
        if self._count > MAX_NODES:
            raise RecipeError(f"more than {MAX_NODES} values once its aliases are written out", where=self._file)
        if depth > MAX_DEPTH:
            raise RecipeError.of([self._finding(node, f"nested more than {MAX_DEPTH} deep, or an alias of itself")])
        if not str(node.tag).startswith(_TAG):
            self.findings.append(self._finding(node, f"tag {str(node.tag)!r} is not allowed: a recipe is plain data"))
            return Node(None, mark)
        if isinstance(node, MappingNode):
            children = {}
            for key, mark_of_key, child in self._pairs(node):
                children[key] = self.build(child, depth + 1, mark_of_key)
            return Node(children, mark)
        if isinstance(node, SequenceNode):
            return Node([self.build(child, depth + 1) for child in node.value], mark)
        return Node(self._scalar(node), mark)

    def _pairs(self, node: MappingNode) -> Iterator[tuple[str, Mark, Any]]:
        """The entries of a mapping; keys are their own text: `0`, `60%` and `on` stay what they look like."""
        seen: dict[str, Mark] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                self.findings.append(self._finding(key, "a key is one word or number"))
            elif str(key.tag) == _TAG + "merge":
                self.findings.append(self._finding(key, "merge keys (<<) are not allowed", "write the keys out"))
            elif key.value in seen:
                message = f"key {key.value!r} is already given in line {seen[key.value].line}"
                self.findings.append(self._finding(key, message, "keep one of them"))
            else:
                seen[key.value] = self._mark(key)
                yield key.value, seen[key.value], child

    def _scalar(self, node: ScalarNode) -> bool | int | float | str | None:
        name = str(node.tag).removeprefix(_TAG)
        if name in _TEXT:
            return str(node.value)
        if name not in {"null", "bool", "int", "float"}:
            self.findings.append(self._finding(node, f"tag {name!r} is not allowed: a recipe is plain data"))
            return None
        try:
            value: bool | int | float | None = self._constructor.construct_object(node)
        except (ValueError, LookupError):
            self.findings.append(self._finding(node, f"{str(node.value)[:40]!r} is no {name}"))
            return None
        return value

    def _mark(self, node: Any) -> Mark:
        return Mark(self._file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _finding(self, node: Any, message: str, hint: str = "") -> Diagnostic:
        mark = self._mark(node)
        return Diagnostic(message=message, file=self._file, line=mark.line, column=mark.column, hint=hint)
