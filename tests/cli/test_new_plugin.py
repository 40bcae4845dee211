"""`r1 new-plugin`: a whole package or nothing, never over what is there, under names that will be taken."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from packaging.requirements import Requirement

from r1core.cli.core_range import range_of, wrong_range
from r1core.cli.new_plugin import command
from r1core.cli.plugin_names import names_of
from r1core.components import CONTRACTS
from r1core.errors import RecipeError, SetupError
from r1core.plugin_host.discovery import Provider, core_version
from r1core.plugin_host.local import load_local
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve

BUILT_IN = {"taken"}


def new(folder: Path, name: str, kind: str = "reward") -> Result:
    return CliRunner().invoke(command, [name, "--kind", kind, "--into", str(folder)])


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=sorted(CONTRACTS))
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The package of `chem/smiles`, of each kind."""
    result = new(tmp_path, "chem/smiles", request.param)
    assert result.exit_code == 0, result.exception
    return tmp_path / "r1core-chem"


# --- what it writes ----------------------------------------------------------------------------------


def test_a_reward_is_one_class_with_cases_tests_a_recipe_and_workflows(tmp_path: Path) -> None:
    result = new(tmp_path, "chem/smiles")
    files = written(tmp_path / "r1core-chem")
    assert files == {
        ".github/workflows/publish.yml",
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "r1core_chem/__init__.py",
        "r1core_chem/cases.jsonl",
        "r1core_chem/py.typed",
        "recipes/chem_smoke.yaml",
        "tests/test_chem.py",
    }
    said = {line.removeprefix("wrote ") for line in result.output.splitlines() if line.startswith("wrote ")}
    assert said == {str(tmp_path / "r1core-chem" / file) for file in files}


def test_every_word_of_every_template_is_filled_in(project: Path) -> None:
    for file in written(project):
        assert "<<" not in (project / file).read_text(encoding="utf-8"), file


def test_one_comment_says_what_to_change(project: Path) -> None:
    assert (project / "r1core_chem/__init__.py").read_text(encoding="utf-8").count("# CHANGE THIS") == 1


def test_its_metadata_are_those_of_a_plugin(project: Path) -> None:
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (requirement,) = map(Requirement, about["dependencies"])
    assert (about["name"], about["entry-points"]) == ("r1core-chem", {"r1core": {"chem": "r1core_chem"}})
    assert requirement.name == "r1core"
    assert not wrong_range(requirement.specifier, core_version())
    assert "urls" not in about, "an address that nobody chose would be published"


def test_its_class_is_a_component_and_imports_public_names_only(project: Path) -> None:
    file = project / "r1core_chem/__init__.py"
    kind = next(k for k, c in CONTRACTS.items() if f"class Smiles({c.__name__})" in file.read_text(encoding="utf-8"))
    load_local(kind, "./__init__.py:Smiles", file.parent)
    imported = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r1core")
        for alias in node.names
    }
    public = {module for module, _ in imported} - {"r1core"}
    assert public <= {"r1core.nn", "r1core.components"}
    assert not [name for module, name in imported if name.startswith("_")]


def test_its_recipe_is_valid_where_it_is_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = project / "recipes/chem_smoke.yaml"
    free = tmp_path / "free.yaml"
    lines = recipe.read_text(encoding="utf-8").splitlines(keepends=True)
    free.write_text("".join(line for line in lines if not line.startswith("requires:")), encoding="utf-8")
    monkeypatch.syspath_prepend(str(project))
    sys.modules.pop("r1core_chem", None)
    mine = Provider(name="chem", target="r1core_chem", distribution="r1core-chem", version="0.1.0")
    plan = make_plan(resolve(free), PluginHost([*PluginHost.discover().providers, mine]))
    used = {c.name for stage in plan.stages for c in stage.components}
    assert "chem/smiles" in used
    assert len(lines) - len(free.read_text(encoding="utf-8").splitlines()) == 1


