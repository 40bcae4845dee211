"""`transformers`: a policy that trains one Hugging Face language model, or score model, on one device.

One optimizer step goes over all micro-batches with one global denominator (the sequences' own weights), so that the
step does not depend on how it is split. Only safetensors are read and written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from r1core.components import Loss, Policy
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Floats, Head, TrainSequence

if TYPE_CHECKING:
    from r1_plugins.transformers._engine import Engine


class TransformersPolicy(HuggingFacePolicy):
    """A Hugging Face model, its tokenizer and AdamW, in one process."""

    name = "transformers"
    preload = ("r1_plugins.transformers._engine", "r1core.nn")

    def __init__(self, config: HuggingFacePolicy.Config) -> None:
        super().__init__(config)
        self._engine: Engine | None = None
        self._head: Head = "lm"

    def open(self, folder: Path, *, trainable: bool, head: Head = "lm") -> Self:
        """Load safetensors and the tokenizer; returns itself. A score head that the folder lacks starts at nought."""
        from r1_plugins.transformers._engine import Engine
        from r1core.nn import ChatText

        self._text = ChatText(folder)
        self._engine = Engine.opened(folder, self.config, trainable=trainable, head=head, text=self._text)
        self._folder = folder
        self._head = head
        return self

    def frozen(self, folder: Path) -> Policy:
        """The same kind of policy, with the same head, on another folder, without an optimizer."""
        return type(self)(self.config).open(folder, trainable=False, head=self._head)

    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence. The first entry of a document counted from 0 is 0.0: nothing predicts it."""
        return self._opened_engine.logprobs(sequences)

    def values(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence: the score head's output where each counted token is predicted."""
        return self._opened_engine.values(sequences)

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One AdamW step. When the loss or the gradient is not finite nothing changes and `skipped` is 1."""
        return self._opened_engine.update(sequences, loss, lr=lr)

    def export(self, folder: Path) -> None:
        """Write a Hugging Face folder; the tokenizer's files are copied byte for byte."""
        from r1core.nn import copy_tokenizer, save_model

        save_model(self._opened_engine.module, folder)
        copy_tokenizer(self._folder, folder)

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` in full precision and, from the first update on, `optimizer.safetensors`."""
        from r1_plugins.transformers._state import save

        save(self._opened_engine, folder)

    def restore(self, folder: Path) -> None:
        """Take both back. Raises SetupError when they are another model's."""
        from r1_plugins.transformers._state import restore

        restore(self._opened_engine, folder)

    def module(self) -> Any:
        """The Hugging Face model itself."""
        return self._opened_engine.module

    @property
    def _opened_engine(self) -> Engine:
        if self._engine is None:
            raise self._unopened()
        return self._engine


@hookimpl
def r1_policies() -> list[type[Policy]]:
    """The transformers policy."""
    return [TransformersPolicy]
