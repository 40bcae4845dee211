"""From answers to batches: what every trainer does with text before it meets a loss.

All of it is a function of the data and a key, so that a run repeated makes the same batches.
S = sequences, T = counted tokens of one sequence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from pydantic import Field

from r1core.choices import Options
from r1core.components import Loss, Policy
from r1core.contexts import TrainContext
from r1core.errors import RecipeError
from r1core.schedules import LearningRate
from r1core.types import Floats, Problem, Step, TrainSequence

Aggregation: TypeAlias = Literal["token_mean", "sequence_mean", "constant"]


class Supervision(Options):
    """Learning finished texts: how often, how fast, in batches of which size."""

    lr: LearningRate = Field(LearningRate(peak=5e-5), description="learning rate, a number or a schedule")
    epochs: int = Field(1, ge=1, description="passes over the data")
    batch_tokens: int = Field(16384, ge=1, description="padded tokens of one optimizer step")
    bucket: int = Field(4096, ge=1, description="sequences among which like lengths share a batch")
    longest: int | None = Field(
        None,
        ge=2,
        description="tokens of a text at most, its prompt included; longer ones are left out whole, and counted; as "
        "many as the model has positions when absent",
    )

    def batches(self, context: TrainContext) -> list[list[TrainSequence]]:
        """All batches of all epochs over the stage's data, weighted by the token mean."""
        sequences = supervised(context, context.examples())
        if not sequences:
            raise RecipeError("there is nothing to learn from", where="data", fix="its datasets hold no completions")
        fitting = short_enough(context, [len(sequence.ids) for sequence in sequences], self.longest)
        sequences = [sequences[place] for place in fitting]
        lengths = [len(sequence.ids) for sequence in sequences]
        return [
            [sequences[i] for i in batch]
            for epoch in range(self.epochs)
            for batch in length_batches(
                lengths, batch_tokens=self.batch_tokens, bucket=self.bucket, key=context.key("batches", epoch)
            )
        ]


def supervised(context: TrainContext, examples: Sequence[Problem]) -> list[TrainSequence]:
    """One sequence for each example that has something to learn: the answer's tokens count, or all of a document's."""
    encoded = encode(context.policy, [example for example in examples if example.completion is not None])
    return [sequence for sequence in encoded if counted(sequence)]


def short_enough(
    context: TrainContext, lengths: Sequence[int], longest: int | None, *, readers: Sequence[Policy] = (), of: str = ""
) -> list[int]:
    """The places of the texts of at most `longest` tokens; None: as many as the policy and the `readers` beside it have
    positions. Beyond these a model says anything, and a text that is cut has lost its answer: it is left out, and told
    as one `of` this signal. Raises RecipeError where none is left."""
    known = [policy.positions for policy in (context.policy, *readers) if policy.positions is not None]
    limit = longest if longest is not None else min(known, default=None)
    fitting = [place for place, length in enumerate(lengths) if limit is None or length <= limit]
    if len(fitting) == len(lengths):
        return fitting
    why = f"more than {limit:,} tokens, " + ("as `longest` has it" if longest else "all the positions of the model")
    if not fitting:
        raise RecipeError(
            f"there is nothing to learn from: all {len(lengths):,} texts have {why}; the shortest has {min(lengths):,}",
            where=of or "data",
            fix="train a model with more positions or raise `longest`, or make shorter texts",
        )
    told = f"{len(lengths) - len(fitting):,} of {len(lengths):,} texts"
    context.note(f"{of}{': ' if of else ''}{told} are left out: they have {why}")
    context.tell("left_out", {of or "data": f"{told} of {why}"})
    return fitting


def encode(policy: Policy, examples: Sequence[Problem]) -> list[TrainSequence]:
    """The tokens of each example's conversation and completion, which counts, or of a plain document. A completion that
    was cut at the length limit has no end token: nobody ended there."""
    documents = [e.completion for e in examples if not e.messages and e.completion is not None]
    encoded = iter(policy.document_ids(documents) if documents else [])
    sequences = []
    for example in examples:
        assert example.completion is not None, "only examples with a completion have tokens to learn"
        if not example.messages:
            sequences.append(TrainSequence(ids=next(encoded), start=0, columns={}))
        else:
            prompt = policy.prompt_ids(example.messages)
            answer = policy.completion_ids(example.completion)
            ids = np.concatenate([prompt, answer[:-1] if example.finish == "length" else answer])
            sequences.append(TrainSequence(ids=ids, start=len(prompt), columns={}))
    return sequences


