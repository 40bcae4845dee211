"""The same recipe gives the same bytes wherever it runs.

Folder, locale, time zone, home, hash seed, umask, scoring workers, jobs: each run differs from the
reference in all of these at once, so that whatever one of them changed would be seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pickle_watch import Watched
from smoke_runs import recipe

from r1core.store.promised import differing, promised_of_run

SURROUNDINGS = {
    "posix": (0o077, 2, 1, {"LC_ALL": "POSIX", "LANG": "POSIX", "TZ": "America/St_Johns", "PYTHONHASHSEED": "1"}),
    "c": (0o002, 4, 2, {"LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "4242"}),
}
"""umask, scoring workers, stages side by side, environment."""


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_run_in_other_surroundings_gives_the_same_bytes(
    smoke: tuple[Path, list[str]], name: str, tmp_path: Path
) -> None:
    umask, workers, jobs, environment = SURROUNDINGS[name]
    home, run = tmp_path / "home", tmp_path / "an other" / "place"
    home.mkdir()
    arguments = ("--run-dir", str(run), "--set", f"scoring.workers={workers}", "--jobs", str(jobs))
    done = recipe(Path("/"), *arguments, umask=umask, HOME=str(home), **environment)
    assert done.returncode == 0, done.stderr
    assert differing(run, smoke[0]) == []
    assert (run / "results.json").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_run_that_is_watched_by_an_audit_hook_gives_the_same_bytes(
    smoke: tuple[Path, list[str]], watched_smoke: Watched
) -> None:
    assert differing(watched_smoke.run, smoke[0]) == []


def test_another_seed_gives_other_bytes_so_that_the_comparison_can_fail(
    smoke: tuple[Path, list[str]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = recipe(tmp_path, "--run-dir", str(run), "--set", "seed=1", "--until", "student_base")
    assert done.returncode == 0, done.stderr
    different = [name for name in differing(run, smoke[0]) if name.startswith("stages/student_base/")]
    assert "stages/student_base/model/model.safetensors" in different


def test_what_is_compared_is_all_that_is_promised(smoke: tuple[Path, list[str]]) -> None:
    names = set(promised_of_run(smoke[0]))
    trained = {path.parent.name for path in (smoke[0] / "stages").glob("*/model")}
    assert len(trained) >= 8
    assert {f"stages/{stage}/{name}" for stage in trained for name in ("metrics.jsonl", "model/config.json")} <= names
    assert {"results.json", "stages/r1_zero/model/model.safetensors", "stages/evaluation/data/results.json"} <= names
    assert any(name.startswith("stages/cold_start_data/data/") for name in names)
    assert any(name.startswith("stages/r1_zero/rollouts/") for name in names)
