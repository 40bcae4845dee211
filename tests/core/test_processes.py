"""One stage process, seen from its parent: what it may do, and what its parent hears."""

from __future__ import annotations

import fcntl
import gc
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r1core.endpoints.failures import Declined
from r1core.errors import Interrupted, NumericsError, SetupError
from r1core.events import Event, SampleShown, StageNote, StepDone
from r1core.processes import BrokenStageError, Finished, StageProcess, prepare

Emit = Callable[[Event], None]
Stopping = Callable[[], bool]
PATIENCE_S = 30.0


def done(**metrics: float) -> Finished:
    return Finished(metrics=metrics, wall_s=1.5, cpu_s=0.5)


def tell(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    """Say something, then end well."""
    emit(StageNote(stage="one", text=arguments["text"]))
    sample = SampleShown(question="q", text="half a surrogate pair: \ud83d, a bell: \x07", score=None)
    metrics = {"loss": math.nan, "narrow": np.float32(0.5), "count": np.int64(3)}
    emit(StepDone(stage="one", step=1, total=None, metrics=metrics, sample=sample))
    return done(threads=float(os.environ["OMP_NUM_THREADS"]), loss=math.inf)


def refuse(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    raise NumericsError("too large", where="there", fix="make it smaller")


def stumble(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    return done(x=1 / int(arguments["zero"]))


def wait_for_ever(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    emit(StageNote(stage="one", text=f"{os.getpid()} {os.getpgrp()}"))
    time.sleep(600)
    return done()


def ignore_ctrl_c(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    os.kill(os.getpid(), signal.SIGINT)
    return done(survived=1.0)


def tell_mask(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    return Finished(metrics={"blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))}, wall_s=0, cpu_s=0)  # type: ignore[dict-item]


def stop_when_asked(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    """Say so, go on until asked to stop, then say where it stands."""
    emit(StageNote(stage="one", text="at work"))
    until = time.monotonic() + PATIENCE_S
    while not stopping():
        assert time.monotonic() < until
        time.sleep(0.01)
    raise Interrupted("stopped after step 3", where="stages.one", fix="the same command goes on")


def tell_environment(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    """What it finds in its environment, and what a process that it starts finds there."""
    listed = subprocess.run(["env", "-0"], capture_output=True, check=True).stdout.split(b"\0")
    childs = dict(os.fsdecode(entry).split("=", 1) for entry in listed if entry)
    emit(StageNote(stage="one", text=json.dumps([dict(os.environ), childs])))
    return done()


def start_one_with_signals(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    """A process that it starts and ends politely."""
    child = subprocess.Popen(["sleep", "600"])
    child.terminate()
    return done(code=child.wait(PATIENCE_S))


def say_half(emit: Emit, stopping: Stopping, arguments: Mapping[str, Any]) -> Finished:
    """Die in the middle of a message."""
    pipe = next(each for each in gc.get_objects() if isinstance(each, Connection))
    os.write(pipe.fileno(), (1000).to_bytes(4, "big") + b'{"event"')
    os._exit(0)


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    prepare([])


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def start(tmp_path: Path, lock: int) -> Iterator[Callable[..., StageProcess]]:
    started: list[StageProcess] = []

    def begin(work: Any, **arguments: Any) -> StageProcess:
        log = tmp_path / "output.log"
        process = StageProcess("one", work, arguments, environment=os.environ, threads=3, log=log, lock=lock)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def test_events_and_the_result_arrive_in_order(start: Callable[..., StageProcess]) -> None:
    process = start(tell, text="hello")
    note, step, last = process.receive(), process.receive(), process.receive()
    assert note == StageNote(stage="one", text="hello")
    assert isinstance(step, StepDone)
    assert math.isnan(step.metrics["loss"])
    assert (step.metrics["narrow"], step.metrics["count"]) == (0.5, 3)
    assert step.sample is not None
    assert step.sample.text == "half a surrogate pair: \ud83d, a bell: \x07"
    assert isinstance(last, Finished)
    assert last.metrics == {"threads": 3.0, "loss": math.inf}
    assert (last.wall_s, last.cpu_s) == (1.5, 0.5)


def test_an_expected_failure_arrives_as_itself(start: Callable[..., StageProcess]) -> None:
    with pytest.raises(NumericsError) as caught:
        start(refuse).receive()
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("too large", "there", "make it smaller")


def test_a_bug_arrives_with_its_traceback(start: Callable[..., StageProcess]) -> None:
    with pytest.raises(BrokenStageError, match=r"(?s)test_processes\.py.*ZeroDivisionError"):
        start(stumble, zero=0).receive()


def test_a_message_that_was_cut_short_is_a_process_that_vanished(start: Callable[..., StageProcess]) -> None:
    with pytest.raises(SetupError, match="ended with exit code 0 without a word"):
        start(say_half).receive()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_killed_process_is_told_with_its_signal(start: Callable[..., StageProcess], signum: signal.Signals) -> None:
    process = start(wait_for_ever)
    process.receive()
    os.kill(process.pid, signum)
    with pytest.raises(SetupError, match=rf"stages\.one: its process was killed by {signum.name} without a word"):
        process.receive()


def test_a_crash_leaves_its_stack_in_the_log(start: Callable[..., StageProcess], tmp_path: Path) -> None:
    process = start(wait_for_ever)
    process.receive()
    os.kill(process.pid, signal.SIGSEGV)
    with pytest.raises(SetupError) as caught:
        process.receive()
    assert "output.log" in caught.value.fix
    assert "in wait_for_ever" in (tmp_path / "output.log").read_text()


def test_ctrl_c_is_blocked_from_the_first_moment(start: Callable[..., StageProcess]) -> None:
    last = start(tell_mask).receive()
    assert isinstance(last, Finished)
    assert signal.SIGINT in last.metrics["blocked"]  # type: ignore[operator]


def test_only_the_parent_obeys_ctrl_c(start: Callable[..., StageProcess]) -> None:
    last = start(ignore_ctrl_c).receive()
    assert isinstance(last, Finished)
    assert last.metrics == {"survived": 1.0}


def test_a_process_leads_a_group_of_its_own(start: Callable[..., StageProcess]) -> None:
    process = start(wait_for_ever)
    note = process.receive()
    assert isinstance(note, StageNote)
    assert note.text == f"{process.pid} {process.pid}"


def test_a_process_holds_the_lock_until_it_ends(start: Callable[..., StageProcess], lock: int, tmp_path: Path) -> None:
    process = start(wait_for_ever)
    process.receive()
    other = os.open(tmp_path / "lock", os.O_RDWR)
    os.dup2(other, lock)  # the parent's own hold is gone
    os.close(other)
    with pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    until = time.monotonic() + PATIENCE_S
    while True:  # the server lets go of its copy a moment after the fork
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_killing_is_final_and_may_be_repeated(start: Callable[..., StageProcess]) -> None:
    process = start(wait_for_ever)
    process.receive()
    process.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    process.kill()


def asked_by_its_parent(process: StageProcess) -> None:
    process.stop()


def asked_by_a_signal(process: StageProcess) -> None:
    os.kill(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("ask", [asked_by_its_parent, asked_by_a_signal])
def test_a_process_that_is_asked_to_stop_ends_when_it_has_come_to_a_good_place(
    start: Callable[..., StageProcess], ask: Callable[[StageProcess], None]
) -> None:
    process = start(stop_when_asked)
    assert not process.has_spoken
    process.receive()
    assert process.has_spoken
    ask(process)
    with pytest.raises(Interrupted) as caught:
        process.receive()
    assert (caught.value.what, caught.value.where) == ("stopped after step 3", "stages.one")


def test_asking_a_process_that_has_ended_is_no_error(start: Callable[..., StageProcess]) -> None:
    process = start(refuse)
    with pytest.raises(NumericsError):
        process.receive()
    process.stop()


def test_a_process_has_the_environment_of_its_parent_as_it_is_now(
    start: Callable[..., StageProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that it is forked from is older than these variables."""
    monkeypatch.setenv("R1_TOY", "caf\xe9 \udcff")
    monkeypatch.delenv("HOME", raising=False)
    note = start(tell_environment).receive()
    assert isinstance(note, StageNote)
    expected = {**os.environ, "R1_STAGE": "one", "OMP_NUM_THREADS": "3"}
    own, childs = json.loads(note.text)
    assert own == expected
    assert childs.keys() == expected.keys()
    monkeypatch.setenv("R1_TOY", "again")
    note = start(tell_environment).receive()
    assert isinstance(note, StageNote)
    assert json.loads(note.text)[1]["R1_TOY"] == "again"


def test_what_a_process_starts_obeys_sigterm(start: Callable[..., StageProcess]) -> None:
    last = start(start_one_with_signals).receive()
    assert isinstance(last, Finished)
    assert last.metrics == {"code": -signal.SIGTERM}


def refused_elsewhere(emit: Any, stopping: Any, arguments: Mapping[str, Any]) -> Finished:
    raise Declined("it says 400: no such model", where="http://judge", fix="name another")


def test_an_error_of_a_kind_of_its_own_keeps_its_words_and_exit_code(start: Callable[..., StageProcess]) -> None:
    with pytest.raises(SetupError, match=r"it says 400: no such model\n.*name another"):
        start(refused_elsewhere).receive()
