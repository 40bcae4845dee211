"""Whether the code that another interpreter finds is the code that the plan's fingerprint speaks of."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import NamedTuple

from r1core.plugin_host.hashing import hash_source, module_root


class Source(NamedTuple):
    """A reward's code as the plan knows it. `module` is the plugin's, or a file where there is no plugin."""

    module: str
    source_hash: str
    distribution: str
    version: str


def changed(source: Source) -> str:
    """How the code here differs from it, as a sentence with what to do; "" when it does not."""
    is_file = source.module.endswith(".py")
    root = Path(source.module) if is_file else module_root(importlib.import_module(source.module))
    found = hash_source(root)
    if found == source.source_hash:
        return ""
    if is_file:
        return f"{root} has changed since the plan was made: run the same command again"
    pinned = f"{source.distribution}=={source.version}"
    return (
        f"{root} is {source.distribution} {_version(source.distribution)} with source {found[:12]}, the plan was made "
        f"with {source.version}, source {source.source_hash[:12]}: "
        f"{sys.executable} -m pip install --force-reinstall {pinned}, or install here what is there"
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of no version"
