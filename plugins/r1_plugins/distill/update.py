"""One optimizer step on the sequences of one signal, or of several: their columns, their weights, their metrics.

    loss = sum over signals s of  weight_s / N_s  sum over the N_s tokens of s of  loss_s(token)

N_s counts the tokens of signal s that have a signal, over the whole step: all its micro-batches, on all ranks. So no
split changes the sum, and a signal with many tokens does not drown one with few. (`reduction: sequence_mean` has each
answer of the signal count the same.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from r1core.batching import counted
from r1core.contexts import TrainContext
from r1core.losses import CrossEntropy, PolicyGradient
from r1core.types import Floats, Rollout, Step, TrainSequence

from .cross_tokenizer import TEXT, THEIRS
from .loss import ADVANTAGE, PART, TEACHER_LOGPROB, TOP_IDS, TOP_LOGPROBS, Likelihood, Mixed, Part

PRESENT = "present"
"""The column of what tokens have a signal; all where it is absent. It ends in the weights."""
NOTHING: Mapping[str, float] = {
    ADVANTAGE: 1.0,
    TOP_IDS: -1,
    TOP_LOGPROBS: -np.inf,
    TEACHER_LOGPROB: 0.0,
    TEXT: -1,
    THEIRS: -1,
}
"""What stands in a column for tokens of other signals, which do not read it."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one signal brings to an update."""

    taught: Sequence[tuple[Part, TrainSequence]]
    """Each sequence with the part that has its loss: the teacher that it is routed to."""
    weight: float = 1.0
    reduction: Literal["token_mean", "sequence_mean"] = "token_mean"
    metrics: Mapping[str, float] = field(default_factory=dict)
    sample: Rollout | None = None
    note: str = ""
    """Why it brings nothing, for people."""


def learn(context: TrainContext, lessons: Sequence[Lesson], parts: Sequence[Part], *, lr: float) -> Step:
    """One update on all of them. `parts`: all that may ever come, whose losses are asked in this order."""
    told = {name: value for lesson in lessons for name, value in lesson.metrics.items()}
    sample = next((lesson.sample for lesson in lessons if lesson.sample is not None), None)
    note = "; ".join(lesson.note for lesson in lessons if lesson.note)
    sequences = [each for lesson in lessons for each in _weighted(lesson, parts) if each.columns["weight"].any()]
    if not sequences:
        metrics = {"loss": 0.0, "grad_norm": 0.0, "learning_rate": lr, "num_tokens": 0.0}
        return Step(
            metrics={**metrics, **told}, note=note or "nothing to learn from: no token has a signal", sample=sample
        )
    own = {
        part.name: sum(int((s.columns["weight"] > 0).sum()) for s in sequences if s.columns[PART][0] == number)
        for number, part in enumerate(parts)
    }
    loss = _loss(parts)
    if not isinstance(loss, Mixed):
        sequences = [_without(each, PART) for each in sequences]
    metrics = _rescaled(context.policy.update(_filled(sequences), loss, lr=lr), own, sum(map(counted, sequences)))
    counts = {"learning_rate": lr, "num_tokens": float(sum(own.values()))}
    return Step(metrics={**metrics, **counts, **told}, note=note, sample=sample)


def _loss(parts: Sequence[Part]) -> CrossEntropy | PolicyGradient | Mixed:
    """A signal by itself, where it is one of the core's two losses, needs no dispatch."""
    if len(parts) == 1 and isinstance(parts[0], Likelihood):
        return CrossEntropy() if parts[0].given else PolicyGradient()
    return Mixed(parts)


def _weighted(lesson: Lesson, parts: Sequence[Part]) -> list[TrainSequence]:
    """The sequences with each token's share of the loss, and the number of their part."""
    masks = [_present(sequence) for _, sequence in lesson.taught]
    tokens, answers = sum(int(mask.sum()) for mask in masks), sum(bool(mask.any()) for mask in masks)
    found = []
    for (own, sequence), mask in zip(lesson.taught, masks, strict=True):
        divisor = tokens if lesson.reduction == "token_mean" else answers * int(mask.sum())
        weight: Floats = np.where(mask, lesson.weight / max(divisor, 1), 0.0)
        part = np.full(len(mask), parts.index(own), dtype=np.int64)
        columns = {name: column for name, column in sequence.columns.items() if name != PRESENT}
        found.append(replace(sequence, columns={**columns, "weight": weight, PART: part}))
    return found


def _present(sequence: TrainSequence) -> NDArray[np.bool_]:
    """(T,) the counted tokens that have a signal. Nothing predicts the first token of a document."""
    length = len(sequence.ids) - sequence.start
    mask = np.array(sequence.columns.get(PRESENT, np.ones(length)), dtype=np.bool_)
    mask[: length - counted(sequence)] = False
    return mask


def _without(sequence: TrainSequence, name: str) -> TrainSequence:
    return replace(sequence, columns={key: column for key, column in sequence.columns.items() if key != name})


def _filled(sequences: Sequence[TrainSequence]) -> list[TrainSequence]:
    """All with the same columns: a micro-batch may hold sequences of any part."""
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        name: (column.dtype, column.shape[1:]) for each in sequences for name, column in each.columns.items()
    }
    found = []
    for sequence in sequences:
        length = len(sequence.ids) - sequence.start
        absent = {
            name: np.full((length, *shape), NOTHING[name], dtype=kind)
            for name, (kind, shape) in shapes.items()
            if name not in sequence.columns
        }
        found.append(replace(sequence, columns={**sequence.columns, **absent}) if absent else sequence)
    return found


def _rescaled(metrics: Mapping[str, float], own: Mapping[str, int], counted_tokens: int) -> dict[str, float]:
    """A policy takes means over all tokens; those of a part over its own. A part without tokens has no mean."""
    found = {}
    for name, value in metrics.items():
        part = name.rpartition("/")[0]
        if part not in own:
            found[name] = value
        elif own[part]:
            found[name] = value * counted_tokens / own[part]
    return found
