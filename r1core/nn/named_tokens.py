"""Log-probabilities of K named tokens in each place, in tiles: (N, K) of the whole softmax, never its (N, V).

d logprob_k / dz = (onehot(id_k) - q) / temperature
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from r1core.nn.logits import Backward, Logits, within


class NamedTokens(torch.autograd.Function):
    """(N, K) log-probabilities at a temperature; -inf, without a gradient, where an id is -1, or of padding."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        ids: Tensor,
        temperature: float,
        vocabulary: int,
        into_grad: bool,
    ) -> Tensor:
        """`into_grad`: the weight is a plain parameter, whose gradient is added where it is kept, without a copy."""
        student = Logits(states, weight, bias)
        normal = student.total(temperature, range(vocabulary))
        chosen = torch.full(ids.shape, -torch.inf, dtype=normal.dtype, device=ids.device)
        for rows, columns in student.tiles(vocabulary):
            inside, own = within(ids[rows], columns)
            picked = student.tile(rows, columns).gather(1, own)
            chosen[rows] = torch.where(inside, picked, chosen[rows])
        ctx.save_for_backward(states, weight, bias, ids, normal)
        ctx.given = temperature, vocabulary, into_grad
        return chosen / temperature - normal.unsqueeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of states, weight and bias, tile by tile."""
        states, weight, bias, ids, normal = ctx.saved_tensors
        temperature, vocabulary, into_grad = ctx.given
        student = Logits(states, weight, bias)
        gradient = torch.where((ids >= 0) & (ids < vocabulary), gradient, 0.0) / temperature
        summed = gradient.sum(1, keepdim=True)
        back = Backward(ctx, student, into_grad=into_grad)
        for rows, columns in student.tiles(vocabulary):
            logits = student.tile(rows, columns) / temperature
            logits -= normal[rows].unsqueeze(1)
            by_logits = logits.exp_().mul_(-summed[rows])
            inside, own = within(ids[rows], columns)
            by_logits.scatter_add_(1, own, torch.where(inside, gradient[rows], 0.0))
            back.add(rows, columns, by_logits)
        return *back.found(), None, None, None, None
