"""Virtual environments for the journey: made anew, outside the repository, with what a stranger would install."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
WAIT_S = 600
UNSET = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "R1_PLUGINS", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment; its commands run in an empty folder of their own unless told where."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Environment:
        """An empty one."""
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=WAIT_S)
        return cls(folder=folder)

    def run(self, *command: str, at: Path) -> subprocess.CompletedProcess[str]:
        """Run one of its programs; its output is kept, in order, as one text."""
        kept = {key: value for key, value in os.environ.items() if key not in UNSET}
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=at,
            env={**kept, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=WAIT_S,
        )

    def done(self, *command: str, at: Path) -> str:
        """The output of a command that must work."""
        ran = self.run(*command, at=at)
        assert ran.returncode == 0, f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}"
        return ran.stdout

    def link(self, *requirements: str) -> None:
        """Have what these need, and nothing else, from the environment that runs the tests: links instead of copies.

        What is linked is what the metadata ask for, extras and all, as an installer would; it takes no minutes.
        """
        for found in needed(requirements):
            tops = {file.parts[0] for file in found.files or () if file.parts[0] != ".."}
            for top in sorted(tops - {"__pycache__"} - {path.name for path in self.site.iterdir()}):
                (self.site / top).symlink_to(Path(str(found.locate_file(top))).resolve())

    def pip(self, *arguments: str) -> str:
        """Run its pip."""
        return self.done("python", "-m", "pip", "-q", *arguments, at=self.folder)

    @property
    def site(self) -> Path:
        """Its site-packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found


def build_wheel(environment: Environment, project: Path, into: Path, *, isolated: bool = True) -> Path:
    """The wheel of a project, built with pip and nothing that it depends on; `isolated`, with a backend of its own."""
    how = [] if isolated else ["--no-build-isolation"]
    environment.pip("wheel", "--no-deps", *how, "--wheel-dir", str(into), str(project))
    (wheel,) = into.glob("*.whl")
    return wheel


def required_by(wheel: Path, extra: str) -> list[str]:
    """What a wheel's metadata ask for, with an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    return [str(each) for each in asked_for(metadata.get_all("Requires-Dist") or [], extra)]


def asked_for(texts: Iterable[str], extra: str) -> list[Requirement]:
    """The requirements among these that count here, with an extra ("": without one), free of their conditions."""
    own = [Requirement(text) for text in texts]
    counting = [each for each in own if each.marker is None or each.marker.evaluate({"extra": extra})]
    for each in counting:
        each.marker = None
    return counting


def needed(requirements: tuple[str, ...]) -> Iterator[Distribution]:
    """The distributions that these requirements ask for, and all that those ask for."""
    asked, seen = [Requirement(text) for text in requirements], set[tuple[str, str]]()
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        found = distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), f"{requirement}, got {found.version}"
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            asked += asked_for(found.requires or (), extra)
        if (name, "found") not in seen:
            seen.add((name, "found"))
            yield found
