"""A divergence on the whole vocabulary, in tiles: the (N, V) logits of neither model exist at once.

Forward: the normalisers of both models, then the terms and the slopes h (`r1core.nn.divergence`) of each tile added up.
Backward: each tile of both models is computed again, and its gradient by the student's logits z,

    dD / dz = (h - q sum(h)) / temperature

goes on to states and weight. What is kept between the two is the models' states and three numbers a token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from r1core.nn.divergence import Pair, head_share, slopes, terms
from r1core.nn.logits import Backward, Logits
from r1core.nn.measure import Measure


class TiledDivergence(torch.autograd.Function):
    """(N,) divergence of the student's logits from the teacher's; the gradient is the student's alone."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        teacher: Logits,
        measure: Measure,
        vocabulary: int,
        into_grad: bool,
        seen: list[Tensor],
    ) -> Tensor:
        """`into_grad`: the weight is a plain parameter, whose gradient is added where it is kept, without a copy.
        `seen` gets what the normalisers' passes tell beside: each model's likeliest token, the student's first, and
        then how much probability each gives to rows beyond the vocabulary."""
        work = _Work(Logits(states, weight, bias), teacher, measure, vocabulary)
        value = torch.zeros_like(work.normal_q)
        slope = torch.zeros_like(value)
        for rows, columns in work.student.tiles(vocabulary):
            pair, share = work.pair(rows, columns), work.share_of(rows)
            value[rows] += terms(pair, measure, share).sum(1)
            slope[rows] += slopes(pair, measure, share).sum(1)
        ctx.save_for_backward(states, weight, bias, *teacher, work.normal_q, work.normal_p, work.shares, slope)
        ctx.given = measure, vocabulary, into_grad
        seen += work.seen()
        return measure.scale * value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the student's states, weight and bias, tile by tile."""
        states, weight, bias, *kept, slope = ctx.saved_tensors
        measure, vocabulary, into_grad = ctx.given
        student, teacher = Logits(states, weight, bias), Logits(*kept[:3])
        work = _Work(student, teacher, measure, vocabulary, *kept[3:])
        factor = (gradient * (measure.scale / measure.temperature)).unsqueeze(1)
        back = Backward(ctx, student, into_grad=into_grad)
        for rows, columns in student.tiles(vocabulary):
            pair = work.pair(rows, columns)
            by_logits = slopes(pair, measure, work.share_of(rows))
            by_logits = factor[rows] * (by_logits - pair.q * slope[rows].unsqueeze(1))
            back.add(rows, columns, by_logits)
        return *back.found(), None, None, None, None, None


class _Work:
    """Both models' logits with what makes probabilities of them."""

    def __init__(
        self,
        student: Logits,
        teacher: Logits,
        measure: Measure,
        vocabulary: int,
        normal_q: Tensor | None = None,
        normal_p: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> None:
        self.student, self.teacher, self.measure, self.vocabulary = student, teacher, measure, vocabulary
        self._surest: list[Tensor] = []
        self.normal_q = self._normal(student) if normal_q is None else normal_q
        self.normal_p = self._normal(teacher) if normal_p is None else normal_p
        self.shares = self._adapted() if shares is None and measure.kind == "adaptive" else shares

    def _normal(self, model: Logits) -> Tensor:
        ids, normal = model.surest(self.measure.temperature, self.vocabulary)
        self._surest.append(ids)
        return normal

    def seen(self) -> list[Tensor]:
        """Each model's likeliest token, then its mass beyond the vocabulary, student's first; made with `_normal`."""
        found = list(self._surest)
        for model, normal in ((self.student, self.normal_q), (self.teacher, self.normal_p)):
            is_padded, is_cold = model.width > self.vocabulary, self.measure.temperature == 1
            total = normal if is_cold or not is_padded else model.total(1.0, range(self.vocabulary))
            found.append(model.beyond(self.vocabulary, total))
        return found

    def logs(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Log-probabilities of a tile, student's and teacher's."""
        student = self.student.tile(rows, columns) / self.measure.temperature
        teacher = self.teacher.tile(rows, columns) / self.measure.temperature
        student -= self.normal_q[rows].unsqueeze(1)
        teacher -= self.normal_p[rows].unsqueeze(1)
        return student, teacher.to(student.dtype)

    def pair(self, rows: slice, columns: slice) -> Pair:
        """What a tile's terms are made of."""
        return Pair.of(*self.logs(rows, columns))

    def share_of(self, rows: slice) -> Tensor | float | None:
        """The forward KL's share of these rows, where there is one."""
        return self.measure.forward_share if self.shares is None else self.shares[rows]

    def _adapted(self) -> Tensor:
        """(N, 1) shares, each row's vocabulary at once: they need the teacher's order."""
        everything = slice(0, self.vocabulary)
        found = [head_share(*self.logs(rows, everything)) for rows in self.student.whole_rows(self.vocabulary)]
        return torch.cat(found) if found else self.normal_q.new_zeros((0, 1))
