"""Checkpoints: folders that are whole or absent, of which the newest whole one is computed, never noted down.

    checkpoint/step-00000012/{policy/, state.json, ..., manifest.json}

A checkpoint is written beside its place, fsynced file by file, given its manifest last (size and
sha256 of every file, and of the files beside the folder that belong to the same moment) and renamed.
`newest` takes the highest whose manifest verifies. An older one goes only after its successor verified.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from r1core.store.files import PROGRESS, FileMark, discard, mark_folder, sync
from r1core.store.kills import reached

MANIFEST = "manifest.json"
HEADROOM = 1.2
"""Free space asked for before a save, in sizes of the checkpoint before it."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint on disk: `step` steps are done. `beside` marks what was there of files in the stage's folder."""

    step: int
    path: Path
    beside: Mapping[str, FileMark]


class Checkpoints:
    """The checkpoints of one stage, in `<stage>/checkpoint/`."""

    def __init__(self, stage: Path, *, keep: int) -> None:
        self.stage = stage
        self.folder = stage / PROGRESS
        self._keep = keep

    def newest(self, damaged: Callable[[str], None]) -> Checkpoint | None:
        """The newest that is whole, None without one. `damaged` is told of each newer one, and why not."""
        for path in self._paths():
            checkpoint, finding = self._verified(path)
            if checkpoint is not None:
                return checkpoint
            damaged(f"checkpoint {path.name} is damaged ({finding})")
        return None

    def save(self, step: int, write: Callable[[Path], None], *, beside: Mapping[str, FileMark]) -> Checkpoint:
        """Have `write` fill a folder and make it the checkpoint after `step` steps; then let go of old ones.

        Raises OSError when it cannot be written or read back; the older checkpoints are then as they were.
        """
        path = self.folder / f"step-{step:08d}"
        staging = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        try:
            self._tidy()
            self._ask_for_space()
            reached("checkpoint.begin")
            staging.mkdir(parents=True)
            write(staging)
            self._seal(staging, step, beside)
            discard(path)
            staging.rename(path)
            sync(self.folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        reached("checkpoint.done")
        checkpoint, finding = self._verified(path)
        if checkpoint is None:
            raise OSError(f"what was written reads back otherwise: {finding}")
        self._prune(checkpoint)
        return checkpoint

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, whole or not, newest first."""
        return [int(path.name.removeprefix("step-")) for path in self._paths()]

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)

    def _seal(self, staging: Path, step: int, beside: Mapping[str, FileMark]) -> None:
        files = mark_folder(staging)
        for name in files:
            sync(staging / name)
        reached("checkpoint.files")
        marks = {
            "files": {name: asdict(mark) for name, mark in files.items()},
            "beside": {name: asdict(mark) for name, mark in sorted(beside.items())},
        }
        manifest = staging / MANIFEST
        manifest.write_text(_rendered({"step": step, **marks}), encoding="utf-8")
        for path in (manifest, *(folder for folder in staging.rglob("*") if folder.is_dir()), staging):
            sync(path)
        reached("checkpoint.manifest")

    def _verified(self, path: Path) -> tuple[Checkpoint | None, str]:
        """The checkpoint if every file of it is what its manifest says; else the first that is not."""
        try:
            text = (path / MANIFEST).read_text(encoding="utf-8")
            manifest = json.loads(text)
            files = {name: FileMark(**mark) for name, mark in manifest["files"].items()}
            beside = {name: FileMark(**mark) for name, mark in manifest["beside"].items()}
            step = int(manifest["step"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return None, f"{MANIFEST}: {type(error).__name__}"
        if text != _rendered(manifest):
            return None, f"{MANIFEST} is not what it was"
        if path.name != f"step-{step:08d}":
            return None, f"{MANIFEST} is that of step {step}"
        for name in self._broken(path, files, beside):
            return None, f"{name} is not what it was"
        return Checkpoint(step=step, path=path, beside=beside), ""

    def _broken(self, path: Path, files: Mapping[str, FileMark], beside: Mapping[str, FileMark]) -> Iterator[str]:
        found = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} - {MANIFEST}
        yield from sorted(found ^ files.keys())
        yield from (name for name, mark in files.items() if not mark.holds(path / name))
        yield from (name for name, mark in beside.items() if not mark.begins(self.stage / name))

    def _tidy(self) -> None:
        """Remove what a kill left of a save or a removal."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*"):
            shutil.rmtree(leftover)

    def _ask_for_space(self) -> None:
        """A disk that is filled to the brim breaks what else writes to it."""
        last = next(iter(self._paths()), None)
        files = [file for file in last.rglob("*") if file.is_file()] if last is not None else []
        wanted = HEADROOM * sum(file.stat().st_size for file in files)
        free = shutil.disk_usage(self.folder).free
        if free < wanted:
            raise OSError(f"{free / 1e6:.1f} MB are free, a checkpoint needs {wanted / 1e6:.1f} MB")

    def _prune(self, newest: Checkpoint) -> None:
        """Keep the newest; what lies above it is left of a course that damage cut short."""
        older = [path for path in self._paths() if path != newest.path and path.name < newest.path.name]
        above = [path for path in self._paths() if path.name > newest.path.name]
        for path in (*above, *older[self._keep - 1 :]):
            discard(path)
            reached("checkpoint.pruned")


def _rendered(manifest: Mapping[str, object]) -> str:
    return json.dumps(manifest, indent=2) + "\n"
