"""What a display knows of a run after each event."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core.cli.progress import BARS, Progress, duration, number, sparkline
from r1core.events import RunStarted, StageFinished, StageRow, StageSkipped, StageStarted, StepDone


def started(*stages: str) -> Progress:
    progress = Progress()
    progress.note(RunStarted(folder="x", rows=tuple(StageRow(stage, "train", "rl", "new") for stage in stages)))
    return progress


def test_stages_go_from_waiting_to_done_or_skipped() -> None:
    progress = started("a", "b", "c")
    progress.note(StageSkipped(stage="a"))
    progress.note(StageStarted(stage="b", total_steps=2))
    assert [stage.state for stage in progress.stages.values()] == ["skipped", "running", "waiting"]
    progress.note(StageFinished(stage="b", wall_s=1.0))
    assert progress.stages["b"].state == "done"
    assert progress.running == []


def test_two_stages_side_by_side_keep_their_own_numbers() -> None:
    progress = started("a", "b")
    for stage in ("a", "b"):
        progress.note(StageStarted(stage=stage, total_steps=4))
    progress.note(StepDone(stage="a", step=1, total=4, metrics={"reward": 0.5}))
    progress.note(StepDone(stage="b", step=3, total=4, metrics={"loss": 2.0}))
    assert [(stage.step, stage.headline, stage.curve) for stage in progress.running] == [
        (1, "reward", [0.5]),
        (3, "loss", [2.0]),
    ]


def test_the_reward_is_watched_before_the_loss_and_rewards_show_by_name() -> None:
    progress = started("a")
    metrics = {"loss": 0.1, "time/step": 3.0, "rewards/format/mean": 0.9, "rewards/format/std": 0.1, "reward": 0.4}
    progress.note(StepDone(stage="a", step=1, total=4, metrics=metrics))
    assert progress.stages["a"].shown() == [("reward", 0.4), ("format", 0.9), ("loss", 0.1)]


def test_of_an_evaluation_the_accuracy_of_the_model_is_watched() -> None:
    progress = started("a")
    metrics = {"base/clipped_ratio": 0.0, "base/pass@1": 0.4}
    progress.note(StepDone(stage="a", step=1, total=4, metrics=metrics))
    assert progress.stages["a"].shown() == [("base/pass@1", 0.4)]


def test_the_time_left_counts_only_the_steps_of_this_start() -> None:
    progress = started("a")
    progress.note(StageStarted(stage="a", total_steps=20, done=10))
    stage = progress.stages["a"]
    assert stage.left_s(stage.started_s + 5) is None
    progress.note(StepDone(stage="a", step=15, total=20))
    assert stage.left_s(stage.started_s + 10) == pytest.approx(10.0)


def test_a_stage_the_plan_did_not_name_is_shown_too() -> None:
    progress = started("a")
    progress.note(StageStarted(stage="late"))
    assert [stage.number for stage in progress.stages.values()] == [1, 2]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=200), st.integers(1, 40))
def test_a_sparkline_fits_and_shows_the_extremes(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    finite = [value for value in values if math.isfinite(value)]
    assert len(line) == min(width, len(finite))
    assert set(line) <= set(BARS)


def test_a_rising_curve_rises() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BARS
    assert sparkline([5.0] * 3) == BARS[0] * 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.5239, "0.52"),
        (1.0, "1.00"),
        (23.46, "23.5"),
        (1234.0, "1234"),
        (1e-6, "1e-06"),
        (-0.7, "-0.70"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(7.6, "8 s"), (125, "2 min 05 s"), (11220, "3 h 07 min")])
def test_durations_are_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
