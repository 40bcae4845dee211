"""Nothing that plugins rely on changes by accident: the public API is what public_api.txt says.

A new line is a promise for ever; a line that goes or changes breaks somebody's plugin. CONTRIBUTING
says which changes are allowed; `python tests/contract/public_api.py` takes them over.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from public_api import SNAPSHOT, described, lines

import r1core
from r1core.components import Component
from r1core.hookspecs import hookimpl


def test_the_public_api_is_the_recorded_one() -> None:
    recorded = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    changes = [line for line in difflib.ndiff(recorded, list(lines())) if line[0] in "+-"]
    assert not changes, "if CONTRIBUTING allows it: python tests/contract/public_api.py\n" + "\n".join(changes)


def test_what_a_plugin_imports_is_there_and_sorted() -> None:
    assert r1core.__all__ == sorted(r1core.__all__)
    assert set(dir(r1core)) == set(r1core.__all__)
    assert r1core.hookimpl is hookimpl


def test_a_changed_parameter_a_new_field_and_a_new_default_would_be_seen() -> None:
    class Before(Component):
        limit_s = 1.0
        limit_s_: float = 1.0

        def ask(self, text: str) -> str:
            return text

    class After(Component):
        limit_s_: float = 2.0

        def ask(self, text: str, *, twice: bool = False) -> str:
            return text * (1 + twice)

    assert [a for a, b in zip(described("x", Before), described("x", After), strict=True) if a != b] == [
        "x.limit_s_: float = 1.0",
        "x.ask(self, text: str) -> str",
    ]

    @dataclass(frozen=True, kw_only=True)
    class Data:
        one: int
        two: int = 2

    assert list(described("d", Data))[1:] == ["d.one: int", "d.two: int = ..."]


def test_the_command_that_takes_changes_over_writes_what_the_test_reads(tmp_path: Path) -> None:
    snapshot = str(tmp_path / "api.txt")
    code = f"import public_api, pathlib; public_api.SNAPSHOT = pathlib.Path({snapshot!r}); public_api.main()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
    assert (tmp_path / "api.txt").read_text(encoding="utf-8").splitlines() == list(lines())
