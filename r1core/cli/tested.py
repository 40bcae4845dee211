"""The tested matrix (tested.toml): in which versions r1core's packages are known to work together, and what is here."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from dataclasses import dataclass
from importlib import resources

from packaging.specifiers import SpecifierSet

PYTHON = "python"


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package: the versions that it may have, those that tests and benchmarks ran on, other distributions of it."""

    name: str
    range: SpecifierSet
    tried: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()

    @property
    def installed(self) -> str | None:
        """The version that is here, of whichever distribution."""
        if self.name == PYTHON:
            return platform.python_version()
        for name in (self.name, *self.known_as):
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return None

    @property
    def is_tested(self) -> bool:
        """Whether what is here lies in the range; whoever has none is not asked."""
        found = self.installed
        return found is not None and self.range.contains(found, prereleases=True)


def matrix() -> dict[str, Package]:
    """Package -> what is known of it."""
    text = resources.files("r1core.cli").joinpath("tested.toml").read_text(encoding="utf-8")
    return {
        name: Package(
            name=name,
            range=SpecifierSet(row["range"]),
            tried=tuple(row["tried"]),
            known_as=tuple(row.get("known_as", ())),
        )
        for name, row in tomllib.loads(text).items()
    }
