"""The language-model head and what is read of its logits, in tiles: (N, V) logits never exist.

Forward: each tile of logits is folded into a running log-sum-exp (and, for the entropy, into the mean logit under the
softmax). Backward: each tile is computed again and turned into its own gradient, which leaves the gradients of states
and weight. With z the logits, p their softmax, H its entropy:

    d logprob / dz = onehot(target) - p          d H / dz = -p (z - logsumexp(z) + H)

N tokens, V vocabulary, H hidden size; statistics are float32 whatever the format of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

TILE_LOGITS = {"cpu": 2**22, "cuda": 2**24}
"""Logits of one tile: 16 or 64 MiB in float32, of which about three are alive at a time. Measured on a CPU core, 1,024
tokens, vocabulary 151,936, hidden size 256: 2**20 4.5 s, 2**22 4.5 s, 2**24 5.8 s; in chunks of 441 tokens 6.3 s."""
TILE_TOKENS = 4096


class ReadHead(torch.autograd.Function):
    """(N,) log-probabilities of the targets and (N,) entropies, float32; entropies are None unless asked for."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, entropy: bool, into_grad: bool
    ) -> tuple[Tensor, Tensor | None]:
        """`into_grad`: the weight is a plain parameter, whose gradient is added where it is kept, without a copy."""
        ctx.set_materialize_grads(False)
        highest = states.new_full((len(states),), -torch.inf, dtype=torch.float32)
        total, mean, chosen = (torch.zeros_like(highest) for _ in range(3))
        for rows, columns in tiles(states, len(weight)):
            logits = _logits(states[rows], weight[columns], bias, columns)
            own = targets[rows] - columns.start
            inside = (own >= 0) & (own < logits.shape[1])
            picked = logits.gather(1, own.clamp(0, logits.shape[1] - 1).unsqueeze(1)).squeeze(1)
            chosen[rows] = torch.where(inside, picked, chosen[rows])

            before = highest[rows]
            now = torch.maximum(before, logits.amax(1))
            shrunk = torch.exp(before - now)
            likely = torch.exp(logits - now.unsqueeze(1))
            total[rows] = total[rows] * shrunk + likely.sum(1)
            if entropy:
                mean[rows] = mean[rows] * shrunk + torch.linalg.vecdot(likely, logits)
            highest[rows] = now
        normal = highest + total.log()
        spread = normal - mean / total if entropy else None
        ctx.save_for_backward(states, weight, bias, targets, normal, spread)
        ctx.into_grad = into_grad
        return chosen - normal, spread

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of states, weight and bias, tile by tile."""
        states, weight, bias, targets, normal, spread = ctx.saved_tensors
        by_logprob, by_entropy = gradients
        of_states = torch.zeros_like(states, dtype=torch.float32)
        of_weight = place(weight, ctx.into_grad) if ctx.needs_input_grad[1] else None
        of_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for rows, columns in tiles(states, len(weight)):
            logits = _logits(states[rows], weight[columns], bias, columns)
            logits -= normal[rows].unsqueeze(1)
            if by_entropy is None:
                gradient = logits.exp_()
                gradient *= -_given(by_logprob, normal)[rows].unsqueeze(1)
            else:
                gradient = logits.exp()
                logits += spread[rows].unsqueeze(1)
                logits *= -by_entropy[rows].unsqueeze(1)
                logits -= _given(by_logprob, normal)[rows].unsqueeze(1)
                gradient *= logits
            own = targets[rows] - columns.start
            inside = ((own >= 0) & (own < logits.shape[1])).nonzero().squeeze(1)
            gradient[inside, own[inside]] += _given(by_logprob, normal)[rows][inside]

            computed = gradient.to(states.dtype)
            of_states[rows] += computed @ weight[columns].to(states.dtype)
            if of_weight is not None:
                of_weight[columns] += computed.T @ states[rows]
            if of_bias is not None:
                of_bias[columns] += gradient.sum(0)
        given = of_weight if of_weight is not None and not ctx.into_grad else None
        return of_states.to(states.dtype), given, of_bias, None, None, None


def tiles(states: Tensor, vocabulary: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each tile; the rows change first, so that a part of the weight is read for all of them."""
    tokens, most = len(states), most_logits(states)
    high = max(1, min(tokens, TILE_TOKENS))
    wide = max(1, min(vocabulary, most // high))
    for column in range(0, vocabulary, wide):
        for row in range(0, tokens, high):
            yield slice(row, min(row + high, tokens)), slice(column, min(column + wide, vocabulary))


def most_logits(states: Tensor) -> int:
    """Logits of one tile on this device."""
    return TILE_LOGITS["cpu" if states.device.type == "cpu" else "cuda"]


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, columns: slice) -> Tensor:
    """One tile, float32, as the head itself would round it."""
    product = states @ weight.to(states.dtype).T
    return (product if bias is None else product + bias[columns].to(states.dtype)).float()


def place(weight: Tensor, into_grad: bool) -> Tensor:
    """Where the weight's gradient is added up: its own, or a new tensor."""
    if not into_grad:
        return torch.zeros_like(weight)
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _given(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient
