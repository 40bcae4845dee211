"""One stage process, seen from its parent: what it may do, and what its parent hears."""

from __future__ import annotations

import fcntl
import gc
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r1core.errors import NumericsError, SetupError
from r1core.events import Event, SampleShown, StageNote, StepDone
from r1core.processes import BrokenStageError, Finished, StageProcess, prepare

Emit = Callable[[Event], None]
PATIENCE_S = 30.0


def tell(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, float]:
    """Say something, then end well."""
    emit(StageNote(stage="one", text=arguments["text"]))
    sample = SampleShown(question="q", text="half a surrogate pair: \ud83d, a bell: \x07", score=None)
    metrics = {"loss": math.nan, "narrow": np.float32(0.5), "count": np.int64(3)}
    emit(StepDone(stage="one", step=1, total=None, metrics=metrics, sample=sample))
    return {"threads": float(os.environ["OMP_NUM_THREADS"]), "loss": math.inf}


def refuse(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, float]:
    raise NumericsError("too large", where="there", fix="make it smaller")


def stumble(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, float]:
    return {"x": 1 / int(arguments["zero"])}


def wait_for_ever(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, float]:
    emit(StageNote(stage="one", text=f"{os.getpid()} {os.getpgrp()}"))
    time.sleep(600)
    return {}


def ignore_ctrl_c(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, float]:
    os.kill(os.getpid(), signal.SIGINT)
    return {"survived": 1.0}


def tell_mask(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))}


def say_half(emit: Emit, arguments: Mapping[str, Any]) -> dict[str, float]:
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
        process = StageProcess("one", work, arguments, threads=3, log=tmp_path / "output.log", lock=lock)
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
    assert last.wall_s >= 0
    assert last.cpu_s > 0


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


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
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
