"""What a run does when something goes wrong in a stage or its process, and what gates refuse."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from toy_runs import go

from r1core.errors import NumericsError, R1Error, RecipeError, RefusedError, SetupError
from r1core.events import RunStarted, StageFinished, StageStarted
from r1core.processes import BrokenStageError

PATIENCE_S = 30.0


def pids(place: Path) -> list[int]:
    """The processes of stages that hang, and those that they started."""
    return [int(pid) for file in place.glob("*.pids") for pid in file.read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_none_alive(found: list[int]) -> None:
    assert len(found) >= 2, "the stage that hangs has told its process and its child"
    until = time.monotonic() + PATIENCE_S
    while any(map(alive, found)) and time.monotonic() < until:
        time.sleep(0.05)
    assert [pid for pid in found if alive(pid)] == []


def trouble(then: str, where: Path | str = "") -> str:
    return f"  base: BASE\n  bad: {{train: {{use: Climb, then: {then}, at: 1, where: '{where}'}}, model: base}}\n"


def test_a_source_without_problems_is_refused_before_any_compute(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text(
        "from r1core import ProblemSource\n"
        "class Nothing(ProblemSource):\n"
        "    name = 'nothing'\n"
        "    def problems(self, *, seed):\n"
        "        return iter(())\n"
    )
    stages = "  base: BASE\n  traces: {sample: {prompts: 2}, model: base, problems: ./nothing.py:Nothing}\n"
    with pytest.raises(RecipeError, match=r"nothing\.py:Nothing: it has no problems"):
        go(tmp_path, stages)
    assert not (tmp_path / "run").exists()


def test_questions_without_answers_are_no_data_and_said_so_before_any_compute(tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text(
        "from itertools import count\n"
        "from r1core import Problem, ProblemSource\n"
        "class Asked(ProblemSource):\n"
        "    name = 'asked'\n"
        "    def problems(self, *, seed):\n"
        "        return (Problem(id=str(n), messages=({'role': 'user', 'content': '?'},)) for n in count())\n"
    )
    stages = "  base: {train: {use: Climb}, model: {scratch: {skill: 0.2}}, data: [{use: Numbers}, ./asked.py:Asked]}\n"
    with pytest.raises(RecipeError, match="but its problems have no completion"):
        go(tmp_path, stages)
    assert not (tmp_path / "run").exists()


# --- a stage fails -----------------------------------------------------------------------------------


def test_a_failing_stage_leaves_the_finished_ones_and_the_same_command_goes_on(tmp_path: Path) -> None:
    toll = tmp_path / "toll"
    toll.mkdir()
    stages = trouble("once", toll) + "  after: {train: Climb, model: bad}\n"
    with pytest.raises(RefusedError, match="toy: not the first time") as caught:
        go(tmp_path, stages)
    assert caught.value.events.order(StageFinished) == ["base"]  # type: ignore[attr-defined]
    again = go(tmp_path, stages)
    assert [row.status for row in again.of(RunStarted)[0].rows] == ["unchanged", "unfinished", "new"]
    assert again.order(StageStarted) == ["bad", "after"]


def test_an_expected_failure_keeps_its_kind_and_all_its_parts(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        go(tmp_path, trouble("refuse"))
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("enough is enough", "toy", "ask for less")


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(BrokenStageError) as caught:
        go(tmp_path, trouble("bug"))
    assert not isinstance(caught.value, R1Error)
    assert "ZeroDivisionError: a bug of the toy" in str(caught.value)
    assert "toy_stages.py" in str(caught.value)


def test_a_killed_stage_process_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"stages\.bad: its process was killed by SIGKILL without a word") as caught:
        go(tmp_path, trouble("die"))
    assert "out of memory" in caught.value.fix
    assert "the same command goes on" in caught.value.fix


def test_a_stage_process_that_exits_by_itself_leaves_its_last_words_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="its process ended with exit code 7 without a word") as caught:
        go(tmp_path, trouble("exit"))
    log = tmp_path / "run" / "stages" / "bad" / "output.log"
    assert str(log) in caught.value.fix
    assert "famous last words" in log.read_text()


def test_three_steps_in_a_row_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match=r"stages\.bad, step 4: .*not finite in 3 steps in a row") as caught:
        go(tmp_path, "  base: BASE\n  bad: {train: {use: Climb, steps: 9, skipped: [1, 2, 3]}, model: base}\n")
    assert caught.value.exit_code == 5


def test_when_one_stage_fails_the_others_end_and_no_process_stays(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    stages = (
        f"  hangs: {{train: {{use: Climb, then: hang, where: {place}}}, "
        "model: {scratch: {skill: 0}}, data: {use: Numbers}}\n"
        f"  fails: {{train: {{use: Climb, then: wait_and_refuse, where: {place}}}, "
        "model: {scratch: {skill: 0}}, data: {use: Numbers}}\n"
    )
    with pytest.raises(RefusedError, match="enough is enough"):
        go(tmp_path, stages, jobs=2)
    assert_none_alive(pids(place))


# --- gates -------------------------------------------------------------------------------------------

GATED = "  base: BASE\n  zero: {train: {use: Climb}, model: base, gate: [{metric: loss, max: LIMIT}]}\n"
AFTER = "  after: {train: Climb, model: zero}\n"


def test_a_gate_stops_the_run_and_loosening_it_goes_on_without_running_the_stage_again(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"stages\.zero\.gate: loss is 0\.4, must be at most 0\.1") as caught:
        go(tmp_path, GATED.replace("LIMIT", "0.1") + AFTER)
    assert caught.value.exit_code == 4
    assert go(tmp_path, GATED.replace("LIMIT", "0.5") + AFTER).order(StageStarted) == ["after"]


def test_a_gate_that_was_tightened_stops_at_once(tmp_path: Path) -> None:
    go(tmp_path, GATED.replace("LIMIT", "0.5") + AFTER, until_stage="zero")
    with pytest.raises(RefusedError, match=r"must be at most 0\.1") as caught:
        go(tmp_path, GATED.replace("LIMIT", "0.1") + AFTER)
    assert caught.value.events.of(StageStarted) == []  # type: ignore[attr-defined]


def test_a_gate_on_a_metric_that_nobody_computed_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stages\.zero\.gate: no metric 'lost'\n  the stage computed .*loss"):
        go(tmp_path, GATED.replace("metric: loss", "metric: lost").replace("LIMIT", "1"))


def test_a_gate_on_the_evaluation_leaves_the_table(tmp_path: Path) -> None:
    stages = "  base: BASE\n  table:\n    evaluate: {sets: {score: {problems: Numbers, limit: 4}}}\n"
    stages += "    models: [base]\n    rewards: [Exact]\n    gate: [{metric: base/score, min: 1}]\n"
    with pytest.raises(RefusedError, match="base/score"):
        go(tmp_path, stages)
    assert (tmp_path / "run" / "results.json").is_file()
