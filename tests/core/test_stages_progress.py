"""How a train stage is saved and gone on from: when, what becomes of failures, and what a stop request does."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_runs import job_of
from toy_stages import Skill

from r1core.errors import Interrupted, RefusedError
from r1core.events import StageNote, StageStarted, StepDone
from r1core.stages import run_stage
from r1core.stages.base import Job
from r1core.store import read_metrics

EVERY_STEP = ", checkpoint: {every_s: 0}"


def prepared(tmp_path: Path, options: str = "", more: str = EVERY_STEP) -> tuple[Job, list[Any]]:
    start = "model: {scratch: {skill: 0.0}}, data: {use: Numbers}"
    return job_of(tmp_path, f"  stage: {{train: {{use: Climb{options}}}, {start}{more}}}\n", "stage")


def stopped_after(job: Job, events: list[Any], step: int) -> None:
    """Run the stage; the request to stop comes while `step` is at work."""
    job.stopping = lambda: sum(isinstance(event, StepDone) for event in events) >= step
    with pytest.raises(Interrupted) as caught:
        run_stage(job)
    assert "which is saved" in caught.value.what


def saved(job: Job) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (job.folder / "checkpoint").glob("step-*"))


def notes(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, StageNote)]


def model(job: Job) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((job.folder / "model").iterdir()))


def unbroken(tmp_path: Path, options: str = "", more: str = EVERY_STEP) -> Job:
    folder = tmp_path / "unbroken"
    folder.mkdir()
    job, _ = prepared(folder, options, more)
    run_stage(job)
    return job


def test_a_request_to_stop_saves_the_step_and_the_next_process_goes_on(tmp_path: Path) -> None:
    whole = unbroken(tmp_path, ", steps: 5")
    job, events = prepared(tmp_path, ", steps: 5", ", checkpoint: {every_s: 1000}")
    stopped_after(job, events, 2)
    assert saved(job) == [2]
    job, events = prepared(tmp_path, ", steps: 5")
    run_stage(job)
    assert [event.step for event in events if isinstance(event, StepDone)] == [3, 4, 5]
    assert [(e.done, e.total_steps) for e in events if isinstance(e, StageStarted)] == [(2, 5)]
    assert notes(events) == []
    assert [row["step"] for row in read_metrics(job.folder / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    assert model(job) == model(whole)


def test_a_stage_is_only_saved_where_it_can_be_gone_on_from(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", steps: 9, batch: 3")
    stopped_after(job, events, 4)
    assert saved(job) == [3, 6]
    assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2, 3, 4, 5, 6]


def test_metrics_of_steps_that_were_not_saved_are_not_kept(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", steps: 6, batch: 2")
    stopped_after(job, events, 2)
    with (job.folder / "metrics.jsonl").open("a") as file:
        file.write('{"loss": 0.5, "step": 3}\n{"loss": 0.')
    job, _ = prepared(tmp_path, ", steps: 6, batch: 2")
    run_stage(job)
    assert [row["step"] for row in read_metrics(job.folder / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_no_checkpoint_is_taken_before_its_time(tmp_path: Path) -> None:
    job, _ = prepared(tmp_path, ", steps: 6", ", checkpoint: {every_s: 1000}")
    run_stage(job)
    assert not (job.folder / "checkpoint").exists()


def test_a_slow_save_makes_the_next_one_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("r1core.stages.progress.time.monotonic", lambda: clock[0])
    policy, update, steps = type(prepared(tmp_path)[0].policy()), Skill.update, [0]

    def slow_save(self: Any, folder: Path) -> None:
        clock[0] += 1.0
        self.export(folder)

    def ten_seconds(self: Any, *arguments: Any, lr: float) -> dict[str, float]:
        clock[0] += 10.0
        steps[0] += 1
        return update(self, *arguments, lr=lr)

    monkeypatch.setattr(policy, "save", slow_save)
    monkeypatch.setattr(policy, "update", ten_seconds)
    taken: list[int] = []
    monkeypatch.setattr("r1core.stages.progress.reached", lambda place: taken.append(steps[0]))
    run_stage(prepared(tmp_path, ", steps: 20, gain: 0.01", ", checkpoint: {every_s: 10}")[0])
    assert taken == [1, 6, 11, 16]  # a save of 1 s is worth 50 s of training


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One answer for each save: whether the disk is full then."""
    answers: list[bool] = []

    def usage(path: Path) -> Any:
        return shutil._ntuple_diskusage(10**9, 0, 0 if answers and answers.pop(0) else 10**9)  # type: ignore[attr-defined]

    monkeypatch.setattr("r1core.store.checkpoints.shutil.disk_usage", usage)
    return answers


def test_saves_that_fail_keep_the_older_checkpoint_and_training_goes_on(tmp_path: Path, full_disk: list[bool]) -> None:
    whole = unbroken(tmp_path, ", steps: 7")
    full_disk += [False, True, True, False, True, True, False]
    job, events = prepared(tmp_path, ", steps: 7")
    run_stage(job)
    failed = [note for note in notes(events) if "could not be saved" in note]
    assert [note.split()[1] for note in failed] == ["2", "3", "5", "6"]
    assert "the checkpoint of step 1 stays, training goes on" in failed[0]
    assert full_disk == []
    assert model(job) == model(whole)


def test_the_third_failed_save_in_a_row_stops_the_stage_which_goes_on_later(
    tmp_path: Path, full_disk: list[bool]
) -> None:
    whole = unbroken(tmp_path, ", steps: 9")
    full_disk += [False, False, True, True, True]
    job, _ = prepared(tmp_path, ", steps: 9")
    with pytest.raises(RefusedError, match="3 checkpoints in a row could not be saved") as caught:
        run_stage(job)
    assert "the checkpoint of step 2 stays" in caught.value.fix
    assert saved(job) == [1, 2]
    job, events = prepared(tmp_path, ", steps: 9")
    run_stage(job)
    assert next(event.step for event in events if isinstance(event, StepDone)) == 3
    assert model(job) == model(whole)


def test_metrics_wait_while_the_disk_is_full_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from r1core.store import metrics

    real, calls = metrics.append_all, [0]

    def sometimes_full(file: Any, data: bytes, *, at: int) -> None:
        calls[0] += 1
        if calls[0] in (2, 3, 4):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data, at=at)

    monkeypatch.setattr(metrics, "append_all", sometimes_full)
    job, events = prepared(tmp_path, ", steps: 6")
    run_stage(job)
    assert [row["step"] for row in read_metrics(job.folder / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert any("could not be saved (No space left on device)" in note for note in notes(events))


def test_what_a_stage_has_cost_covers_all_its_processes(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", steps: 3")
    stopped_after(job, events, 1)
    state = max((job.folder / "checkpoint").glob("step-*")) / "state.json"
    used = json.loads(state.read_text())["used"]
    assert used["wall_s"] > 0
    job, _ = prepared(tmp_path, ", steps: 3")
    run_stage(job)
    assert job.meter.earlier.wall_s == used["wall_s"]
    assert job.meter.now().wall_s > used["wall_s"]


def test_steps_without_a_signal_are_said_once_and_counted(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", steps: 8, idle: [1, 2, 3, 6]")
    metrics = run_stage(job)
    assert notes(events) == [
        "step 2: nothing to learn from",
        "step 7: nothing to learn from",
        "4 of 8 steps had nothing to learn from",
    ]
    assert metrics["empty_steps"] == 4


def test_steps_skipped_before_a_stop_count_after_it(tmp_path: Path) -> None:
    options = ", steps: 6, skipped: [0, 1, 3, 4]"
    job, events = prepared(tmp_path, options)
    stopped_after(job, events, 2)
    job, _ = prepared(tmp_path, options)
    assert run_stage(job)["skipped_steps"] == 4
