"""A whole run on both displays, with the worst that a model can write."""

import contextlib
import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from r1core.cli.display import LiveDisplay
from r1core.cli.plain import PlainDisplay
from r1core.cli.screen import choose_display
from r1core.events import (
    Event,
    RunFinished,
    RunStarted,
    SampleShown,
    StageFinished,
    StageNote,
    StageRow,
    StageSkipped,
    StageStarted,
    StepDone,
)

EVIL = "[/INST] [link=http://evil]here[/link] \x1b]0;owned\x07\x1b[2J \u202ereversed\rfaked [bold]"
TEXT = f"<think>three and four {EVIL}</think><answer>7</answer>"
METRICS = {"pass@1": 0.5, "pass@1_ci95": [0.45, 0.56], "greedy": 0.6, "length": 24.33}


def run_of(folder: Path) -> Iterator[Event]:
    rows = (
        StageRow("base", "train", "sft", "unchanged"),
        StageRow("zero", "train", "rl", "new"),
        StageRow("student", "train", "sft", "new"),
    )
    yield RunStarted(folder=str(folder), rows=rows, profile="tiny")
    yield StageSkipped(stage="base")
    for stage in ("zero", "student"):
        yield StageStarted(stage=stage)
        yield StageStarted(stage=stage, total_steps=2)
        sample = SampleShown(question=f"3 + 4 {EVIL}", text=TEXT, score=1.0)
        for step in (1, 2):
            metrics = {"reward": step / 4, "rewards/[red]x/mean": 0.9}
            yield StepDone(stage=stage, step=step, total=2, metrics=metrics, sample=sample)
        yield StageNote(stage=stage, text=f"note {EVIL}")
        yield StageNote(stage="", text="an observer failed")
        yield StageFinished(stage=stage, wall_s=75.0, metrics={"reward": 0.5})
    broken_down = {**METRICS, "hard": 0.2, "hard/task=sorting": 0.3, "hard/task=[/x]\x1b": 0.1}
    table = ({"model": "zero", "metrics": METRICS}, {"model": "student", "metrics": broken_down})
    yield RunFinished(folder=str(folder), rows=table, wall_s=444.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "stages" / "student" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}', encoding="utf-8")
    return tmp_path


def plain(folder: Path, every_s: float = 0.0) -> str:
    stream = io.StringIO()
    with PlainDisplay(stream, every_s=every_s) as display:
        for event in run_of(folder):
            display(event)
    return stream.getvalue()


def live(folder: Path) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, color_system="standard", width=200, emoji=False, highlight=False
    )
    with LiveDisplay(console, frame_s=0.0) as display:
        for event in run_of(folder):
            display(event)
    return stream.getvalue()


def test_plain_lines_say_when_stages_start_and_end_and_how_far_they_are(folder: Path) -> None:
    lines = plain(folder).splitlines()
    assert lines[0] == f"run {folder} (profile tiny): 3 stages, 1 unchanged"
    assert lines[1] == "[1/3] base: unchanged"
    assert lines[2] == "[2/3] zero: starts (train rl)"
    assert lines[3].startswith("[2/3] zero: step 1/2  reward 0.25")
    assert "an observer failed" in lines
    assert sum("starts" in line for line in lines) == 2
    assert any(line.startswith("[3/3] student: done in 1 min 15 s  reward 0.50") for line in lines)


def test_plain_progress_is_not_a_flood(folder: Path) -> None:
    assert "step 1/2" not in plain(folder, every_s=60.0)


@pytest.mark.parametrize("display", [plain, live])
def test_the_run_ends_with_the_table_the_breakdown_and_whom_to_talk_to(display, folder: Path) -> None:
    text = display(folder)
    assert "0.50 ±0.06" in text
    assert "24.3" in text
    assert "hard by task" in text
    assert "sorting" in text
    assert "done in 7 min 24 s" in text
    assert f"talk to it: r1 chat {folder / 'stages' / 'student' / 'model'}" in text.replace("\n", "")


