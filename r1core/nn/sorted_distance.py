"""ULD (arXiv:2402.12030): the distance of two distributions whose tokens are not the same, by rank alone.

    sum over ranks r of | P_(r) - Q_(r) |,   both sorted, the shorter one filled up with 0

It looks at no token's meaning. A sort needs a row's whole vocabulary, so tiles are as wide as that, and a few tokens
high; the (N, V) of neither model exist at once. With s the sign of Q - P at a token's rank, the slope is h = s q.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from r1core.nn.logits import Backward, Logits


class SortedDistance(torch.autograd.Function):
    """(N,) distance by rank; the gradient is the student's alone."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        teacher: Logits,
        temperature: float,
        vocabularies: tuple[int, int],
        into_grad: bool,
    ) -> Tensor:
        """`vocabularies`: the student's and the teacher's. `into_grad`: as `TiledDivergence` has it."""
        student = Logits(states, weight, bias)
        value = student.states.new_zeros(len(states), dtype=student.format)
        for rows in student.whole_rows(max(vocabularies)):
            own, theirs, _ = _ranks(student, teacher, rows, temperature, vocabularies)
            value[rows] = (own - theirs).abs().sum(1)
        ctx.save_for_backward(states, weight, bias, *teacher)
        ctx.given = temperature, vocabularies, into_grad
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the student's states, weight and bias."""
        states, weight, bias, *kept = ctx.saved_tensors
        temperature, vocabularies, into_grad = ctx.given
        student, teacher = Logits(states, weight, bias), Logits(*kept)
        back = Backward(ctx, student, into_grad=into_grad)
        own_size = vocabularies[0]
        for rows in student.whole_rows(max(vocabularies)):
            own, theirs, places = _ranks(student, teacher, rows, temperature, vocabularies)
            slopes = (own * (own - theirs).sign())[:, :own_size]
            by_rank = (slopes - own[:, :own_size] * slopes.sum(1, keepdim=True)) * gradient[rows].unsqueeze(1)
            by_logits = torch.zeros_like(by_rank).scatter_(1, places, by_rank / temperature)
            back.add(rows, slice(0, own_size), by_logits)
        return *back.found(), None, None, None, None


def _ranks(
    student: Logits, teacher: Logits, rows: slice, temperature: float, vocabularies: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities by rank, of both, equally many; and which of the student's tokens has each rank."""
    own, theirs = (
        (logits.tile(rows, slice(0, size)) / temperature).softmax(-1).sort(descending=True)
        for logits, size in zip((student, teacher), vocabularies, strict=True)
    )
    widest = max(vocabularies)
    filled = [functional.pad(side.values, (0, widest - side.values.shape[1])) for side in (own, theirs)]
    return filled[0], filled[1].to(filled[0].dtype), own.indices
