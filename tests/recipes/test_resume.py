"""Kill it anywhere, run it again, get the same bytes: every kind of stage, on the real engines.

One unbroken run; then, for each place, a copy of it in which one stage is begun, killed with SIGKILL
there, and gone on with. Every test asserts that its kill landed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_line import STAGES, go, lay_out

from r1core.errors import RecipeError, SetupError
from r1core.events import Event, StageNote, StageStarted, StepDone
from r1core.store import Checkpoints, read_metrics
from r1core.store.promised import promised

NEVER = "checkpoint.every_s=1000"


@dataclass(frozen=True)
class Unbroken:
    """A recipe, and the run of it that nothing happened to."""

    recipe: Path
    folder: Path

    def stage(self, name: str) -> Path:
        return self.folder / "stages" / name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder = tmp_path_factory.mktemp("line")
    recipe = lay_out(folder)
    go(recipe, folder / "run", jobs=2)
    return Unbroken(recipe, folder / "run")


def without(unbroken: Unbroken, stage: str, folder: Path) -> Path:
    """A copy of the run up to the stage, which has not been begun."""
    shutil.copytree(unbroken.folder, folder / "run")
    for name in STAGES[STAGES.index(stage) :]:
        shutil.rmtree(folder / "run" / "stages" / name)
    return folder / "run"


def killed(unbroken: Unbroken, run: Path, stage: str, place: str, patch: pytest.MonkeyPatch, *sets: str) -> None:
    """Run the stage until the kill at the place."""
    log = run.parent / "kills"
    log.unlink(missing_ok=True)
    with patch.context() as inner:
        inner.setenv("R1_KILL_AT", f"{stage}/{place}")
        inner.setenv("R1_KILL_LOG", str(log))
        with pytest.raises(SetupError, match="killed by SIGKILL"):
            go(unbroken.recipe, run, *sets, until_stage=stage, jobs=1)
    assert log.read_text() == f"{stage}/{place.partition(':')[0]}\n"


def resumed(unbroken: Unbroken, run: Path, stage: str, *sets: str) -> list[Event]:
    """Run it again to the stage's end; what is promised must be as in the unbroken run."""
    _, events = go(unbroken.recipe, run, *sets, until_stage=stage, jobs=1)
    own, theirs = promised(run / "stages" / stage), promised(unbroken.stage(stage))
    assert own.keys() == theirs.keys()
    assert [name for name in own if own[name] != theirs[name]] == []
    steps = [row["step"] for row in read_metrics(run / "stages" / stage / "metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    assert not (run / "stages" / stage / "checkpoint").exists()
    return events


def first_step(events: list[Event]) -> int:
    return next(event.step for event in events if isinstance(event, StepDone))


def steps_of(unbroken: Unbroken, stage: str) -> int:
    return len(list(read_metrics(unbroken.stage(stage) / "metrics.jsonl")))


@pytest.mark.parametrize(
    ("stage", "point"),
    [
        *((stage, point) for stage in ("base", "zero", "mc", "student") for point in ("first", "middle", "last")),
        ("base", "epoch"),  # the second pass over the corpus begins
        ("base", "extension"),  # the planned steps are done, the extension begins
        ("zero", "epoch"),  # few.jsonl begins again
        ("zero", "reference"),  # the reference was just refreshed
        ("mc", "epoch"),
        ("student", "epoch"),
        ("student", "on_policy"),  # the traces are learned, the student's own answers begin
    ],
)
def test_a_train_stage_killed_at_a_step(
    unbroken: Unbroken, stage: str, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = steps_of(unbroken, stage)
    places = {
        "first": 1,
        "middle": total // 2 + 1,
        "last": total,
        "epoch": {"base": total // 3 + 1, "zero": 5, "mc": 4, "student": (total - 3) // 2 + 1}[stage],
        "extension": round(total / 1.5) + 1,
        "reference": 6,
        "on_policy": total - 2,
    }
    step = places[point]
    run = without(unbroken, stage, tmp_path)
    killed(unbroken, run, stage, f"unit:{step}", monkeypatch)
    events = resumed(unbroken, run, stage)
    batch = 2 if stage == "zero" else 1
    assert first_step(events) == (step - 1) // batch * batch + 1
    started = next(e for e in events if isinstance(e, StageStarted) and e.total_steps)
    assert started.done == (step - 1) // batch * batch


@pytest.mark.parametrize("stage", ["traces", "table"])
@pytest.mark.parametrize(("point", "place"), [("first", "unit"), ("middle", "ledger.append"), ("last", "ledger.done")])
def test_a_stage_of_units_killed_at_one(
    unbroken: Unbroken, stage: str, point: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = {"traces": 3, "table": 2 * (2 + 2)}[stage]
    run = without(unbroken, stage, tmp_path)
    arrival = {"first": 1, "middle": units // 2 + 1, "last": units}[point]
    killed(unbroken, run, stage, f"{place}:{arrival}", monkeypatch)
    resumed(unbroken, run, stage)


@pytest.mark.parametrize(
    ("place", "arrival"),
    [(f"checkpoint.{place}", arrival) for place in ("begin", "file", "files", "manifest", "done") for arrival in (1, 3)]
    + [("checkpoint.pruned", 1), ("artifact", 1), ("artifact.done", 1)],
)
def test_a_train_stage_killed_while_it_saves(
    unbroken: Unbroken, place: str, arrival: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(unbroken, "zero", tmp_path)
    killed(unbroken, run, "zero", f"{place}:{arrival}", monkeypatch)
    resumed(unbroken, run, "zero")


def test_killed_again_and_again_in_every_process(
    unbroken: Unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(unbroken, "zero", tmp_path)
    for place in ("unit:3", "checkpoint.manifest:1", "unit:2", "checkpoint.done:1", "unit:1"):
        killed(unbroken, run, "zero", place, monkeypatch)
    resumed(unbroken, run, "zero")


def test_a_stage_without_a_checkpoint_starts_over(
    unbroken: Unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(unbroken, "zero", tmp_path)
    killed(unbroken, run, "zero", "unit:6", monkeypatch, NEVER)
    assert not list((run / "stages" / "zero" / "checkpoint").glob("step-*"))
    assert first_step(resumed(unbroken, run, "zero", NEVER)) == 1


def newest(run: Path) -> Path:
    return max((run / "stages" / "zero" / "checkpoint").glob("step-*"))


def harmed(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        middle = len(content) // 2
        rest = b"" if how == "cut" else bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:middle] + rest)


def test_each_file_of_the_newest_checkpoint_harmed_in_turn(
    unbroken: Unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(unbroken, "zero", tmp_path)
    killed(unbroken, run, "zero", "unit:7", monkeypatch)
    files = sorted(path.relative_to(newest(run)) for path in newest(run).rglob("*") if path.is_file())
    assert {"manifest.json", "state.json", "optimizer.safetensors", "weights.safetensors", "config.json"} <= {
        file.name for file in files
    }
    for file in files:
        for how in ("flipped", "cut", "removed"):
            copy = tmp_path / "copy"
            shutil.copytree(run, copy / "run")
            harmed(newest(copy / "run") / file, how)
            found = Checkpoints(copy / "run" / "stages" / "zero", keep=2).newest(lambda finding: None)
            assert found is not None
            assert found.step == 4, (file, how)
            if how != "flipped":  # what follows is the same
                shutil.rmtree(copy)
                continue
            events = resumed(unbroken, copy / "run", "zero")
            told = [event.text for event in events if isinstance(event, StageNote)]
            assert any("step-00000006 is damaged" in text for text in told), (file, how, told)
            assert first_step(events) == 5, (file, how)
            shutil.rmtree(copy)


@pytest.mark.parametrize("what", ["changed", "cut"])
def test_data_that_changed_under_a_half_done_stage_is_refused_with_the_difference(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = lay_out(tmp_path)
    go(recipe, tmp_path / "run", until_stage="base")
    own = Unbroken(recipe, tmp_path / "run")
    killed(own, tmp_path / "run", "zero", "unit:5", monkeypatch)
    before = promised_and_progress(tmp_path / "run")
    few = tmp_path / "few.jsonl"
    lines = few.read_text().splitlines(keepends=True)
    changed = [*lines, lines[0].replace('"prompt": "', '"prompt": "so: ')]
    few.write_text("".join(lines[:-1] if what == "cut" else changed))
    difference = r"zero.*few\.jsonl: \d+ bytes, 9 lines, sha256 \w+.* -> \d+ bytes, (8|10) lines"
    with pytest.raises(RecipeError, match=difference) as caught:
        go(recipe, tmp_path / "run", until_stage="zero")
    assert "--from zero" in caught.value.fix
    assert promised_and_progress(tmp_path / "run") == before
    _, events = go(recipe, tmp_path / "run", until_stage="zero", from_stage="zero")
    assert first_step([e for e in events if getattr(e, "stage", "") == "zero"]) == 1


def promised_and_progress(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
