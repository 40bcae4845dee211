"""What a loss may ask of a model's head beyond the counted tokens' own log-probabilities: whole distributions.

    loss reads "head"; then, student and frozen teacher on the same tokens of the same micro-batch,
    view.head.divergence(teacher.head(view), Measure(kind="reverse"))      # (N,), differentiable in the student

Nothing here holds (N, V) logits, but where a model changes its logits after the head: there it has made them already.
Where ranks train together, all of them must ask the same of the head, in the same order, each time: asking gathers its
weight. A head of no tokens (`take` of none) may be asked, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from r1core.errors import SetupError
from r1core.nn.divergence import on_support, ranked
from r1core.nn.divergence_tiles import TiledDivergence
from r1core.nn.logits import Logits
from r1core.nn.measure import Measure
from r1core.nn.named_tokens import NamedTokens
from r1core.nn.sorted_distance import SortedDistance

_divergence: Any = TiledDivergence.apply
_named: Any = NamedTokens.apply
_sorted: Any = SortedDistance.apply


class Compared(NamedTuple):
    """Student and teacher in each place, (N,) each; the divergence alone has a gradient."""

    divergence: Tensor
    agrees: Tensor
    """Whether both find the same token likeliest."""
    masked_mass: Tensor
    teacher_masked_mass: Tensor
    """What each gives to rows beyond the vocabulary (`LMHead.masked_mass`)."""


class LMHead:
    """The head of a language model with the hidden states that it is to read: N tokens."""

    def __init__(
        self, states: Tensor, module: Any = None, *, width: int, vocabulary: int | None = None, into_grad: bool = False
    ) -> None:
        """`module`, called with states and a function, gives that function these, the weight and the bias; without it
        the states are the logits. `width`: rows of the head. `vocabulary`: tokens of the tokenizer; rows beyond it
        are padding, and taken for -inf."""
        self.states = states
        self.width = width
        self.vocabulary = min(width, vocabulary or width)
        self._module = module
        self._into_grad = into_grad

    def __len__(self) -> int:
        return len(self.states)

    def take(self, index: Tensor) -> LMHead:
        """The same head for some of the tokens: their numbers, or a mask (N,)."""
        into_grad, states = self._into_grad, self.states[index]
        return LMHead(states, self._module, width=self.width, vocabulary=self.vocabulary, into_grad=into_grad)

    def divergence(self, teacher: LMHead, measure: Measure) -> Tensor:
        """(N,) how far this model is from the teacher in each place, differentiable in this one."""
        self._require_same(teacher)
        if measure.kind == "ranking":
            return self._ranked(teacher, measure.top_k)
        if measure.support != "vocabulary":
            ids = (teacher if measure.support == "teacher" else self).likeliest(measure.top_k, measure.temperature)[0]
            own = self.logprobs_at(ids, measure.temperature)
            return on_support(own, teacher._frozen_logprobs_at(ids, measure.temperature), ids >= 0, measure)
        return self._whole(teacher, measure, [])

    def compared(self, teacher: LMHead, measure: Measure) -> Compared:
        """The same, with what is watched beside it: over the whole vocabulary that costs no pass of its own."""
        if measure.kind == "ranking" or measure.support != "vocabulary":
            own, theirs = (head.likeliest(1)[0][:, 0] for head in (self, teacher))
            masked = self.masked_mass(), teacher.masked_mass()
            return Compared(self.divergence(teacher, measure), own == theirs, *masked)
        self._require_same(teacher)
        seen: list[Tensor] = []
        value = self._whole(teacher, measure, seen)
        own, theirs, mass, teacher_mass = seen
        return Compared(value, own == theirs, mass, teacher_mass)

    def _whole(self, teacher: LMHead, measure: Measure, seen: list[Tensor]) -> Tensor:
        found: Tensor = teacher._with_logits(functools.partial(self._from, measure, seen), frozen=True)
        return found

    def sorted_distance(self, teacher: LMHead, temperature: float = 1.0) -> Tensor:
        """(N,) ULD: how far this model is from one whose tokens are others, by rank; differentiable in this one."""
        self._require_as_many(teacher)
        sizes = (self.vocabulary, teacher.vocabulary)

        def read(theirs: Logits) -> Any:
            return self._with_logits(lambda own: _sorted(*own, theirs, temperature, sizes, self._into_grad))

        found: Tensor = teacher._with_logits(read, frozen=True)
        return found

    def logprobs_at(self, ids: Tensor, temperature: float = 1.0) -> Tensor:
        """(N, K) log-probabilities of the named tokens (N, K), differentiable; -inf where an id is -1."""
        found: Tensor = self._with_logits(lambda own: _named(*own, ids, temperature, self.vocabulary, self._into_grad))
        return found

    def _from(self, measure: Measure, seen: list[Tensor], teacher: Logits) -> Any:
        return self._with_logits(
            lambda own: _divergence(*own, teacher, measure, self.vocabulary, self._into_grad, seen)
        )

    @torch.no_grad()
    def likeliest(self, k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """(N, k) ids of the likeliest tokens, likeliest first, and their log-probabilities, without a gradient; -1 and
        -inf where the vocabulary has fewer tokens."""
        nobody = torch.zeros(len(self), dtype=torch.int64, device=self.states.device)
        return self.graded(nobody, k, temperature)[:2]

    @torch.no_grad()
    def graded(self, targets: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """`likeliest`, and the targets' own log-probabilities (N,), at the same temperature."""
        found: tuple[Tensor, Tensor, Tensor] = self._with_logits(
            lambda own: own.likeliest(k, temperature, self.vocabulary, targets)
        )
        return found

    @torch.no_grad()
    def masked_mass(self) -> Tensor:
        """(N,) the probability that the model itself gives to rows beyond the vocabulary, which nothing here counts."""

        def find(own: Logits) -> Tensor:
            if self.vocabulary == self.width:
                return torch.zeros(len(own.states), dtype=own.format, device=own.states.device)
            return own.beyond(self.vocabulary, own.total(1.0, range(self.vocabulary)))

        found: Tensor = self._with_logits(find)
        return found

    def _ranked(self, teacher: LMHead, k: int) -> Tensor:
        own, theirs = self.likeliest(k)[0], teacher.likeliest(k)[0]
        p_at_q = teacher._frozen_logprobs_at(own).exp()
        both = self.logprobs_at(torch.cat([own, theirs], 1)).exp()
        q_at_q, q_at_p = both[:, : own.shape[1]], both[:, own.shape[1] :]
        return ranked(q_at_q, q_at_p, p_at_q.to(both.dtype))

    @torch.no_grad()
    def _frozen_logprobs_at(self, ids: Tensor, temperature: float = 1.0) -> Tensor:
        return self.logprobs_at(ids, temperature)

    def _with_logits(self, read: Callable[[Logits], Any], *, frozen: bool = False) -> Any:
        """What `read` makes of the logits; inside the head's own call where it is a module, so that whoever gathers its
        weight for a call (ZeRO) does so."""
        states = self.states.detach() if frozen else self.states
        if self._module is None:
            return read(Logits(states))
        return self._module(states, functools.partial(_given, read, frozen))

    def _require_same(self, teacher: LMHead) -> None:
        if teacher.vocabulary != self.vocabulary:
            raise SetupError(
                f"the student's vocabulary has {self.vocabulary} tokens, the teacher's {teacher.vocabulary}: the same"
                " number would not mean the same token",
                where="divergence",
                fix="use models with one tokenizer",
            )
        self._require_as_many(teacher)

    def _require_as_many(self, teacher: LMHead) -> None:
        if len(teacher) != len(self):
            raise ValueError(f"{len(self)} tokens of the student beside {len(teacher)} of the teacher")


def _given(read: Callable[[Logits], Any], frozen: bool, states: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
    if frozen:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
    return read(Logits(states, weight, bias))
