"""Installs fixture distributions for one test, without pip: package and `*.dist-info` in a folder on sys.path.

The folders of tests/fixtures/third_party/ are real distributions (`pip install` takes them, too);
their METADATA and entry_points.txt are written here from their pyproject.toml.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from r1core.plugin_host.discovery import Provider
from r1core.plugins import PluginHost

FIXTURES = Path(__file__).parents[1] / "fixtures" / "third_party"
TOYS = (
    "toy",
    "other",
    "strict",
    "batchy",
    "pg",
    "keep",
    "fit",
    "reinforce",
    "numbers",
    "net",
    "wordy",
    "draw",
    "graded",
    "asked",
    "grade",
)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> Path:
    """Make these fixture distributions discoverable; returns the folder they lie in."""
    site = folder / "site-packages"
    for name in names:
        _install_one(FIXTURES / name, site)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    return site


def _install_one(source: Path, site: Path) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    package = project["name"].replace("-", "_")
    shutil.copytree(source, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("pyproject.toml", "__pycache__"))
    for module in [m for m in sys.modules if m.partition(".")[0] == package]:
        del sys.modules[module]
    info = site / f"{package}-{project['version']}.dist-info"
    info.mkdir()
    requires = "".join(f"Requires-Dist: {line}\n" for line in project["dependencies"])
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{requires}"
    (info / "METADATA").write_text(metadata)
    lines = [f"{key} = {value}" for key, value in project["entry-points"]["r1core"].items()]
    (info / "entry_points.txt").write_text("[r1core]\n" + "\n".join(lines) + "\n")


def toy_host(*more: Provider) -> PluginHost:
    """A host whose built-ins are the toys of toy_components.py, and nothing else."""
    own = [Provider(name=n, target="toy_components", distribution="r1core", version="0") for n in TOYS]
    return PluginHost([*own, *more])
