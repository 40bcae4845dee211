"""What every policy on a Hugging Face model folder shares: the tokenizer's side, and all but the engine itself.

class Mine(HuggingFacePolicy):
    name = "mine"
    def engine(self, folder, *, trainable, head, text): ...      # where the weights lie, how they are trained
"""

from __future__ import annotations

import abc
import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from pydantic import Field

from r1core.architectures import options_of
from r1core.choices import Options
from r1core.components import Loss, Policy
from r1core.errors import SetupError
from r1core.estimates.folders import positions_in
from r1core.types import Floats, Head, Message, Tokens, TopLogprobs, TrainSequence

if TYPE_CHECKING:
    import torch

    from r1core.nn import Batch, ChatText, LMHead, TokenView


class Engine(Protocol):
    """A loaded model and what trains it. `module` is the Hugging Face model."""

    module: Any

    def read(self, what: Literal["logprob", "score"], sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence. The first entry of a document counted from 0 is 0.0: nothing predicts it."""
        ...

    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        """As `Policy.top_logprobs`."""
        ...

    def lm_head(self, batch: Batch) -> LMHead:
        """As `Policy.head`. It is asked for within another engine's update, by a rank that may be alone in it."""
        ...

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One step. When the loss or the gradient is not finite nothing changes and `skipped` is 1."""
        ...

    def export(self, folder: Path) -> bool:
        """Write the model, in full precision; whether it was this process that wrote. An OSError comes after all that
        ranks do together."""
        ...

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each weight whole, under its exported name, as it is computed with."""
        ...

    def save(self, folder: Path) -> None:
        """Write weights in full precision and, from the first update on, AdamW's moments, as safetensors. An OSError
        comes after all that ranks do together."""
        ...

    def restore(self, folder: Path) -> None:
        """Take them back. Raises SetupError when they are another model's."""
        ...


class Lora(Options):
    """Adapters of low rank (LoRA): they alone are trained, and are merged into the weights of an exported model.

    There is no dropout: a policy never has any, else its answers and its update would come from two models.
    """

    rank: int = Field(16, ge=1, description="inner dimension of an adapter")
    alpha: float = Field(32.0, gt=0, description="an adapter's product is scaled by alpha / rank")
    targets: tuple[str, ...] = Field(
        (),
        description="layers that get adapters, by the end of their names (q_proj, ...); none: all linear but the head",
    )


class HuggingFacePolicy(Policy):
    """A policy but for its engine."""

    extra = "train"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    """The packages that it cannot do without, all in its `extra`."""

    class Config(Policy.Config):
        """The optimizer (the learning rate comes with each step) and memory."""

        betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's two decay rates")
        eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
        weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay, per unit of learning rate")
        max_grad_norm: float = Field(1.0, gt=0, description="the gradient is scaled down to at most this 2-norm")
        micro_batch_tokens: int = Field(8192, ge=1, description="tokens of one micro-batch, padding included, if any")
        packing: bool = Field(
            False,
            description="lay the sequences of a micro-batch end to end, without padding; gains with flash-attention",
        )
        dtype: Literal["float32", "bfloat16"] = Field(
            "float32",
            description="number format of the forward pass; weights and optimizer of a trained model stay float32",
        )
        gradient_checkpointing: bool = Field(
            False, description="compute activations again in the backward pass: less memory, a third more work"
        )
        device: Literal["auto", "cpu", "cuda"] = Field(
            "auto", description="where it runs; auto takes a GPU if there is one"
        )
        lora: Lora | None = Field(None, description="train adapters of low rank in place of the weights")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._folder = Path()
        self._head: Head = "lm"
        self._text: ChatText | None = None
        self._engine: Engine | None = None

    @abc.abstractmethod
    def engine(self, folder: Path, *, trainable: bool, head: Head, text: ChatText) -> Engine:
        """The folder's model, loaded."""

    @classmethod
    def check(cls) -> list[str]:
        """Which of the engine's packages are not installed."""
        absent = [name for name in cls.needs if importlib.util.find_spec(name) is None]
        return [f"{', '.join(absent)} not installed: pip install 'r1core[{cls.extra}]'"] if absent else []

    @classmethod
    def architecture_options(cls, model_type: str) -> type[Options] | None:
        """The keys of the type's Hugging Face config, as far as the installed library's source tells."""
        return options_of(model_type)

    def create(self, folder: Path, architecture: Mapping[str, Any], *, seed: int) -> None:
        """Write a randomly initialised model beside the tokenizer in `folder`; the vocabulary is the tokenizer's."""
        from r1core.nn import create_model

        create_model(folder, architecture, seed=seed)

    def open(self, folder: Path, *, trainable: bool, head: Head = "lm") -> Self:
        """Load safetensors and the tokenizer; returns itself. A score head that the folder lacks starts at nought."""
        from r1core.nn import ChatText

        self._text = ChatText(folder)
        self._engine = self.engine(folder, trainable=trainable, head=head, text=self._text)
        self._folder, self._head = folder, head
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

    @property
    def positions(self) -> int | None:
        """Tokens of a sequence at most, by the folder's config."""
        return positions_in(self._folder)

    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence. The first entry of a document counted from 0 is 0.0: nothing predicts it."""
        return self._opened_engine.read("logprob", sequences)

    @property
    def text_marks(self) -> Mapping[str, str]:
        """Hashes of the tokenizer and of the chat template, by content."""
        return self._opened_text.marks

    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        """The `k` likeliest tokens in each counted place with their log-probs, and that of the token itself."""
        return self._opened_engine.top_logprobs(sequences, k=k, temperature=temperature)

    def head(self, view: TokenView) -> LMHead:
        """This model's head for the view's counted tokens, without a gradient."""
        assert view.batch is not None, "a policy's update keeps it"
        return self._opened_engine.lm_head(view.batch)

    def head_on(self, sequences: Sequence[TrainSequence]) -> LMHead:
        """This model's head for the counted tokens of sequences of its own, one after the other, without a gradient."""
        from r1core.nn import collate

        asked = sequences or [TrainSequence(ids=np.zeros(1, dtype=np.int64), start=1, columns={})]
        return self._opened_engine.lm_head(collate(asked, range(len(asked)), device=self.module().device))

    @property
    def pieces(self) -> Sequence[bytes]:
        """The bytes that each token stands for."""
        return self._opened_text.pieces

    def values(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence: the score head's output where each counted token is predicted."""
        return self._opened_engine.read("score", sequences)

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One AdamW step. When the loss or the gradient is not finite nothing changes and `skipped` is 1."""
        return self._opened_engine.update(sequences, loss, lr=lr)

    def export(self, folder: Path) -> None:
        """Write a Hugging Face folder, in full precision; the tokenizer's files are copied byte for byte."""
        from r1core.nn import copy_tokenizer

        with self._failing_together():
            if self._opened_engine.export(folder):
                copy_tokenizer(self._folder, folder)

    def save(self, folder: Path) -> None:
        """Write weights in full precision and, from the first update on, AdamW's moments."""
        with self._failing_together():
            self._opened_engine.save(folder)

    def restore(self, folder: Path) -> None:
        """Take both back. Raises SetupError when they are another model's."""
        self._opened_engine.restore(folder)

    def module(self) -> Any:
        """The Hugging Face model itself."""
        return self._opened_engine.module

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each present weight whole, under its name in an exported folder, one after the other."""
        return self._opened_engine.weights()

    @contextlib.contextmanager
    def _failing_together(self) -> Iterator[None]:
        """An OSError of one rank is raised on all of them, when all are done; nobody goes on before."""
        failure: OSError | None = None
        try:
            yield
        except OSError as error:
            failure = error
        said = [text for text in self.world.gather("" if failure is None else str(failure) or repr(failure)) if text]
        if failure is not None:
            raise failure
        if said:
            raise OSError(f"on another rank: {said[0]}")

    @property
    def _opened_engine(self) -> Engine:
        if self._engine is None:
            raise self._unopened()
        return self._engine

    @property
    def _opened_text(self) -> ChatText:
        if self._text is None:
            raise self._unopened()
        return self._text

    def _unopened(self) -> SetupError:
        return SetupError("no model is open", where=f"policy {self.name}", fix="call open(folder, trainable=...) first")
