"""How far a run is, kept from its events: what both displays show.

The headline of a stage is the number a person watches: the reward, else an accuracy, else the loss.
Its values are kept to draw the learning curve. The time left is that of the stage, from the pace
of the steps seen so far; nobody knows how long a stage takes before it has begun.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from r1core.events import (
    Event,
    RunStarted,
    SampleShown,
    StageFinished,
    StageRow,
    StageSkipped,
    StageStarted,
    StepDone,
)

HEADLINES = ("reward", "pass@1", "accuracy", "loss")
BESIDE = ("completions/mean_length", "entropy", "kl", "loss", "grad_norm")
MARKS = {"waiting": "·", "running": "▶", "done": "✓", "skipped": "✓"}
BARS = "▁▂▃▄▅▆▇█"
_REWARD = re.compile(r"rewards/(?P<name>.+)/mean")


@dataclass(kw_only=True)
class StageProgress:
    """One stage as it stands."""

    row: StageRow
    number: int
    state: str = "waiting"
    step: int = 0
    total: int | None = None
    first: int = 0
    started_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    sample: SampleShown | None = None

    @property
    def headline(self) -> str:
        """The name of the metric to watch, empty while there is none."""
        usual = (
            name for watched in HEADLINES for name in self.metrics if name in (watched, f"{_owner(name)}/{watched}")
        )
        others = (name for name in self.metrics if not name.startswith("time/"))
        return next(usual, next(others, ""))

    def left_s(self, now_s: float) -> float | None:
        """Seconds until the stage ends at the pace so far; None where that is unknown."""
        done = self.step - self.first
        if self.total is None or done < 1:
            return None
        return max(self.total - self.step, 0) * (now_s - self.started_s) / done

    def shown(self, limit: int = 5) -> list[tuple[str, float]]:
        """The headline and the metrics worth a place beside it, by the names people use."""
        parts = [name for name in self.metrics if _REWARD.fullmatch(name)]
        chosen = [name for name in dict.fromkeys((self.headline, *parts, *BESIDE)) if name in self.metrics]
        return [(_short(name), self.metrics[name]) for name in chosen[:limit]]

    def start(self, event: StageStarted) -> None:
        """Take in the start, or the number of steps when it comes later."""
        self.total = event.total_steps if event.total_steps is not None else self.total
        if self.state != "running" or not self.curve:
            self.state, self.step, self.first = "running", event.done, event.done
            self.started_s = time.monotonic()

    def note(self, event: StepDone) -> None:
        """Take in one step."""
        self.step, self.total, self.metrics = event.step, event.total, event.metrics
        self.sample = event.sample or self.sample
        if self.headline:
            self.curve.append(self.metrics[self.headline])


class Progress:
    """Every stage of the run, in the order of the plan."""

    def __init__(self) -> None:
        self.stages: dict[str, StageProgress] = {}

    def note(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, RunStarted):
            self.stages = {row.stage: StageProgress(row=row, number=n) for n, row in enumerate(event.rows, 1)}
        elif isinstance(event, StageStarted):
            self.stage(event.stage).start(event)
        elif isinstance(event, StepDone):
            self.stage(event.stage).note(event)
        elif isinstance(event, StageFinished):
            stage = self.stage(event.stage)
            stage.state, stage.metrics = "done", event.metrics or stage.metrics
        elif isinstance(event, StageSkipped):
            self.stage(event.stage).state = "skipped"

    def resuming(self, event: Event) -> str:
        """What an event that is not noted yet tells of work done by an earlier process; empty when it tells nothing."""
        if not isinstance(event, StageStarted) or event.done <= self.stage(event.stage).step:
            return ""
        of = f" of {event.total_steps}" if event.total_steps is not None else ""
        return f"resuming at step {event.done}{of}"

    def stage(self, name: str) -> StageProgress:
        """The stage of this name; one that the plan did not list is added at the end."""
        row = StageRow(name, "", "", "new")
        return self.stages.setdefault(name, StageProgress(row=row, number=len(self.stages) + 1))

    @property
    def running(self) -> list[StageProgress]:
        """The stages at work now."""
        return [stage for stage in self.stages.values() if stage.state == "running"]


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """The values as one line of bars: means of `width` equal stretches; what is not a number is left out."""
    known = [value for value in values if abs(value) < float("inf")]
    cells = min(width, len(known))
    edges = [len(known) * cell // cells for cell in range(cells + 1)] if cells else []
    means = [sum(known[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def number(value: float) -> str:
    """A metric for people: two or three digits that matter."""
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:.2g}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """`8 s`, `2 min 05 s`, `3 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _owner(name: str) -> str:
    """The model that an evaluation's metric belongs to: `base` of `base/pass@1`."""
    return name.rpartition("/")[0]


def _short(name: str) -> str:
    match = _REWARD.fullmatch(name)
    return match["name"] if match else name.removeprefix("completions/")
