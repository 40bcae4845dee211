"""What changed between two `made_from` (fingerprint.py), in the words of a recipe:

seed: 0 -> 1
stages.dev1.train.lr: 0.001 -> 0.002
stages.dev1.data.path train.jsonl: 120 bytes, 4 lines, sha256 12ab34cd56ef -> absent
source of trainer sft: 12ab34cd56ef -> 98fe76dc54ba
input r1_zero: made from something else
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

ABSENT = object()
LONGEST = 100
"""Characters of a value; of a longer one, those from shortly before the first that differs."""
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line for each value that differs, in the order of `after`. Both are JSON data; where it is not known what
    came before, one line says so."""
    if not before:
        return [f"stages.{after['id']}: nothing tells what it was made from"]
    hashes = frozenset(value for side in (before, after) for value in side.get("sources", {}).values())
    lines: list[str] = []
    for key, old, new in _pairs(before, after):
        if key == "sources":
            lines += _sources(old, new)
        elif key == "inputs":
            lines += _inputs(old, new)
        else:
            place = f"stages.{after['id']}" if key == "stage" else key
            lines += changes(_bare(old, hashes), _bare(new, hashes), place)
    return lines


def _sources(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """Local code goes by its name and hash; here by its name."""
    sides = [{key.removesuffix(f" {value}"): value for key, value in side.items()} for side in (old, new)]
    for name, left, right in _pairs(*sides):
        if left != right:
            yield f"source of {name}: {_change(left, right)}"


def _inputs(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name, left, right in _pairs(old, new):
        if ABSENT in (left, right):
            yield f"input {name}: {_change(left, right)}"
        elif left != right:
            yield f"input {name}: made from something else"


def changes(old: Any, new: Any, place: str) -> Iterator[str]:
    """One line for each value that differs between two pieces of JSON data, with its place."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        is_content = place.endswith((".path", ".import"))  # file names, with their content
        for key, left, right in _pairs(old, new):
            yield from changes(left, right, f"{place}{' ' if is_content else '.'}{key}")
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for index, (left, right) in enumerate(zip_longest(old, new, fillvalue=ABSENT)):
            yield from changes(left, right, f"{place}.{index}")
    elif _whole(old) != _whole(new):
        yield f"{place}: {_change(old, new)}"


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys((*new, *old)):
        yield key, old.get(key, ABSENT), new.get(key, ABSENT)


def _bare(value: Any, hashes: frozenset[str], key: str = "") -> Any:
    """The value with local code by its name alone: a change of its source has a line of its own."""
    if isinstance(value, Mapping):
        return {name: _bare(item, hashes, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item, hashes, key) for item in value]
    name, _, end = value.rpartition(" ") if isinstance(value, str) and key == "use" else ("", "", "")
    return name if name and end in hashes else value


def _whole(value: Any) -> str:
    """As the fingerprint sees it: 1 and 1.0 differ."""
    return "absent" if value is ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _change(old: Any, new: Any) -> str:
    texts = [_HASH.sub(r"\1", value if isinstance(value, str) else _whole(value)) for value in (old, new)]
    same = next((i for i, (left, right) in enumerate(zip(*texts, strict=False)) if left != right), LONGEST)
    start = max(0, same - 20)
    return " -> ".join(text if len(text) <= LONGEST else _cut(text, start) for text in texts)


def _cut(text: str, start: int) -> str:
    end = start + LONGEST
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
