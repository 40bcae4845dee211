"""A run: what it does in which order, and what it does again."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_paced
import toy_stages
from toy_runs import LINE, STAGES, contents, copied, go, planned, ran, without_times, written

from r1core import pipeline
from r1core.errors import R1Error, RecipeError
from r1core.events import RunStarted, StageFinished, StageSkipped, StageStarted
from r1core.pipeline import run_plan
from r1core.plugins import PluginHost
from r1core.processes import prepare
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.scheduling import by_chain
from r1core.store.rows import PRELOAD


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of LINE in `run`; for reading only."""
    folder = tmp_path_factory.mktemp("finished")
    go(folder, LINE, jobs=2)
    return folder


# --- order -----------------------------------------------------------------------------------------


def test_inputs_run_before_what_depends_on_them(tmp_path: Path) -> None:
    events = go(tmp_path, LINE, jobs=2)
    started = {e.stage: i for i, e in enumerate(events) if isinstance(e, StageStarted) and e.total_steps is None}
    ended = {e.stage: i for i, e in enumerate(events) if isinstance(e, StageFinished)}
    assert set(started) == set(ended) == set(STAGES)
    for stage in planned(tmp_path, LINE).stages:
        assert all(ended[name] < started[stage.id] for name in stage.inputs)


@pytest.mark.parametrize(("last", "rows"), [("zero", False), ("traces", True)])
def test_what_rows_need_is_imported_once_for_all_stages_where_one_makes_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, rows: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pipeline, "prepare", lambda modules: (asked.extend(modules), prepare(modules)))
    go(tmp_path, LINE, jobs=1, until_stage=last)
    assert asked[1:] == ([*PRELOAD] if rows else [])


def test_independent_stages_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    meet = f"then: meet, where: {tmp_path / 'place'}"
    events = go(
        tmp_path,
        f"  one: {{train: {{use: Climb, {meet}}}, model: {{scratch: {{skill: 0}}}}, data: {{use: Numbers}}}}\n"
        f"  two: {{train: {{use: Climb, {meet}}}, model: {{scratch: {{skill: 0}}}}, data: {{use: Numbers}}}}\n",
        jobs=2,
    )
    kinds = [(type(e).__name__, e.stage) for e in events if isinstance(e, StageStarted | StageFinished)]
    first_end = kinds.index(next(kind for kind in kinds if kind[0] == "StageFinished"))
    assert {("StageStarted", "one"), ("StageStarted", "two")} <= set(kinds[:first_end])


def test_one_job_runs_one_stage_at_a_time(tmp_path: Path) -> None:
    events = go(tmp_path, LINE, jobs=1)
    running = 0
    for event in events:
        running += isinstance(event, StageStarted) and event.total_steps is None
        running -= isinstance(event, StageFinished)
        assert running in (0, 1)


def test_the_number_of_jobs_changes_no_byte(tmp_path: Path, finished: Path) -> None:
    go(tmp_path, LINE, jobs=1)
    assert without_times(tmp_path / "run" / "stages") == without_times(finished / "run" / "stages")


def test_the_stage_with_the_longest_chain_of_dependents_goes_first(tmp_path: Path) -> None:
    stages = """\
  lone: BASE
  short: BASE
  long: BASE
  end: {train: Climb, model: short}
  next: {train: Climb, model: long}
  last: {train: Climb, model: next}
"""
    plan = planned(tmp_path, stages)
    assert [stage.id for stage in by_chain(plan.stages)] == ["long", "short", "next", "lone", "end", "last"]
    assert go(tmp_path, stages, jobs=1).order(StageStarted) == ["long", "short", "next", "lone", "end", "last"]