def require_same_start(policy: Policy, example: Problem, *, where: str) -> None:
    """Raise RecipeError where what the policy's prompt opens of the completion is not what stood before it when it was
    written, unless it makes it whole. A document has no prompt."""
    if not example.messages:
        return
    text, written, opened = example.completion or "", example.prefilled, policy.prefilled(example.messages)
    if "<think>" in opened and text.lstrip().startswith("<think>"):
        raise RecipeError(
            f"text {example.id!r} would not be read as written: the model's template opens the think block, and the "
            "text opens it again",
            where=where,
            fix='give the model a template that ends with the assistant\'s tag, without "<think>"',
        )
    if written is None or letters(written) == letters(opened):
        return
    if not closes_unopened(written + text) or closes_unopened(opened + text):
        raise RecipeError(
            f"text {example.id!r} would not be read as written: its writer's template had begun it with {written!r}, "
            f"the model's begins it with {opened!r}",
            where=where,
            fix="give the model the writer's template",
        )


def closes_unopened(text: str) -> bool:
    """Whether it closes a think block that nothing has opened."""
    head, closed, _ = text.partition("</think>")
    return bool(closed) and "<think>" not in head


def letters(text: str) -> str:
    """The text in the normal form of its letters, without blanks."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def counted(sequence: TrainSequence) -> int:
    """How many tokens can be learned: nothing comes before the first of a document, so nothing predicts it."""
    return max(len(sequence.ids) - max(sequence.start, 1), 0)


def imitate(context: TrainContext, batch: Sequence[TrainSequence], loss: Loss, lr: float) -> Step:
    """One supervised step: an update on the token mean of `loss`."""
    metrics = context.policy.update(weighted(batch, "token_mean"), loss, lr=lr)
    tokens = sum(len(sequence.ids) - sequence.start for sequence in batch)
    return Step(metrics={**metrics, "learning_rate": lr, "num_tokens": float(tokens)})


def length_batches(lengths: Sequence[int], *, batch_tokens: int, bucket: int, key: int) -> list[list[int]]:
    """Batches of indices of at most `batch_tokens` padded tokens each.

    The order of the data is kept from one bucket of `bucket` sequences to the next (a curriculum stays one); within
    a bucket sequences of like length share a batch, and the batches are shuffled by `key`.
    """
    random = np.random.default_rng(key)
    batches: list[list[int]] = []
    for first in range(0, len(lengths), bucket):
        inside = sorted(range(first, min(first + bucket, len(lengths))), key=lambda i: (lengths[i], i))
        packed = _pack(inside, lengths, batch_tokens)
        batches += [packed[i] for i in random.permutation(len(packed))]
    return batches


def _pack(ordered: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    packed: list[list[int]] = []
    for index in ordered:
        if packed and (len(packed[-1]) + 1) * lengths[index] <= batch_tokens:
            packed[-1].append(index)
        else:
            packed.append([index])
    return packed


def weighted(sequences: Sequence[TrainSequence], how: Aggregation, *, longest: int = 1) -> list[TrainSequence]:
    """The sequences with their `weight` column: the share of each token in the step's loss.

    token_mean: 1 / all tokens; sequence_mean: 1 / (S T); constant: 1 / (S `longest`), a divisor that never changes. The
    denominators span the whole step, so no split into micro-batches changes the loss (in verl: token-mean,
    seq-mean-token-mean and seq-mean-token-sum-norm).
    """
    tokens = sum(counted(sequence) for sequence in sequences)
    result = []
    for sequence in sequences:
        share = {
            "token_mean": 1 / max(tokens, 1),
            "sequence_mean": 1 / (len(sequences) * max(counted(sequence), 1)),
            "constant": 1 / (len(sequences) * longest),
        }[how]
        weight: Floats = np.full(len(sequence.ids) - sequence.start, share, dtype=np.float64)
        result.append(replace(sequence, columns={**sequence.columns, "weight": weight}))
    return result
