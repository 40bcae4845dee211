"""Ctrl-C and SIGTERM, for the process that owns a run: the first is a request, the second an order.

    with Interrupts() as interrupts:
        ...                              # a first signal here is a KeyboardInterrupt at once
        with interrupts.noted():
            wait([..., interrupts.wakes])  # a first signal here only sets `asked`, and wakes whoever waits
        ...                              # a second signal is a KeyboardInterrupt wherever it comes

Outside the main thread no signal arrives, and nothing is changed. The handlers of before come back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

OBEYED = (signal.SIGINT, signal.SIGTERM)
ECHO_S = 0.1
"""What follows a signal as closely is the same one: `timeout` and other wrappers send it twice in milliseconds."""


class Interrupts:
    """Counts the signals that ask the run to stop."""

    def __init__(self) -> None:
        self._count = 0
        self._last_s = -ECHO_S
        self._requested = False
        self._noting = False
        self._before: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether the run was asked to stop."""
        return self._requested or self._count > 0

    @property
    def insisted(self) -> bool:
        """Whether a second signal came."""
        return self._count > 1

    def request(self) -> None:
        """Ask the run to stop without a signal: a signal is still the first."""
        self._requested = True

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """A stretch that looks at `asked` by itself."""
        self._noting = True
        try:
            yield
        finally:
            self._noting = False

    def drain(self) -> None:
        """Take note of having been woken: `wakes` is quiet until the next signal."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakes, 4096)

    def __enter__(self) -> Self:
        self.wakes, self._waker = os.pipe()
        os.set_blocking(self.wakes, False)
        os.set_blocking(self._waker, False)
        if threading.current_thread() is threading.main_thread():
            # Written to by the system's own handler: a signal just before the wait would be missed otherwise.
            self._other_waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
            self._before = {signum: signal.signal(signum, self._hear) for signum in OBEYED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler or signal.SIG_DFL)
        if self._before:
            signal.set_wakeup_fd(self._other_waker)
        os.close(self.wakes)
        os.close(self._waker)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        is_echo, self._last_s = now_s - self._last_s < ECHO_S, now_s
        if is_echo:
            return
        self._count += 1
        if self._noting and not self.insisted:
            return
        if self.insisted:
            for obeyed in OBEYED:
                signal.signal(obeyed, signal.SIG_IGN)  # what is killed now is killed to the end
        raise KeyboardInterrupt("stopped at once: what was saved is kept, the same command goes on")
