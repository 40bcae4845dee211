"""The thread in which scoring happens, so that deadlines are kept whatever the stage does meanwhile.

A stage samples in its main thread; answers are handed over as they come, and this thread sleeps in
`poll` until a worker has said something or is late. The judging itself is done by other processes: all
that a long kernel of the stage's can hold up is this thread's turn at the interpreter, a few milliseconds.
Results are collected by number, so the order in which answers come changes nothing. It also owns the
workers: where the system lets children die with the thread that started them, that is this one.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from r1core.errors import SetupError
from r1core.scoring.pool import Pool
from r1core.scoring.questions import Question

_LOOK_S = 1.0
"""How often a caller that waits looks whether the thread is still there."""


class Work:
    """What is asked in one batch. `done` is set when every question has its outcome, or when `error` stopped it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.late_at = math.inf
        """When what is left is given up, by the monotonic clock."""
        self.is_whole = False
        """Whether nothing more comes."""


class Engine:
    """The pools and the thread that turns them. Made, used and closed by one process."""

    def __init__(self, pools: Sequence[Callable[[], Pool]], *, workers: int, late: str) -> None:
        self._makers = pools
        self._workers = workers
        self._late = late
        self._pools: list[Pool] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._work: Work | None = None
        self._is_closing = False
        self._is_rung = False
        self._trouble: BaseException = RuntimeError("the scoring service was closed")
        """Why the thread has ended, when it has."""
        self._started = Work()
        self._process = os.getpid()
        self._ear, self._bell = os.pipe()
        for descriptor in (self._ear, self._bell):
            os.set_blocking(descriptor, False)
        self._thread = threading.Thread(target=self._run, name="r1-scoring", daemon=True)
        self._thread.start()
        try:
            self.wait(self._started)
        except BaseException:
            self.close()
            raise

    def begin(self) -> Work:
        """A new batch."""
        work = Work()
        self._post(lambda: self._begin(work))
        return work

    def add(self, questions: Sequence[Question]) -> None:
        """Ask these, each in the pool that has its rewards."""
        self._post(lambda: self._add(questions))

    def whole(self, work: Work, *, within_s: float) -> None:
        """Nothing more comes; what has no outcome `within_s` from now is given up."""
        late_at = time.monotonic() + within_s
        self._post(lambda: self._close_batch(work, late_at))

    def wait(self, work: Work) -> None:
        """Until every question has its outcome. Raises what stopped the work."""
        self._until_done(work)
        if work.error is not None:
            raise work.error

    def cancel(self, work: Work) -> None:
        """Forget what was asked; returns when nobody is at work on it any more."""
        self._post(lambda: self._cancel(work))
        self._until_done(work)

    def close(self) -> None:
        """End every worker."""
        if os.getpid() == self._process and self._thread.is_alive():
            self._is_closing = True
            self._ring()
            self._thread.join()
        for descriptor in (self._ear, self._bell):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    # --- in the caller's thread ------------------------------------------------------------------

    def _until_done(self, work: Work) -> None:
        while not work.done.wait(_LOOK_S):
            if not self._thread.is_alive() and not work.done.is_set():
                work.error = self._trouble
                work.done.set()

    def _post(self, call: Callable[[], None]) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a scoring service cannot be used in a fork of the process that entered it")
        self._calls.append(call)
        self._ring()

    def _ring(self) -> None:
        if self._is_rung:
            return
        self._is_rung = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._bell, b"!")

    # --- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())  # they are the main thread's
        try:
            self._start()
            while not self._is_closing:
                self._turn_guarded()
        finally:
            for pool in self._pools:
                pool.close()
            for work in (self._started, self._work):
                if work is not None and not work.done.is_set():
                    work.error = work.error or self._trouble
                    work.done.set()

    def _start(self) -> None:
        try:
            for make in self._makers:
                self._pools.append(make())
            while any(pool.is_starting for pool in self._pools) and not self._is_closing:
                self._turn()
            for pool in self._pools:
                pool.end()
                if pool.trouble:
                    raise SetupError(pool.trouble, where="scoring", fix="run `r1 doctor`, or mend the reward")
        except BaseException as error:
            self._started.error, self._is_closing = error, True
        self._started.done.set()

    def _turn_guarded(self) -> None:
        try:
            self._turn()
        except BaseException as error:
            if self._work is not None:
                self._end(error)
            else:  # a spare worker that is wrong: said when the next batch begins
                self._trouble, self._is_closing = error, True

    def _turn(self) -> None:
        """Hand out, wait, hear; then see whether the batch is done."""
        while self._calls:
            self._calls.popleft()()
        work = self._work
        room = self._workers - sum(pool.busy for pool in self._pools)
        for pool in self._pools:  # no more than `workers` are at work, in all
            before = pool.busy
            pool.hand_out(max(0, room), last=work is not None and work.is_whole)
            room -= pool.busy - before
        if work is not None and work.is_whole and all(pool.is_done for pool in self._pools):
            self._end(None)
            return
        self._listen(math.inf if work is None else work.late_at)
        if work is not None and time.monotonic() >= work.late_at:
            work.late_at = math.inf
            for pool in self._pools:
                pool.give_up(self._late)

    def _listen(self, until: float) -> None:
        poller = select.poll()
        poller.register(self._ear, select.POLLIN)
        for pool in self._pools:
            pool.register(poller)
        deadlines = [deadline for pool in self._pools if (deadline := pool.deadline()) is not None]
        wait_s = min([until, *deadlines]) - time.monotonic()
        poller.poll(None if wait_s == math.inf else max(0, math.ceil(wait_s * 1000)))
        with contextlib.suppress(BlockingIOError):
            os.read(self._ear, 4096)
        self._is_rung = False  # then the calls are taken; whoever posts from here on rings again
        for pool in self._pools:
            pool.attend()

    def _begin(self, work: Work) -> None:
        self._work = work
        for pool in self._pools:
            pool.begin()

    def _add(self, questions: Sequence[Question]) -> None:
        if self._work is None:  # an error has ended it
            return
        for question in questions:
            pool = next(pool for pool in self._pools if question.pending[0] in pool.rewards)
            pool.add(question)

    def _close_batch(self, work: Work, late_at: float) -> None:
        if work is self._work:
            work.is_whole, work.late_at = True, late_at

    def _cancel(self, work: Work) -> None:
        if work is self._work:
            self._end(None)
        work.done.set()

    def _end(self, error: BaseException | None) -> None:
        """The batch is over."""
        work: Any = self._work
        self._work = None
        for pool in self._pools:
            if error is not None or not pool.is_done:
                pool.drop()
            pool.end()
        if work is not None:
            work.error = error
            work.done.set()
