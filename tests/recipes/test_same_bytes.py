"""The same recipe gives the same bytes wherever it runs.

Folder, locale, time zone, home, hash seed, umask, scoring workers, jobs: each run differs from the
reference in all of these at once, so that whatever one of them changed would be seen. The longer of the two
is watched by an audit hook as well (test_no_pickles.py looks at what that saw).
"""

from __future__ import annotations

from pathlib import Path

from pickle_watch import Watched
from smoke_runs import SURROUNDINGS, place_of, recipe, recipe_elsewhere

from r1core.store.promised import differing, promised_of_run


def test_a_run_in_other_surroundings_gives_the_same_bytes(smoke: tuple[Path, list[str]], tmp_path: Path) -> None:
    """As far as a second model: what follows is in the run that is watched."""
    done = recipe_elsewhere(tmp_path, SURROUNDINGS["posix"], "--until", "dev2")
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (place_of(tmp_path) / "stages").iterdir() if not path.name.startswith(".")}
    assert {"base", "r1_zero", "cold_start_samples", "cold_start_data", "dev1", "dev2"} <= made
    theirs = tuple(f"stages/{stage}/" for stage in made)
    wanted = {name: mark for name, mark in promised_of_run(smoke[0]).items() if name.startswith(theirs)}
    assert promised_of_run(place_of(tmp_path)) == wanted
    assert mode_of(place_of(tmp_path) / "stages/dev2/stage.json") == 0o666 & ~SURROUNDINGS["posix"].umask


def test_a_run_in_yet_others_that_is_watched_by_an_audit_hook_gives_the_same_bytes(
    smoke: tuple[Path, list[str]], watched_smoke: Watched
) -> None:
    assert differing(watched_smoke.run, smoke[0]) == []
    assert mode_of(watched_smoke.run / "results.json") == 0o666 & ~SURROUNDINGS["c"].umask


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


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
