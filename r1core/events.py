"""What a run tells whoever watches it: frozen events, plain enough to cross a pipe as JSON.

The pipeline calls one `Listener` with each event, in the parent process, in the order they arrive;
stages run side by side, so the events of two stages may alternate. A stage's own process sends its
events as `to_json(event)`, and the parent turns them back with `from_json`.
Shares are 0..1; times are seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias


class StageRow(NamedTuple):
    """One stage of the plan, as it stands when the run starts."""

    stage: str
    kind: str
    use: str
    """The trainer of a train stage, empty for the other kinds."""
    status: str
    """"unchanged" where nothing will be done, else why it runs: "new", "stale", "unfinished"."""


@dataclass(frozen=True, kw_only=True)
class SampleShown:
    """One sampled answer, for people. `text` starts with what the prompt had prefilled ("<think>")."""

    question: str
    text: str
    score: float | None = None
    """What it was worth; None where it has not been scored or could not be."""


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The plan is made and the folder is ours. `profile` is its name."""

    folder: str
    rows: tuple[StageRow, ...]
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage begins, or goes on after `done` steps; sent again once `total_steps` is known, or changes."""

    stage: str
    total_steps: int | None = None
    done: int = 0


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One step of a train stage, or one unit of another stage. `step` counts from 1."""

    stage: str
    step: int
    total: int | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    sample: SampleShown | None = None


@dataclass(frozen=True, kw_only=True)
class StageNote:
    """A line for people: an extension was decided, a worker was replaced, an observer failed.

    `stage` is empty where it concerns the whole run.
    """

    stage: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StageFinished:
    """A stage is done. `metrics` are its last."""

    stage: str
    wall_s: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageSkipped:
    """A stage was not run: `reason` says why ("unchanged")."""

    stage: str
    reason: str = "unchanged"


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The run ended well. `rows` are those of `results.json`: `{"model": .., "metrics": {..}}`."""

    folder: str
    rows: tuple[Mapping[str, Any], ...]
    wall_s: float


Event: TypeAlias = RunStarted | StageStarted | StepDone | StageNote | StageFinished | StageSkipped | RunFinished
EVENTS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (RunStarted, StageStarted, StepDone, StageNote, StageFinished, StageSkipped, RunFinished)
}


class Listener(Protocol):
    """Is told of every event, in order. What it raises ends the run, so it should not raise."""

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        ...


def silent(event: Event) -> None:
    """The listener that shows nothing, for notebooks and tests."""


def to_json(event: Event) -> dict[str, Any]:
    """The event as JSON values, its class's name under "event"."""
    return {"event": type(event).__name__, **dataclasses.asdict(event)}


def from_json(data: Mapping[str, Any]) -> Event:
    """The event that `to_json` wrote. Raises KeyError for a name that is no event's."""
    kind = EVENTS[data["event"]]
    values: dict[str, Any] = {key: value for key, value in data.items() if key != "event"}
    if kind is RunStarted:
        values["rows"] = tuple(StageRow(*row) for row in values["rows"])
    elif kind is RunFinished:
        values["rows"] = tuple(values["rows"])
    elif values.get("sample") is not None:
        values["sample"] = SampleShown(**values["sample"])
    return kind(**values)
