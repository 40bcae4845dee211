"""Runs `r1 recipe recipes/deepseek_r1.yaml --profile smoke` as a person does, from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

R1 = "from r1core.cli import main; main()"


def recipe(
    folder: Path, *arguments: str, umask: int = -1, path: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, with these variables beside the test's own; `path` comes first on PYTHONPATH."""
    places = [str(path)] if path is not None else []
    own = {"PYTHONPATH": os.pathsep.join(filter(None, [*places, *sys.path])), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", R1, "recipe", "recipes/deepseek_r1.yaml", "--profile", "smoke", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **own, **environment},
        umask=umask,
        timeout=600,
    )


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a run may find itself; each differs from the test's own in all of these."""

    umask: int
    workers: int
    jobs: int
    environment: dict[str, str] = field(default_factory=dict)


SURROUNDINGS = {
    "posix": Surroundings(
        umask=0o077,
        workers=2,
        jobs=1,
        environment={"LC_ALL": "POSIX", "LANG": "POSIX", "TZ": "America/St_Johns", "PYTHONHASHSEED": "1"},
    ),
    "c": Surroundings(
        umask=0o002,
        workers=4,
        jobs=2,
        environment={"LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "4242"},
    ),
}


def place_of(folder: Path) -> Path:
    """The run of `recipe_elsewhere`."""
    return folder / "an other" / "place"


def recipe_elsewhere(
    folder: Path, around: Surroundings, *arguments: str, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it from the root, with a home of its own, in these surroundings."""
    (folder / "home").mkdir()
    where = ("--run-dir", str(place_of(folder)))
    how = ("--set", f"scoring.workers={around.workers}", "--jobs", str(around.jobs))
    own = {**around.environment, "HOME": str(folder / "home")}
    return recipe(Path("/"), *where, *how, *arguments, umask=around.umask, path=path, **own)
