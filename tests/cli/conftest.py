"""Runs `r1` as a process of its own, where a stranger's distribution may be installed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_ablation

R1 = "from r1core.cli import main; main()"


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """install(name, code, entry_points) puts a distribution with one module into a folder for PYTHONPATH."""

    def make(name: str, code: str, entry_points: dict[str, str], version: str = "1.2") -> Path:
        site = tmp_path / "site"
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(code, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        lines = "".join(f"{entry} = {target}\n" for entry, target in entry_points.items())
        (info / "entry_points.txt").write_text(f"[r1core]\n{lines}", encoding="utf-8")
        return site

    return make


@pytest.fixture
def r1(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """r1(arguments, path=site, **environment) runs the command line in an empty folder."""

    def run(*arguments: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        extra = {"PYTHONPATH": str(path)} if path else {}
        return subprocess.run(
            [sys.executable, "-c", R1, *arguments],
            capture_output=True,
            encoding=environment.get("PYTHONIOENCODING"),
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **extra, **environment},
            timeout=60,
        )

    return run


@pytest.fixture(scope="session")
def ablated(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with `toys.yaml`, its finished ablation in `runs/toys`, and what `r1 ablate` said in `said.txt`; for
    reading only."""

    def run(folder: Path) -> None:
        done = toy_ablation.r1(folder, "ablate", "toys.yaml", "--jobs", "2")
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "said.txt").write_text(done.stdout, encoding="utf-8")

    return once("ablated", run)
