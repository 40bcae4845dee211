"""Every recipe that ships, with every profile: it plans without an engine, and no profile says what nobody reads."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from r1core.cli.plan_view import plan_lines
from r1core.plugins import PluginHost
from r1core.recipe.loader import load_yaml
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve
from r1core.recipe.shipped import shipped_folder

FOLDER = shipped_folder()
RECIPES = sorted(path for path in FOLDER.rglob("*.yaml") if path.parent.name != "profiles")
PROFILES = sorted(path.stem for path in (FOLDER / "profiles").glob("*.yaml"))
READERS_MODELS = {
    "your_data": ("base", "student_base"),
    "distill_yours": ("teacher", "student_base"),
    "distill_from_endpoint": ("student_base",),
}
"""Recipes that bind everything themselves, but for these models, which are the reader's."""
PLAN_ALL = """
import json, sys
from pathlib import Path
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
host = PluginHost.discover()
for path, profile, sets in json.loads(sys.argv[1]):
    make_plan(resolve(Path(path), profile, sets), host)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def cases() -> list[tuple[Path, str, list[str]]]:
    """(recipe, profile, settings) of every pair that is meant to work: one that binds everything needs no profile."""
    bound = {name: [f"models.{slot}=org/model" for slot in slots] for name, slots in READERS_MODELS.items()}
    whole = [path for path in RECIPES if load_yaml(path).data.get("profile") == "none"]
    served = [path for path in RECIPES if path not in whole or path.stem == "your_data"]
    pairs = [(path, profile, []) for path in served for profile in PROFILES]
    return [*pairs, *((path, "none", bound.get(path.stem, [])) for path in whole)]


@cache
def planned(path: Path, profile: str, *sets: str) -> Plan:
    return make_plan(resolve(path, profile, sets), PluginHost.discover())


@pytest.mark.parametrize(
    ("path", "profile", "sets"), cases(), ids=lambda value: value.stem if isinstance(value, Path) else str(value)
)
def test_every_shipped_recipe_plans_with_every_profile(path: Path, profile: str, sets: list[str]) -> None:
    plan = planned(path, profile, *sets)
    assert plan.stages
    assert any(stage.kind == "evaluate" for stage in plan.stages)


@pytest.mark.parametrize(
    ("path", "profile", "sets"), cases(), ids=lambda value: value.stem if isinstance(value, Path) else str(value)
)
def test_every_shipped_recipe_has_a_dry_run_with_every_profile(
    path: Path, profile: str, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with none of the files that profiles name: what is missing is marked, nothing is refused."""
    monkeypatch.chdir(tmp_path)
    plan = planned(path, profile, *sets)
    lines = list(plan_lines(plan, frozenset(plan.fingerprints), tmp_path / "run"))
    lost = [line for line in lines if "MISSING: " in line and "the hostfile cannot be read" in line]
    assert len(lost) == (1 if profile == "cluster" else 0)


def test_planning_needs_no_engine() -> None:
    wanted = [(str(path), profile, sets) for path, profile, sets in cases()]
    command = [sys.executable, "-c", PLAN_ALL, json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & {"torch", "transformers", "pyarrow", "datasets", "safetensors"} == set()


def own_stages(path: Path) -> set[str]:
    """The stages and model slots that a recipe has, those it extends among them."""
    root = load_yaml(path).data
    inherited = own_stages((path.parent / root["extends"]).resolve()) if "extends" in root else set()
    return inherited | set(root.get("stages") or {}) | set(root.get("models") or {})


@pytest.mark.parametrize("profile", PROFILES)
def test_everything_that_a_profile_says_is_used_by_some_recipe(profile: str) -> None:
    said: dict[str, Any] = load_yaml(FOLDER / "profiles" / f"{profile}.yaml").data
    stages = set().union(*(own_stages(path) for path in RECIPES))
    assert set(said.get("stages", {})) - stages == set()
    slots: dict[str, set[str]] = {kind: set() for kind in ("models", "problems", "rewards")}
    for path in RECIPES:
        root = load_yaml(path).data
        for kind, names in slots.items():
            names |= set(root.get(kind) or {})
    assert [name for kind, names in slots.items() for name in set(said.get(kind, {})) - names] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_says_in_one_line_what_it_is_for(profile: str) -> None:
    description = load_yaml(FOLDER / "profiles" / f"{profile}.yaml").data["description"]
    assert "\n" not in description
    assert len(description) < 100


FIXED = ("base", "r1_zero", "cold_start_data", "dev1", "dev2", "rejection_sampling", "dev3")
STUDENTS = ("student_base", "student_distilled", "student_rl", "evaluation")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_pipeline_has_its_promised_stages(profile: str) -> None:
    plan = planned(FOLDER / "deepseek_r1.yaml", profile)
    assert {*FIXED, *STUDENTS} <= set(plan.fingerprints)
    assert plan.stage("dev3").model == "base"
    assert plan.stage("student_distilled").model == plan.stage("student_rl").model == "student_base"
    evaluation = plan.stage("evaluation").stage
    assert {"pass@1", "greedy", "hard"} <= set(evaluation.evaluate.sets if evaluation.evaluate else ())
    rows = {"base", "r1_zero", "dev1", "dev2", "dev3", "student_base", "student_distilled", "student_rl"}
    assert rows <= set(evaluation.models)


def test_the_tests_profile_runs_every_stage_of_the_default_one() -> None:
    smoke, tiny = (planned(FOLDER / "deepseek_r1.yaml", profile) for profile in ("smoke", "tiny"))
    assert smoke.fingerprints.keys() == tiny.fingerprints.keys()
    assert {stage.kind for stage in smoke.stages} == {"train", "sample", "review", "evaluate"}
