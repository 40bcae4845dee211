"""Our wheel, built from the tree once, and the two environments that it is installed in: light, and with `train`."""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import ROOT, Environment, build_wheel, required_by


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with pip, and what builds wheels."""
    environment = Environment.new(tmp_path_factory.mktemp("bare") / "env")
    environment.pip("install", "hatchling>=1.27")
    return environment


@pytest.fixture(scope="session")
def wheel(bare: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """r1core's own wheel."""
    return build_wheel(bare, ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install r1core` gives, and pytest."""
    environment = Environment.new(tmp_path_factory.mktemp("light") / "env")
    environment.pip("install", str(wheel), "pytest>=8")
    return environment


@pytest.fixture(scope="session")
def training(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install 'r1core[train]'` gives, and pytest; torch and its like are linked, not installed again."""
    environment = Environment.new(tmp_path_factory.mktemp("training") / "env")
    environment.link(*required_by(wheel, "train"), "pytest>=8")
    environment.pip("install", "--no-deps", str(wheel))
    return environment
