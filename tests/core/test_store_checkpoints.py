"""Checkpoints: whole or absent, the newest computed, and none let go of before its successor is proven."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from r1core.store import Checkpoint, Checkpoints, FileMark
from r1core.store.kills import PLACES

LOG = "metrics.jsonl"


def fill(folder: Path, value: int) -> None:
    (folder / "policy").mkdir()
    (folder / "policy" / "weights").write_bytes(bytes([value]) * 1000)
    (folder / "state.json").write_text(json.dumps({"value": value}))


def save(stage: Path, *values: int, keep: int = 2) -> Checkpoints:
    """A checkpoint of each value at the step of that number, with a log that grows by a line for each."""
    checkpoints = Checkpoints(stage, keep=keep)
    for value in values:
        with (stage / LOG).open("a") as log:
            log.write(f"{value}\n")
        checkpoints.save(value, lambda folder, value=value: fill(folder, value), beside={LOG: FileMark.of(stage / LOG)})
    return checkpoints


def newest(stage: Path) -> tuple[Checkpoint | None, list[str]]:
    damage: list[str] = []
    return Checkpoints(stage, keep=2).newest(damage.append), damage


def value_of(checkpoint: Checkpoint | None) -> int:
    assert checkpoint is not None
    found: int = json.loads((checkpoint.path / "state.json").read_text())["value"]
    return found


def test_the_newest_is_the_highest_step(tmp_path: Path) -> None:
    save(tmp_path, 2, 9, 10)
    found, damage = newest(tmp_path)
    assert (value_of(found), damage) == (10, [])
    assert found is not None
    assert (found.step, found.path.name) == (10, "step-00000010")


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    assert save(tmp_path, 1, 2, 3, 4, keep=2).steps() == [4, 3]
    assert save(tmp_path, 5, keep=1).steps() == [5]
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["step-00000005"]


def test_it_says_what_the_files_beside_it_began_with(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with (tmp_path / LOG).open("a") as log:
        log.write("and on")
    found, _ = newest(tmp_path)
    assert found is not None
    assert found.beside[LOG].size == 2


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("file", ["policy/weights", "state.json", "manifest.json"])
def test_a_damaged_file_is_found_and_the_checkpoint_before_taken(
    tmp_path: Path, file: str, harm: Callable[[Path], None]
) -> None:
    save(tmp_path, 1, 2)
    harm(tmp_path / "checkpoint" / "step-00000002" / file)
    found, damage = newest(tmp_path)
    assert value_of(found) == 1
    (said,) = damage
    assert "step-00000002 is damaged" in said
    assert file in said or file == "manifest.json"  # a bit of a hash in it looks like another file's


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
def test_a_log_that_lost_lines_takes_the_checkpoint_with_it(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    save(tmp_path, 1, 2)
    harm(tmp_path / LOG)
    found, damage = newest(tmp_path)
    assert found is None if harm is Path.unlink else value_of(found) == 1
    assert all(LOG in said for said in damage)


def test_a_file_too_many_is_damage(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "checkpoint" / "step-00000002" / "stranger").write_text("hello")
    assert value_of(newest(tmp_path)[0]) == 1


def test_a_checkpoint_under_another_name_is_damage(tmp_path: Path) -> None:
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "checkpoint" / "step-00000001", tmp_path / "checkpoint" / "step-00000007")
    found, damage = newest(tmp_path)
    assert value_of(found) == 1
    assert "that of step 1" in damage[0]


def test_a_save_that_fails_leaves_the_older_ones_and_nothing_else(tmp_path: Path) -> None:
    checkpoints = save(tmp_path, 1, 2)

    def full(folder: Path) -> None:
        fill(folder, 3)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(3, full, beside={})
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["step-00000001", "step-00000002"]
    assert value_of(newest(tmp_path)[0]) == 2


def test_a_disk_with_too_little_room_is_not_filled_to_the_brim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = save(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1100, 1100))  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="are free, a checkpoint needs"):
        checkpoints.save(2, lambda folder: fill(folder, 2), beside={})
    assert checkpoints.steps() == [1]


def test_an_older_one_stays_when_its_successor_does_not_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = save(tmp_path, 1, keep=1)
    renamed = Path.rename

    def rename_and_rot(self: Path, target: Path) -> Path:
        moved = renamed(self, target)
        if target.name == "step-00000002":
            flip(target / "policy" / "weights")
        return moved

    monkeypatch.setattr(Path, "rename", rename_and_rot)
    with pytest.raises(OSError, match="policy/weights is not what it was"):
        checkpoints.save(2, lambda folder: fill(folder, 2), beside={})
    assert value_of(newest(tmp_path)[0]) == 1


def test_saving_after_damage_replaces_what_was_damaged(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3, keep=3)
    flip(tmp_path / "checkpoint" / "step-00000002" / "state.json")
    flip(tmp_path / "checkpoint" / "step-00000003" / "state.json")
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(2, lambda folder: fill(folder, 22), beside={})
    assert value_of(newest(tmp_path)[0]) == 22
    assert checkpoints.steps() == [2, 1]


KILLED = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_store_checkpoints import save
save(Path(sys.argv[1]), 1, 2, 3)
"""


@pytest.mark.parametrize(
    ("place", "arrival"),
    [
        (place, arrival)
        for place in PLACES
        if place.startswith("checkpoint.") and place != "checkpoint.file"  # that one is the writer's of the files
        for arrival in ((1,) if place == "checkpoint.pruned" else (1, 3))  # three values prune one checkpoint
    ],
)
def test_a_kill_at_any_place_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path, place: str, arrival: int) -> None:
    log = tmp_path / "kills"
    code = KILLED.format(here=str(Path(__file__).parent))
    environment = {**os.environ, "R1_KILL_AT": f"{place}:{arrival}", "R1_KILL_LOG": str(log)}
    stage = tmp_path / "stage"
    stage.mkdir()
    done = subprocess.run([sys.executable, "-c", code, str(stage)], env=environment, check=False)
    assert done.returncode == -9
    assert log.read_text() == f"pipeline/{place}\n"
    found, damage = newest(stage)
    assert damage == []
    whole = {"checkpoint.done": arrival, "checkpoint.pruned": 3}.get(place, arrival - 1)
    assert (found is None) if whole == 0 else value_of(found) == whole
    shutil.rmtree(stage / "checkpoint" / "step-00000003", ignore_errors=True)
    save(stage, 4)  # and what the kill left is in nobody's way
    assert value_of(newest(stage)[0]) == 4
    assert not [path for path in (stage / "checkpoint").iterdir() if path.name.startswith(".")]
