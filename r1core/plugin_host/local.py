"""One-off components: `./mine.py:MyReward`, a class in a file beside the recipe, not packaged at all.

The file is imported under a name made from its path and content, so an edited file is a new module
and two recipes may each have their own `mine.py`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from r1core.errors import RecipeError
from r1core.plugin_host.discovery import Provider
from r1core.plugin_host.hashing import hash_source
from r1core.plugin_host.loading import blame, invalid
from r1core.suggest import did_you_mean

_LOCAL = re.compile(r"(?P<file>.+\.py):(?P<attribute>[A-Za-z_]\w*)")


def is_local(name: str) -> bool:
    """Whether a recipe's name is a file and a class rather than a plugin's component."""
    return _LOCAL.fullmatch(name) is not None or name.startswith(("./", "../")) or name.endswith(".py")


def load_local(kind: str, name: str, folder: Path | None) -> tuple[type, Provider, str, str]:
    """(class, provider, source hash, file) of `./file.py:Class`, the file relative to `folder`."""
    match = _LOCAL.fullmatch(name)
    if match is None:
        raise RecipeError(f"{name!r} names a file but no class in it", fix="write ./file.py:Class")
    file = (folder or Path()) / match["file"]
    if not file.is_file():
        raise RecipeError(f"no file {str(file)!r}", fix="a path in a recipe is relative to the file that says it")
    source_hash = hash_source(file)
    cls = _attribute(_module(file.resolve(), source_hash), match["attribute"], file)
    wrong = invalid(cls, kind)
    if wrong:
        raise RecipeError(wrong, where=str(file))
    provider = Provider(name=name, target=str(file), distribution="local file", version=source_hash[:12])
    return cls, provider, source_hash, str(file)


def _module(file: Path, source_hash: str) -> ModuleType:
    name = f"r1_local_{hashlib.sha256(f'{file}{source_hash}'.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{str(file)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise RecipeError(
            f"{file.name} failed to load: {type(error).__name__}: {error}", where=blame(error, "", root=file)
        ) from error
    return module


def _attribute(module: ModuleType, attribute: str, file: Path) -> Any:
    if not hasattr(module, attribute):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise RecipeError(
            f"{file.name} has no class {attribute!r}", where=str(file), fix=did_you_mean(attribute, classes)
        )
    return getattr(module, attribute)
