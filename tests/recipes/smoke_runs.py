"""Runs `r1 recipe recipes/deepseek_r1.yaml --profile smoke` as a person does, from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
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
        timeout=300,
    )
