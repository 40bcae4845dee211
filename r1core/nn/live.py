"""A decoder that takes requests while it runs, says every token as it is drawn, and drops rows that nobody wants.

    live = LiveDecoder(module, ends=ends, max_rows=32)
    number = live.add(request)                  # at any time between two steps
    while live.busy:
        for drawn in live.step():               # one token of every row, and the first of those that came in
            ...
    live.cancel(number)                         # its rows are free at the next step

It moves the same batch as `Decoder` does: what a sample draws depends on its key and its token number alone, so it does
not matter who else is in the batch. The log-probs are the model's own, as OpenAI's API and vLLM give them: neither
tempered nor cut. Not for several threads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1core.nn.open_batch import OpenBatch
from r1core.types import Finish, SampleRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One token of the `sample`-th key of request `number`; `finish` with the last one."""

    number: int
    sample: int
    id: int
    logprob: float
    finish: Finish | None


class LiveDecoder:
    """Decodes with the present weights of `module`, which is shared and not copied."""

    def __init__(self, module: Any, *, ends: Collection[int], max_rows: int) -> None:
        self._batch = OpenBatch(module, ends=ends, max_rows=max_rows)

    @property
    def alive(self) -> int:
        """Rows at work."""
        return self._batch.alive

    @property
    def waiting(self) -> int:
        """Samples that wait for a row."""
        return self._batch.outside

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self.alive or self.waiting)

    def add(self, request: SampleRequest) -> int:
        """Take a request; returns the number that its tokens carry."""
        return self._batch.add(request)

    def cancel(self, number: int, sample: int | None = None) -> int:
        """Forget a request, or one of its samples that is at work; returns how many rows that frees."""
        return self._batch.drop(number, sample)

    def step(self) -> list[Drawn]:
        """Read of the prompts that wait as much as one step may, let those in that are whole, and draw one token for
        every row. Raises Unread where a prompt cannot be computed: it is forgotten, the rows stay as they were."""
        drawn: list[Drawn] = []
        if self._batch.should_refill:
            kept = self._batch.alive
            self._batch.refill()
            drawn += self._drawn(range(kept, len(self._batch.rows.done)))
        open_rows = np.flatnonzero(~self._batch.rows.done)
        if len(open_rows):
            self._batch.step()
            drawn += self._drawn(open_rows)
        return drawn

    def _drawn(self, numbers: Any) -> list[Drawn]:
        """The last token of these rows."""
        rows, ends = self._batch.rows, self._batch.ends
        found = []
        for row in numbers:
            place = int(rows.count[row]) - 1
            token = int(rows.tokens[row, place])
            finish: Finish | None = None
            if rows.done[row]:
                finish = "stop" if token in ends else "length"
            found.append(
                Drawn(
                    number=int(rows.request[row]),
                    sample=int(rows.sample[row]),
                    id=token,
                    logprob=float(rows.logprobs[row, place]),
                    finish=finish,
                )
            )
        return found
