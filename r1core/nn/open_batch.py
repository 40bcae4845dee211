"""The batch of a server: work comes while it runs, and a long prompt is read in parts, between the tokens of others.

A prompt of 9,000 tokens at once would hold every other stream for seconds. Short prompts are read together, a long one
alone, `PROMPT_TOKENS` a step; it has its rows once it is whole. Its keys and values lie apart until then, so one that
cannot be computed (no memory for it) is lost alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r1core.nn.draw import Settings, draw, model_logprobs, uniforms
from r1core.nn.kv import KVCache
from r1core.nn.moving import MovingBatch, Prefilled, by_budget, padded
from r1core.nn.rows import Rows, Work, plan_work
from r1core.types import SampleRequest

PROMPT_TOKENS = 512
"""Padded prompt tokens computed in one step."""
COMPACT_AT = 0.25
"""Share of done rows at which they leave although nobody waits for their places."""


class Unread(Exception):
    """Prompts that could not be computed; `numbers` are their requests, which are forgotten."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__(f"the prompts of requests {list(numbers)} could not be computed")
        self.numbers = tuple(numbers)


class _Begun:
    """Prompts of which the first `read` columns are in `cache`. Several only where one step reads them all."""

    def __init__(self, works: list[Work], cache: KVCache) -> None:
        self.works = works
        self.cache = cache
        self.read = 0
        self._ids, self._lengths = padded(works)

    def go_on(self, batch: OpenBatch) -> Tensor | None:
        """Compute the next columns; the logits (P, V) after the last."""
        count, longest = self._ids.shape
        begin, self.read = self.read, min(longest, self.read + max(1, PROMPT_TOKENS // count))
        ids = torch.from_numpy(self._ids[:, begin : self.read]).to(batch.device)
        lengths = torch.from_numpy(self._lengths - (longest - self.read)).to(batch.device)
        logits: Tensor = batch.forward(ids, lengths, self.cache)
        return logits if self.read == longest else None


class OpenBatch(MovingBatch):
    """A moving batch whose work is not known beforehand."""

    def __init__(self, module: Any, *, ends: Collection[int], max_rows: int) -> None:
        super().__init__(module, [], ends=np.array(sorted(ends), dtype=np.int64), max_rows=max_rows)
        self.max_rows = max_rows
        self._next = 0
        self._begun: _Begun | None = None

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
            self._forget(number)
        else:
            mine &= self.rows.sample == sample
        self.rows.done[mine] = True
        return int(mine.sum())

    @property
    def outside(self) -> int:
        """Samples that have no row yet."""
        begun = self._begun.works if self._begun is not None else []
        return sum(len(work.samples) for work in (*self.waiting, *begun))

    @property
    def should_refill(self) -> bool:
        """Whether rows should go, or work can come in."""
        if self._begun is not None:
            return True
        if not len(self.rows.done):
            return bool(self.waiting)
        fits = bool(self.waiting) and self.alive + len(self.waiting[0].samples) <= self.max_rows
        return fits or self.done_share >= COMPACT_AT

    def _draw(self, rows: Rows, settings: Settings, logits: Tensor) -> tuple[Tensor, list[int]]:
        """As any batch draws, noted with the model's own log-probs."""
        tokens, _ = draw(logits, self._tensor(uniforms(rows.key, rows.count)), settings)
        told = model_logprobs(logits, tokens)
        return tokens, rows.note(tokens.cpu().numpy(), told.cpu().numpy(), self.ends)

    @torch.no_grad()
    def refill(self) -> bool:
        """Let rows that are done go, and read the next part of the prompts that come in; those that are whole get their
        rows. Raises Unread, with the rows as they were."""
        gone = self._let_go()
        try:
            ready = self._read()
        except Exception as error:
            lost = self._begun.works if self._begun is not None else []
            self._begun = None
            self._settle()
            raise Unread([work.number for work in lost]) from error
        if ready is not None:
            self._let_in([ready])
        self._settle()
        return gone or ready is not None

    def _read(self) -> Prefilled | None:
        """Compute the next part; all of them once they are whole."""
        begun = self._begun
        if begun is None:
            taken = self._take()
            if not taken:
                return None
            works, *others = by_budget(taken, PROMPT_TOKENS)
            self.waiting.extendleft(work for group in reversed(others) for work in reversed(group))
            begun = self._begun = _Begun(works, KVCache(self.forward.layers))
        logits = begun.go_on(self)
        if logits is None:
            return None
        whole = self._prefilled(begun.works, begun.cache, logits)
        self._begun = None
        return whole

    def _forget(self, number: int) -> None:
        """Leave a prompt that is half read. Those that are read in one step are never half read."""
        if self._begun is not None and any(work.number == number for work in self._begun.works):
            self._begun = None

    def _widen(self, width: int) -> None:
        """Room for the tokens of the longest request; given back when nobody is at work."""
        if not len(self.rows.done) and not self.outside:
            self.width = 0
        grown = max(self.width, width) - self.rows.tokens.shape[1]
        self.width = max(self.width, width)
        if grown > 0:
            self.rows.tokens = np.pad(self.rows.tokens, ((0, 0), (0, grown)))
            self.rows.logprobs = np.pad(self.rows.logprobs, ((0, 0), (0, grown)))
        elif grown < 0:
            self.rows = type(self.rows).start([], width=self.width)
