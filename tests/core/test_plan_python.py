"""`python:` in a plan: what lies there counts, what is missing there is said, and nothing there is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from third_party import _install_one, toy_host
from toy_recipes import HEAD, STAGES, planned, refused, write
from toy_runs import written

from r1core.cli.locked import check_locked
from r1core.cli.recipe import command
from r1core.components import Reward
from r1core.errors import RecipeError, SetupError
from r1core.plugin_host.discovery import Provider
from r1core.plugin_host.loading import invalid
from r1core.preflight import check_machine
from r1core.recipe.difference import differences
from r1core.recipe.elsewhere import NEEDS, OLDEST, Elsewhere
from r1core.recipe.environment import Environment
from r1core.recipe.plan import Plan, make_plan, write_resolved
from r1core.recipe.resolve import resolve

FIXTURES = Path(__file__).parents[1] / "fixtures" / "python_env"
REWARDS = FIXTURES / "rewards.py"
PROJECT: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
WHOLE = {"numpy": "1.26.4", "pydantic": "2.7.0"}
RECIPE = HEAD + STAGES.replace("[accuracy]\n    filters", "[{use: toy, python: ./env}]\n    filters")
"""The stage `kept` asks a reward in ./env."""


def environment(folder: Path, version: str = "3.11", settings: str = "", **packages: str) -> Path:
    """What looks like an environment. Its interpreter would leave a file `ran` beside it."""
    site = folder / "lib" / f"python{version}" / "site-packages"
    for name, at in (packages or WHOLE).items():
        (site / f"{name}-{at}.dist-info").mkdir(parents=True)
        (site / f"{name}-{at}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
    python = folder / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(f"#!/bin/sh\ntouch {folder}/ran\nexit 1\n")
    python.chmod(0o755)
    (folder / "pyvenv.cfg").write_text(settings)
    return folder


def changed(before: Plan, after: Plan) -> set[str]:
    return {stage for stage, value in after.fingerprints.items() if before.fingerprints[stage] != value}


def installed(folder: Path, name: str, version: str, *requires: str) -> None:
    """One more distribution in an environment."""
    info = next(folder.glob("lib/python3.*/site-packages")) / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", *(f"Requires-Dist: {text}" for text in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


# --- what counts -------------------------------------------------------------------------------------


def test_what_is_installed_there_counts_and_where_it_lies_does_not(tmp_path: Path) -> None:
    plans = []
    for number, packages in enumerate([WHOLE, WHOLE, {**WHOLE, "numpy": "1.26.5"}, {**WHOLE, "six": "1.0"}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment(folder / "env", **packages)
        plans.append(planned(folder, RECIPE))
    assert changed(plans[0], plans[1]) == set()
    assert changed(plans[0], plans[2]) == {"kept", "final", "table"}
    assert changed(plans[0], plans[3]) == {"kept", "final", "table"}
    assert differences(plans[0].stage("kept").made_from, plans[2].stage("kept").made_from) == [
        "stages.kept.rewards.0.python.packages.numpy: 1.26.4 -> 1.26.5"
    ]


def test_its_python_counts_and_pip_and_an_r1core_there_do_not(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    before = planned(tmp_path, RECIPE)
    installed(tmp_path / "env", "pip", "23.0")
    installed(tmp_path / "env", "r1core", "9.0")
    (tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "~umpy-1.2.dist-info").mkdir()  # pip left it
    assert changed(before, planned(tmp_path, RECIPE)) == set()
    (tmp_path / "env" / "lib" / "python3.11").rename(tmp_path / "env" / "lib" / "python3.12")
    assert changed(before, planned(tmp_path, RECIPE)) == {"kept", "final", "table"}


def test_a_reward_with_it_is_another_than_the_same_without_it(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    without = RECIPE.replace(", python: ./env", "")
    assert changed(planned(tmp_path, without), planned(tmp_path, RECIPE)) == {"kept", "final", "table"}


def test_its_folder_and_an_interpreter_in_it_are_the_same(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    by_file = RECIPE.replace("./env", "./env/bin/python")
    assert changed(planned(tmp_path, RECIPE), planned(tmp_path, by_file)) == set()
    (found,) = planned(tmp_path, by_file).stage("kept").elsewhere
    assert found.environment.folder == tmp_path / "env"


def test_an_environment_may_lie_in_a_folder_called_bin(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    folder = environment(tmp_path / "bin" / "python_chem")
    assert Environment(folder).counted() == {"version": "3.11", "packages": WHOLE}


def test_an_environment_upgraded_in_place_has_the_packages_that_its_settings_say(tmp_path: Path) -> None:
    environment(tmp_path, "3.13", numpy="2.9")
    environment(tmp_path, "3.12", "home = /usr/bin\nversion = 3.12.1\n", numpy="2.0")
    assert Environment(tmp_path).counted() == {"version": "3.12", "packages": {"numpy": "2.0"}}


def test_a_name_is_normalised_and_two_versions_of_it_both_count(tmp_path: Path) -> None:
    environment(tmp_path, Some_Thing="1.0", numpy="1.26.4")
    installed(tmp_path, "numpy", "2.0")
    (next(tmp_path.glob("lib/python3.*/site-packages")) / "old.er-0.1-py3.11.egg-info").mkdir()
    assert Environment(tmp_path).distributions == {"numpy": "1.26.4 2.0", "old-er": "0.1", "some-thing": "1.0"}


def test_a_path_is_relative_to_the_file_that_says_it_also_in_a_slot(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "profiles"):
        environment(folder / "env")
    write(tmp_path)
    profile = tmp_path / "profiles" / "tiny.yaml"
    profile.write_text(profile.read_text().replace("strictness: 0.25}", "strictness: 0.25, python: ./env}"))
    plan = make_plan(resolve(tmp_path / "recipe.yaml"), toy_host())
    assert [str(e.environment.place) for e in plan.stage("zero").elsewhere] == [str(tmp_path / "profiles" / "env")]


def test_the_resolved_recipe_plans_to_the_same_fingerprints(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    plan = planned(tmp_path, RECIPE)
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "recipe.resolved.yaml"
    again.write_text(write_resolved(plan))
    assert make_plan(resolve(again), toy_host()).fingerprints == plan.fingerprints


# --- what is wrong with the recipe -------------------------------------------------------------------


def test_what_can_never_be_an_environment_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "system" / "bin").mkdir(parents=True)
    (tmp_path / "system" / "bin" / "python").touch()
    rewards = "[{use: toy, python: env}, {use: toy, python: ./empty}, {use: toy, python: ./system}]"
    text = refused(tmp_path, RECIPE.replace("[{use: toy, python: ./env}]", rewards))
    line = next(n for n, each in enumerate(RECIPE.splitlines(), 1) if "python: ./env" in each)
    columns = [each.start() for each in re.finditer("python: ", f"    rewards: {rewards}")]
    assert text.splitlines() == [
        f"recipe.yaml:{line}:{columns[0] + 1}: stages.kept.rewards.0.python: "
        "'env' is neither absolute nor relative to this file",
        "  write './env'",
        f"recipe.yaml:{line}:{columns[1] + 1}: stages.kept.rewards.1.python: "
        "'empty' is no virtual environment: it has no bin/python",
        "  name a virtual environment's folder, or the python in its bin/",
        f"recipe.yaml:{line}:{columns[2] + 1}: stages.kept.rewards.2.python: "
        "'system' is no virtual environment: it has no site-packages of its own",
        "  name a virtual environment's folder, or the python in its bin/",
        "3 errors",
    ]


def test_a_reward_that_runs_in_the_stage_cannot_have_it(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    recipe = RECIPE.replace("{use: toy, python: ./env}", f'{{use: "{REWARDS}:Resident", python: ./env}}')
    text = refused(tmp_path, recipe)
    assert "stages.kept.rewards.0.python: " in text
    assert "Resident runs in the stage's own process, so in no other interpreter than the stage's" in text
    assert "remove `python:`" in text


def test_only_a_reward_has_it(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    text = refused(tmp_path, (HEAD + STAGES).replace("[keep]", "[{use: keep, python: ./env}]"))
    assert "unknown option 'python' of keep" in text


class Clashing(Reward):
    """Has an option of the name that recipes use."""

    name = "clashing"

    class Config(Reward.Config):
        python: str = ""

    def score(self, problem: Any, response: Any) -> Any: ...


def test_an_option_of_a_reward_cannot_be_called_so() -> None:
    assert invalid(Clashing, "reward") == "Clashing.Config may not have python: recipes use it"


# --- what the machine lacks --------------------------------------------------------------------------


def lacks(folder: Path, name: str = f"{REWARDS}:Seen") -> list[str]:
    return Elsewhere(loaded=toy_host(HEAVY).load("reward", name), environment=Environment(folder)).lacks()


HEAVY = Provider(name="heavy", target="r1core_heavy", distribution="r1core-heavy", version="0.1.0")


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install_one(FIXTURES / "r1core-heavy", tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))


def test_no_environment_at_all_is_lacking_with_the_commands_that_make_it(tmp_path: Path) -> None:
    place = tmp_path / "my env"
    make = f"python3 -m venv '{place}' && '{place}/bin/python' -m pip install 'numpy>=1.26' 'pydantic>=2.7'"
    assert lacks(place) == [f"there is no environment '{place}': {make}"]
    (told,) = lacks(place / "bin" / "python")
    assert told.endswith(make)


@pytest.mark.usefixtures("heavy")
def test_a_missing_distribution_is_told_with_the_command_of_that_python(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env")
    command = f"{folder}/bin/python -m pip install r1core-heavy==0.1.0"
    assert lacks(folder, "heavy/old") == [f"in {folder}: r1core-heavy==0.1.0 is not installed: {command}"]


@pytest.mark.usefixtures("heavy")
def test_another_version_and_what_it_requires_are_told_at_once(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env", numpy="2.1.0", pydantic="2.7.0")
    requires = ("r1core>=0.1", "numpy<2", 'torch>=1; extra == "gpu"', 'tomli; python_version < "3.11"')
    installed(folder, "r1core_heavy", "0.2.0", *requires)
    assert lacks(folder, "heavy/old") == [
        f"in {folder}: r1core-heavy 0.2.0 is installed, not r1core-heavy==0.1.0, r1core>=0.1 is not installed, "
        f"numpy 2.1.0 is installed, not numpy<2: "
        f"{folder}/bin/python -m pip install r1core-heavy==0.1.0 'r1core>=0.1' 'numpy<2'"
    ]


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        ({"numpy": "1.26.4"}, "pydantic>=2.7 is not installed"),
        ({"numpy": "1.25.0", "pydantic": "2.7.0"}, "numpy 1.25.0 is installed, not numpy>=1.26"),
    ],
)
def test_what_a_worker_needs_there_is_told(tmp_path: Path, packages: dict[str, str], told: str) -> None:
    (found,) = lacks(environment(tmp_path / "env", **packages))
    assert f": {told}: " in found


def test_two_versions_side_by_side_are_no_version(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env")
    installed(folder, "numpy", "2.0")
    (found,) = lacks(folder)
    assert "numpy 1.26.4 2.0 is installed, not numpy>=1.26" in found


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env", "3.9")
    assert lacks(folder) == [f"{folder} has Python 3.9, r1core needs 3.11: make it with a newer one"]


def test_packages_that_nobody_lists_are_refused(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env", settings="include-system-site-packages = true\n")
    assert lacks(folder) == [f"{folder} has the system's packages too, which nobody lists: make it without them"]


def test_an_interpreter_that_is_gone_is_lacking_and_no_mistake_of_the_recipe(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env")
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    assert Environment(folder).refusal() == ("", "")
    (found,) = lacks(folder)
    assert found.startswith(f"there is no environment '{folder}'")


def test_what_is_complete_lacks_nothing(tmp_path: Path) -> None:
    assert lacks(environment(tmp_path / "env")) == []


def test_what_it_needs_is_what_the_package_says() -> None:
    assert set(NEEDS) <= set(PROJECT["dependencies"])
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, OLDEST))


def test_a_run_is_refused_for_it_and_other_components_are_asked_here(tmp_path: Path) -> None:
    recipe = RECIPE.replace("{use: toy, python: ./env}", f'{{use: "{REWARDS}:Foreign", python: ./env}}')
    plan = planned(tmp_path, recipe)
    name = f"{REWARDS}:Foreign"
    assert list(plan.missing()) == [f"reward {name}"]
    assert [c.name for c in plan.stage("kept").components if c not in plan.stage("kept").here] == [name]
    with pytest.raises(SetupError, match="there is no environment") as caught:
        check_machine(plan.stages)
    assert "asked in" not in str(caught.value)  # its own check() is not asked here
    both = planned(tmp_path, recipe.replace("./env}", f'./env}}, {{use: "{name}"}}'))
    assert both.stage("kept").here == both.stage("kept").components
    assert plan.stage("kept").made_from["stage"]["rewards"][0]["python"] == "absent"


# --- the lock and the dry run ------------------------------------------------------------------------


def test_the_lock_holds_what_is_installed_there(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env")
    plan, lock = planned(tmp_path, RECIPE), tmp_path / "plugins.lock"
    assert plan.lock["environments"] == {"reward toy": [{"version": "3.11", "packages": WHOLE}]}
    lock.write_text(json.dumps(plan.lock))
    check_locked(planned(tmp_path, RECIPE), lock)
    info = next(folder.glob("lib/*/site-packages/numpy-*"))
    info.rename(info.with_name("numpy-1.26.5.dist-info"))
    with pytest.raises(RecipeError) as caught:
        check_locked(planned(tmp_path, RECIPE), lock)
    assert "\n  environment of reward toy.0.packages.numpy: 1.26.4 -> 1.26.5\n" in str(caught.value)


def test_a_lock_from_before_there_was_any_is_refused_too(tmp_path: Path) -> None:
    lock = tmp_path / "plugins.lock"
    old = {key: value for key, value in planned(tmp_path, RECIPE).lock.items() if key != "environments"}
    lock.write_text(json.dumps(old))
    environment(tmp_path / "env")
    with pytest.raises(RecipeError, match=r"environment of reward toy\.0: absent -> "):
        check_locked(planned(tmp_path, RECIPE), lock)


STAGE = """\
  base: BASE
  traces:
    sample: {prompts: 8}
    model: base
    problems: Numbers
    rewards: [{use: "REWARDS:Seen", python: ./env}, Exact]