def test_it_is_well_formatted(project: Path) -> None:
    """Whatever formatter the author has: ruff's rules without ours, and a long enough line."""
    for how in (["check", "--select", "E,F,W,I,B,UP"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *how, "--isolated", "--line-length", "120", "--no-cache", str(project)]
        done = subprocess.run(ruff, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_next_three_commands_can_be_pasted(tmp_path: Path) -> None:
    place = tmp_path / "a folder"
    place.mkdir()
    lines = new(place, "chem/smiles").output.partition("next:\n")[2].splitlines()
    assert len(lines) == 3
    cd, _, install = lines[0].strip().partition(" && ")
    assert install.endswith("-m pip install -e '.[dev]'")
    script = f"{cd} && {lines[1].strip()} --version && {lines[2].strip()} --help && pwd"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(place / "r1core-chem")


def test_a_class_gets_another_name_where_its_own_is_taken(tmp_path: Path) -> None:
    assert new(tmp_path, "chem/score").exit_code == 0
    text = (tmp_path / "r1core-chem/r1core_chem/__init__.py").read_text(encoding="utf-8")
    assert "class ScoreReward(Reward)" in text
    assert 'name = "score"' in text


# --- all or nothing ----------------------------------------------------------------------------------


def test_nothing_is_ever_written_over(tmp_path: Path) -> None:
    (tmp_path / "r1core-chem").mkdir()
    (tmp_path / "r1core-chem" / "README.md").write_text("mine", encoding="utf-8")
    result = new(tmp_path, "chem")
    assert isinstance(result.exception, RecipeError)
    assert "is there already; nothing was written" in str(result.exception)
    assert written(tmp_path) == {"r1core-chem/README.md"}
    assert (tmp_path / "r1core-chem" / "README.md").read_text(encoding="utf-8") == "mine"


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.write_text

    def full(path: Path, text: str, encoding: str | None = None) -> int:
        if path.name == "pyproject.toml":
            raise OSError(28, "No space left on device")
        return plain(path, text, encoding=encoding)

    monkeypatch.setattr(Path, "write_text", full)
    result = new(tmp_path, "chem")
    assert isinstance(result.exception, SetupError)
    assert "No space left on device" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tempfile.mkdtemp

    def read_only(suffix: str | None = None, prefix: str | None = None, dir: Path | None = None) -> str:
        if dir == tmp_path:
            raise PermissionError(13, "Permission denied")
        return plain(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    result = new(tmp_path, "chem")
    assert isinstance(result.exception, SetupError)
    assert f"{tmp_path / 'r1core-chem'}: nothing was written: Permission denied" in str(result.exception)


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "plugin", "component", "distribution", "module"),
    [
        ("chem", "chem", "chem", "r1core-chem", "r1core_chem"),
        ("chem/smiles", "chem", "smiles", "r1core-chem", "r1core_chem"),
        ("my-chem", "my-chem", "my_chem", "r1core-my-chem", "r1core_my_chem"),
        ("my_chem/a1", "my_chem", "a1", "r1core-my-chem", "r1core_my_chem"),
    ],
)
def test_all_names_follow_from_one(text: str, plugin: str, component: str, distribution: str, module: str) -> None:
    names = names_of(text, "reward", built_in=BUILT_IN)
    assert (names.plugin, names.component) == (plugin, component)
    assert (names.distribution, names.module) == (distribution, module)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("taken", "'taken' belongs to a built-in"),
        ("taken/smiles", "'taken' belongs to a built-in"),
        ("Chem", "'Chem' cannot name a plugin: lower-case letters"),
        ("1chem", "'1chem' cannot name a plugin"),
        ("", "'' cannot name a plugin"),
        ("../chem", "'..' cannot name a plugin"),
        ("chem/", "'' cannot name a component"),
        ("chem/a/b", "'a/b' cannot name a component"),
        ("chem/a-b", "'a-b' cannot name a component"),
        ("chem-", "r1core-chem- is no valid name of a distribution: it may not end in '-'"),
        ("chem_/smiles", "it may not end in '_'"),
        ("class", "'class' is a keyword of Python"),
        ("chem/lambda", "'lambda' is a keyword of Python"),
        ("chem/none", "'none' is a keyword of Python"),
        ("r1core-chem", "the distribution gets the prefix r1core- by itself; leave it out"),
        ("command-chem", "an entry point that begins with command- is a command of r1"),
    ],
)
def test_a_name_that_would_be_refused_later_is_refused_now(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as error:
        names_of(text, "reward", built_in=BUILT_IN)
    assert said in str(error.value)
    assert "such as chem or chem/smiles" in str(error.value)


def test_names_of_built_ins_are_refused(tmp_path: Path) -> None:
    result = new(tmp_path, "accuracy/mine")
    assert isinstance(result.exception, RecipeError)
    assert "'accuracy' belongs to a built-in of r1core" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_is_a_usage_error(tmp_path: Path) -> None:
    result = new(tmp_path, "chem", "verifier")
    assert result.exit_code == 2
    assert "'reward'" in result.output


# --- the range of r1core -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("0.1.0", ">=0.1,<0.3"), ("0.4.2", ">=0.4,<0.6"), ("1.2.0", ">=1.2,<1.4"), ("0.3.0.dev1", ">=0.3,<0.5")],
)
def test_the_range_ends_where_deprecated_things_may_be_gone(version: str, wanted: str) -> None:
    assert range_of(version) == wanted
