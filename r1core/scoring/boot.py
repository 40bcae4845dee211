"""The first file that runs in another interpreter (`python:`): it lends that one our r1core, and nothing else of ours.

    <environment>/bin/python -P boot.py {"r1core": "<folder>"} r1core.scoring.server

The r1core at work there is ours, whatever is installed there: parent and worker speak one protocol,
and the version in the fingerprint is the one that judged, with no second version to keep in step. A
folder on PYTHONPATH would bring its neighbours along, our numpy first of all; so packages are lent one
by one, and everything that they import is the environment's own.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class Lent(MetaPathFinder):
    """Finds these top-level packages in our folders, before the environment's own."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The package in the folder that it is lent from; None for all others."""
        return PathFinder.find_spec(name, [self._folders[name]], target) if name in self._folders else None


def main() -> None:
    """Lend the packages, then run the module's `main`."""
    folders, module = sys.argv[1:]
    sys.meta_path.insert(0, Lent(json.loads(folders)))
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
