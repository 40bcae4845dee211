"""The sensor rule: what is right follows from a reading and its ranges, and a missed alarm costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_answers import ask, refusal

from r1_plugins.rules import Sensor

PUMP: dict[str, Any] = {
    "equipment": "P-101",
    "quantity": "pressure",
    "unit": "bar",
    "reading": 6,
    "normal": [4, 8],
    "alarm": [3, 9],
    "trip": [0, 16],
    "actions": {"alarm": ["throttle", "reduce speed"], "trip": ["stop pump"]},
}
STATES = ("normal", "alarm", "trip", "fault")


def state_of(reading: float) -> str:
    for state, (low, high) in (("normal", (4, 8)), ("alarm", (3, 9)), ("trip", (0, 16))):
        if low <= reading <= high:
            return state
    return "fault"


@given(st.floats(-5, 25))
def test_the_state_follows_from_the_ranges(reading: float) -> None:
    reference = {**PUMP, "reading": reading}
    right = state_of(reading)
    worth = {state: ask(Sensor, reference, state, action_weight=0).value for state in STATES}
    assert worth[right] == 1.0
    assert all(value <= 0 for state, value in worth.items() if state != right)


@given(st.floats(-5, 25), st.floats(-1, 0))
def test_calling_it_safer_than_it_is_is_worst_and_silence_no_better(reading: float, missed: float) -> None:
    reference, order = {**PUMP, "reading": reading}, {"normal": 0, "alarm": 1, "fault": 1, "trip": 2}
    for state in STATES:
        milder = order[state] < order[state_of(reading)]
        assert (ask(Sensor, reference, state, missed=missed).reason == "missed") == milder
        if milder:
            assert ask(Sensor, reference, state, missed=missed).value == missed
    for answer in (
        "",
        "it depends",
        "normal or alarm",
        "trip trip",
        "normal: alarm",
        "normal, 2",
        "alarm, trip",
        "x" * 1000,
    ):
        assert ask(Sensor, reference, answer, missed=missed).value == missed


def test_a_reading_may_come_in_another_unit() -> None:
    for reading, state in (
        ("0.85 MPa", "alarm"),
        ("600 kPa", "normal"),
        ("5 psi", "trip"),
        ("6", "normal"),
        ("6 bar", "normal"),
    ):
        assert ask(Sensor, {**PUMP, "reading": reading}, state, action_weight=0).value == 1.0, reading


@pytest.mark.parametrize(
    ("answer", "worth"),
    [
        ("alarm: throttle", 1.0),
        ("Alarm high - Reduce Speed.", 1.0),
        ("**ALARM**; throttle", 1.0),
        ("alarm", 0.7),
        ("alarm: stop pump", 0.7),
        ("alarm: throttle and stop pump", 0.7),
        ("alarm low: throttle", 0.0),
    ],
)
def test_the_action_and_the_side_count(answer: str, worth: float) -> None:
    assert ask(Sensor, {**PUMP, "reading": 8.5}, answer).value == pytest.approx(worth)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reading": None}, "the reading is None"),
        ({"reading": "fast"}, "the reading is 'fast'"),
        ({"reading": "3 m"}, "one with a unit that measures bar"),
        ({"unit": "apples"}, "'apples', which is not known"),
        ({"normal": [8, 4]}, "the range normal is [8, 4]"),
        ({"normal": [4]}, "the range normal is [4]"),
        ({"normal": "4-8"}, "the range normal is '4-8'"),
        ({"alarm": [5, 9]}, "the range normal is not within alarm"),
        ({"trip": [0, 8.5]}, "the range alarm is not within trip"),
        ({"actions": ["stop"]}, "actions is ['stop']"),
        ({"actions": {"alarm": "stop"}, "reading": 8.5}, "give a list of texts by state"),
        ({"actions": {"alert": ["stop"]}}, "give a list of texts by state"),
        ({"colour": "red"}, "give a reading and the ranges"),
    ],
)
def test_data_that_does_not_hold_together_is_refused(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(Sensor, {**PUMP, **changed})
    assert ask(Sensor, {**PUMP, **changed}, "normal").status == "infrastructure"


def test_a_reference_without_ranges_is_refused() -> None:
    assert "give a reading and the ranges" in refusal(Sensor, "normal")
    assert "give a reading and the ranges" in refusal(Sensor, {"reading": 3})
