"""A stranger publishes a plugin of each kind: from `r1 new-plugin` to a recipe on another machine, and away again.

Everything happens in virtual environments of their own, outside the repository, with our wheel.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from environments import Environment, build_wheel

from r1core.components import CONTRACTS

NAMES = {
    "reward": "chem/smiles",
    "advantage": "against-mean",
    "objective": "loss/clipped",
    "filter": "band/length",
    "source": "sums",
    "sampler": "canned/phrases",
    "policy": "bigram/bytes",
    "trainer": "reinforce/running",
}
TRAINING = ("objective", "policy")
"""Kinds whose components are made of torch."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A plugin that was scaffolded, built and installed."""

    kind: str
    name: str
    project: Path
    wheel: Path
    environment: Environment

    @property
    def distribution(self) -> str:
        return self.project.name

    @property
    def recipe(self) -> Path:
        (recipe,) = (self.project / "recipes").glob("*_smoke.yaml")
        return recipe

    @property
    def is_installed(self) -> bool:
        return any(self.environment.site.glob(f"{self.distribution.replace('-', '_')}-*.dist-info"))

    def uninstall(self) -> None:
        self.environment.pip("uninstall", "-y", self.distribution)


def test_every_kind_makes_the_journey() -> None:
    assert set(NAMES) == set(CONTRACTS)


@pytest.fixture(scope="module", params=NAMES)
def published(
    request: pytest.FixtureRequest, bare: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    kind: str = request.param
    environment = request.getfixturevalue("training" if kind in TRAINING else "light")
    place = tmp_path_factory.mktemp(kind)
    said = environment.done("r1", "new-plugin", NAMES[kind], "--kind", kind, at=place)
    (project,) = place.glob("r1core-*")
    assert said.count("wrote ") == sum(path.is_file() for path in project.rglob("*"))
    name = NAMES[kind] if "/" in NAMES[kind] else f"{NAMES[kind]}/{NAMES[kind].replace('-', '_')}"
    wheel = build_wheel(bare, project, place / "dist", isolated=kind == "reward")  # all ask for the same backend
    plugin = Published(kind=kind, name=name, project=project, wheel=wheel, environment=environment)
    environment.pip("install", "--no-deps", str(wheel))
    yield plugin
    if plugin.is_installed:
        plugin.uninstall()


def test_its_own_tests_pass_where_only_the_wheel_is(published: Published, tmp_path: Path) -> None:
    for folder in ("tests", "recipes"):
        shutil.copytree(published.project / folder, tmp_path / folder)
    said = published.environment.done("python", "-m", "pytest", "-q", "-W", "error", "tests", at=tmp_path)
    assert " passed" in said
    assert "skipped" not in said


def test_it_is_listed(published: Published, tmp_path: Path) -> None:
    rows = json.loads(published.environment.done("r1", "plugins", "--json", at=tmp_path))
    plugin, _, component = published.name.partition("/")
    (row,) = [row for row in rows if row["name"] == plugin]
    assert row["status"] == "ok"
    assert (row["distribution"], row["version"]) == (published.distribution, "0.1.0")
    assert row["components"] == [f"{published.kind} {component}"]


def test_it_is_fit_to_be_published(published: Published, tmp_path: Path) -> None:
    for path in (published.project, published.wheel):
        assert "is fine" in published.environment.done("r1", "check", str(path), at=tmp_path)


def test_a_recipe_uses_it_by_name(published: Published, tmp_path: Path) -> None:
    said = published.environment.done("r1", "recipe", str(published.recipe), at=tmp_path)
    assert "done in" in said
    assert published.name in published.recipe.read_text(encoding="utf-8")
    (stages,) = (tmp_path / "runs").glob("*/stages")
    first, second = (headline(stages / name) for name in shown_stages(published.kind))
    assert second > first + 0.3, said  # what its recipe is there to show


def shown_stages(kind: str) -> tuple[str, str]:
    """The stages whose headlines its recipe puts side by side, the lower one first."""
    return ("without", "with") if kind == "filter" else ("before", "after")


def headline(stage: Path) -> float:
    """What a person watches: the accuracy where that has no weight in the reward, else the reward."""
    metrics = json.loads((stage / "stage.json").read_text(encoding="utf-8"))["metrics"]
    accuracy: float = metrics.get("rewards/accuracy/mean", metrics["reward"])
    return accuracy


def test_without_it_the_recipe_says_what_to_install(published: Published, tmp_path: Path) -> None:
    """The end of the journey: it is gone from here on."""
    free = tmp_path / "without_requires.yaml"
    lines = published.recipe.read_text(encoding="utf-8").splitlines(keepends=True)
    free.write_text("".join(line for line in lines if not line.startswith("requires:")), encoding="utf-8")
    assert published.is_installed
    published.uninstall()
    assert not published.is_installed
    required = published.environment.run("r1", "recipe", str(published.recipe), at=tmp_path)
    named = published.environment.run("r1", "recipe", str(free), at=tmp_path)
    assert required.returncode == 3
    assert required.stdout.splitlines()[-1] == f"  run: pip install '{published.distribution}>=0.1,<0.2'"
    assert named.returncode == 2
    assert f"pip install {published.distribution}" in named.stdout
    assert "Traceback" not in required.stdout + named.stdout
    assert not (tmp_path / "runs").exists()


# --- our own wheel -----------------------------------------------------------------------------------


def test_our_wheel_adds_its_two_packages_and_nothing_else(wheel: Path, bare: Environment) -> None:
    before = {path.name for path in bare.site.iterdir()}
    bare.pip("install", "--no-deps", str(wheel))
    added = {path.name for path in bare.site.iterdir()} - before
    bare.pip("uninstall", "-y", "r1core")
    version = wheel.name.split("-")[1]
    assert added == {"r1core", "r1_plugins", f"r1core-{version}.dist-info"}


def test_a_light_install_has_no_torch_and_no_plugin_fails(light: Environment, tmp_path: Path) -> None:
    missing = "import importlib.util as u; print([n for n in ('torch', 'transformers', 'pyarrow') if u.find_spec(n)])"
    assert light.done("python", "-c", missing, at=tmp_path).strip() == "[]"
    rows = json.loads(light.done("r1", "plugins", "--json", "--strict", at=tmp_path))
    assert len(rows) > 20
    assert {row["status"] for row in rows} == {"ok"}


@pytest.mark.parametrize("name", ["deepseek_r1.yaml", "recipes/deepseek_r1.yaml"])
def test_shipped_recipes_are_found_from_anywhere(light: Environment, tmp_path: Path, name: str) -> None:
    said = light.done("r1", "recipe", name, "--dry-run", at=tmp_path)
    assert "student_distilled" in said
