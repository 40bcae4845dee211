"""Files that are whole or absent: written beside their place, fsynced, renamed; and marks that prove it later.

A kill at any moment leaves the old file or the new one. JSON is strict: what is not finite becomes null.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.errors import SetupError
from r1core.store.kills import reached

PROGRESS = "checkpoint"
"""The folder of what a half-done stage goes on from."""
TEMPORARY = ".*.tmp-*"
"""What a kill in the middle of `writing` leaves behind (a glob)."""


@dataclass(frozen=True, kw_only=True)
class FileMark:
    """What a file must still be: its size in bytes and its sha256."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileMark:
        """The mark of a file as it is now."""
        with path.open("rb") as file:
            return cls(size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())

    def holds(self, path: Path) -> bool:
        """Whether the file is there and unchanged; the hash is only read when the size agrees."""
        return path.is_file() and path.stat().st_size == self.size and FileMark.of(path) == self

    def begins(self, path: Path) -> bool:
        """Whether the file is there and begins with what was marked: a log that has grown since still does."""
        if not path.is_file() or path.stat().st_size < self.size:
            return False
        digest, left = hashlib.sha256(), self.size
        with path.open("rb") as file:
            while left and (block := file.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
        return not left and digest.hexdigest() == self.sha256


def mark_folder(folder: Path) -> dict[str, FileMark]:
    """The mark of every file under `folder`, by its path inside it, sorted. Empty where there is no folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): FileMark.of(path) for path in files}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path`, durably, when the block ends well. OSErrors become SetupErrors."""
    temporary = _beside(path)
    try:
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync(temporary)
            reached("file")
            temporary.replace(path)
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def artifact(folder: Path) -> Iterator[Path]:
    """A folder to fill that becomes `folder` when the block ends well; the old one goes. Raises SetupError for the
    disk's errors."""
    staging = _beside(folder)
    try:
        with _disk_errors(folder):
            staging.mkdir(parents=True)
            yield staging
            discard(folder)
            staging.rename(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """OSErrors as SetupErrors about `path`."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            fix="free space on the disk, or choose another --run-dir; the same command goes on from what was saved",
        ) from error


def sync(path: Path) -> None:
    """Push a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_all(file: io.RawIOBase, data: bytes, *, at: int) -> None:
    """Write all of `data` at `at`, the end of an unbuffered file, or leave the file as long as it was (OSError)."""
    written = 0
    try:
        while written < len(data):
            written += file.write(data[written:]) or 0
    except OSError:
        file.truncate(at)
        raise


def write_text(path: Path, text: str) -> None:
    """Write the whole file, or leave it as it was."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, keys in the order given, NaN and infinities as null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Raises SetupError with the path when it is damaged or cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot be read: {error}", where=str(path), fix="remove it and run again") from error


def finite(value: Any) -> Any:
    """The same JSON value with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def discard(folder: Path) -> None:
    """Remove a folder so that a kill never leaves half of it under its own name."""
    if folder.exists():
        shutil.rmtree(doomed(folder), ignore_errors=True)
        shutil.rmtree(folder.rename(doomed(folder)))


def doomed(folder: Path) -> Path:
    """The name under which a folder is removed."""
    return folder.with_name(f".discarded-{folder.name}")
