"""The source hash of a component: what its code is, whatever its version says.

sha256 over the relative names and bytes of every file of the component's package folder (a plain
module counts with its siblings; a local file is only itself), compiled files left out.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType


def module_root(module: ModuleType) -> Path:
    """The folder (or, for a top-level module, the file) that holds the module's code."""
    if hasattr(module, "__path__"):
        return Path(next(iter(module.__path__)))
    file = Path(module.__file__ or ".")
    return file.parent if "." in module.__name__ else file


def hash_source(root: Path) -> str:
    """sha256 of a file or of all files below a folder, in sorted order."""
    digest = hashlib.sha256()
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file() and _counts(path))
    for path in files:
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _counts(path: Path) -> bool:
    return "__pycache__" not in path.parts and path.suffix != ".pyc" and not path.name.startswith(".")


def class_file(cls: type) -> str:
    """The file that defines a class, "" when there is none."""
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
