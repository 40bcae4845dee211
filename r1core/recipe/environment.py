"""The environment that a reward's `python:` names, read from its folders alone: a plan runs nothing that is there.

A virtual environment's folder (a conda one will do), or an interpreter file in one. What is installed
there decides what the reward says, beside its own source: names and versions of its distributions go
into the stage's fingerprint and into plugins.lock; where the environment lies does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

from r1core.hookspecs import PROJECT

ABSENT = "absent"
UNCOUNTED = frozenset({"pip", PROJECT})
"""Distributions that have no say in a verdict: pip only installs, and the r1core at work there is ours."""
_LIBRARY = re.compile(r"python3\.(\d+)t?")
_DISTRIBUTION = re.compile(r"([A-Za-z0-9][^-]*)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")
_HINT = "name a virtual environment's folder, or the python in its bin/"


@dataclass(frozen=True)
class Environment:
    """One environment; nothing is read before it is asked for."""

    place: Path
    """Its folder, or an interpreter in its bin/."""

    @property
    def interpreter(self) -> Path:
        """The file to run. Links are kept: an environment is known by where its interpreter lies."""
        return self.place if self.place.is_file() else self.place / "bin" / "python"

    @property
    def folder(self) -> Path:
        """The environment's own folder, also where `place` names an interpreter in its bin/, there or not."""
        is_file = self.place.name.startswith("python") and self.place.parent.name == "bin" and not self.place.is_dir()
        return self.place.parent.parent if is_file else self.place

    @property
    def exists(self) -> bool:
        """Whether there is an interpreter to run."""
        return self.interpreter.is_file()

    @cached_property
    def settings(self) -> dict[str, str]:
        """pyvenv.cfg, {} where there is none."""
        try:
            lines = (self.folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        pairs = [line.partition("=") for line in lines]
        return {key.strip().lower(): value.strip() for key, _, value in pairs}

    @cached_property
    def _site(self) -> Path | None:
        """Where its packages lie. An environment that was upgraded in place has the folders of both versions."""
        libraries = [path for path in self.folder.glob("lib/python3.*/site-packages") if path.is_dir()]
        found = {int(match[1]): path for path in libraries if (match := _LIBRARY.fullmatch(path.parent.name))}
        told = re.match(r"3\.(\d+)", self.settings.get("version", self.settings.get("version_info", "")))
        if told and int(told[1]) in found:
            return found[int(told[1])]
        return found[max(found)] if found else None

    @property
    def version(self) -> str:
        """Its Python, such as "3.11"."""
        return self._site.parent.name.removeprefix("python").rstrip("t") if self._site is not None else ""

    @cached_property
    def distributions(self) -> dict[str, str]:
        """Normalised name -> version of everything that is installed, sorted. Several versions of one name are a
        fault of the environment, and all count."""
        found: dict[str, list[str]] = {}
        for name, version, _ in self._infos():
            found.setdefault(name, []).append(version)
        return {name: " ".join(found[name]) for name in sorted(found)}

    def requires(self, name: str) -> list[str]:
        """What a distribution that is installed there says it requires."""
        folders = [folder for found, _, folder in self._infos() if found == normal(name)]
        return [text for folder in folders for text in PathDistribution(folder).requires or ()]

    def _infos(self) -> Iterator[tuple[str, str, Path]]:
        """(normalised name, version, folder) of each distribution's metadata."""
        for path in sorted(self._site.iterdir()) if self._site is not None else ():
            match = _DISTRIBUTION.fullmatch(path.name)
            if match:
                yield normal(match[1]), match[2], path

    def counted(self) -> Any:
        """What of it a verdict depends on, as plain JSON data."""
        if not self.exists:
            return ABSENT
        packages = {name: version for name, version in self.distributions.items() if name not in UNCOUNTED}
        return {"version": self.version, "packages": packages}

    def refusal(self) -> tuple[str, str]:
        """(what, hint) where this is no environment, whatever one installs; ("", "") else."""
        place = str(self.place)
        if not self.place.is_absolute():
            return f"{place!r} is neither absolute nor relative to this file", f"write './{place}'"
        if self.place.is_dir() and not self.exists and not self.interpreter.is_symlink():
            return f"{place!r} is no virtual environment: it has no bin/python", _HINT
        if self.exists and self._site is None:
            return f"{place!r} is no virtual environment: it has no site-packages of its own", _HINT
        return "", ""


def normal(name: str) -> str:
    """A distribution's name as all spellings of it compare."""
    return re.sub(r"[-_.]+", "-", name).lower()
