"""Runs of the whole pipeline that several tests look at; each takes about half a minute."""

from __future__ import annotations

from pathlib import Path

import pytest
from pickle_watch import Watched, watch
from smoke_runs import recipe


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a run that nothing was done to, and the lines that it printed."""
    folder = tmp_path_factory.mktemp("smoke")
    done = recipe(folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "runs" / "deepseek-r1", done.stdout.splitlines()


@pytest.fixture(scope="session")
def watched_smoke(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run in other surroundings, all of whose processes were watched for pickles."""
    folder = tmp_path_factory.mktemp("watched")
    site = watch(folder)
    surroundings = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "random"}
    done = recipe(folder, "--set", "scoring.workers=1", "--jobs", "2", path=site, **surroundings)
    assert done.returncode == 0, done.stderr
    return Watched(folder / "runs" / "deepseek-r1", site)
