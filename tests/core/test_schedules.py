"""Values that change with the step: what may be written, and what holds when."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1core.schedules import LearningRate, Schedule, Window, is_schedule

RATES = st.floats(1e-7, 1.0)
DECAYS = st.sampled_from(["linear", "cosine"])


def number(value: Any) -> Schedule[float]:
    return Schedule[float].model_validate(value)


# --- schedules ---------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_plain_value_holds_at_every_step(value: float, step: int, total: int) -> None:
    assert number(value).at(step, total) == value


@given(st.integers(1, 1000), st.integers(0, 2000))
def test_a_step_number_is_where_its_value_begins(start: int, step: int) -> None:
    assert number({0: 1.0, start: 0.7}).at(step, 10) == (0.7 if step >= start else 1.0)


@given(st.integers(1, 100), st.integers(1, 500), st.data())
def test_a_percentage_is_a_share_of_the_planned_steps(percent: int, total: int, data: Any) -> None:
    step = data.draw(st.integers(0, total))
    assert number({0: 1.0, f"{percent}%": 0.7}).at(step, total) == (0.7 if step >= percent / 100 * total else 1.0)


def test_steps_and_shares_mix() -> None:
    schedule = number({0: 1.0, 10: 0.9, "60%": 0.7, "62.5%": 0.6})
    assert [schedule.at(step, 80) for step in (0, 9, 10, 47, 48, 49, 50, 79)] == [1, 1, 0.9, 0.9, 0.7, 0.7, 0.6, 0.6]


def test_a_share_follows_the_leg_it_is_asked_for() -> None:
    schedule = number({0: 1.0, "50%": 2.0})
    assert [schedule.at(5, total) for total in (10, 11, 20)] == [2.0, 1.0, 1.0]


def test_values_may_be_names() -> None:
    schedule = Schedule[str].model_validate({0: "easy", "30%": "hard"})
    assert [schedule.at(step, 10) for step in (2, 3)] == ["easy", "hard"]


@pytest.mark.parametrize("value", [{0: 1.0, 40: 0.7}, {0: 1.0, "60%": 0.7}, {"0": 3.0}, 0.5])
def test_what_is_written_back_is_the_same_schedule(value: Any) -> None:
    schedule = number(value)
    assert number(schedule.model_dump()) == schedule
    assert number(Schedule[float].model_validate_json(schedule.model_dump_json()).model_dump()) == schedule


def test_one_value_is_written_back_plain() -> None:
    assert number({0: 3.0}).model_dump() == 3.0


@pytest.mark.parametrize("value", [{5: 1.0}, {"10%": 1.0, 0: 2.0}, {5: 1.0, 0: 2.0}])
def test_a_schedule_starts_at_zero(value: Any) -> None:
    with pytest.raises(ValidationError, match="starts at step 0"):
        number(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({0: 1.0, 20: 0.9, 10: 0.8}, "the steps of a schedule ascend, got 10 after 20"),
        ({0: 1.0, 10: 0.9, "010": 0.8}, "the steps of a schedule ascend, got 010 after 10"),
        ({0: 1.0, "60%": 0.9, 5: 0.7, "30%": 0.8}, "the shares of a schedule ascend, got 30% after 60%"),
        ({0: 1.0, "101%": 0.9}, "a share of the steps is at most 100%, got 101%"),
    ],
)
def test_the_points_of_a_schedule_come_in_order(value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        number(value)


@given(st.lists(st.integers(1, 10**6), unique=True, max_size=5), st.lists(st.integers(0, 100), unique=True, max_size=5))
def test_steps_ascend_and_shares_ascend_but_not_among_each_other(steps: list[int], shares: list[int]) -> None:
    keys = [0, *sorted(steps), *(f"{share}%" for share in sorted(shares))]
    assert list(number(dict.fromkeys(keys, 1.0)).points) == [str(key) for key in keys]


@pytest.mark.parametrize("value", ["warm", {"start": 1.0}, {}, [1.0], None, {0: "warm"}, {-1: 1.0}, {True: 1.0}])
def test_anything_else_is_an_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        number(value)


def test_a_count_is_whole() -> None:
    with pytest.raises(ValidationError):
        Schedule[int].model_validate({0: 1, 5: 1.5})


def test_only_mappings_of_steps_are_schedules() -> None:
    assert is_schedule({0: "a", "5": "b", "7%": "c", "7.5%": "d"})
    for value in ({}, {0: 1, "use": 2}, {True: 1}, {"-3": 1}, {1.5: 1}.keys(), 3, "0"):
        assert not is_schedule(value)


# --- windows -----------------------------------------------------------------------------------


@given(st.integers(0, 500), st.integers(1, 500), st.data())
def test_a_window_counts_from_the_end(last: int, total: int, data: Any) -> None:
    step = data.draw(st.integers(0, total - 1))
    assert Window.model_validate(f"last {last}").covers(step, total) == (total - step <= last)


def test_a_window_is_written_back_as_it_was() -> None:
    window = Window.model_validate("last 400")
    assert window.model_dump() == "last 400"
    assert Window.model_validate(window.model_dump()) == window


@pytest.mark.parametrize("value", ["first 3", "last", "last x", "last -3", "last 3 ", 400, {"last": -1}, {"first": 1}])
def test_any_other_window_is_an_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        Window.model_validate(value)


# --- learning rates ----------------------------------------------------------------------------


@given(RATES, st.integers(0, 1000), st.integers(1, 1000))
def test_a_number_is_a_constant_rate(peak: float, position: int, length: int) -> None:
    rate = LearningRate.model_validate(peak)
    assert (rate.peak, rate.at(position, length)) == (peak, peak)


@given(RATES, st.integers(1, 50), st.sampled_from(["constant", "linear", "cosine"]))
def test_the_warmup_climbs_in_equal_steps_to_the_peak(peak: float, warmup: int, decay: Any) -> None:
    rate = LearningRate(peak=peak, warmup_steps=warmup, decay=decay)
    for position in range(warmup):
        assert rate.at(position, warmup + 20) == pytest.approx(peak * (position + 1) / warmup)
    assert rate.at(warmup, warmup + 20) == pytest.approx(peak)


@given(RATES, DECAYS, st.floats(0, 1), st.integers(0, 30), st.integers(1, 100))
def test_a_decay_falls_from_the_peak_to_the_floor(
    peak: float, decay: Any, floor: float, warmup: int, steps: int
) -> None:
    rate = LearningRate(peak=peak, warmup_steps=warmup, decay=decay, floor=floor)
    length = warmup + steps
    rates = [rate.at(position, length) for position in range(warmup, length + 1)]
    assert rates[0] == pytest.approx(peak)
    assert rates[-1] == pytest.approx(floor * peak)
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))


def test_half_way_each_shape_has_its_value() -> None:
    for decay, wanted in (("constant", 1.0), ("linear", 0.55), ("cosine", 0.55)):
        assert LearningRate(peak=1.0, decay=decay, floor=0.1).at(50, 100) == pytest.approx(wanted)
    quarter = LearningRate(peak=1.0, decay="cosine").at(25, 100)
    assert quarter == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_a_leg_shorter_than_the_warmup_stays_below_the_peak() -> None:
    rate = LearningRate(peak=1.0, warmup_steps=10, decay="linear")
    assert [rate.at(position, 3) for position in range(3)] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "wrong", [0, -1e-3, True, "fast", {"warmup_steps": 3}, {"peak": 1e-3, "floor": 1.5}, {"peak": 1, "decay": "step"}]
)
def test_an_impossible_rate_is_an_error(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        LearningRate.model_validate(wrong)


@pytest.mark.parametrize(
    ("text", "covered"), [("last 3", [7, 8, 9]), ("last 25%", [8, 9]), ("last 100%", list(range(10))), ("last 0%", [])]
)
def test_a_window_counts_steps_or_a_share_of_them_from_the_end(text: str, covered: list[int]) -> None:
    window = Window.model_validate(text)
    assert [step for step in range(10) if window.covers(step, 10)] == covered
    assert Window.model_validate(window.model_dump()) == window
    assert window.model_dump() == text


@pytest.mark.parametrize("text", ["last 101%", "last 2.5", "last", "last -1", "last 5 %"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"last|share"):
        Window.model_validate(text)
