"""Files that are whole or absent: written beside their place, fsynced, renamed; and marks that prove it later.

A kill at any moment leaves the old file or the new one. JSON is strict: what is not finite becomes null.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.errors import SetupError

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


def mark_folder(folder: Path) -> dict[str, FileMark]:
    """The mark of every file under `folder`, by its path inside it, sorted. Empty where there is no folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): FileMark.of(path) for path in files}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path`, durably, when the block ends well. OSErrors become SetupErrors."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            fix="free space on the disk, or choose another --run-dir",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Push a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
