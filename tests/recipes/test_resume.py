"""Kill it anywhere, run it again, get the same bytes: every kind of stage, on the real engines.

One unbroken run; then copies of it in which one stage is begun, killed with SIGKILL at one place after the
other, gone on with in between, and ends with the same bytes. Every test asserts that each of its kills landed.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_line import STAGES, go, lay_out, plan_of

from r1core.errors import RecipeError, SetupError
from r1core.events import Event, StageNote, StageStarted, StepDone
from r1core.pipeline import run_plan
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


def launched(unbroken: Unbroken, run: Path, stage: str, *sets: str, heard: list[Event]) -> None:
    """Run it to the stage's end; `heard` gets what it says, also of a launch that is killed."""
    plan = planned(unbroken.recipe, *sets)
    run_plan(plan, plan.host, run, listener=heard.append, until_stage=stage, jobs=1)


planned = functools.cache(plan_of)
"""A plan says the same each time, as long as nothing that it reads is changed."""


def killed(unbroken: Unbroken, run: Path, stage: str, place: str, patch: pytest.MonkeyPatch, *sets: str) -> list[Event]:
    """Run the stage until the kill at the place."""
    log, heard = run.parent / "kills", list[Event]()
    log.unlink(missing_ok=True)
    with patch.context() as inner:
        inner.setenv("R1_KILL_AT", f"{stage}/{place}")
        inner.setenv("R1_KILL_LOG", str(log))
        with pytest.raises(SetupError, match="killed by SIGKILL"):
            launched(unbroken, run, stage, *sets, heard=heard)
    assert log.read_text() == f"{stage}/{place.partition(':')[0]}\n"
    return heard


def resumed(unbroken: Unbroken, run: Path, stage: str, *sets: str) -> list[Event]:
    """Run it again to the stage's end; what is promised must be as in the unbroken run."""
    heard = list[Event]()
    launched(unbroken, run, stage, *sets, heard=heard)
    own, theirs = promised(run / "stages" / stage), promised(unbroken.stage(stage))
    assert own.keys() == theirs.keys()
    assert [name for name in own if own[name] != theirs[name]] == []
    steps = [row["step"] for row in read_metrics(run / "stages" / stage / "metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    assert not (run / "stages" / stage / "checkpoint").exists()
    return heard


def begun_after(events: list[Event]) -> int:
    """The steps that a launch found done."""
    return next(event.done for event in events if isinstance(event, StageStarted) and event.total_steps)


def first_step(events: list[Event]) -> int:
    return next(event.step for event in events if isinstance(event, StepDone))


def steps_of(unbroken: Unbroken, stage: str) -> int:
    return len(list(read_metrics(unbroken.stage(stage) / "metrics.jsonl")))


def points(stage: str, total: int) -> dict[str, int]:
    """The steps of a stage at which it is killed."""
    found = {"first": 1, "middle": total // 2 + 1, "last": total}
    if stage == "base":
        return found | {"second pass over the corpus": total // 3 + 1, "extension": round(total / 1.5) + 1}
    if stage == "zero":
        return found | {"few.jsonl begins again": 5, "the reference was just refreshed": 6}
    if stage == "mc":
        return found | {"few.jsonl begins again": 4}
    return found | {"second pass over the traces": (total - 3) // 2 + 1, "the student's own answers": total - 2}


@pytest.mark.parametrize("stage", ["base", "zero", "mc", "student"])
def test_a_train_stage_killed_at_one_step_after_the_other(
    unbroken: Unbroken, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(unbroken, stage, tmp_path)
    batch, done = 2 if stage == "zero" else 1, 0
    for step in sorted(set(points(stage, steps_of(unbroken, stage)).values())):
        events = killed(unbroken, run, stage, f"unit:{step - done}", monkeypatch)
        assert begun_after(events) == done, f"before the kill at step {step}"
        done = (step - 1) // batch * batch
    events = resumed(unbroken, run, stage)
    assert begun_after(events) == done
    assert first_step(events) == done + 1


@pytest.mark.parametrize("stage", ["traces", "table"])
def test_a_stage_of_units_killed_at_the_first_in_the_middle_and_at_the_last(
    unbroken: Unbroken, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = {"traces": 3, "table": 2 * (2 + 2)}[stage]
    run = without(unbroken, stage, tmp_path)
    for place in ("unit:1", f"ledger.append:{units // 2 + 1}", f"ledger.done:{units - units // 2}"):
        killed(unbroken, run, stage, place, monkeypatch)
    resumed(unbroken, run, stage)


WRITING = [f"checkpoint.{place}:1" for place in ("begin", "file", "files", "manifest")]
"""Kills before a checkpoint has its name, one in each process; none gets further than the one before."""


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([*WRITING, "checkpoint.done:1"], id="at the first checkpoint"),
        pytest.param(
            ["checkpoint.begin:3", *WRITING[1:], "checkpoint.pruned:1", "artifact:1"], id="where there are older ones"
        ),
        pytest.param(["checkpoint.done:3", "artifact.done:1"], id="before an older one is removed"),
    ],
)
def test_a_train_stage_killed_again_and_again_while_it_saves(
    unbroken: Unbroken, places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(unbroken, "zero", tmp_path)
    for place in places:
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
            told: list[str] = []
            found = Checkpoints(copy / "run" / "stages" / "zero", keep=2).newest(told.append)
            assert found is not None
            assert found.step == 4, (file, how)
            assert any("step-00000006 is damaged" in text for text in told), (file, how, told)
            if (file.name, how) in RUN_WITH:
                events = resumed(unbroken, copy / "run", "zero")
                said = [event.text for event in events if isinstance(event, StageNote)]
                assert any("step-00000006 is damaged" in text for text in said), (file, how, said)
                assert first_step(events) == 5, (file, how)
            shutil.rmtree(copy)


RUN_WITH = {("weights.safetensors", "flipped"), ("state.json", "cut"), ("manifest.json", "removed")}
"""Damages after which the stage is gone on with, too: whatever was wrong, it takes the checkpoint that is found."""


@pytest.mark.parametrize("what", ["changed", "cut"])
def test_data_that_changed_under_a_half_done_stage_is_refused_with_the_difference(
    unbroken: Unbroken, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = lay_out(tmp_path)
    own = Unbroken(recipe, without(unbroken, "zero", tmp_path))
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
