"""Virtual environments for the journey: made anew, outside the repository, with what a stranger would install."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAIT_S = 600
UNSET = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "R1_PLUGINS")


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

    def pip(self, *arguments: str) -> str:
        """Run its pip."""
        return self.done("python", "-m", "pip", "-q", *arguments, at=self.folder)

    @property
    def site(self) -> Path:
        """Its site-packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found


def build_wheel(environment: Environment, project: Path, into: Path) -> Path:
    """The wheel of a project, built with pip and nothing that it depends on."""
    environment.pip("wheel", "--no-deps", "--wheel-dir", str(into), str(project))
    (wheel,) = into.glob("*.whl")
    return wheel
