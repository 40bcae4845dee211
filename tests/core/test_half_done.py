"""A stage that was left half done goes on only as what it was: changes are told before anything is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_paced
from toy_command import Command
from toy_runs import Ran, contents, go, planned

from r1core.errors import RecipeError, RefusedError
from r1core.events import RunStarted, StageStarted
from r1core.pipeline import run_plan
from r1core.store import RunDirectory

EVERY_STEP = "{every_s: 0}"
LINES = f"'{toy_paced.HERE}:Lines'"


def stages(folder: Path, checkpoint: str = EVERY_STEP) -> str:
    """`base` refuses its first step until `first` holds `been`, `zero` its third until `third` does."""
    once = f"then: once, where: {folder}"
    return (
        f"  base: {{train: {{use: Climb, {once}/first}}, model: {{scratch: {{skill: 0.2}}}}, data: [{{use: {LINES}, "
        f"path: {folder}/rows}}]}}\n"
        f"  zero: {{train: {{use: Climb, steps: 4, at: 2, {once}/third}}, model: base, checkpoint: {checkpoint}}}\n"
        "  after: {train: Climb, model: zero}\n"
    )


@pytest.fixture
def half_done(tmp_path: Path) -> Path:
    """A folder with a run of which `base` is finished, and two of four steps of `zero` are."""
    for folder in ("first", "third"):
        (tmp_path / folder).mkdir()
    (tmp_path / "first" / "been").touch()
    (tmp_path / "rows").write_text("1\n2\n3\n4\n")
    with pytest.raises(RefusedError, match="not the first time"):
        go(tmp_path, stages(tmp_path))
    assert RunDirectory(tmp_path / "run").stage("zero").half_done() is not None
    return tmp_path


def refused(folder: Path, text: str, *sets: str, seed: int = 0, **options: str) -> str:
    """The message; nothing in the run's folder may have changed."""
    before = contents(folder / "run", ".lock")
    with pytest.raises(RecipeError) as caught:
        go(folder, text, *sets, seed=seed, **options)
    assert caught.value.exit_code == 2
    assert caught.value.events == []  # type: ignore[attr-defined]
    assert contents(folder / "run", ".lock") == before
    return str(caught.value)


def told(ran: Ran, stage: str) -> int:
    """The steps that a stage said it need not do again."""
    return max(event.done for event in ran.of(StageStarted, stage))


def test_unchanged_it_goes_on_from_where_it_was(half_done: Path) -> None:
    ran = go(half_done, stages(half_done))
    assert [row.status for row in ran.of(RunStarted)[0].rows] == ["unchanged", "unfinished", "new"]
    assert told(ran, "zero") == 2


def test_an_option_that_changed_is_told_and_undoing_it_goes_on(half_done: Path) -> None:
    text = refused(half_done, stages(half_done), "stages.zero.train.gain=0.2")
    assert "half done, and made from something else: zero\n" in text
    assert "\n  stages.zero.train.gain: 0.1 -> 0.2\n" in text
    assert "undo the change to go on, or start over with --from zero: what was done is then set aside" in text
    assert told(go(half_done, stages(half_done)), "zero") == 2


def test_a_seed_that_changed_is_told_once(half_done: Path) -> None:
    assert refused(half_done, stages(half_done), seed=1).count("seed: 0 -> 1") == 1


def test_data_that_were_cut_short_are_told_with_the_stage_they_went_into(half_done: Path) -> None:
    (half_done / "rows").write_text("1\n2\n")
    text = refused(half_done, stages(half_done))
    assert "stages.base.data.0.path rows: 8 bytes, 4 lines, sha256 " in text
    assert " -> 4 bytes, 2 lines, sha256 " in text
    assert "input base: made from something else" in text


def test_data_without_a_row_are_told_by_the_difference_too(half_done: Path) -> None:
    (half_done / "rows").write_text("")
    assert "-> 0 bytes, 0 lines" in refused(half_done, stages(half_done))


def test_from_sets_it_aside_and_starts_it_over(half_done: Path) -> None:
    plan = planned(half_done, stages(half_done), "stages.zero.train.steps=3")
    notes: list[object] = []
    (half_done / "third" / "been").unlink()
    with pytest.raises(RefusedError, match="not the first time"):
        run_plan(plan, plan.host, half_done / "run", from_stage="zero", listener=notes.append)
    aside = half_done / "run" / "stages" / ".stale" / "zero"
    assert json.loads((aside / "stage.json").read_text())["made_from"]["stage"]["train"]["steps"] == 4
    assert any(isinstance(note, StageStarted) and note.total_steps == 3 and note.done == 0 for note in notes)
    ran = go(half_done, stages(half_done), "stages.zero.train.steps=3")
    assert told(ran, "zero") == 2
    assert not aside.exists()


def test_from_starts_an_unchanged_one_over_too_even_if_the_run_fails_before_its_turn(half_done: Path) -> None:
    (half_done / "first" / "been").unlink()
    text = stages(half_done)
    with pytest.raises(RefusedError, match="not the first time"):
        go(half_done, text, from_stage="base")
    assert told(go(half_done, text), "zero") == 0


def test_a_stage_that_is_not_wanted_is_not_asked_for(half_done: Path) -> None:
    ran = go(half_done, stages(half_done), "stages.zero.train.gain=0.2", until_stage="base")
    assert ran.order(StageStarted) == []


def test_what_does_not_count_may_change(half_done: Path) -> None:
    ran = go(half_done, stages(half_done, "{every_s: 5, keep: 1}"))
    assert told(ran, "zero") == 2


def test_a_record_that_does_not_say_what_it_was_made_from_is_refused_too(half_done: Path) -> None:
    path = half_done / "run" / "stages" / "zero" / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "made_from": {}}))
    text = refused(half_done, stages(half_done), "stages.zero.train.gain=0.2")
    assert "stages.zero: nothing tells what it was made from" in text


# --- two at once, and the command --------------------------------------------------------------------

PACE = "train: {use: Paced, steps: 4, at: 2, where: PLACE}, model: base"
BESIDE = f"  base: BASE\n  left: {{{PACE}}}\n  right: {{{PACE}}}\n  after: {{train: Climb, model: left}}\n"


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    made = Command(tmp_path, BESIDE, checkpoint=EVERY_STEP)
    yield made
    made.clean_up()


def test_two_half_done_stages_are_one_message_and_one_command_starts_both_over(command: Command) -> None:
    command.close()
    command.start("--jobs", "2")
    command.reached(2, stages=2)
    assert command.process is not None
    command.process.kill()
    command.ended()
    assert command.gone_within(5.0)
    before = contents(command.run, ".lock")
    assert command.again("--set", "seed=1") == 2
    assert "half done, and made from something else: left, right" in command.err
    assert command.err.count("seed: 0 -> 1") == 1
    assert "start over with --from left --from right:" in command.err
    assert "Traceback" not in command.err
    assert contents(command.run, ".lock") == before
    assert command.again("--set", "seed=1", "--from", "left", "--from", "right") == 0, command.err
    assert "resuming" not in command.out
