"""What a model's program may read: the interpreter's standard library, what that is linked with, and no one's data."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

_SHARED = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def readable() -> list[str]:
    """Real paths that are there, none within another."""
    return _outermost(os.path.realpath(path) for path in (*_own(), *_SHARED, *_DEVICES) if Path(path).exists())


def places() -> dict[str, str]:
    """Path -> the real path to mount there: the same, and the interpreter's own folders as it spells them itself."""
    found = {path: path for path in readable()}
    spelled = [path for path in _outermost(_own()) if not _within(path, found)]
    return {**found, **{path: os.path.realpath(path) for path in spelled}}


def links() -> dict[str, str]:
    """Link -> where it leads, of the names above that are links: /lib leads to usr/lib on many systems."""
    return {path: str(Path(path).readlink()) for path in _SHARED if Path(path).is_symlink()}


def is_device(path: str) -> bool:
    """Whether it is one of the harmless devices."""
    return path in _DEVICES


def _own() -> list[str]:
    """The folders of the interpreter itself, not of an environment that it may run in."""
    paths = (str(Path(os.__file__).parent), f"{sys.base_prefix}/lib", f"{sys.base_exec_prefix}/lib")
    return [path for path in paths if Path(path).is_dir()]


def _outermost(paths: Iterable[str]) -> list[str]:
    found = sorted(set(paths))
    return [path for path in found if not _within(path, (other for other in found if other != path))]


def _within(path: str, others: Iterable[str]) -> bool:
    return any(path == other or path.startswith(f"{other}/") for other in others)
