"""The decoder's batch: rows that are alive, rows that are done and not yet gone, and the work that waits.

One step draws one token for every row. Between steps rows may leave and come in; the cache keeps its buffers.
Shapes: R rows, P prompts, L padded prompt length, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from r1core.nn.draw import Settings, draw, uniforms
from r1core.nn.forward import Forward
from r1core.nn.kv import GROW_SLOTS, KVCache
from r1core.nn.rows import Rows, Work, plan_work
from r1core.types import SampleRequest

PREFILL_TOKENS = 16384
"""Padded prompt tokens computed at once."""


@dataclass(frozen=True, kw_only=True)
class Prefilled:
    """Prompts that are computed: the rows to come, each row's prompt in `cache` (R,), the logits after it (R, V)."""

    rows: Rows
    cache: KVCache
    index: Tensor
    logits: Tensor


class MovingBatch:
    """`rows` are those of the last step; `fresh` are the numbers of the rows that its draw finished."""

    def __init__(
        self, module: Any, requests: Sequence[SampleRequest], *, ends: NDArray[np.int64], max_rows: int
    ) -> None:
        self.forward = Forward(module)
        self.device: torch.device = module.device
        self.ends = ends
        self.max_rows = min(max_rows, sum(len(request.keys) for request in requests))
        self.waiting = deque(plan_work(requests, max_rows=max_rows))
        self.width = max((request.max_new_tokens for request in requests), default=0)
        self.rows = Rows.start([], width=self.width)
        self.fresh: list[int] = []
        self.cache = KVCache(self.forward.layers)
        self.last = torch.zeros(0, dtype=torch.long, device=self.device)

    @property
    def alive(self) -> int:
        """How many rows are not done."""
        return len(self.rows.done) - int(self.rows.done.sum())

    @property
    def done_share(self) -> float:
        """The share of rows that are done."""
        return float(self.rows.done.mean())

    @torch.no_grad()
    def step(self) -> None:
        """Compute and draw one more token for every row."""
        self.rows.length += 1
        self.lengths += 1
        logits = self.forward(self.last.unsqueeze(1), self.lengths, self.cache)
        self.last, self.fresh = self._draw(self.rows, self.settings, logits)

    @torch.no_grad()
    def refill(self) -> bool:
        """Let rows that are done go and waiting work in; False when there was nothing to do."""
        gone = self._let_go()
        taken = self._take()
        if taken:
            self._let_in([self._prefill(works) for works in by_budget(taken, PREFILL_TOKENS)])
        self._settle()
        return gone or bool(taken)

    def _settle(self) -> None:
        """After rows went or came in: what the next step reads of them."""
        self.fresh = [int(row) for row in np.flatnonzero(self.rows.done)]
        self.lengths = torch.tensor(self.rows.length, device=self.device)
        self.settings = self._settings(self.rows)

    def _let_go(self) -> bool:
        """Fill the holes of rows that are done with the last rows that are alive; whether there were any."""
        kept = np.flatnonzero(~self.rows.done)
        count = len(kept)
        if count == len(self.rows.done):
            return False
        holes, movers = np.flatnonzero(self.rows.done[:count]), kept[kept >= count]
        order = np.arange(count)
        order[holes] = movers
        self.rows = self.rows.take(order)
        self.last = self.last[self._tensor(order)]
        width = int(self.rows.length.max(initial=0))
        self.cache.keep(self._tensor(holes), self._tensor(movers), rows=count, width=width)
        return True

    def _take(self) -> list[Work]:
        """The next waiting work that fits beside the rows."""
        taken: list[Work] = []
        count = len(self.rows.done)
        while self.waiting and count + len(self.waiting[0].samples) <= self.max_rows:
            taken.append(self.waiting.popleft())
            count += len(taken[-1].samples)
        return taken

    def _let_in(self, prefilled: list[Prefilled]) -> None:
        """Draw the first token of new rows and put them after the present ones."""
        lasts = [self._draw(new.rows, self._settings(new.rows), new.logits)[0] for new in prefilled]
        self.rows = Rows.join([self.rows, *(new.rows for new in prefilled)])
        self.last = torch.cat([self.last, *lasts])
        width = int(self.rows.length.max())
        room = min(int((self.rows.limit - self.rows.count).max()), GROW_SLOTS)
        for new in prefilled:
            self.cache.admit(new.cache, new.index, rows=self.max_rows, width=width, room=room)

    def _prefill(self, works: list[Work]) -> Prefilled:
        """Compute prompts at once."""
        ids, lengths = padded(works)
        cache = KVCache(self.forward.layers)
        return self._prefilled(works, cache, self.forward(self._tensor(ids), self._tensor(lengths), cache))

    def _prefilled(self, works: list[Work], cache: KVCache, logits: Tensor) -> Prefilled:
        """Prompts that are in `cache`, with the logits (P, V) after them, and their rows."""
        index = self._tensor(np.repeat(np.arange(len(works)), [len(work.samples) for work in works]))
        rows = Rows.start(works, width=self.width)
        return Prefilled(rows=rows, cache=cache, index=index, logits=logits.index_select(0, index))

    def _draw(self, rows: Rows, settings: Settings, logits: Tensor) -> tuple[Tensor, list[int]]:
        """Draw for every row, note it for those not done: the tokens (R,), and which rows it finished."""
        tokens, logprobs = draw(logits, self._tensor(uniforms(rows.key, rows.count)), settings)
        return tokens, rows.note(tokens.cpu().numpy(), logprobs.cpu().numpy(), self.ends)

    def _settings(self, rows: Rows) -> Settings:
        return Settings(rows.temperature, rows.top_p, self.device)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def padded(works: Sequence[Work]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The prompts (P, L), padded on the left, and their lengths (P,)."""
    lengths = np.array([len(work.prompt) for work in works])
    ids = np.zeros((len(works), lengths.max()), dtype=np.int64)
    for row, work in enumerate(works):
        ids[row, ids.shape[1] - len(work.prompt) :] = work.prompt
    return ids, lengths


def by_budget(taken: Sequence[Work], tokens: int) -> list[list[Work]]:
    """Cut work, in order, where its padded prompts pass so many tokens."""
    groups: list[list[Work]] = []
    longest = 0
    for work in taken:
        longest = max(longest, len(work.prompt))
        if not groups or longest * (len(groups[-1]) + 1) > tokens:
            groups.append([])
            longest = len(work.prompt)
        groups[-1].append(work)
    return groups
