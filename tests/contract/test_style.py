"""The house style, as far as a machine can see it: sizes, docstrings, pickles, and three tools that must be silent."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = sorted(path for folder in ("r1core", "plugins") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "fixtures" not in path.parts)
MAX_LINES = 400
MEDIAN_LINES = 130
DOCSTRING_LINES = 13
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
READERS = {"load", "loads", "Unpickler"}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_there_is_source_to_look_at() -> None:
    assert {"types.py", "plugins.py"} <= {path.name for path in SOURCE}
    assert Path(__file__) in TESTS


@pytest.mark.parametrize("path", SOURCE, ids=shown)
def test_a_file_is_one_idea(path: Path) -> None:
    assert lines(path) <= MAX_LINES


def test_most_files_are_small() -> None:
    assert statistics.median(lines(path) for path in SOURCE) <= MEDIAN_LINES


@pytest.mark.parametrize("path", [*SOURCE, *TESTS], ids=shown)
def test_a_file_opens_with_why(path: Path) -> None:
    docstring = ast.get_docstring(tree(path))
    assert docstring
    if path in SOURCE:
        assert len(docstring.splitlines()) <= DOCSTRING_LINES


# --- nothing is pickled ----------------------------------------------------------------------------


def pickles(module: ast.Module) -> Iterator[str]:
    """Imports of pickling libraries, and calls that unpickle or may: `torch.load`, `allow_pickle=True`, `yaml.load`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in PICKLES)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if (node.module or "").partition(".")[0] in PICKLES or (node.module == "torch" and names & READERS):
                yield f"from {node.module}"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save", "yaml.load"}:
            yield ast.unparse(node)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield "allow_pickle"


@pytest.mark.parametrize("path", SOURCE, ids=shown)
def test_no_file_reads_or_writes_pickles(path: Path) -> None:
    assert not list(pickles(tree(path)))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import dill.session",
        "torch.load(f)",
        "yaml.load(f)",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_a_pickle_would_be_found(line: str) -> None:
    assert list(pickles(ast.parse(line)))


# --- tools -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check"],
        ["ruff", "format", "--check", "--extend-exclude", "*.md"],
        ["mypy", "--strict", "-p", "r1core"],
    ],
    ids=" ".join,
)
def test_a_tool_is_silent(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
