"""Logits that are read a tile at a time: from hidden states and the head's weight, or as they are.

The second is for models that change their logits after the head (soft-capping, scaling), and for heads that are no
plain matrix: there they exist anyway. N tokens, V vocabulary, H hidden size. What is added up over the vocabulary is
float32, float64 where the states are. No function here has a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from r1core.nn import head


class Logits(NamedTuple):
    """One model's next-token logits of N tokens."""

    states: Tensor
    """(N, H), or, without a weight, the logits themselves (N, V)."""
    weight: Tensor | None = None
    """(V, H)"""
    bias: Tensor | None = None

    @property
    def width(self) -> int:
        """V, rows of a padded vocabulary included."""
        return self.states.shape[1] if self.weight is None else len(self.weight)

    @property
    def format(self) -> torch.dtype:
        """What is added up: float32 or better."""
        return torch.promote_types(self.states.dtype, torch.float32)

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """Some logits, as the head itself would round them, in `format`."""
        if self.weight is None:
            return self.states[rows, columns].to(self.format)
        product: Tensor = self.states[rows] @ self.weight[columns].to(self.states.dtype).T
        if self.bias is not None:
            product = product + self.bias[columns].to(self.states.dtype)
        return product.to(self.format)

    def tiles(self, vocabulary: int) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each tile of the first `vocabulary` tokens."""
        return head.tiles(self.states, vocabulary)

    def whole_rows(self, vocabulary: int) -> Iterator[slice]:
        """Rows of tiles that are as wide as the vocabulary."""
        high = max(1, head.most_logits(self.states) // vocabulary)
        for row in range(0, len(self.states), high):
            yield slice(row, min(row + high, len(self.states)))

    def total(self, temperature: float, columns: range) -> Tensor:
        """(N,) the log of the sum of exp(logit / temperature) over these tokens."""
        sums = _Sums(len(self.states), like=self)
        for rows, tile in self.tiles(len(columns)):
            logits = self.tile(rows, slice(columns.start + tile.start, columns.start + tile.stop))
            sums.add(rows, logits / temperature)
        return sums.log()

    def surest(self, temperature: float, vocabulary: int) -> tuple[Tensor, Tensor]:
        """(N,) the likeliest of the first `vocabulary` tokens, and their `total`, in the same pass."""
        sums = _Sums(len(self.states), like=self)
        ids = torch.zeros(len(self.states), dtype=torch.int64, device=self.states.device)
        for rows, columns in self.tiles(vocabulary):
            logits = self.tile(rows, columns) / temperature
            highest, found = logits.max(1)
            ids[rows] = torch.where(highest > sums.highest[rows], found + columns.start, ids[rows])
            sums.add(rows, logits, highest)
        return ids, sums.log()

    def beyond(self, vocabulary: int, total: Tensor) -> Tensor:
        """(N,) the probability of the rows beyond the vocabulary; the `total` of the rest is at temperature 1."""
        if vocabulary == self.width:
            return torch.zeros_like(total)
        return torch.sigmoid(self.total(1.0, range(vocabulary, self.width)) - total)

    def likeliest(self, k: int, temperature: float, vocabulary: int, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the first `vocabulary` tokens the `k` likeliest in each place, likeliest first: (N, k) ids, -1 where there
        are fewer, and log-probabilities; and those (N,) of the targets. In one pass: the likeliest of each tile are
        merged into those found before."""
        sums, tokens = _Sums(len(self.states), like=self), len(self.states)
        best = self.states.new_full((tokens, k), -torch.inf, dtype=self.format)
        ids = torch.full_like(best, -1, dtype=torch.int64)
        own = self.states.new_full((tokens, 1), -torch.inf, dtype=self.format)
        for rows, columns in self.tiles(vocabulary):
            logits = self.tile(rows, columns) / temperature
            sums.add(rows, logits)
            found = logits.topk(min(k, logits.shape[1]))
            values = torch.cat([best[rows], found.values], 1)
            best[rows], chosen = values.topk(k)
            ids[rows] = torch.cat([ids[rows], found.indices + columns.start], 1).gather(1, chosen)
            inside, place = within(targets[rows].unsqueeze(1), columns)
            own[rows] = torch.where(inside, logits.gather(1, place), own[rows])
        normal = sums.log().unsqueeze(1)
        return ids, best - normal, (own - normal).squeeze(1)


def within(ids: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Which ids lie in a tile, and their columns there; 0 for the others."""
    own = ids - columns.start
    inside = (own >= 0) & (own < columns.stop - columns.start)
    return inside, torch.where(inside, own, 0)


class _Sums:
    """The sums of exponentials of rows, as tiles of them come."""

    def __init__(self, rows: int, *, like: Logits) -> None:
        lowest = torch.finfo(like.format).min
        self.highest = like.states.new_full((rows,), lowest, dtype=like.format)
        self.total = torch.zeros_like(self.highest)

    def add(self, rows: slice, logits: Tensor, highest: Tensor | None = None) -> None:
        before = self.highest[rows]
        now = torch.maximum(before, logits.amax(1) if highest is None else highest)
        self.total[rows] *= torch.exp(before - now)
        self.total[rows] += torch.exp(logits - now.unsqueeze(1)).sum(1)
        self.highest[rows] = now

    def log(self) -> Tensor:
        return self.highest + self.total.log()


class Backward:
    """Where the gradients by tiles of logits are added up: of states (or whole logits), weight and bias."""

    def __init__(self, ctx: Any, logits: Logits, *, into_grad: bool) -> None:
        """`ctx` of a function whose first inputs are `logits`. `into_grad`: the weight is a plain parameter, whose
        gradient is added where it is kept, without a copy."""
        self.logits, self.into_grad = logits, into_grad
        _, weight, bias = logits
        self.of_states = torch.zeros_like(logits.states, dtype=logits.format)
        self.of_weight = head.place(weight, into_grad) if weight is not None and ctx.needs_input_grad[1] else None
        self.of_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None

    def add(self, rows: slice, columns: slice, gradient: Tensor) -> None:
        """That of one tile."""
        states, weight, _ = self.logits
        if weight is None:
            self.of_states[rows, columns] = gradient
            return
        computed = gradient.to(states.dtype)
        self.of_states[rows] += computed @ weight[columns].to(states.dtype)
        if self.of_weight is not None:
            self.of_weight[columns] += computed.T @ states[rows]
        if self.of_bias is not None:
            self.of_bias[columns] += gradient.sum(0)

    def found(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The gradients that autograd is to go on with."""
        return self.of_states.to(self.logits.states.dtype), None if self.into_grad else self.of_weight, self.of_bias
