"""One-step-off-policy: the next rollout batch is sampled and scored while the policy learns from the present one.

Its answers come from weights that are one batch old, and the trainer corrects for that. A run that goes on after a kill
samples such a batch anew, from newer weights: in this mode alone it does not end with the same bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from r1core.types import At, Group

Work = Callable[[], list[Group]]
PATIENCE_S = 30.0


class _Pending(NamedTuple):
    step: int
    cursors: Mapping[str, int]
    thread: threading.Thread
    groups: list[Group]
    failures: list[BaseException]


class Ahead:
    """The batch under way, if there is one."""

    def __init__(self) -> None:
        self._pending: _Pending | None = None
        self._last: int | None = None

    def next(self, at: At) -> At | None:
        """Where the batch after the one of `at` will be wanted, by the distance to the one before; None where that is
        not known yet (a first batch, also of an extension), or there will be none."""
        every = at.step - self._last if self._last is not None else 0
        self._last = at.step
        if not 0 < every <= at.position or at.position + every >= at.length:
            return None
        return At(step=at.step + every, position=at.position + every, length=at.length)

    @property
    def cursors(self) -> Mapping[str, int] | None:
        """How many problems had been taken before the batch under way."""
        return self._pending.cursors if self._pending is not None else None

    def begin(self, step: int, cursors: Mapping[str, int], work: Work) -> None:
        """Let a thread do it; it will be wanted at this step."""
        groups: list[Group] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                groups.extend(work())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True, name="ahead")  # a run that fails does not wait for it
        self._pending = _Pending(step, cursors, thread, groups, failures)
        thread.start()

    def settle(self) -> None:
        """Wait until it is done: whoever uses sampler or rewards now does not meet it there."""
        if self._pending is not None:
            self._pending.thread.join()

    def close(self) -> None:
        """The stage ends: wait for what is under way, if that does not take long, rather than leave it in the middle
        of a call."""
        if self._pending is not None:
            self._pending.thread.join(PATIENCE_S)

    def take(self, step: int) -> list[Group] | None:
        """Its groups, when they were meant for this step; None without any. Raises what its work raised."""
        self.settle()
        pending, self._pending = self._pending, None
        if pending is not None and pending.failures:
            raise pending.failures[0]
        return pending.groups if pending is not None and pending.step == step else None
