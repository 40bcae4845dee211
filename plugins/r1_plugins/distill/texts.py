"""Signals on finished texts: the stage's data as it is, with a live teacher beside it, or a cache of what one said.

Batches come epoch after epoch without an end, each epoch shuffled by its own key: a signal that is learned together
with a longer one starts over as often as needed. Batch number n is the same whenever it is asked for, and texts that
two signals learn in batches of the same size come in the same order for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r1core.batching import Supervision, counted, encode, length_batches, short_enough
from r1core.components import Policy
from r1core.contexts import Signals, TrainContext
from r1core.errors import RecipeError
from r1core.types import At, Problem, Signal, TrainSequence

from .checks import require_cache, require_round_trip
from .config import Cached, Live, Traces
from .cross_tokenizer import THEIRS, FromOtherTokens, Translation
from .divergence import told
from .loss import TEACHER_LOGPROB, TOP_IDS, TOP_LOGPROBS, FromCache, FromOwnTokens, FromTeacher, Likelihood, Part
from .teachers import Faculty, routed
from .update import PRESENT, Lesson


class Deck:
    """Batches of texts by their numbers; those that are too long for the student, or for the `readers` beside it, are
    in none."""

    def __init__(
        self,
        context: TrainContext,
        lengths: Sequence[int],
        options: Supervision,
        name: str,
        readers: Sequence[Policy] = (),
    ) -> None:
        self._texts = short_enough(context, lengths, options.longest, readers=readers, of=name)
        self._lengths = [lengths[text] for text in self._texts]
        self._options = options
        self._key = context.key
        self._epoch = (-1, list[list[int]]())
        self.per_epoch = len(self._of_epoch(0))

    def batch(self, number: int) -> list[int]:
        """The texts of batch `number`, counted from 0 over all epochs."""
        return [self._texts[place] for place in self._of_epoch(number // self.per_epoch)[number % self.per_epoch]]

    def _of_epoch(self, epoch: int) -> list[list[int]]:
        if self._epoch[0] != epoch:
            o, key = self._options, self._key("batches", epoch)
            self._epoch = (epoch, length_batches(self._lengths, batch_tokens=o.batch_tokens, bucket=o.bucket, key=key))
        return self._epoch[1]


class Data:
    """The texts of the stage's `data` in the student's tokens, read and checked once for all signals on them."""

    def __init__(self, context: TrainContext) -> None:
        examples = [each for each in context.examples() if each.completion is not None]
        pairs = list(zip(examples, encode(context.policy, examples), strict=True))
        self.examples: list[Problem] = [example for example, sequence in pairs if counted(sequence)]
        self.sequences: list[TrainSequence] = [sequence for _, sequence in pairs if counted(sequence)]
        if not self.sequences:
            raise RecipeError("there is nothing to learn from", where="data", fix="its datasets hold no completions")
        require_round_trip(context, self.examples)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text, prompt included."""
        return [len(sequence.ids) for sequence in self.sequences]


class TracesSource:
    """Cross-entropy on the data."""

    name = "traces"

    def __init__(self, context: TrainContext, options: Traces, data: Data) -> None:
        self.lr, self._options, self._data = options.lr, options, data
        self._deck = Deck(context, data.lengths, options, self.name)
        self._part: Part = Likelihood(self.name, given=True)
        self.parts: Sequence[Part] = [self._part]
        self.steps = self._deck.per_epoch * options.epochs

    def lessons(self, at: At, number: int) -> list[Lesson]:
        """The next batch."""
        taught = [(self._part, self._data.sequences[text]) for text in self._deck.batch(number)]
        return [Lesson(taught=taught, weight=self._options.weight)]


