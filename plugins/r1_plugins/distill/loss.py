"""The loss of an update that has tokens of several signals: each token gets the loss of its part.

The column `part` numbers the parts. Their tokens may share a micro-batch, and each part is asked in each micro-batch,
if of no tokens: where ranks train together they ask the same of the model, and record the same. A token of weight 0 has
no signal; no part sees it. N = tokens of a part in the micro-batch, K = tokens that a cache kept of each place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from r1core.components import Policy
    from r1core.nn import Measure, TokenView

ADVANTAGE, PART, TOP_IDS, TOP_LOGPROBS = "advantage", "part", "top_ids", "top_logprobs"
TEACHER_LOGPROB = "teacher_logprob"


class Part(Protocol):
    """What one signal makes of its tokens."""

    name: str
    """What its metrics are called by."""
    reads: frozenset[str]
    """What it needs of the policy, as a loss does."""

    def __call__(self, view: TokenView) -> torch.Tensor:
        """(N,) the loss of each of its tokens."""
        ...


class Likelihood:
    """- A_t log pi of the token, A_t the advantage, 1 for given texts: cross-entropy, or the policy gradient."""

    reads = frozenset({"logprob"})

    def __init__(self, name: str, *, given: bool) -> None:
        self.name = name
        self.given = given
        """Whether its texts are given: the advantage is 1 everywhere."""

    def __call__(self, view: TokenView) -> torch.Tensor:
        return -view.logprob if self.given else -view.columns[ADVANTAGE] * view.logprob


class FromCache:
    """A divergence on the teacher's likeliest tokens, from what a cache holds of them."""

    reads = frozenset({"head"})

    def __init__(self, name: str, measure: Measure) -> None:
        self.name = name
        self.measure = measure

    def __call__(self, view: TokenView) -> torch.Tensor:
        from r1core.nn import on_support

        k = self.measure.top_k
        ids, teacher = (view.columns[name][:, :k] for name in (TOP_IDS, TOP_LOGPROBS))
        student = view.head.logprobs_at(ids, self.measure.temperature)
        value = on_support(student, teacher, ids >= 0, self.measure)
        view.record(f"{self.name}/tail", (1 - teacher.exp().sum(1)).clamp(min=0))
        view.record(f"{self.name}/student_tail", (1 - student.exp().sum(1)).clamp(min=0))
        view.record(f"{self.name}/agreement", view.head.likeliest(1)[0][:, 0] == ids[:, 0])
        return value


class FromOwnTokens:
    """1/2 (log Q - log P)^2 of the text's own token, from a cache that holds no other. On a student's own samples its
    expected gradient is the reverse KL's (it is the estimator k2); on given texts it is that of no KL: it pulls log Q
    of each token of the text to the teacher's log P, from above and below, and says nothing of other tokens."""

    reads = frozenset({"head"})

    def __init__(self, name: str, temperature: float) -> None:
        self.name = name
        self.temperature = temperature
        """At which the log-probs were stored."""

    def __call__(self, view: TokenView) -> torch.Tensor:
        student = view.head.logprobs_at(view.targets.unsqueeze(1), self.temperature)[:, 0]
        gap = student - view.columns[TEACHER_LOGPROB]
        view.record(f"{self.name}/gap", gap)
        return gap.square() / 2


class FromTeacher:
    """A divergence from a teacher in memory, which reads the same tokens of the same micro-batch."""

    reads = frozenset({"head"})

    def __init__(self, name: str, teacher: Policy, measure: Measure) -> None:
        self.name = name
        self.teacher = teacher
        self.measure = measure

    def __call__(self, view: TokenView) -> torch.Tensor:
        student, teacher = view.head, self.teacher.head(view)
        found = student.compared(teacher, self.measure)
        view.record(f"{self.name}/agreement", found.agrees)
        masses = (("student", student, found.masked_mass), ("teacher", teacher, found.teacher_masked_mass))
        for whose, head, mass in masses:
            if head.width > head.vocabulary:
                view.record(f"{self.name}/{whose}_masked_mass", mass)
        return found.divergence


class Mixed:
    """The parts' losses, each on its own tokens. Records each part's own as `<part>/loss`."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.reads = frozenset().union(*(part.reads for part in parts))

    def __call__(self, view: TokenView) -> torch.Tensor:
        weight = view.columns["weight"]
        total = weight.new_zeros(len(weight))
        for number, part in enumerate(self.parts):
            own = (view.columns[PART] == number) & (weight > 0)
            loss = part(view.take(own))
            view.record(f"{part.name}/loss", loss)
            total = total.index_put((own.nonzero().squeeze(1),), loss.to(total.dtype))
        return total
