"""The book of a moving batch: what each row is, and what it has drawn so far (numpy, on the host).

Shapes: R rows, M the most new tokens of any request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from r1core.types import SampleRequest

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Samples of one request that start together, from the same prompt."""

    number: int
    request: SampleRequest
    samples: range
    prompt: Integers


def plan_work(requests: Sequence[SampleRequest], *, max_rows: int) -> list[Work]:
    """One piece of work for each request, in order; a request of more than `max_rows` samples is cut."""
    work = []
    for number, request in enumerate(requests):
        prefix = np.zeros(0, dtype=np.int64) if request.prefix_ids is None else request.prefix_ids
        prompt = np.concatenate([request.prompt_ids, prefix]).astype(np.int64)
        if not len(prompt) or request.max_new_tokens < 1:
            raise ValueError(
                f"problem {request.problem.id!r}: a prompt of {len(prompt)} tokens and {request.max_new_tokens} new"
                " tokens; both must be at least 1"
            )
        for first in range(0, len(request.keys), max_rows):
            samples = range(first, min(first + max_rows, len(request.keys)))
            work.append(Work(number=number, request=request, samples=samples, prompt=prompt))
    return work


@dataclass(kw_only=True)
class Rows:
    """All (R,), but `tokens` and `logprobs` (R, M). `length` counts the tokens in the cache."""

    request: Integers
    sample: Integers
    key: NDArray[np.uint64]
    limit: Integers
    temperature: NDArray[np.float32]
    top_p: NDArray[np.float32]
    length: Integers
    count: Integers
    done: NDArray[np.bool_]
    tokens: Integers
    logprobs: NDArray[np.float64]

    @classmethod
    def start(cls, group: Sequence[Work], *, width: int) -> Self:
        """The rows of this work, nothing drawn yet."""
        pairs = [(work, sample) for work in group for sample in work.samples]
        count = len(pairs)
        return cls(
            request=np.array([work.number for work, _ in pairs], dtype=np.int64),
            sample=np.array([sample for _, sample in pairs], dtype=np.int64),
            key=np.array([work.request.keys[sample] % 2**64 for work, sample in pairs], dtype=np.uint64),
            limit=np.array([work.request.max_new_tokens for work, _ in pairs], dtype=np.int64),
            temperature=np.array([work.request.temperature for work, _ in pairs], dtype=np.float32),
            top_p=np.array([work.request.top_p for work, _ in pairs], dtype=np.float32),
            length=np.array([len(work.prompt) for work, _ in pairs], dtype=np.int64),
            count=np.zeros(count, dtype=np.int64),
            done=np.zeros(count, dtype=np.bool_),
            tokens=np.zeros((count, width), dtype=np.int64),
            logprobs=np.zeros((count, width), dtype=np.float64),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, in order."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def take(self, index: NDArray[np.int64]) -> Self:
        """The rows of `index`."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def note(self, tokens: Integers, logprobs: NDArray[np.float32], ends: Integers) -> list[int]:
        """Write one drawn token into every row that is not done; returns the rows that are done by it."""
        open_rows = np.flatnonzero(~self.done)
        drawn = tokens[open_rows]
        self.tokens[open_rows, self.count[open_rows]] = drawn
        self.logprobs[open_rows, self.count[open_rows]] = logprobs[open_rows]
        self.count[open_rows] += 1
        ended = (drawn[:, None] == ends).any(1) | (self.count[open_rows] >= self.limit[open_rows])
        self.done[open_rows[ended]] = True
        return [int(row) for row in open_rows[ended]]
