"""`r1 recipe` and `r1core.run` on toys, as processes of their own: killed, doubled, watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_paced
from toy_command import PATIENCE_S, R1, Command, environment, undisturbed
from toy_runs import contents, written

ASKED = f"{toy_paced.HERE}:Asked"
TRAINER = "{use: Paced, steps: 4, gain: 0.01, at: 2, where: PLACE, rollouts: true}"
PACE = f"train: {TRAINER}, problems: Numbers, rewards: ['{ASKED}']"
STAGES = f"""\
  base: BASE
  left: {{{PACE}, model: base, scoring: {{workers: 2}}}}
  right: {{{PACE}, model: base, scoring: {{workers: 2}}}}
  after: {{train: {{use: Climb, data: []}}, model: left}}
"""
EVERY_STEP = "{every_s: 0}"
GONE_S = 5.0


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    made = Command(tmp_path, STAGES, checkpoint=EVERY_STEP)
    yield made
    made.clean_up()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return undisturbed(tmp_path_factory.mktemp("unbroken"), STAGES)


def side_by_side(command: Command) -> list[int]:
    """Start it; the processes of the run when two stages and their workers are in their third step."""
    command.close()
    command.start("--jobs", "2")
    command.reached(2, stages=2)
    return command.alive()


def test_when_the_parent_is_killed_no_process_stays_and_the_next_run_ends_with_the_same_bytes(
    command: Command, unbroken: dict[str, bytes]
) -> None:
    assert len(side_by_side(command)) >= 1 + 2 + 2 * 2, "the parent, two stages, two workers for each"
    os.kill(command.pid, signal.SIGKILL)
    assert command.ended() == -signal.SIGKILL
    assert command.gone_within(GONE_S), command.alive()
    assert command.again("--jobs", "2") == 0, command.err
    assert "base: unchanged" in command.out
    assert "left: resuming at step 2 of 4" in command.out
    assert "right: resuming at step 2 of 4" in command.out
    assert command.made() == unbroken


def test_the_next_run_may_start_before_the_last_process_of_a_killed_one_is_gone(
    command: Command, unbroken: dict[str, bytes]
) -> None:
    side_by_side(command)
    os.kill(command.pid, signal.SIGKILL)
    command.ended()
    assert command.again() == 0, command.err
    assert command.made() == unbroken


def test_a_killed_stage_goes_on_from_its_last_step_and_so_do_those_beside_it(
    command: Command, unbroken: dict[str, bytes]
) -> None:
    side_by_side(command)
    victim = int(next(command.place.glob("*.2")).name.removesuffix(".2"))
    os.kill(victim, signal.SIGKILL)
    assert command.ended() == 3
    assert "its process was killed by SIGKILL without a word" in command.err
    assert command.gone_within(GONE_S), command.alive()
    assert command.again() == 0, command.err
    assert command.out.count("resuming at step 2 of 4") == 2
    assert command.made() == unbroken


def test_a_second_run_in_the_same_folder_is_refused_and_disturbs_nothing(
    command: Command, unbroken: dict[str, bytes]
) -> None:
    side_by_side(command)
    before = contents(command.run)
    for options in ([], ["--set", "seed=7"]):
        second = command.beside(*options)
        assert second.returncode == 2, second.stderr
        assert f"in use by process {command.pid} on " in second.stderr
    assert contents(command.run) == before
    command.open()
    assert command.ended() == 0, command.err
    assert command.made() == unbroken


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_model_writes_is_shown_as_text(tmp_path: Path, terminal: bool) -> None:
    """The toy's wrong answers are markup and an escape sequence; a terminal gets the live display."""
    stages = "  base: {train: {use: Climb}, model: {scratch: {skill: -1}}, data: {use: Numbers}}\n"
    stages += "  traces: {sample: {prompts: 40, chunk: 1}, model: base, problems: Numbers, rewards: [Exact]}\n"
    command = [sys.executable, "-c", R1, "recipe", str(written(tmp_path, stages)), "--run-dir", str(tmp_path / "run")]
    variables = {name: value for name, value in environment().items() if name not in ("CI", "NO_COLOR")}
    variables |= {"TERM": "xterm", "COLUMNS": "100"}
    ours, theirs = os.openpty() if terminal else os.pipe()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)
    assert process.wait(PATIENCE_S) == 0, shown
    assert "[bold]no[/bold]" in shown
    assert "[bold]no[/bold]\x1b[31m" not in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal whose other side has closed
        return b""


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    recipe = written(tmp_path, "  base: BASE\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import r1core\nprint('run')\n"
        f"print(r1core.run({str(recipe)!r}, run_dir={str(tmp_path / 'run')!r}).model('base').is_dir())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment(), timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "run\nTrue\n"), done.stderr
