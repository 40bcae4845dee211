"""Every slip of the hand in a YAML file: a letter lost, two swapped, one mistyped, a value of the wrong type.

A `Slip` is one edit of one file. Several that do not touch each other are made at once (`edited`): the errors of a
phase come all at once, so hundreds are checked with a few plans.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

Path = tuple[str, ...]
LETTERS = ("deleted", "swapped", "mistyped")
NUMBER = ("int", "float", "bool")
NONSENSE = "{no_such_key: 1}"


@dataclass(frozen=True, kw_only=True)
class Slip:
    """`new` in the place of the characters `start` to `end`; whoever finds it points at the character `at`."""

    kind: str
    path: Path
    start: int
    end: int
    new: str
    at: int
    right: str = ""
    """What was meant: to be suggested. Empty where the type is wrong."""
    is_key: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """A key, or a value, of a file."""

    path: Path
    node: Any
    at: int
    is_key: bool


def places(text: str) -> Iterator[Place]:
    """Every key and every value of the file; what an alias repeats comes once."""
    yield from _places(YAML(typ="safe", pure=True).compose(text), (), set())


def _places(node: Any, path: Path, seen: set[int]) -> Iterator[Place]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key, child in node.value:
            yield Place(path=(*path, key.value), node=key, at=key.start_mark.index, is_key=True)
            if id(child) not in seen:
                yield Place(path=(*path, key.value), node=child, at=key.start_mark.index, is_key=False)
            yield from _places(child, (*path, key.value), seen)
    elif isinstance(node, SequenceNode):
        for index, child in enumerate(node.value):
            yield Place(path=(*path, str(index)), node=child, at=child.start_mark.index, is_key=False)
            yield from _places(child, (*path, str(index)), seen)


def letter_slips(place: Place, text: str, *, everywhere: bool = False) -> Iterator[Slip]:
    """The ways to misspell a word: each once, at a letter that differs from word to word; or at every letter."""
    start, word = place.node.start_mark.index, str(place.node.value)
    if text[start : start + len(word)] != word:
        return  # quoted or folded
    for kind in LETTERS:
        made = [wrong for wrong in _misspelled(word, kind) if wrong]
        chosen = made if everywhere else made[zlib.crc32(f"{place.path} {kind}".encode()) % max(1, len(made)) :][:1]
        for wrong in chosen:
            common = {"kind": kind, "path": place.path, "at": place.at, "right": word, "is_key": place.is_key}
            yield Slip(start=start, end=start + len(word), new=wrong, **common)


def _misspelled(word: str, kind: str) -> Iterator[str]:
    for i, letter in enumerate(word):
        if kind == "deleted":
            yield word[:i] + word[i + 1 :]
        elif kind == "swapped" and i and letter != word[i - 1]:
            yield word[: i - 1] + letter + word[i - 1] + word[i + 1 :]
        elif kind == "mistyped" and letter.isalnum():
            yield word[:i] + ("q" if letter != "q" else "w") + word[i + 1 :]


def type_slips(place: Place, text: str) -> Iterator[Slip]:
    """A mapping or a list where a scalar is wanted, words where a number is, a number where a list or mapping is."""
    node, start = place.node, place.node.start_mark.index
    if text[start] == "&":  # an anchor stays, whatever it names
        start = start + len(text[start:].split(maxsplit=1)[0])
        start += len(text[start:]) - len(text[start:].lstrip())
    end = _end(node)
    if end <= start or re.search(r"[\s:\[]&\w", text[start:end]):
        return  # a slot left open; or what others repeat, who would be at fault then
    wrong = {"list": "[7]"} if isinstance(node, MappingNode) else {"number": "7"}
    if isinstance(node, ScalarNode):
        wrong = {"mapping": NONSENSE, "list": "[1]"}
        if str(node.tag).rpartition(":")[2] in NUMBER:
            wrong["words"] = "words"
    for kind, new in wrong.items():
        yield Slip(kind=kind, path=place.path, start=start, end=end, new=new, at=place.at)


def _end(node: Any) -> int:
    """Where a value ends; a block's own mark lies past the comments that follow it."""
    children = [child for pair in node.value for child in pair] if isinstance(node, MappingNode) else node.value
    if isinstance(node, ScalarNode) or node.flow_style or not children:
        return int(node.end_mark.index)
    return _end(children[-1])


def apart(one: Slip, other: Slip) -> bool:
    """Whether both edits can be made at once and told apart: a value is pointed at by its key."""
    return one.path != other.path and (one.end <= other.start or other.end <= one.start)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where a slip may be pointed at: its key, or, where a value is wrong, within the value too."""

    exact: tuple[int, int]
    value: tuple[tuple[int, int], tuple[int, int]] | None = None

    def holds(self, place: tuple[int, int]) -> bool:
        """Whether a line and column lie there."""
        return place == self.exact or (self.value is not None and self.value[0] <= place < self.value[1])


def edited(text: str, slips: Sequence[Slip]) -> tuple[str, dict[Slip, Span]]:
    """The file with all these slips, and where each is."""
    wrong: list[str] = []
    at: dict[Slip, tuple[int, int]] = {}
    last = moved = 0
    for slip in sorted(slips, key=lambda slip: slip.start):
        wrong += [text[last : slip.start], slip.new]
        at[slip] = (slip.at + moved, slip.start + moved)
        last, moved = slip.end, moved + len(slip.new) - (slip.end - slip.start)
    result = "".join([*wrong, text[last:]])
    return result, {slip: _span(result, slip, *places) for slip, places in at.items()}


def _span(text: str, slip: Slip, at: int, start: int) -> Span:
    value = (_line_column(text, start), _line_column(text, start + len(slip.new)))
    return Span(exact=_line_column(text, at), value=None if slip.kind in LETTERS else value)


def _line_column(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
