"""A reward that runs in an interpreter of its own (`python:`), and what keeps it from running there.

What is said here is read from folders, so `--dry-run` says it of a stranger's recipe, too. What only
the interpreter itself can tell is asked before a run (scoring/python.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion

from r1core.components import Reward
from r1core.hookspecs import PROJECT
from r1core.plugins import Loaded
from r1core.recipe.environment import Environment, normal

OLDEST = (3, 11)
"""The oldest Python that r1core runs on."""
NEEDS = ("numpy>=1.26", "pydantic>=2.7")
"""What a worker needs there beside r1core, which it gets from here."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A reward of a stage, and the environment that it runs in."""

    loaded: Loaded
    environment: Environment

    def refusal(self) -> tuple[str, str]:
        """(what, hint) where the recipe asks for what can never be; ("", "") else."""
        if issubclass(self.loaded.cls, Reward) and self.loaded.cls.runs == "stage":
            message = f"{self.loaded.name} runs in the stage's own process, so in no other interpreter than the stage's"
            return message, "remove `python:`, and install what it needs beside r1core"
        return self.environment.refusal()

    def lacks(self) -> list[str]:
        """What is missing there, each a sentence with what to do."""
        environment, place = self.environment, self.environment.place
        if not environment.exists:
            make = shlex.join(["python3", "-m", "venv", str(environment.folder)])
            return [f"there is no environment {str(place)!r}: {make} && {self._installing([*self._own, *NEEDS])}"]
        if tuple(int(part) for part in environment.version.split(".")) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return [f"{place} has Python {environment.version}, r1core needs {oldest}: make it with a newer one"]
        if environment.settings.get("include-system-site-packages", "").lower() == "true":
            return [f"{place} has the system's packages too, which nobody lists: make it without them"]
        unmet = dict(self._unmet())
        if not unmet:
            return []
        return [f"in {place}: {', '.join(unmet.values())}: {self._installing(list(unmet))}"]

    @property
    def _own(self) -> list[str]:
        """The plugin's distribution as it is here. A local file has none; what is built in comes with r1core."""
        comes_along = self.loaded.local or self.loaded.distribution == PROJECT
        return [] if comes_along else [f"{self.loaded.distribution}=={self.loaded.version}"]

    def _installing(self, packages: Sequence[str]) -> str:
        python = self.environment.folder / "bin" / "python"
        return shlex.join([str(python), "-m", "pip", "install", *packages])

    def _unmet(self) -> Iterator[tuple[str, str]]:
        """(requirement, its state) of what is not there: the plugin's distribution, what that requires, and what a
        worker needs. A plugin whose packages are missing would call every answer wrong."""
        required = [text for own in self._own for text in self.environment.requires(Requirement(own).name)]
        for requirement in self._read([*self._own, *required, *NEEDS]):
            version = self.environment.distributions.get(normal(requirement.name))
            if version is None:
                yield str(requirement), f"{requirement} is not installed"
            elif not _fits(requirement, version):
                yield str(requirement), f"{requirement.name} {version} is installed, not {requirement}"

    def _read(self, texts: Sequence[str]) -> Iterator[Requirement]:
        """The requirements that hold in that Python without any extra."""
        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            marker, requirement.marker = requirement.marker, None
            if marker is None or marker.evaluate({"extra": "", "python_version": self.environment.version}):
                yield requirement


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:  # two versions side by side, or none that a specifier can speak of
        return False
