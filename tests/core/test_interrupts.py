"""The first Ctrl-C or SIGTERM is a request to save and stop, the second an order: `r1 recipe` itself, for real."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy_paced
from toy_command import Command, undisturbed
from toy_runs import go, written

from r1core.errors import Interrupted
from r1core.events import StageFinished, StageNote, StageStarted
from r1core.interrupts import ECHO_S, Interrupts
from r1core.pipeline import run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.store import RunDirectory

STAGES = """\
  base: BASE
  zero: {train: {use: Paced, steps: 4, at: 2, where: PLACE}, model: base}
  after: {train: {use: Climb}, model: zero}
"""
NEVER = "{every_s: 1000}"
"""No checkpoint but the one that a request to stop asks for."""
AT_ONCE_S = 5.0


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    made = Command(tmp_path, STAGES, checkpoint=NEVER)
    yield made
    made.clean_up()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return undisturbed(tmp_path_factory.mktemp("unbroken"), STAGES)


def in_its_third_step(command: Command) -> None:
    command.close()
    command.start()
    command.reached(2)


def to_the_parent(command: Command, signum: signal.Signals) -> None:
    os.kill(command.pid, signum)


def to_the_group(command: Command, signum: signal.Signals) -> None:
    os.killpg(command.pid, signum)


def to_everyone(command: Command, signum: signal.Signals) -> None:
    """As a batch system does; the parent hears of it last."""
    for pid in sorted(command.alive(), key=lambda pid: pid == command.pid):
        os.kill(pid, signum)


def twice(command: Command, signum: signal.Signals) -> None:
    """As `timeout` does: to the process, then to its group."""
    os.kill(command.pid, signum)
    time.sleep(ECHO_S / 20)
    os.killpg(command.pid, signum)


@pytest.mark.parametrize(
    ("send", "signum"),
    [
        (to_the_parent, signal.SIGINT),
        (to_the_group, signal.SIGINT),
        (to_the_parent, signal.SIGTERM),
        (to_everyone, signal.SIGTERM),
        (twice, signal.SIGTERM),
    ],
)
def test_the_first_signal_finishes_the_step_and_saves_and_the_same_command_goes_on_to_the_same_bytes(
    command: Command,
    unbroken: dict[str, bytes],
    send: Callable[[Command, signal.Signals], None],
    signum: signal.Signals,
) -> None:
    in_its_third_step(command)
    send(command, signum)
    command.until(lambda: "zero: stops when its step is done and saved; a second" in command.out)
    command.open()
    assert command.ended() == 75, command.err
    assert "stages.zero: stopped on request after step 3 of 4, which is saved" in command.err
    assert "the same command goes on" in command.err
    assert "Traceback" not in command.err
    assert "after: starts" not in command.out
    assert command.gone_within(AT_ONCE_S)
    assert (command.run / "stages" / "zero" / "checkpoint" / "step-00000003").is_dir()
    assert command.again() == 0, command.err
    assert "zero: starts (train" in command.out
    assert "zero: resuming at step 3 of 4" in command.out
    assert len(list(command.place.glob("*.2"))) == 1, "no step is done twice"
    assert command.made() == unbroken


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_a_run_at_once_even_in_a_step_without_end(
    command: Command, unbroken: dict[str, bytes], signum: signal.Signals
) -> None:
    in_its_third_step(command)
    os.kill(command.pid, signum)
    command.until(lambda: "zero: stops when its step is done" in command.out)
    time.sleep(2 * ECHO_S)
    begun = time.monotonic()
    os.kill(command.pid, signum)
    assert command.ended() == 130, command.err
    assert time.monotonic() - begun < AT_ONCE_S
    assert "stopped at once: what was saved is kept, the same command goes on" in command.err
    assert "Traceback" not in command.err
    assert command.gone_within(AT_ONCE_S)
    assert command.again() == 0, command.err
    assert command.made() == unbroken


def test_a_stage_that_is_asked_by_itself_saves_and_the_run_stops(command: Command, unbroken: dict[str, bytes]) -> None:
    in_its_third_step(command)
    stage = int(next(command.place.glob("*.2")).name.removesuffix(".2"))
    os.kill(stage, signal.SIGTERM)
    command.open()
    assert command.ended() == 75, command.err
    assert "stages.zero: stopped on request after step 3 of 4, which is saved" in command.err
    assert command.again() == 0, command.err
    assert command.made() == unbroken


def test_a_run_that_is_done_by_the_time_it_would_stop_ends_well(tmp_path: Path) -> None:
    stages = "  base: {train: {use: Climb}, model: {scratch: {skill: 0.2}}, data: {use: Numbers}}\n"
    go(tmp_path, stages, jobs=1)

    notes: list[str] = []

    def interrupt(event: object) -> None:
        if isinstance(event, StageStarted) and event.total_steps is not None:
            os.kill(os.getpid(), signal.SIGINT)
        if isinstance(event, StageNote):
            notes.append(event.text)

    stages += "  traces: {sample: {prompts: 3, chunk: 3}, model: base, problems: Numbers, rewards: [Exact]}\n"
    plan = make_plan(resolve(written(tmp_path, stages)), PluginHost.discover())
    run_plan(plan, plan.host, tmp_path / "run", listener=interrupt)
    assert [note for note in notes if note.startswith("stops when its step is done")]
    assert RunDirectory(tmp_path / "run").stage("traces").state(plan.fingerprints["traces"]) == "finished"


def test_a_signal_before_any_stage_ends_the_run_with_75_at_once(tmp_path: Path) -> None:
    stuck = f"{toy_paced.HERE}:Stuck"
    stages = f"  base: {{train: Climb, model: {{scratch: {{skill: 0}}}}, data: {{use: '{stuck}', where: PLACE}}}}\n"
    command = Command(tmp_path, stages)
    command.start()
    try:
        command.until((command.place / "stuck").exists)
        begun = time.monotonic()
        os.kill(command.pid, signal.SIGTERM)
        assert command.ended() == 75, command.err
        assert time.monotonic() - begun < AT_ONCE_S
        assert "stopped on request" in command.err
        assert not command.run.exists()
    finally:
        command.clean_up()


def test_stages_that_have_nothing_to_save_end_at_once_and_no_further_one_starts(tmp_path: Path) -> None:
    def interrupt(event: object) -> None:
        if isinstance(event, StageStarted):
            os.kill(os.getpid(), signal.SIGINT)  # its process has not said a word

    stages = "  base: BASE\n  next: {train: Climb, model: base}\n"
    plan = make_plan(resolve(written(tmp_path, stages)), PluginHost.discover())
    with pytest.raises(Interrupted, match=r"(?s)stages\.base: stopped with nothing to save yet") as caught:
        run_plan(plan, plan.host, tmp_path / "run", jobs=1, listener=interrupt)
    assert "next" not in str(caught.value)
    assert go(tmp_path, stages).order(StageFinished) == ["base", "next"]


def test_a_run_stopped_between_two_stages_names_its_folder_and_keeps_what_is_done(tmp_path: Path) -> None:
    def interrupt(event: object) -> None:
        if isinstance(event, StageFinished):
            os.kill(os.getpid(), signal.SIGINT)

    stages = "  base: BASE\n  next: {train: Climb, model: base}\n"
    plan = make_plan(resolve(written(tmp_path, stages)), PluginHost.discover())
    with pytest.raises(Interrupted, match="stopped on request\n  what was saved is kept") as caught:
        run_plan(plan, plan.host, tmp_path / "run", listener=interrupt)
    assert caught.value.where == str(tmp_path / "run")
    assert go(tmp_path, stages).order(StageStarted) == ["next"]


def test_what_an_interrupted_stage_cost_is_counted_in_the_end(command: Command) -> None:
    in_its_third_step(command)
    time.sleep(1.5)
    os.kill(command.pid, signal.SIGINT)
    command.until(lambda: "stops when" in command.out)
    command.open()
    assert command.ended() == 75
    assert command.again() == 0
    record = RunDirectory(command.run).stage("zero").record()
    assert record is not None
    assert record.wall_s >= 1.5


# --- the signals themselves --------------------------------------------------------------------------


def test_handlers_and_waker_of_before_come_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_noted_signal_wakes_and_is_asked_for_and_the_next_is_an_order() -> None:
    with Interrupts() as interrupts, interrupts.noted():
        signal.raise_signal(signal.SIGTERM)
        assert (interrupts.asked, interrupts.insisted) == (True, False)
        assert os.read(interrupts.wakes, 10) == bytes([signal.SIGTERM])
        interrupts.drain()
        time.sleep(1.5 * ECHO_S)
        with pytest.raises(KeyboardInterrupt, match="saved is kept"):
            signal.raise_signal(signal.SIGINT)
    assert interrupts.insisted


def test_a_signal_that_comes_twice_within_an_instant_is_one() -> None:
    with Interrupts() as interrupts, interrupts.noted():
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert (interrupts.asked, interrupts.insisted) == (True, False)


def test_elsewhere_the_first_signal_is_obeyed_at_once() -> None:
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert (interrupts.asked, interrupts.insisted) == (True, False)


def test_after_a_request_from_within_a_signal_is_still_the_first() -> None:
    with Interrupts() as interrupts, interrupts.noted():
        interrupts.request()
        assert interrupts.asked
        signal.raise_signal(signal.SIGTERM)
        assert not interrupts.insisted
