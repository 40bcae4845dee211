"""The progress of a run as plain lines: for logs, pipes, CI, `NO_COLOR` and dumb terminals.

One line when a stage starts and one when it ends, every few seconds how far it is, and at the end
the same table as on a terminal. Nothing is ever painted over.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self, TextIO

from rich.console import Console

from r1core.cli.progress import Progress, StageProgress, duration, number
from r1core.cli.results import look_at, tables, talk_to
from r1core.events import Event, RunFinished, RunStarted, StageFinished, StageNote, StageSkipped, StageStarted, StepDone
from r1core.untrusted import untrusted

EVERY_S = 5.0
WIDTH = 160


class PlainDisplay:
    """A listener that writes lines to `stream`."""

    def __init__(self, stream: TextIO, *, every_s: float = EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s
        self._progress = Progress()
        self._said_s: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Write what is worth a line."""
        resuming = self._progress.resuming(event)
        self._progress.note(event)
        if isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, StepDone):
            self._step(self._progress.stage(event.stage))
        elif isinstance(event, RunFinished):
            self._finish(event)
        elif isinstance(event, StageNote):
            self._note(event)
        else:
            self._stage(event)
            if resuming:
                self._about(self._progress.stage(event.stage), resuming)

    def _start(self, event: RunStarted) -> None:
        unchanged = sum(row.status == "unchanged" for row in event.rows)
        kept = f", {unchanged} unchanged" if unchanged else ""
        self._line(f"run {event.folder} (profile {event.profile}): {len(event.rows)} stages{kept}")

    def _stage(self, event: StageStarted | StageSkipped | StageFinished) -> None:
        stage = self._progress.stage(event.stage)
        if isinstance(event, StageSkipped):
            self._about(stage, event.reason)
        elif isinstance(event, StageFinished):
            self._about(stage, f"done in {duration(event.wall_s)}{_metrics(stage)}")
            if stage.sample is not None:
                self._line(f"      {_one_line(stage.sample.question, 60)} -> {_one_line(stage.sample.text, 90)}")
        elif event.stage not in self._said_s:
            why = f", {stage.row.status}" if stage.row.status not in ("", "new") else ""
            self._about(stage, f"starts ({' '.join(filter(None, stage.row[1:3]))}{why})")
            self._said_s[event.stage] = time.monotonic()

    def _note(self, event: StageNote) -> None:
        if event.stage:
            self._about(self._progress.stage(event.stage), event.text)
        else:
            self._line(event.text)

    def _step(self, stage: StageProgress) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s.get(stage.row.stage, 0.0) < self._every_s:
            return
        self._said_s[stage.row.stage] = now_s
        left_s = stage.left_s(now_s)
        total = f"/{stage.total}" if stage.total else ""
        left = f"  {duration(left_s)} left" if left_s is not None else ""
        self._about(stage, f"step {stage.step}{total}{_metrics(stage)}{left}")

    def _finish(self, event: RunFinished) -> None:
        console = Console(file=self._stream, width=WIDTH, no_color=True, force_terminal=False, highlight=False)
        for table in tables(event.rows):
            console.print(table)
        self._line(f"done in {duration(event.wall_s)}: {event.folder}")
        plan = [stage.row for stage in self._progress.stages.values()]
        page, command = look_at(Path(event.folder)), talk_to(Path(event.folder), event.rows, plan)
        if page:
            self._line(f"look at it: {page}")
        if command:
            self._line(f"talk to it: {command}")

    def _about(self, stage: StageProgress, text: str) -> None:
        self._line(f"[{stage.number}/{len(self._progress.stages)}] {stage.row.stage}: {text}")

    def _line(self, text: str) -> None:
        self._stream.write(untrusted(text) + "\n")
        self._stream.flush()


def _metrics(stage: StageProgress) -> str:
    return "".join(f"  {name} {number(value)}" for name, value in stage.shown())


def _one_line(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