@pytest.mark.parametrize("display", [plain, live])
def test_the_page_of_the_run_is_named_where_there_is_one(display, folder: Path) -> None:
    assert "look at it" not in display(folder)
    page = folder / "report.html"
    page.write_text("<!doctype html>")
    try:
        text = display(folder).replace("\n", "")
    finally:
        page.unlink()
    assert f"look at it: {page}" in text
    assert text.index("look at it") < text.index("talk to it")


def test_nothing_a_model_writes_reaches_a_plain_log_as_control(folder: Path) -> None:
    text = plain(folder)
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf") for c in text)
    assert "[/INST]" in text


def test_nothing_a_model_writes_reaches_a_terminal_as_control(folder: Path) -> None:
    text = live(folder)
    assert "[/INST]" in text
    assert "[link=http://evil]" in text
    for forbidden in ("\x1b]0;", "\x1b]8;", "\x1b[2J", "\x07", "\u202e", "reversed\r"):
        assert forbidden not in text


def test_a_terminal_shows_the_strip_the_curve_and_the_dimmed_thinking(folder: Path) -> None:
    text = live(folder)
    assert "▶ zero" in text
    assert "· student" in text
    assert "▁█" in text
    assert "\x1b[2;3mthree and four" in text
    assert "worth 1.00" in text


def test_variants_of_a_stage_share_its_name_in_the_strip() -> None:
    stream = io.StringIO()
    rows = tuple(StageRow(stage, "train", "rl", "new") for stage in ("base", "zero@a", "zero@b", "zero@c"))
    with LiveDisplay(Console(file=stream, force_terminal=True, width=100, no_color=True)) as display:
        display(RunStarted(folder="runs/x", rows=rows))
        for stage in ("base", "zero@a"):
            display(StageStarted(stage=stage))
            display(StageFinished(stage=stage, wall_s=1.0))
        display(StageStarted(stage="zero@b"))
    assert "✓ base  zero ✓▶·" in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def test_the_terminal_is_given_back_when_the_run_fails(folder: Path) -> None:
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, force_terminal=True))
    with contextlib.suppress(RuntimeError), display:
        for event in list(run_of(folder))[:4]:
            display(event)
        raise RuntimeError
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")


@pytest.mark.parametrize(("variable", "value"), [("CI", "true"), ("NO_COLOR", "1"), ("TERM", "dumb"), ("PATH", "/bin")])
def test_without_a_full_terminal_lines_are_plain(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO()))
    assert isinstance(choose_display(), PlainDisplay)


def test_a_terminal_gets_the_live_display_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert isinstance(choose_display(), LiveDisplay)
    monkeypatch.setenv("CI", "1")
    assert isinstance(choose_display(), PlainDisplay)


@pytest.mark.parametrize("kind", ["plain", "live"])
def test_a_stage_that_goes_on_says_from_where_once(kind: str) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream) if kind == "plain" else LiveDisplay(Console(file=stream, force_terminal=True))
    with display:
        display(RunStarted(folder="x", rows=(StageRow("zero", "train", "rl", "unfinished"),)))
        display(StageStarted(stage="zero"))
        display(StageStarted(stage="zero", total_steps=40, done=12))
        display(StepDone(stage="zero", step=13, total=40))
        display(StageStarted(stage="zero", total_steps=60, done=13))  # it was extended
    assert stream.getvalue().count("zero: resuming at step 12 of 40") == 1
    assert stream.getvalue().count("resuming") == 1


@pytest.mark.parametrize("kind", ["plain", "live"])
def test_a_stage_that_starts_at_its_beginning_does_not_resume(kind: str) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream) if kind == "plain" else LiveDisplay(Console(file=stream, force_terminal=True))
    with display:
        display(StageStarted(stage="zero"))
        display(StageStarted(stage="zero", total_steps=40))
        display(StepDone(stage="zero", step=1, total=40))
        display(StageStarted(stage="zero", total_steps=60, done=1))
    assert "resuming" not in stream.getvalue()
