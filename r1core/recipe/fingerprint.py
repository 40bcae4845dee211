"""What a stage's bytes depend on, as one hash: equal fingerprints mean an equal artifact.

In it: the stage's name (its id, or the stage that it is a variant of: randomness is derived from it) and
resolved config, the source of its components, the content of local files that it names, what is
installed where a reward runs elsewhere (`python`), the seed, its inputs' fingerprints, and the versions
of r1core and of the schema. Left out: what only decides whether the run goes on (`gate`), how many
processes score (`scoring`), what is kept beside the artifact (`checkpoint`, `rollouts`), and options that say
so themselves (`Uncounted`). A path counts by what lies there, never by where it lies.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from r1core.choices import Uncounted
from r1core.plugins import core_version
from r1core.recipe.annotations import arms_of
from r1core.recipe.environment import Environment
from r1core.recipe.names import Draft
from r1core.recipe.schema import SCHEMA_VERSION, SampleSpec

UNCOUNTED = ("gate", "scoring", "checkpoint", "rollouts", "stall_s", "seed", "variant")
NEWLINE = b"\n"
LARGE_BYTES = 64_000_000
"""A larger file counts by its size and time of change: hashing gigabytes would make every plan slow."""


def made_from(draft: Draft, *, name: str, seed: int, inputs: Mapping[str, str]) -> dict[str, Any]:
    """All that the stage's artifact depends on, as plain JSON data; the fingerprint is its digest."""
    local = {c.name: f"{Path(c.name).name} {c.source_hash}" for c in draft.components if c.local}
    counted = {key: value for key, value in draft.plain.items() if key not in UNCOUNTED}
    if "rewards" in counted:
        configs = {c.name: c.cls.Config for c in draft.components if c.kind == "reward"}
        counted["rewards"] = [counted_options(configs[reward["use"]], reward) for reward in counted["rewards"]]
    if "sampler" in counted:
        configs = {c.name: c.cls.Config for c in draft.components if c.kind == "sampler"}
        counted["sampler"] = counted_options(configs[counted["sampler"]["use"]], counted["sampler"])
    if "sample" in counted:
        counted["sample"] = counted_options(SampleSpec, counted["sample"])
    if counted.get("evaluate"):
        counted["evaluate"] = _as_before(counted["evaluate"])
    return {
        "r1core": core_version(),
        "schema": SCHEMA_VERSION,
        "seed": seed,
        "id": name,
        "kind": draft.kind,
        "stage": _without_places(_portable(counted, local)),
        "sources": {f"{c.kind} {local.get(c.name, c.name)}": c.source_hash for c in draft.components},
        "inputs": dict(inputs),
    }


def _as_before(evaluate: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a set only says of what always held: the fingerprints of older runs stay theirs."""
    held: tuple[tuple[str, Any], ...] = (("thinking", "required"), ("also_k", []))
    sets = {name: {k: v for k, v in each.items() if (k, v) not in held} for name, each in evaluate["sets"].items()}
    return {**evaluate, "sets": sets}


def counted_options(model: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide what comes out."""
    told = dict(options)
    for name, field in model.model_fields.items():
        key = field.alias or name
        marks = [mark for mark in field.metadata if isinstance(mark, Uncounted)]
        if any(not mark.unless or options.get(mark.unless) for mark in marks):
            told.pop(key, None)
        elif isinstance(told.get(key), dict):
            inner = [arm for arm in arms_of(field.annotation) if isinstance(arm, type) and issubclass(arm, BaseModel)]
            told[key] = counted_options(inner[0], told[key]) if inner else told[key]
    return told


def digest(value: Any) -> str:
    """sha256 of canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _portable(value: Any, local: Mapping[str, str], key: str = "") -> Any:
    """The value with local code by its name and source, and local files by their content."""
    if isinstance(value, dict):
        return {k: _portable(v, local, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_portable(item, local, key) for item in value]
    if isinstance(value, str) and key == "use":
        return local.get(value, value)
    if isinstance(value, str) and key in ("path", "import") and value and _exists(value):
        return _content(Path(value))
    return value


def _without_places(stage: Any) -> Any:
    """Each reward's `python` by what is installed there."""
    for reward in stage.get("rewards", ()):
        if "python" in reward:
            reward["python"] = Environment(Path(reward["python"])).counted()
    return stage


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _content(path: Path) -> Any:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(path.parent if path.is_file() else path).as_posix(): _file(file) for file in files}


def _file(file: Path) -> str:
    """The content of a file, as short text; a file that cannot be read is the stage's to complain about."""
    if not os.access(file, os.R_OK):
        return "unreadable"
    status = file.stat()
    if status.st_size > LARGE_BYTES:
        return f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"
    content = file.read_bytes()
    return f"{len(content)} bytes, {content.count(NEWLINE)} lines, sha256 {hashlib.sha256(content).hexdigest()}"
