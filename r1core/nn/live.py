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

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from r1core.nn.draw import Settings, draw, model_logprobs, uniforms
from r1core.nn.moving import MovingBatch
from r1core.nn.rows import Rows, plan_work
from r1core.types import Finish, SampleRequest

COMPACT_AT = 0.25
"""Share of done rows at which they leave although nobody waits for their places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One token of the `sample`-th key of request `number`; `finish` with the last one."""

    number: int
    sample: int
    id: int
    logprob: float
    finish: Finish | None


class OpenBatch(MovingBatch):
    """A moving batch whose work is not known beforehand."""

    def __init__(self, module: Any, *, ends: Collection[int], max_rows: int) -> None:
        super().__init__(module, [], ends=np.array(sorted(ends), dtype=np.int64), max_rows=max_rows)
        self.max_rows = max_rows
        self._next = 0

    def add(self, request: SampleRequest) -> int:
        """Let it wait for its turn; returns its number. Raises ValueError for an empty prompt."""
        number = self._next
        works = plan_work([request], max_rows=self.max_rows)
        self._widen(request.max_new_tokens)
        for work in works:
            self.waiting.append(type(work)(number=number, request=request, samples=work.samples, prompt=work.prompt))
        self._next += 1
        return number

    def drop(self, number: int, sample: int | None = None) -> int:
        """Forget a request, whether it waits or is at work, or one of its samples that is at work; how many rows."""
        mine = (self.rows.request == number) & ~self.rows.done
        if sample is None:
            self.waiting = deque(work for work in self.waiting if work.number != number)
        else:
            mine &= self.rows.sample == sample
        self.rows.done[mine] = True
        return int(mine.sum())

    @property
    def should_refill(self) -> bool:
        """Whether rows should go, or work can come in."""
        if not len(self.rows.done):
            return bool(self.waiting)
        fits = bool(self.waiting) and self.alive + len(self.waiting[0].samples) <= self.max_rows
        return fits or self.done_share >= COMPACT_AT

    def _draw(self, rows: Rows, settings: Settings, logits: Tensor) -> tuple[Tensor, list[int]]:
        """As any batch draws, noted with the model's own log-probs."""
        tokens, _ = draw(logits, self._tensor(uniforms(rows.key, rows.count)), settings)
        told = model_logprobs(logits, tokens)
        return tokens, rows.note(tokens.cpu().numpy(), told.cpu().numpy(), self.ends)

    def _widen(self, width: int) -> None:
        """Room for the tokens of the longest request; given back when nobody is at work."""
        if not len(self.rows.done) and not self.waiting:
            self.width = 0
        grown = max(self.width, width) - self.rows.tokens.shape[1]
        self.width = max(self.width, width)
        if grown > 0:
            self.rows.tokens = np.pad(self.rows.tokens, ((0, 0), (0, grown)))
            self.rows.logprobs = np.pad(self.rows.logprobs, ((0, 0), (0, grown)))
        elif grown < 0:
            self.rows = type(self.rows).start([], width=self.width)


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
        return sum(len(work.samples) for work in self._batch.waiting)

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
        """Let work in where there is room, and draw one token for every row."""
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
