"""Sampling from a Hugging Face causal language model: many prompts of uneven length in one moving batch.

A prompt is computed once and copied to its samples. Rows that are done leave the batch when there are enough of them
(`compact_at`), and waiting requests come in, in order, while at most `max_rows` rows are alive. What a sample draws
depends on its key and its token number alone (see `r1core.nn.draw`).

    python tests/benchmarks/bench_sampler.py
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1core.nn.moving import MovingBatch
from r1core.types import Finish, Floats, SampleRequest, Tokens


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One finished sample: the `sample`-th key of request number `request`. `ids` and `logprobs` are (T,)."""

    request: int
    sample: int
    ids: Tokens
    logprobs: Floats
    finish: Finish


def end_token_ids(module: Any) -> frozenset[int]:
    """Every end token that the model's generation config and config name."""
    found: set[int] = set()
    for config in (getattr(module, "generation_config", None), module.config):
        ends = getattr(config, "eos_token_id", None)
        found.update([ends] if isinstance(ends, int) else ends or [])
    return frozenset(found)


class Decoder:
    """Decodes with the present weights of `module`, which is shared and not copied."""

    def __init__(self, module: Any, *, ends: Collection[int], max_rows: int, compact_at: float) -> None:
        self.module = module
        self.ends = np.array(sorted(ends), dtype=np.int64)
        self.max_rows = max_rows
        self.compact_at = compact_at

    def decode(self, requests: Sequence[SampleRequest]) -> Iterator[Decoded]:
        """Every sample of every request once, as they finish. `logprobs` are of the distribution drawn from
        (temperature and top-p applied), at temperature 0 of the plain one."""
        batch = MovingBatch(self.module, requests, ends=self.ends, max_rows=self.max_rows)
        while batch.refill() or batch.alive:
            yield from self._harvest(batch)
            while batch.alive and batch.done_share < self.compact_at:
                batch.step()
                yield from self._harvest(batch)

    def _harvest(self, batch: MovingBatch) -> Iterator[Decoded]:
        rows = batch.rows
        for row in batch.fresh:
            count = int(rows.count[row])
            ids = rows.tokens[row, :count].copy()
            yield Decoded(
                request=int(rows.request[row]),
                sample=int(rows.sample[row]),
                ids=ids,
                logprobs=rows.logprobs[row, :count].copy(),
                finish="stop" if ids[-1] in self.ends else "length",
            )
