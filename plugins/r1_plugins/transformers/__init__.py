"""`transformers`: a policy that trains one Hugging Face language model, or score model, on one device.

One optimizer step goes over all micro-batches with one global denominator (the sequences' own weights), so that the
step does not depend on how it is split. Only safetensors are read and written.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from r1core.choices import Options
from r1core.components import Head, Loss, Policy
from r1core.errors import SetupError
from r1core.hookspecs import hookimpl
from r1core.types import Floats, Message, Tokens, TrainSequence

if TYPE_CHECKING:
    from r1_plugins.transformers._engine import Engine
    from r1core.nn import ChatText


NEEDS = ("torch", "transformers", "safetensors")


class TransformersPolicy(Policy):
    """A Hugging Face model, its tokenizer and AdamW, in one process."""

    name = "transformers"
    extra = "train"
    preload = ("r1_plugins.transformers._engine", "r1_plugins.transformers._folder")

    class Config(Policy.Config):
        """The optimizer (the learning rate comes with each step), memory and the device."""

        betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's two decay rates")
        eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
        weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay, per unit of learning rate")
        max_grad_norm: float = Field(1.0, gt=0, description="the gradient is scaled down to at most this 2-norm")
        micro_batch_tokens: int = Field(8192, ge=1, description="tokens of one micro-batch, padding included")
        dtype: Literal["float32", "bfloat16"] = Field(
            "float32",
            description="number format of the forward pass; weights and optimizer of a trained model stay float32",
        )
        device: Literal["auto", "cpu", "cuda"] = Field(
            "auto", description="where it runs; auto takes a GPU if there is one"
        )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._engine: Engine | None = None
        self._text: ChatText | None = None
        self._head: Head = "lm"

    @classmethod
    def check(cls) -> list[str]:
        """Which of the engine's packages are not installed."""
        absent = [name for name in NEEDS if importlib.util.find_spec(name) is None]
        return [f"{', '.join(absent)} not installed: pip install 'r1core[train]'"] if absent else []

    @classmethod
    def architecture_options(cls, model_type: str) -> type[Options] | None:
        """The keys of the type's Hugging Face config, as far as the installed library's source tells."""
        from r1_plugins.transformers._architecture import options_of

        return options_of(model_type)

    def create(self, folder: Path, architecture: Mapping[str, Any], *, seed: int) -> None:
        """Write a randomly initialised model beside the tokenizer in `folder`; the vocabulary is the tokenizer's."""
        from r1_plugins.transformers._folder import create

        create(folder, architecture, seed=seed)

    def open(self, folder: Path, *, trainable: bool, head: Head = "lm") -> Self:
        """Load safetensors and the tokenizer; returns itself. A score head that the folder lacks starts at nought."""
        from r1_plugins.transformers._engine import Engine
        from r1_plugins.transformers._folder import load
        from r1core.nn import ChatText

        self._text = ChatText(folder)
        module = load(folder, self.config, trainable=trainable, head=head, text=self._text)
        self._engine = Engine(module, self.config, trainable=trainable)
        self._folder = folder
        self._head = head
        return self

    def frozen(self, folder: Path) -> Policy:
        """The same kind of policy, with the same head, on another folder, without an optimizer."""
        return type(self)(self.config).open(folder, trainable=False, head=self._head)

    def prompt_ids(self, messages: Sequence[Message]) -> Tokens:
        """The tokens up to where the answer begins; of no messages, the beginning-of-text token if there is one."""
        return self._opened_text.prompt_ids(messages)

    def prefilled(self, messages: Sequence[Message]) -> str:
        """What the rendered prompt has opened of the answer."""
        return self._opened_text.prefilled(messages)

    def completion_ids(self, text: str) -> Tokens:
        """The answer's tokens and the end token."""
        return self._opened_text.completion_ids(text)

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of plain documents, special tokens in the text read as such; no end token is added."""
        return self._opened_text.document_ids(texts)

    def decode(self, ids: Tokens) -> str:
        """The text without end and padding tokens."""
        return self._opened_text.decode(ids)

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
        from r1_plugins.transformers._folder import copy_tokenizer, save

        save(self._opened_engine.module, folder)
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
            raise _unopened()
        return self._engine

    @property
    def _opened_text(self) -> ChatText:
        if self._text is None:
            raise _unopened()
        return self._text


def _unopened() -> SetupError:
    return SetupError("no model is open", where="policy transformers", fix="call open(folder, trainable=...) first")


@hookimpl
def r1_policies() -> list[type[Policy]]:
    """The transformers policy."""
    return [TransformersPolicy]
