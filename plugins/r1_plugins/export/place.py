"""Where an export goes: a folder that is whole or absent, and that nobody else's work is lost to.

It is filled beside its place, fsynced, and renamed. A kill leaves at most a hidden folder `.OUT.tmp-<pid>`, which the
next export to that place removes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from r1core.errors import RecipeError, SetupError
from r1core.store.files import discard, sync

PROVENANCE = "r1_run.json"
FORMAT = "r1core export 1"
"""What the `format` of r1_run.json says: the mark by which an earlier export is known."""


def check_place(out: Path, sources: list[Path], *, force: bool) -> None:
    """Raises RecipeError where writing `out` would lose, or lie within, what is exported or somebody's files."""
    place = out.resolve()
    for source in (path.resolve() for path in sources):
        if place == source or source in place.parents or place in source.parents:
            said = "is" if place == source else "lies within" if source in place.parents else "holds"
            raise RecipeError(f"{out} {said} the model itself, {source}", where="OUT", fix="choose another folder")
    if place == Path.cwd().resolve() or place in Path.cwd().resolve().parents:
        raise RecipeError(f"{out} is the working directory, or holds it", where="OUT", fix="choose another folder")
    if place.exists() and not place.is_dir():
        raise RecipeError(f"{out} is a file", where="OUT", fix="name a folder that is not there yet")
    if place.exists() and any(place.iterdir()) and not is_export(place) and not force:
        fix = "choose another folder, or lose it with --force"
        raise RecipeError(f"{out} is there and is not an earlier export", where="OUT", fix=fix)


def is_export(folder: Path) -> bool:
    """Whether an earlier export left this folder."""
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def check_space(out: Path, needed_bytes: int) -> None:
    """Raises SetupError where the disk has no room for that much more."""
    above = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    free = shutil.disk_usage(above).free
    if free < needed_bytes:
        raise SetupError(
            f"the export takes {needed_bytes / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free",
            where=str(out),
            fix="free space on the disk, or choose a folder on another one",
        )


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder to fill that becomes `out` when the block ends well. Raises SetupError for what the disk refuses."""
    place = out.resolve()
    staging = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    try:
        with disk_errors(out):
            place.parent.mkdir(parents=True, exist_ok=True)
            _sweep(place)
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            yield staging
            for path in sorted(staging.rglob("*")):
                sync(path)
            discard(place)
            staging.rename(place)
            sync(place.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """OSErrors as SetupErrors about `out`."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror or error}",
            where=str(out),
            fix="nothing half is left there; free space on the disk, or choose another folder",
        ) from error


def _sweep(place: Path) -> None:
    """Remove what exports to this place left that were killed."""
    for left in place.parent.glob(f".{place.name}.tmp-*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
