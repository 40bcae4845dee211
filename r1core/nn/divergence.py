"""The divergences themselves, on logits or on log-probabilities that one can hold.

Each is a sum over tokens of a term in p, q and their log ratio d = log p - log q, p the teacher's and q the student's
probability. `terms` gives it; `slopes` the derivative h by log q, up to a multiple of q, which the softmax takes away
again: with z the student's logits, d/dz = (h - q sum(h)) / temperature. Both are 0 where p = q. What works in tiles
(`r1core.nn.divergence_tiles`) and what does not add up the same terms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from r1core.nn.measure import Measure

FAR = 1e30
"""In place of an infinite log ratio: times a probability of 0 it is 0, and times any other still too much."""


class Pair(NamedTuple):
    """Log-probabilities (..., V) of student and teacher, as a divergence reads them."""

    q: Tensor
    p: Tensor
    log_q: Tensor
    d: Tensor

    @classmethod
    def of(cls, student: Tensor, teacher: Tensor) -> Pair:
        """Tokens that neither has (-inf in both) are worth nothing."""
        d = (teacher - student).nan_to_num(nan=0.0, posinf=FAR, neginf=-FAR)
        return cls(q=student.exp(), p=teacher.exp(), log_q=student, d=d)


def divergence(student: Tensor, teacher: Tensor, measure: Measure) -> Tensor:
    """(N,) float64 from logits (N, V) of both, differentiable in the student's. Holds several (N, V): for small things,
    and for what is compared with it."""
    student, teacher = student.double(), teacher.detach().double()
    if measure.kind == "ranking":
        return _ranked_by_logits(student, teacher, measure)
    log_q = torch.log_softmax(student / measure.temperature, -1)
    log_p = torch.log_softmax(teacher / measure.temperature, -1)
    if measure.support != "vocabulary":
        ids = (log_p if measure.support == "teacher" else log_q).topk(min(measure.top_k, log_q.shape[1])).indices
        return on_support(log_q.gather(1, ids), log_p.gather(1, ids), torch.ones_like(ids, dtype=torch.bool), measure)
    return measure.scale * _summed(log_q, log_p, measure)


def on_support(student: Tensor, teacher: Tensor, present: Tensor, measure: Measure) -> Tensor:
    """(N,) from log-probabilities (N, K) of the same K tokens under both whole softmaxes, at the measure's temperature
    (those of another cannot be turned into them), differentiable in the student's. Tokens that are not `present` (N, K)
    do not exist; a row without any is 0."""
    log_q = student.to(torch.promote_types(student.dtype, torch.float32)).masked_fill(~present, -math.inf)
    log_p = teacher.detach().to(log_q.dtype).masked_fill(~present, -math.inf)
    some = present.any(1, keepdim=True)
    log_q, log_p = (torch.where(some, logs, -math.log(logs.shape[1])) for logs in (log_q, log_p))
    if measure.floor is not None:
        absent = ~present & some
        log_q, log_p = (logs.clamp(min=measure.floor).masked_fill(absent, -math.inf) for logs in (log_q, log_p))
    if measure.tail == "renormalised":
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    if measure.tail in ("renormalised", "teacher"):
        log_p = log_p - log_p.logsumexp(1, keepdim=True)
    if measure.tail in ("bucket", "teacher"):
        log_q = torch.cat([log_q, rest(log_q)], 1)
        outside = rest(log_p) if measure.tail == "bucket" else torch.full_like(log_p[:, :1], -math.inf)
        log_p = torch.cat([log_p, outside], 1)
    value = _summed(log_q, log_p, measure)
    if measure.at_least_zero:
        value = value.clamp(min=0.0)
    return torch.where(some.squeeze(1), measure.scale * value, 0.0)


def rest(logs: Tensor) -> Tensor:
    """(N, 1) the log of the mass that log-probabilities (N, K) leave over; of none, that of the smallest rounding."""
    kept = logs.logsumexp(1, keepdim=True).clamp(max=-torch.finfo(logs.dtype).eps)
    return torch.log(-torch.expm1(kept))


def terms(pair: Pair, measure: Measure, share: Tensor | float | None) -> Tensor:
    """What each token adds. `share`: of a sum of both KLs, the forward one's weight, a number or one for each row."""
    q, p, log_q, d = pair
    if share is not None:
        forward = p * d if measure.entropy == "subtracted" else -p * log_q.clamp(min=-FAR)
        return _blend(share, forward, -q * d)
    if measure.kind == "jsd":
        b = measure.teacher_share
        return b * p * _over_mixed(d, b) - (1 - b) * q * _mixed(d, b)
    if measure.kind == "skewed_forward":
        return p * _over_mixed(d, measure.alpha)
    if measure.kind == "skewed_reverse":
        if measure.mixture == "followed":
            return -q * _mixed(d, 1 - measure.alpha)
        held = d.detach()
        return -q * (_mixed(held, 1 - measure.alpha) + (log_q.detach() - log_q).nan_to_num(nan=0.0))
    return 0.5 * (p - q).abs()


