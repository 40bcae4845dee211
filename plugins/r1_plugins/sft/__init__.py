"""Supervised fine-tuning, and, on a corpus of plain documents, pre-training from scratch.

    loss = - mean over counted tokens of log pi(token | what came before)

Answers count, prompts do not; a plain document counts from its second token. R1 uses it three times:
the cold start, the second SFT on the base model, and every distilled student (2-3 epochs, cosine
decay to a tenth; DeepSeek-R1 v2, B.4.2 and B.4.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from r1core.batching import Supervision, imitate
from r1core.components import Trainer
from r1core.contexts import TrainContext
from r1core.hookspecs import hookimpl
from r1core.losses import CrossEntropy
from r1core.types import Step


class Sft(Trainer):
    """Learn the stage's `data` by heart: cross-entropy on answers, or on whole documents."""

    name = "sft"

    class Config(Supervision):
        pass

    config: Config

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"data"})

    def update_tokens(self, length: int) -> int:
        return max(self.config.batch_tokens, length)

    def run(self, context: TrainContext) -> Iterator[Step]:
        batches = self.config.batches(context)
        # An extension goes through the data's order once more in miniature: `position` of `length` picks the batch.
        for at in context.steps(len(batches)):
            batch = batches[at.position * len(batches) // at.length]
            yield imitate(context, batch, CrossEntropy(), self.config.lr.at(at.position, at.length))


@hookimpl
def r1_trainers() -> Iterable[type[Trainer]]:
    return [Sft]
