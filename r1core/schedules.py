"""Values that change with the step: `0.7`, or `{0: 1.0, 60%: 0.7}` (from step 0, from 60 % of the steps).

A mapping whose keys are steps or shares of the planned steps is a schedule, for numbers and for
problem sources alike. The first key must be 0, steps ascend and shares ascend; the value of the last
key not past the step holds.
`active: last 400` is the other form: a window counted from the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

T = TypeVar("T")
_LAST = re.compile(r"last (\d+(?:\.\d+)?(?=%)|\d+)(%?)")
_START = re.compile(r"(\d+(?:\.\d+)?)(%?)")


def is_schedule(value: Any) -> bool:
    """Whether a YAML value is written as a schedule: a mapping whose keys are steps or percentages."""
    return isinstance(value, Mapping) and bool(value) and all(_start(key) is not None for key in value)


def _start(key: Any) -> tuple[float, bool] | None:
    """(number, whether it is a share) of a schedule's key, None when it is neither."""
    if isinstance(key, bool):
        return None
    if isinstance(key, int):
        return (float(key), False)
    match = _START.fullmatch(str(key))
    return (float(match[1]) / (100.0 if match[2] else 1.0), bool(match[2])) if match else None


def _refuse_disorder(keys: Iterable[str]) -> None:
    """Raise ValueError when steps or shares do not ascend, or a share lies past the end: a value would never hold."""
    last: dict[bool, tuple[float, str]] = {}
    for key in keys:
        number, is_share = _start(key) or (0.0, False)
        if is_share and number > 1:
            raise ValueError(f"a share of the steps is at most 100%, got {key}")
        if is_share in last and number <= last[is_share][0]:
            raise ValueError(
                f"the {'shares' if is_share else 'steps'} of a schedule ascend, got {key} after {last[is_share][1]}"
            )
        last[is_share] = (number, key)


class Schedule(BaseModel, Generic[T]):
    """One value, or one from each of several steps on."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    points: dict[str, T] = Field(description="step, or share of the steps as a percentage -> value from there on")

    @model_validator(mode="before")
    @classmethod
    def _from_plain(cls, value: Any) -> Any:
        points = {str(k): v for k, v in value.items()} if is_schedule(value) else {"0": value}
        starts = [_start(key) for key in points]
        if starts[0] is None or starts[0][0] != 0:
            raise ValueError(f"a schedule starts at step 0, got {next(iter(points))}")
        _refuse_disorder(points)
        return {"points": points}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """For editors: a value, or a mapping from steps to values."""
        value = handler.resolve_ref_schema(handler(core))["properties"]["points"]["additionalProperties"]
        starts = {"patternProperties": {f"^{_START.pattern}$": value}, "additionalProperties": False}
        return {"anyOf": [value, {"type": "object", "minProperties": 1, **starts}]}

    @model_serializer
    def _plain(self) -> Any:
        return next(iter(self.points.values())) if len(self.points) == 1 else dict(self.points)

    def at(self, step: int, total: int) -> T:
        """The value at `step` (from 0) of `total` planned steps."""
        chosen: T = self.points["0"] if "0" in self.points else next(iter(self.points.values()))
        for key, value in self.points.items():
            number, is_share = _start(key) or (0.0, False)
            if step >= (number * total if is_share else number):
                chosen = value
        return chosen


class Window(BaseModel):
    """`last 400`: only in the last 400 steps; `last 25%`: in the last quarter of them. Anything else is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    last: float = Field(ge=0, description="how many steps from the end, or which share of them")
    is_share: bool = Field(False, description="whether `last` is a share of the steps")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        match = _LAST.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            if isinstance(value, Window) or (isinstance(value, Mapping) and set(value) <= set(cls.model_fields)):
                return value
            raise ValueError(f"write 'last N', N in steps, or 'last N%'; got {value!r}")
        share = match[2] == "%"
        if share and float(match[1]) > 100:
            raise ValueError(f"a share of the steps is at most 100%, got {match[1]}%")
        return {"last": float(match[1]) / (100 if share else 1), "is_share": share}

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: Any, _handler: Any) -> dict[str, Any]:
        """For editors: the text that a recipe writes."""
        return {"type": "string", "pattern": f"^{_LAST.pattern}$"}

    @model_serializer
    def _plain(self) -> str:
        return f"last {self.last * 100:g}%" if self.is_share else f"last {self.last:g}"

    def covers(self, step: int, total: int) -> bool:
        """Whether `step` (from 0) of `total` lies in the window."""
        return step >= total - (round(self.last * total) if self.is_share else self.last)


class LearningRate(BaseModel):
    """`1e-3` (constant), or `{peak: 1e-3, warmup_steps: 20, decay: linear, floor: 0.1}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    peak: float = Field(gt=0, description="highest learning rate")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    decay: Literal["constant", "linear", "cosine"] = Field("constant", description="shape after the warm-up")
    floor: float = Field(0.0, ge=0, le=1, description="share of the peak that it decays towards")

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"peak": value}
        if isinstance(value, Mapping | LearningRate):
            return value
        raise ValueError(f"a number, or a mapping with keys of {', '.join(cls.model_fields)} is wanted, got {value!r}")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """For editors: the peak alone, or all of it."""
        block = handler(core)
        return {"anyOf": [handler.resolve_ref_schema(block)["properties"]["peak"], block]}

    def at(self, position: int, length: int) -> float:
        """The rate of step `position` (from 0) of `length`."""
        if position < self.warmup_steps:
            return self.peak * (position + 1) / self.warmup_steps
        if self.decay == "constant":
            return self.peak
        done = (position - self.warmup_steps) / max(1, length - self.warmup_steps)
        shape = 1 - done if self.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.peak * (self.floor + (1 - self.floor) * shape)


Number: TypeAlias = Annotated[Schedule[float], "a number or a schedule"]
Count: TypeAlias = Annotated[Schedule[int], "a whole number or a schedule"]
