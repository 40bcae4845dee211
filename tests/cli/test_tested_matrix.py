"""The tested matrix is the extras' ranges, and what was tried lies within them."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from r1core.cli.tested import PYTHON, Package, matrix

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
BUNDLES = ("dev", "all")


def asked() -> dict[str, SpecifierSet]:
    """Every package of an extra that components need, and its range."""
    found = [Requirement(text) for name, texts in EXTRAS.items() if name not in BUNDLES for text in texts]
    return {canonicalize_name(each.name): each.specifier for each in found if each.name != "r1core"}


def test_the_matrix_has_the_packages_of_the_extras_and_their_ranges() -> None:
    known = {name: tested.range for name, tested in matrix().items() if name != PYTHON}
    assert known == asked()
    assert {"torch", "transformers", "deepspeed", "safetensors"} <= known.keys()


def test_python_is_what_the_project_requires() -> None:
    assert matrix()[PYTHON].range == SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("name", sorted(matrix()))
def test_what_was_tried_is_within_the_range(name: str) -> None:
    tested = matrix()[name]
    assert tested.tried
    assert all(tested.range.contains(version) for version in tested.tried)


def test_a_package_is_found_under_its_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> Any:
        if name == "thing-cpu":
            return "1.5"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    known: dict[str, Any] = {"name": "thing", "range": SpecifierSet(">=1,<2")}
    assert Package(**known).installed is None
    other = Package(**known, known_as=("thing-cpu",))
    assert (other.installed, other.is_tested) == ("1.5", True)
    assert not Package(name="thing", range=SpecifierSet(">=2"), known_as=("thing-cpu",)).is_tested
