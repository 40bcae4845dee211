"""The progress of a run on a terminal: the stages as a strip, the curve of the stage at work, one answer.

    ✓ base  ▶ r1_zero  · dev1
    r1_zero   34/60  reward 0.52 ▁▁▂▃▄▅▆  format 0.93  mean_length 24  40 s left
    ╭ 3 5 1 -> ? ──────────────────────╮
    │ the thinking, dimmed, the answer │

Finished stages scroll away as one line each, with their whole learning curve. It is redrawn when
something happens, by the caller's thread: a drawing thread would not survive the stages' forks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from r1core.cli.progress import MARKS, Progress, StageProgress, duration, number, sparkline
from r1core.cli.results import look_at, tables, talk_to
from r1core.events import Event, RunFinished, RunStarted, SampleShown, StageFinished, StageNote, StageStarted, StepDone
from r1core.untrusted import untrusted

FRAME_S = 0.1
STYLES = {"waiting": "dim", "running": "bold cyan", "done": "green", "skipped": "dim green"}
SAMPLE_CHARACTERS = 600


class LiveDisplay:
    """A listener that paints on `console`, which is a terminal; between steps at most every `frame_s`."""

    def __init__(self, console: Console, *, frame_s: float = FRAME_S) -> None:
        self._console = console
        self._frame_s = frame_s
        self._progress = Progress()
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._painted_s = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.update(Text(""), refresh=True)
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Paint what changed."""
        resuming = self._progress.resuming(event)
        self._progress.note(event)
        if isinstance(event, RunStarted):
            self._say(f"run {event.folder}", "bold")
        elif isinstance(event, StageNote):
            self._say(f"{event.stage}: {event.text}" if event.stage else event.text, "yellow")
        elif isinstance(event, StageStarted):
            self._say(f"{event.stage}: {resuming}" if resuming else "", "dim")
        elif isinstance(event, StageFinished):
            self._console.print(_finished(self._progress.stage(event.stage), event.wall_s))
        elif isinstance(event, RunFinished):
            self._finish(event)
            return
        self._paint(hurry=not isinstance(event, StepDone))

    def _paint(self, *, hurry: bool) -> None:
        now_s = time.monotonic()
        if hurry or now_s - self._painted_s >= self._frame_s:
            self._painted_s = now_s
            self._live.update(picture(self._progress, now_s), refresh=True)

    def _finish(self, event: RunFinished) -> None:
        self._live.update(Text(""), refresh=True)
        for table in tables(event.rows):
            self._console.print(table)
        self._say(f"done in {duration(event.wall_s)}: {event.folder}", "bold")
        page = look_at(Path(event.folder))
        self._say(f"look at it: {page}" if page else "", "bold cyan")
        command = talk_to(Path(event.folder), event.rows, [stage.row for stage in self._progress.stages.values()])
        self._say(f"talk to it: {command}" if command else "", "bold cyan")

    def _say(self, line: str, style: str) -> None:
        if line:
            self._console.print(Text(untrusted(line), style), soft_wrap=True)


def picture(progress: Progress, now_s: float) -> Group:
    """The strip, a line for each stage at work, and the newest answer among them."""
    parts: list[RenderableType] = [
        Text("  ").join(_strip(progress)),
        *(_at_work(stage, now_s) for stage in progress.running),
    ]
    samples = [stage.sample for stage in progress.running if stage.sample is not None]
    return Group(*parts, *(_answer(sample) for sample in samples[-1:]))


def _strip(progress: Progress) -> Iterator[Text]:
    """A mark and a name for each stage; one name with a mark for each where a stage has variants."""
    states_of: dict[str, list[str]] = {}
    for stage, each in progress.stages.items():
        states_of.setdefault(stage.partition("@")[0], []).append(each.state)
    for name, states in states_of.items():
        if len(states) == 1:
            yield Text(f"{MARKS[states[0]]} {untrusted(name)}", STYLES[states[0]])
        else:
            yield Text.assemble(f"{untrusted(name)} ", *((MARKS[state], STYLES[state]) for state in states))


def _at_work(stage: StageProgress, now_s: float) -> Text:
    line = Text.assemble((untrusted(stage.row.stage), "bold cyan"))
    if stage.step or stage.total:
        line.append(f"  {stage.step}" + (f"/{stage.total}" if stage.total else ""))
    line.append_text(_metrics(stage))
    left_s = stage.left_s(now_s)
    if left_s is not None:
        line.append(f"  {duration(left_s)} left", "dim")
    return line


def _finished(stage: StageProgress, wall_s: float) -> Text:
    line = Text.assemble((f"✓ {untrusted(stage.row.stage)}", "green"), (f"  {duration(wall_s)}", "dim"))
    return line.append_text(_metrics(stage))


def _metrics(stage: StageProgress) -> Text:
    line = Text()
    for place, (name, value) in enumerate(stage.shown()):
        line.append(f"  {untrusted(name)} ", "dim")
        line.append(number(value))
        if place == 0 and len(stage.curve) > 1:
            line.append(f" {sparkline(stage.curve)}", "cyan")
    return line


def _answer(sample: SampleShown) -> Panel:
    thinking, closed, answer = sample.text.rpartition("</think>")
    if not closed and answer.lstrip().startswith("<think>"):
        thinking, answer = answer, ""
    thought = _cut(thinking.strip().removeprefix("<think>").strip())
    body = Text.assemble((thought, "dim italic"), "\n" if thought and answer.strip() else "", _cut(answer.strip()))
    worth = Text(f" worth {number(sample.score)} ") if sample.score is not None else None
    title = Text(f" {untrusted(' '.join(sample.question.split()))[:60]} ")
    return Panel(body, title=title, title_align="left", subtitle=worth, subtitle_align="right", border_style="dim")


def _cut(text: str) -> str:
    clean = untrusted(text)
    return clean if len(clean) <= SAMPLE_CHARACTERS else f"… {clean[-SAMPLE_CHARACTERS:]}"
