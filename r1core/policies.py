"""What every policy on a Hugging Face model folder shares: the tokenizer's side, new folders, exported ones.

    class Mine(HuggingFacePolicy):
        name = "mine"                              # an engine: open, logprobs, update, save, restore, module

An engine differs in where the weights lie and how they are trained; how a prompt becomes tokens does not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from r1core.architectures import options_of
from r1core.choices import Options
from r1core.components import Policy
from r1core.errors import SetupError
from r1core.types import Message, Tokens

if TYPE_CHECKING:
    from r1core.nn import ChatText


class HuggingFacePolicy(Policy):
    """The part of a policy that no engine changes. `open` of a subclass sets `_folder` and `_text`."""

    extra = "train"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    """The packages that it cannot do without, all in its `extra`."""

    class Config(Policy.Config):
        """The optimizer (the learning rate comes with each step) and memory."""

        betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's two decay rates")
        eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
        weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay, per unit of learning rate")
        max_grad_norm: float = Field(1.0, gt=0, description="the gradient is scaled down to at most this 2-norm")
        micro_batch_tokens: int = Field(8192, ge=1, description="tokens of one micro-batch, padding included")
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

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._folder = Path()
        self._text: ChatText | None = None

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
    def _opened_text(self) -> ChatText:
        if self._text is None:
            raise self._unopened()
        return self._text

    def _unopened(self) -> SetupError:
        return SetupError("no model is open", where=f"policy {self.name}", fix="call open(folder, trainable=...) first")