"""


def dry_run(folder: Path) -> str:
    recipe = written(folder, STAGE.replace("REWARDS", str(REWARDS)))
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", str(recipe), "--dry-run"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_a_dry_run_shows_it_lists_its_interpreter_as_code_and_does_not_run_it(tmp_path: Path) -> None:
    folder = environment(tmp_path / "env")
    text = dry_run(tmp_path)
    assert line_of(text, f"reward     {REWARDS}:Seen").endswith(f", runs in {folder} (Python 3.11, 2 packages)")
    assert str(folder / "bin" / "python") in line_of(text, "local code:").split(", ")
    assert "MISSING" not in text
    assert not (folder / "ran").exists()


def test_a_run_says_what_it_runs_with_which_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = environment(tmp_path / "env")
    recipe = written(tmp_path, STAGE.replace("REWARDS", str(REWARDS)))
    monkeypatch.setattr("r1core.pipeline.run_plan", lambda *arguments, **options: None)
    result = CliRunner().invoke(command, [str(recipe)])
    assert result.exit_code == 0, result.exception
    assert f"runs {REWARDS}:Seen with {folder / 'bin' / 'python'}" in result.stderr.splitlines()


def test_a_dry_run_marks_what_is_missing_there(tmp_path: Path) -> None:
    line = line_of(dry_run(tmp_path), f"reward     {REWARDS}:Seen")
    assert (
        f", runs in {tmp_path / 'env'}   MISSING: there is no environment '{tmp_path / 'env'}': python3 -m venv" in line
    )
