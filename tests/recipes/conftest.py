"""Runs of the whole pipeline that several tests look at, for reading only; each takes about half a minute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pickle_watch import Watched, watch
from smoke_runs import SURROUNDINGS, place_of, recipe, recipe_elsewhere


@pytest.fixture(scope="session")
def smoke(once: Callable[[str, Callable[[Path], None]], Path]) -> tuple[Path, list[str]]:
    """The folder of a run that nothing was done to, and the lines that it printed."""

    def run(folder: Path) -> None:
        done = recipe(folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (folder / "said.txt").write_text(done.stdout, encoding="utf-8")

    folder = once("smoke", run)
    return folder / "runs" / "deepseek-r1", (folder / "said.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="session")
def watched_smoke(once: Callable[[str, Callable[[Path], None]], Path]) -> Watched:
    """A run in other surroundings, all of whose processes were watched for pickles."""

    def run(folder: Path) -> None:
        done = recipe_elsewhere(folder, SURROUNDINGS["c"], path=watch(folder))
        assert done.returncode == 0, done.stderr

    folder = once("watched", run)
    return Watched(place_of(folder), folder / "site")
