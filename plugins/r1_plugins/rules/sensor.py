"""A worked domain verifier: is a reading of a piece of equipment normal, and if not, what is to be done?

Copy it for a domain of yours. What is right is computed from the problem's data (ranges, a reading, units),
so nobody has to label answers; mistakes that are dangerous cost more than mistakes that are only wrong.

    {"prompt": "Feed pump P-101, discharge pressure, 0.95 MPa. Normal is 4 to 8 bar, ... Answer `state: action`.",
     "reference": {"equipment": "P-101", "quantity": "pressure", "unit": "bar", "reading": "0.95 MPa",
                   "normal": [4, 8], "alarm": [3, 9], "trip": [0, 16],
                   "actions": {"alarm": ["throttle", "reduce speed"], "trip": ["stop pump"]}}}
    rewards: [{use: sensor, action_weight: 0.3}, {use: format, weight: 0.1}]

Within `normal` a reading is normal, within `alarm` an alarm, within `trip` a trip; beyond what the instrument can
show it is a fault of the sensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import Field

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1_plugins.rules.numeric import check_unit, number_of
from r1_plugins.rules.reading import units
from r1_plugins.rules.reading.numerals import read_quantity
from r1core.types import Problem, Score, Sentinel

BANDS = ("normal", "alarm", "trip")
FAULT = "fault"
KEYS = {"equipment", "quantity", "unit", "reading", *BANDS, "actions"}
MAX_CHARACTERS = 500
_STATE = re.compile(r"\b(?:normal|alarm|trip|fault)\b", re.IGNORECASE)
_SAID = re.compile(
    r"(normal|alarm|trip|fault)\b(?:\s+(high|low)\b)?\s*\.?(?:[:;\u2013\u2014-]+\s*(.*))?", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is right to say: the state, the side on which the reading left its range, and the actions that fit."""

    state: str
    side: str
    actions: tuple[str, ...]


class Sensor(AnswerRule[Reading]):
    """1 for the state of the equipment and an action that fits it; `missed` for calling it safer than it is."""

    name = "sensor"
    gold_form: ClassVar[str] = (
        "{reading, normal: [low, high], alarm: [low, high], trip: [low, high]}, each range within the next; where "
        "there are any, unit, actions: {state: [texts]}, equipment and quantity"
    )
    lowest: ClassVar[float] = -1.0

    class Config(AnswerRule.Config):
        action_weight: float = Field(
            0.3, ge=0, le=1, description="share of the worth that the action has, where the reference lists actions"
        )
        missed: float = Field(
            -1.0, ge=-1, le=0, description="worth of calling a state milder than it is, and of no answer at all"
        )

    config: Config

    def gold(self, problem: Problem) -> Reading:
        """The state that follows from the reading and its ranges."""
        given = problem.reference
        if not isinstance(given, Mapping) or given.keys() - KEYS or not {*BANDS, "reading"} <= given.keys():
            raise GoldError(f"the reference is {given!r:.200}: give a reading and the ranges {', '.join(BANDS)}")
        unit = check_unit(given.get("unit"))
        value = _reading(given["reading"], unit)
        ranges = [_range(band, given[band]) for band in BANDS]
        for inner, outer, names in zip(ranges, ranges[1:], pairwise(BANDS), strict=False):
            if not (outer[0] <= inner[0] and inner[1] <= outer[1]):
                raise GoldError(f"the range {names[0]} is not within {names[1]}")
        state = next((band for band, (low, high) in zip(BANDS, ranges, strict=True) if low <= value <= high), FAULT)
        side = "" if state == "normal" else "high" if value > ranges[0][1] else "low"
        return Reading(state=state, side=side, actions=_actions(given.get("actions", {}), state))

    def nothing(self, gold: Reading) -> float:
        """Silence is as bad as a missed alarm."""
        return self.config.missed

    def verdict(self, gold: Reading, answer: str) -> Score:
        """The worth of `state`, `state side` or `state: action`."""
        plain = answer.replace("*", "").replace("`", "").strip()
        said = _SAID.fullmatch(plain) if len(answer) <= MAX_CHARACTERS else None
        if said is None or len(_STATE.findall(plain)) > 1:
            return Score(value=self.config.missed, reason="no_state")
        state, side, action = said[1].lower(), (said[2] or "").lower(), said[3] or ""
        if state != gold.state:
            milder = SEVERITY[state] < SEVERITY[gold.state]
            return Score(value=self.config.missed if milder else 0.0, reason="missed" if milder else "false_alarm")
        if side and side != gold.side:
            return Score(value=0.0, reason="wrong_side")
        if not gold.actions or _plain(action) in gold.actions:
            return Score(value=1.0, reason="correct")
        return Score(value=1.0 - self.config.action_weight, reason="wrong_action" if action else "no_action")

    def sentinels(self) -> Sequence[Sentinel]:
        """A trip, said and missed."""
        ranges = {"normal": [4, 8], "alarm": [3, 9], "trip": [0, 16], "actions": {"trip": ["stop pump"]}}
        said = [("trip high: stop pump", 1.0), ("normal", self.config.missed), ("trip low", 0.0)]
        return known({"reading": 12, **ranges}, said)


SEVERITY = {"normal": 0, "alarm": 1, FAULT: 1, "trip": 2}


def _reading(given: Any, unit: str) -> Fraction:
    """The reading in the unit of the ranges; it may come in another one ("0.95 MPa"), which the model has to see."""
    if not isinstance(given, str):
        found: tuple[Fraction, str] | None = None if (number := number_of(given)) is None else (number, "")
    else:
        found = read_quantity(given)
    if found is not None and found[1] not in ("", unit):
        check_unit(found[1])
        converted = units.convert(*found, to=unit) if unit else None
        found = None if converted is None else (converted, "")
    if found is None:
        raise GoldError(
            f"the reading is {given!r:.100}: give a number, or one with a unit that measures {unit or 'it'}"
        )
    return found[0]


def _range(band: str, given: Any) -> tuple[Fraction, Fraction]:
    ends = [number_of(end) for end in given] if isinstance(given, list | tuple) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] >= ends[1]:
        raise GoldError(f"the range {band} is {given!r:.100}: give its two ends, the lower one first")
    return ends[0], ends[1]


def _actions(given: Any, state: str) -> tuple[str, ...]:
    """The actions that fit a state; none where nothing has to be done."""
    listed = given.get(state, []) if isinstance(given, Mapping) and given.keys() <= SEVERITY.keys() else None
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) and one.strip() for one in listed):
        raise GoldError(f"actions is {given!r:.200}: give a list of texts by state ({', '.join(SEVERITY)})")
    return tuple(_plain(one) for one in listed)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(". ")