def slopes(pair: Pair, measure: Measure, share: Tensor | float | None) -> Tensor:
    """The derivative of the divergence by each log q, up to a multiple of q."""
    q, p, _, d = pair
    if share is not None:
        return _blend(share, q - p, -q * d)
    if measure.kind == "jsd":
        return -(1 - measure.teacher_share) * q * _mixed(d, measure.teacher_share)
    if measure.kind == "skewed_forward":
        return (1 - measure.alpha) * (q - p * torch.exp(-_mixed(d, measure.alpha)))
    if measure.kind == "skewed_reverse":
        mixed = _mixed(d, 1 - measure.alpha)
        by_mixture = measure.alpha * (1 - torch.exp(-mixed)) if measure.mixture == "followed" else 0.0
        return q * (by_mixture - mixed)
    return -0.5 * q * d.sign()


def head_share(student: Tensor, teacher: Tensor) -> Tensor:
    """(N, 1) of log-probabilities (N, V): how much of the distance between both lies in the teacher's likeliest tokens,
    those that it takes to come to half of its mass."""
    ordered, places = teacher.exp().sort(descending=True)
    head = ordered.cumsum(1) - ordered < 0.5
    apart = (ordered - student.exp().gather(1, places)).abs()
    gap = (apart * head).sum(1, keepdim=True)
    return gap / apart.sum(1, keepdim=True).clamp(min=torch.finfo(apart.dtype).tiny)


def ranked(q_at_q: Tensor, q_at_p: Tensor, p_at_q: Tensor) -> Tensor:
    """(N,) KDFlow's ranking loss, of probabilities (N, K): the student's at its own likeliest tokens and at the
    teacher's, and the teacher's at the student's. The student must not find any of the teacher's tokens likelier than
    the teacher's first; nor its own j-th likelier than the teacher's i-th, wherever its i-th is likelier to itself than
    its j-th to the teacher."""
    in_order = (q_at_p - q_at_p[:, :1]).clamp(min=0).sum(1)
    short = (q_at_q.unsqueeze(1) - q_at_p.unsqueeze(2)).clamp(min=0)
    counts = q_at_q.unsqueeze(2) > p_at_q.unsqueeze(1)
    return in_order + (short * counts).sum((1, 2))


def _ranked_by_logits(student: Tensor, teacher: Tensor, measure: Measure) -> Tensor:
    """At temperature 1, as its source has it."""
    q, p = student.softmax(-1), teacher.softmax(-1)
    k = min(measure.top_k, q.shape[1])
    own, theirs = q.topk(k), p.topk(k).indices
    return ranked(own.values, q.gather(1, theirs), p.gather(1, own.indices))


def _summed(log_q: Tensor, log_p: Tensor, measure: Measure) -> Tensor:
    share = head_share(log_q.detach(), log_p) if measure.kind == "adaptive" else measure.forward_share
    return terms(Pair.of(log_q, log_p), measure, share).sum(1)


def _blend(share: Tensor | float, forward: Tensor, reverse: Tensor) -> Tensor:
    if isinstance(share, float) and share in (0.0, 1.0):
        return forward if share else reverse
    return share * forward + (1 - share) * reverse


def _mixed(d: Tensor, share: float) -> Tensor:
    """log(share p / q + 1 - share), without overflow, and 0 where p = q."""
    above = d.clamp(min=0.0)
    far = above + torch.log1p((1 - share) * torch.expm1(-above))
    return torch.where(d > 0, far, torch.log1p(share * torch.expm1(d.clamp(max=0.0))))


def _over_mixed(d: Tensor, share: float) -> Tensor:
    """log(p / (share p + (1 - share) q)): d less `_mixed`, which cancels where q is 0. There it is -log(share)."""
    far = -torch.log1p((1 - share) * torch.expm1(-d.clamp(min=0.0)))
    below = d.clamp(max=0.0)
    return torch.where(d > 0, far, below - torch.log1p(share * torch.expm1(below)))
