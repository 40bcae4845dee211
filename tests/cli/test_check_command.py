"""`r1 check`: each thing that would go wrong after publishing is a line with what to do; a fresh scaffold has none."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from packaging.specifiers import SpecifierSet

from r1core.cli.check import command
from r1core.cli.core_range import range_of, wrong_range
from r1core.cli.new_plugin import command as new_plugin
from r1core.errors import RecipeError
from r1core.plugin_host.discovery import core_version

RANGE = f"r1core{range_of(core_version())}"
DOCSTRING = '    """1 when the final answer is the reference, else 0; "Paris or Rome" is neither."""\n'


def check(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [str(path), *arguments])


def findings(path: Path) -> list[str]:
    """The lines of a check that has something to say."""
    result = check(path)
    assert result.exit_code == 4, (result.output, result.exception)
    *lines, count = result.output.splitlines()
    assert count.startswith(f"{len(lines)} finding")
    return lines


def scaffold(folder: Path, kind: str = "reward") -> Path:
    result = CliRunner().invoke(new_plugin, ["chem/smiles", "--kind", kind, "--into", str(folder)])
    assert result.exit_code == 0, result.exception
    return folder / "r1core-chem"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return scaffold(tmp_path)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


# --- nothing to say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reward", "filter", "policy"])
def test_a_fresh_scaffold_is_fine(tmp_path: Path, kind: str) -> None:
    result = check(scaffold(tmp_path, kind))
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"r1core-chem 0.1.0 is fine: {kind} chem/smiles")


def test_it_looks_at_the_folder_it_is_called_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert CliRunner().invoke(command).exit_code == 0


# --- metadata ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "r1core-chem"', 'name = "chem"', "it is named 'chem': call it r1core-<plugin>"),
        (RANGE, "numpy", f'it does not depend on r1core: write "{RANGE}"'),
        (RANGE, "r1core", f'r1core has no upper bound: write "{RANGE}"'),
        (RANGE, "r1core>=0.1", f'r1core>=0.1 has no upper bound: write "{RANGE}"'),
        (RANGE, "r1core<0.3", f'r1core<0.3 has no lower bound: write "{RANGE}"'),
        (RANGE, "r1core>=0.1,<9", "allows"),
        (RANGE, "r1core >= 0.1 <", "is not a PEP 508 requirement"),
        ('requires-python = ">=3.11"\n', "", "no requires-python: write"),
        ('license = "Apache-2.0"', "# ", "no license, so nobody may use it: write"),
        ('readme = "README.md"\n', "", 'no README: write readme = "README.md"'),
        ("[project.entry-points.r1core]", "[project.entry-points.other]", "no entry point: write"),
        ('chem = "r1core_chem"', 'accuracy = "r1core_chem"', "'accuracy' is REFUSED: the name 'accuracy' belongs to a"),
        ('chem = "r1core_chem"', 'Chem = "r1core_chem"', "'Chem' is REFUSED: a plugin's name is lower-case"),
    ],
)
def test_what_the_metadata_lack_is_said(project: Path, old: str, new: str, said: str) -> None:
    edit(project / "pyproject.toml", old, new)
    assert any(line.startswith("pyproject.toml: ") and said in line for line in findings(project)), findings(project)


def test_a_range_that_leaves_this_r1core_out_is_said(project: Path) -> None:
    edit(project / "pyproject.toml", RANGE, "r1core>=0.0.1,<0.0.2")
    assert any("is INCOMPATIBLE: needs r1core<0.0.2,>=0.0.1, this is" in line for line in findings(project))


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (">=0.3,<0.5", ""),
        ("==0.3.*", ""),
        ("~=0.3.0", ""),
        (">=0.2,<0.4", ""),
        ("~=0.3", "allows 0.5, two minor versions ahead of 0.3.1"),
        (">=0.3,<1", "allows 0.5, two minor versions ahead of 0.3.1"),
        (">=0.3,!=0.4", "has no upper bound"),
        ("<0.5", "has no lower bound"),
    ],
)
def test_a_range_has_two_ends_and_the_upper_one_is_near(asked: str, wrong: str) -> None:
    assert wrong_range(SpecifierSet(asked), "0.3.1") == wrong


# --- code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("import math\n", "import no_such_library\n", "does not load: ModuleNotFoundError: No module named 'no_such_"),
        ("def r1_rewards()", "def r1_reward()", "unknown hook 'r1_reward'; did you mean 'r1_rewards'?"),
        ("@hookimpl\n", "", "r1_rewards is not marked with @hookimpl"),
        ("@hookimpl\ndef r1_rewards()", "def rewards()", "registers nothing: mark a function such as r1_rewards"),
        ("return [Smiles]", "return [Smiles, 3]", "3 is an object, not a class; return the class"),
        ("import math\n", "import math, os\nos._exit(7)\n", "ended the process with exit code 7"),
        (
            '    """1 when the final answer is the reference, else 0; "Paris or Rome" is neither."""\n',
            "",
            "no docstring",
        ),
        (', description="largest error of a number, as a share of it"', "", "Smiles.Config.tolerance has no descript"),
        ("import math\n", "import math\nimport torch\n", "imports torch at import: do that inside the methods"),
    ],
)
def test_what_importing_it_shows_is_said(project: Path, old: str, new: str, said: str) -> None:
    edit(project / "r1core_chem/__init__.py", old, new)
    assert any(said in line for line in findings(project)), findings(project)


def test_what_it_prints_is_not_taken_for_an_answer(project: Path) -> None:
    edit(project / "r1core_chem/__init__.py", "import math\n", 'import math\nprint("hello")\n')
    assert check(project).exit_code == 0


def test_a_package_that_is_not_there_is_said(project: Path) -> None:
    edit(project / "pyproject.toml", 'chem = "r1core_chem"', 'chem = "r1_plugins.rules"')
    assert any("is not in here:" in line and "r1_plugins" in line for line in findings(project))


# --- cases -------------------------------------------------------------------------------------------------


def test_a_reward_without_cases_is_said(project: Path) -> None:
    (project / "r1core_chem/cases.jsonl").unlink()
    (line,) = findings(project)
    assert line.startswith("reward chem/smiles has no cases: write smiles_cases.jsonl or cases.jsonl")


@pytest.mark.parametrize(
    ("kept", "said"),
    [(0, "no row of reward chem/smiles expects 0: add"), (1, "no row of reward chem/smiles expects more than 0: add")],
)
def test_cases_that_cannot_fail_are_said(project: Path, kept: int, said: str) -> None:
    file = project / "r1core_chem/cases.jsonl"
    rows = file.read_text(encoding="utf-8").splitlines(keepends=True)
    right = [row for row in rows if '"expect": 1' in row]
    file.write_text("".join(right if kept == 0 else [row for row in rows if row not in right]), encoding="utf-8")
    (line,) = findings(project)
    assert said in line


def test_wrong_rows_are_said_with_their_line(project: Path) -> None:
    edit(project / "r1core_chem/cases.jsonl", '"expect": 1, "why": "the reference, l', '"expcet": 1, "why": "the refer')
    lines = findings(project)
    assert all("cases.jsonl:1:1: " in line for line in lines), lines
    assert any("unknown key 'expcet'; did you mean 'expect'?" in line for line in lines), lines


# --- README --------------------------------------------------------------------------------------------------


def test_a_stale_table_is_said_and_mended(project: Path) -> None:
    module = project / "r1core_chem/__init__.py"
    edit(module, "as a share of it", "as a share of the reference")
    (line,) = findings(project)
    assert line == "README.md: the options of reward chem/smiles are not what its Config says: r1 check --fix writes it"
    fixed = check(project, "--fix")
    assert fixed.exit_code == 0, fixed.output
    assert fixed.output.startswith(f"wrote {project / 'README.md'}\n")
    assert "| largest error of a number, as a share of the reference |" in (project / "README.md").read_text()
    assert check(project).exit_code == 0


def test_mending_what_is_fine_writes_nothing(project: Path) -> None:
    before = (project / "README.md").stat().st_mtime_ns
    result = check(project, "--fix")
    assert result.exit_code == 0
    assert "wrote" not in result.output
    assert (project / "README.md").stat().st_mtime_ns == before


def test_a_readme_without_a_table_is_told_where_it_goes(project: Path) -> None:
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(text[: text.index("<!--")] + text[text.index("## Work on it") :], encoding="utf-8")
    (line,) = findings(project)
    opening, _, closing = line.partition("add the lines ")[2].partition(", then r1 check --fix")[0].partition(" and ")
    readme.write_text(f"{text[: text.index('<!--')]}{opening}\n{closing}\n", encoding="utf-8")
    assert check(project, "--fix").exit_code == 0
    assert "| `tolerance` | float >= 0 |" in readme.read_text(encoding="utf-8")


# --- wheels --------------------------------------------------------------------------------------------------


def wheel_of(project: Path, *, extra: str = "", less: str = "") -> Path:
    """The wheel of the scaffold, put together by hand; `extra` is one more file in it, `less` one that it lacks."""
    info = "r1core_chem-0.1.0.dist-info"
    head = (
        f"Metadata-Version: 2.4\nName: r1core-chem\nVersion: 0.1.0\nRequires-Dist: {RANGE}\n"
        "Requires-Python: >=3.11\nLicense-Expression: Apache-2.0\nDescription-Content-Type: text/markdown\n\n"
    )
    files = {f"r1core_chem/{f.name}": f.read_text(encoding="utf-8") for f in (project / "r1core_chem").glob("*.*")}
    files[f"{info}/METADATA"] = head + (project / "README.md").read_text(encoding="utf-8")
    files[f"{info}/entry_points.txt"] = "[r1core]\nchem = r1core_chem\n"
    path = project / "r1core_chem-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, **({extra: ""} if extra else {})}.items():
            if name != less:
                archive.writestr(name, text)
    return path


def test_a_wheel_is_fine(project: Path) -> None:
    result = check(wheel_of(project))
    assert result.exit_code == 0, result.output
    assert "what it installs (r1core_chem)" in result.output


@pytest.mark.parametrize(
    ("extra", "less", "said"),
    [
        ("tests/test_chem.py", "", "it puts 'tests' into site-packages"),
        ("recipes/chem_smoke.yaml", "", "it puts 'recipes' into site-packages"),
        ("", "r1core_chem/cases.jsonl", "reward chem/smiles has no cases"),
        ("", "r1core_chem/py.typed", "r1core_chem/py.typed is missing"),
        ("", "r1core_chem/__init__.py", "is a folder without __init__.py: add it"),
        ("", "r1core_chem-0.1.0.dist-info/entry_points.txt", "no entry point"),
    ],
)
def test_what_a_wheel_has_too_much_or_too_little_is_said(project: Path, extra: str, less: str, said: str) -> None:
    wheel = wheel_of(project, extra=extra, less=less)
    assert any(said in line for line in findings(wheel)), findings(wheel)


def test_a_wheels_readme_cannot_be_mended(project: Path) -> None:
    result = check(wheel_of(project), "--fix")
    assert result.exit_code == 2
    assert "give the project's folder" in result.output


# --- what is no distribution -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing", None, "there is no"),
        ("notes.txt", "hello", "is no project folder and no wheel"),
        ("broken.whl", "hello", "is no wheel"),
        ("folder/other.toml", "", "there is no pyproject.toml in"),
        ("folder/pyproject.toml", "[project", "is no TOML"),
        ("folder/pyproject.toml", "[tool]\n", "has no [project] with a name"),
    ],
)
def test_what_is_no_distribution_is_a_sentence(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_text(content, encoding="utf-8")
    result = check(path if "/" not in name else path.parent)
    assert isinstance(result.exception, RecipeError)
    assert said in str(result.exception)


def test_the_command_exits_4_with_one_line_for_each_finding(
    r1: Callable[..., subprocess.CompletedProcess[str]], project: Path
) -> None:
    edit(project / "pyproject.toml", RANGE, "r1core")
    (project / "r1core_chem/py.typed").unlink()
    done = r1("check", str(project))
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 3
    assert done.stdout.splitlines()[-1] == "2 findings"
    assert done.stderr == ""
