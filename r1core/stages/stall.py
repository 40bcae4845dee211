"""A stage that goes nowhere says so, and where it hangs: a lost peer, a server that never answers, a lock.

What each thread does is printed into the stage's output. Nothing is ended: whoever reads it decides. Where even the
thread that watches cannot run, since some library keeps the interpreter's lock, the interpreter prints the stacks by
itself; only then, for it looks at frames that nothing keeps still.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Self


class Stall:
    """Watches, in a `with`, that something is `ended` (a step, a unit) every `after_s` seconds."""

    def __init__(self, after_s: float, note: Callable[[str], None]) -> None:
        self._after_s = after_s
        self._note = note
        self._over = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="stall")

    def __enter__(self) -> Self:
        self.ended()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def ended(self) -> None:
        """A step has ended: the next has as long again."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        wait_s = self._after_s
        while not self._waited(wait_s):
            idle_s = time.monotonic() - self._last
            wait_s = self._after_s - idle_s
            if wait_s <= 0:
                _print_stacks()
                self._note(f"no step for {idle_s:.0f} s: what each thread does stands in the stage's output")
                wait_s = self._after_s

    def _waited(self, wait_s: float) -> bool:
        """Wait, unless all is over; whether it is. The interpreter prints when this thread comes much too late."""
        faulthandler.dump_traceback_later(wait_s + max(10.0, self._after_s), file=sys.__stderr__ or sys.stderr)
        return self._over.wait(wait_s)


def _print_stacks() -> None:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            print(f"thread {names.get(ident, ident)}:", file=sys.stderr)
            traceback.print_stack(frame, file=sys.stderr)
    sys.stderr.flush()