def test_stages_see_the_environment_of_the_run_they_belong_to_and_their_own_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes of a second run are forked from the server of the first."""
    paced = f"train: {{use: '{toy_paced.HERE}:Paced', where: {tmp_path}}}, model: {{scratch: {{skill: 0}}}}"
    stages = f"  one: {{{paced}, data: {{use: Numbers}}}}\n"
    for value in ("first", "second"):
        monkeypatch.setenv("R1_TOY", value)
        go(tmp_path, stages, from_stage="one")
        file = max(tmp_path.glob("*.0"), key=lambda path: path.stat().st_mtime_ns)
        assert {f"R1_TOY={value}", "R1_STAGE=one", "OMP_NUM_THREADS=1"} <= set(file.read_text().splitlines())
    found = b"".join(contents(tmp_path / "run").values())
    assert b"R1_TOY" not in found, "the environment holds secrets, and is written nowhere"


# --- what is run again -----------------------------------------------------------------------------


def test_a_second_run_does_nothing(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    before = contents(folder / "run", ".lock")
    events = go(folder, LINE)
    assert [row.status for row in events.of(RunStarted)[0].rows] == ["unchanged"] * 6
    assert events.order(StageSkipped) == STAGES
    assert events.of(StageStarted) == []
    assert contents(folder / "run", ".lock") == before
    assert len(events.run.rows) == 3


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ("stages.zero.train.steps=2", ["zero", "traces", "student", "table"]),
        ("stages.traces.sample.samples=3", ["traces", "student", "table"]),
        ("stages.other.train.gain=0.5", ["other"]),
        ("stages.table.evaluate.sets.greedy.limit=4", ["table"]),
    ],
)
def test_an_edited_stage_and_its_dependents_run_again_and_nothing_else(
    finished: Path, tmp_path: Path, change: str, stale: list[str]
) -> None:
    folder = copied(finished, tmp_path)
    events = go(folder, LINE, change, jobs=1)
    assert events.order(StageStarted) == stale
    states = {row.stage: row.status for row in events.of(RunStarted)[0].rows}
    assert states == {stage: "stale" if stage in stale else "unchanged" for stage in STAGES}


def test_from_makes_a_stage_and_its_dependents_stale(finished: Path, tmp_path: Path) -> None:
    assert ran(copied(finished, tmp_path), from_stage="traces") == ["traces", "student", "table"]


def test_from_stays_in_force_when_the_run_fails_before_their_turn(tmp_path: Path) -> None:
    toll = tmp_path / "toll"
    toll.mkdir()
    (toll / "been").touch()
    stages = LINE.replace("steps: 3}", f"steps: 3, then: once, where: {toll}}}")
    go(tmp_path, stages, jobs=1)
    (toll / "been").unlink()
    with pytest.raises(R1Error, match="not the first time"):
        go(tmp_path, stages, from_stage="zero")
    again = go(tmp_path, stages, jobs=1)
    assert again.order(StageStarted) == ["zero", "traces", "student", "table"]


def test_until_runs_a_stage_and_its_ancestors(tmp_path: Path) -> None:
    assert ran(tmp_path, until_stage="traces") == ["base", "zero", "traces"]
    assert not (tmp_path / "run" / "results.json").exists()
    assert ran(tmp_path) == ["student", "other", "table"]


@pytest.mark.parametrize("option", ["from_stage", "until_stage"])
def test_an_unknown_stage_is_refused_before_anything_is_written(tmp_path: Path, option: str) -> None:
    with pytest.raises(RecipeError, match="did you mean 'zero'"):
        go(tmp_path, LINE, **{option: "zer0"})
    assert not (tmp_path / "run").exists()


def test_a_damaged_artifact_is_found_and_made_again(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    file = folder / "run" / "stages" / "zero" / "model" / toy_stages.WEIGHTS
    whole = file.read_bytes()
    file.write_bytes(b"x" * len(whole))
    events = go(folder, LINE, jobs=1)
    assert {row.stage: row.status for row in events.of(RunStarted)[0].rows}["zero"] == "damaged"
    assert events.order(StageStarted) == ["zero"]
    assert file.read_bytes() == whole


def test_a_change_while_the_run_goes_on_is_refused(tmp_path: Path) -> None:
    toys = tmp_path / "mine.py"
    toys.write_text(Path(toy_stages.__file__).read_text())
    path = written(tmp_path, "  one: BASE\n  two: {train: Climb, model: one}\n", toys)
    plan = make_plan(resolve(path), PluginHost.discover())

    def edit(event: object) -> None:
        if isinstance(event, StageFinished):
            toys.write_text(toys.read_text() + "# changed\n")

    with pytest.raises(RecipeError, match=r"stages\.two: .*changed while the run was going on"):
        run_plan(plan, plan.host, tmp_path / "run", listener=edit)
    plan = make_plan(resolve(path), PluginHost.discover())
    assert run_plan(plan, plan.host, tmp_path / "run").model("two").is_dir()
