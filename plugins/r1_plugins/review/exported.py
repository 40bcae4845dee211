"""The answers that a review stage laid out: found from what a person names, and read a row at a time by its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.stages.review import LAID_OUT
from r1core.stages.review_file import Key

WANTED = {"id": str, "sample": int, "question": str, "prefilled": str, "text": str, "was": str}


def find_export(data: Path) -> Path:
    """The `review.jsonl` that is meant. Raises RecipeError (exit 2)."""
    if data.is_file():
        return data
    if not data.is_dir():
        raise RecipeError(f"there is no {str(data)!r}", where="DATA", fix=f"give a run, or a stage's {LAID_OUT}")
    if (data / LAID_OUT).is_file():
        return data / LAID_OUT
    found = sorted(data.glob(f"stages/*/{LAID_OUT}"))
    if len(found) == 1:
        return found[0]
    if found:
        listed = "\n  ".join(f"r1 review {path.parent}" for path in found)
        raise RecipeError(f"{data} has {len(found)} review stages", where="DATA", fix=f"choose one:\n  {listed}")
    raise RecipeError(f"{data} has no {LAID_OUT}: no review stage has run there", where="DATA", fix="run it first")


def recipe_path(export: Path) -> Path:
    """Where the run's recipe reads the decisions. Raises RecipeError where no recipe says it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    stage, resolved = export.absolute().parent, export.absolute().parent.parent.parent / "recipe.resolved.yaml"
    try:
        found = YAML(typ="safe").load(resolved.read_text(encoding="utf-8"))["stages"][stage.name]["review"]["path"]
    except (OSError, YAMLError, KeyError, TypeError, UnicodeDecodeError):
        fix = "give --output FILE, and that file as the review stage's `path`"
        raise RecipeError("no recipe beside it says where decisions go", where=str(export), fix=fix) from None
    return Path(found)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The file, and where each of its rows begins; the rows stay on disk."""

    path: Path
    offsets: tuple[int, ...]
    places: dict[Key, int]
    stamp: tuple[int, int]

    @classmethod
    def read(cls, path: Path) -> Exported:
        """Raises RecipeError for an empty file, and for one that no review stage laid out."""
        offsets: list[int] = []
        places: dict[Key, int] = {}
        try:
            with path.open("rb") as file:
                stamp, at = _stamp(path), 0
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        row = _row(line, f"{path}:{number}")
                        if places.setdefault((row["id"], row["sample"]), len(offsets)) != len(offsets):
                            raise _no_export(f"{path}:{number}", "the answer was there already")
                        offsets.append(at)
                    at += len(line)
        except OSError as error:
            raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from error
        if not offsets:
            raise RecipeError("is empty: there is nothing to review", where=str(path), fix="see what the filters kept")
        return cls(path=path, offsets=tuple(offsets), places=places, stamp=stamp)

    def row(self, place: int) -> dict[str, Any]:
        """One answer. Raises RecipeError when the file is no longer the one that was read."""
        if not self.path.exists() or _stamp(self.path) != self.stamp:
            raise RecipeError("has changed since it was opened", where=str(self.path), fix="start r1 review again")
        with self.path.open("rb") as file:
            file.seek(self.offsets[place])
            return _row(file.readline(), str(self.path))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _no_export(where, f"not JSON: {error}") from None
    wrong = [k for k, kind in WANTED.items() if type(row.get(k)) is not kind] if isinstance(row, dict) else list(WANTED)
    if wrong:
        raise _no_export(where, f"lacks {', '.join(wrong)}")
    found: dict[str, Any] = row
    return found


def _no_export(where: str, why: str) -> RecipeError:
    return RecipeError(f"is no export of a review stage: {why}", where=where, fix=f"give the stage's {LAID_OUT}")