class LiveSource:
    """A divergence from live teachers on the data."""

    name = "live"

    def __init__(self, context: TrainContext, options: Live, data: Data, faculty: Faculty) -> None:
        self.lr, self._options, self._data = options.lr, options, data
        is_same = options.tokenizers == "same"
        teachers = faculty.of(self.name, options, same_text=is_same)
        readers = [each.policy for each in teachers] if is_same else []
        self._deck = Deck(context, data.lengths, options, self.name, readers)
        self.steps = self._deck.per_epoch * options.epochs
        self._teachers = [routed(teachers, example, where=self.name) for example in data.examples]
        names = [f"{self.name}/{options.label(each.route)}" if options.teachers else self.name for each in teachers]
        named = zip(names, (each.policy for each in teachers), strict=True)
        measure = options.divergence.measure("forward")
        if is_same:
            self._sequences = data.sequences
            self.parts: Sequence[Part] = [FromTeacher(name, policy, measure) for name, policy in named]
            what = told(measure, options.divergence.reduction)
            context.note(f"live teacher: {what}")
            context.tell("divergence", {self.name: what})
            return
        books = [Translation(context.policy, each.policy) for each in teachers]
        texts = zip(self._teachers, data.examples, data.sequences, strict=True)
        self._sequences = [_partnered(books[number], example, sequence) for number, example, sequence in texts]
        _require_partners(context, self._sequences)
        how = options.tokenizers
        self.parts = [FromOtherTokens(name, book, how, measure) for name, book in zip(names, books, strict=True)]
        by_rank = f"sum over ranks of |P - Q|, temperature {measure.temperature:g}, {options.divergence.reduction}"
        what = by_rank if how == "uld" else told(measure, options.divergence.reduction)
        context.tell("divergence", {self.name: f"tokenizers {how}: {what}"})

    def lessons(self, at: At, number: int) -> list[Lesson]:
        """The next batch, each text with its teacher."""
        texts = self._deck.batch(number)
        taught = [(self.parts[self._teachers[text]], self._sequences[text]) for text in texts]
        metrics = {}
        if self._options.tokenizers != "same":
            partners = np.concatenate([sequence.columns[THEIRS] for _, sequence in taught])
            metrics["live/aligned"] = float((partners >= 0).mean())
        weight, reduction = self._options.weight, self._options.divergence.reduction
        return [Lesson(taught=taught, weight=weight, reduction=reduction, metrics=metrics)]


class CachedSource:
    """A divergence from what a teacher said of texts, or the distance of their own tokens' log-probs."""

    name = "cached"

    def __init__(self, context: TrainContext, options: Cached) -> None:
        self.lr, self._options = options.lr, options
        self._signals: Signals = context.signals(options.signals)
        require_cache(context, self._signals, options)
        self._deck = Deck(context, [int(length) for length in self._signals.lengths], options, self.name)
        self.steps = self._deck.per_epoch * options.epochs
        about, what = self._signals.about, "1/2 (log Q - log P)^2 of their own tokens, which is no divergence"
        self._part: Part = FromOwnTokens(self.name, about["temperature"])
        if about["scheme"] == "top_k":
            measure = options.divergence.measure("forward", cached_k=about["k"], temperature=about["temperature"])
            self._part, what = FromCache(self.name, measure), told(measure, options.divergence.reduction)
        self.parts: Sequence[Part] = [self._part]
        context.note(f"cached signals of {len(self._signals):,} texts: {what}")
        context.tell("divergence", {self.name: what})

    def lessons(self, at: At, number: int) -> list[Lesson]:
        """The next batch; tokens without a signal are left out, and counted."""
        texts = self._deck.batch(number)
        found = {text: self._signals[text] for text in sorted(texts)}  # as they lie: each group is read once
        sequences = [cached_sequence(found[text]) for text in texts]
        present = np.concatenate([sequence.columns[PRESENT] for sequence in sequences])
        return [
            Lesson(
                taught=[(self._part, sequence) for sequence in sequences],
                weight=self._options.weight,
                reduction=self._options.divergence.reduction,
                metrics={f"{self.name}/present": float(present.mean()) if present.size else 0.0},
            )
        ]


def _partnered(book: Translation, example: Problem, sequence: TrainSequence) -> TrainSequence:
    """A text for a teacher with another tokenizer. What begins where none of its tokens does has no signal."""
    found = book.add(example.messages, sequence)
    return replace(found, columns={**found.columns, PRESENT: found.columns[THEIRS] >= 0})


def _require_partners(context: TrainContext, sequences: Sequence[TrainSequence]) -> None:
    """Say how many tokens can be compared; raise RecipeError where none can."""
    partners = sum(int((sequence.columns[THEIRS] >= 0).sum()) for sequence in sequences)
    tokens = sum(map(counted, sequences))
    if not partners:
        raise RecipeError(
            f"of {tokens:,} tokens none begins where one of the teacher's does",
            where="trainer distill, live.tokenizers",
            fix="look at both chat templates: what they open of an answer must be the same text",
        )
    context.note(f"live teacher with other tokens: {partners / tokens:.1%} of {tokens:,} tokens can be compared")


def cached_sequence(signal: Signal) -> TrainSequence:
    """A text with its teacher's likeliest tokens, or, where a cache holds none (K is 0), the log-prob of its own. A
    place with none of them has no signal, whatever is said of it."""
    if not signal.top_ids.shape[1]:
        graded = signal.present & np.isfinite(signal.logprobs)
        own: dict[str, NDArray[Any]] = {TEACHER_LOGPROB: np.where(graded, signal.logprobs, 0.0), PRESENT: graded}
        return TrainSequence(ids=signal.ids, start=signal.start, columns=own)
    present = signal.present & (signal.top_ids >= 0).any(axis=1)
    columns: dict[str, NDArray[Any]] = {TOP_IDS: signal.top_ids, TOP_LOGPROBS: signal.top_logprobs, PRESENT: present}
    return TrainSequence(ids=signal.ids, start=signal.start, columns=columns)
