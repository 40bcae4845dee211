"""`deepspeed`: a policy trained by DeepSpeed, one rank or many: ZeRO 0 to 3, offload, bfloat16 with float32 masters.

The loss is computed inside the wrapped module's forward, in chunks, so that partitioned weights (stage 3) and large
vocabularies work. The step has one global denominator (the sequences' own weights), whatever the number of ranks and
of micro-batches. What is saved is safetensors, parameter by parameter: it can be gone on with at any stage and any
number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from r1core.components import Loss, Policy
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Floats, Head, TrainSequence

if TYPE_CHECKING:
    from r1_plugins.deepspeed._engine import Engine


class DeepSpeedPolicy(HuggingFacePolicy):
    """A Hugging Face model in a DeepSpeed engine, and AdamW."""

    name = "deepspeed"
    extra = "deepspeed"
    needs = (*HuggingFacePolicy.needs, "deepspeed")

    class Config(HuggingFacePolicy.Config):
        """How the training state is spread and stored."""

        stage: Literal[0, 1, 2, 3] = Field(
            2, description="what ZeRO spreads over ranks: 1 optimizer states, 2 gradients too, 3 weights too; 0 nothing"
        )
        offload: Literal["none", "optimizer", "weights"] = Field(
            "none", description="what lies in the CPU's memory: AdamW's states, or (stage 3) these and the weights"
        )
        gradient_checkpointing: bool = Field(
            True, description="compute activations again in the backward pass: less memory, a third more work"
        )
        bucket_mib: int = Field(
            100, ge=1, description="gradients that are reduced, weights that are gathered at a time"
        )

        @model_validator(mode="after")
        def _stage_serves(self) -> Self:
            if self.stage == 0 and self.dtype == "bfloat16":
                raise ValueError("stage 0 keeps no float32 copy of bfloat16 weights: use stage 1")
            if self.offload == "weights" and self.stage != 3:
                raise ValueError(f"offload: weights needs stage 3, got {self.stage}")
            if self.offload == "optimizer" and self.stage == 0:
                raise ValueError("offload: optimizer needs stage 1, 2 or 3, got 0")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._engine: Engine | None = None
        self._head: Head = "lm"

    def open(self, folder: Path, *, trainable: bool, head: Head = "lm") -> Self:
        """Load safetensors and the tokenizer; returns itself. A score head that the folder lacks starts at nought."""
        from r1_plugins.deepspeed._engine import Engine
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
        return self._opened_engine.read("logprob", sequences)

    def values(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence: the score head's output where each counted token is predicted."""
        return self._opened_engine.read("score", sequences)

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One AdamW step over the sequences of all ranks, of which these are this rank's share. When the loss or the
        gradient is not finite on any rank nothing changes and `skipped` is 1."""
        return self._opened_engine.update(sequences, loss, lr=lr)

    def export(self, folder: Path) -> None:
        """Write a Hugging Face folder, in full precision; the tokenizer's files are copied byte for byte."""
        from r1_plugins.deepspeed._state import export
        from r1core.nn import copy_tokenizer

        if export(self._opened_engine, folder):
            copy_tokenizer(self._folder, folder)

    def save(self, folder: Path) -> None:
        """Write weights and AdamW's moments in full precision, each parameter by one rank."""
        from r1_plugins.deepspeed._state import save

        save(self._opened_engine, folder)

    def restore(self, folder: Path) -> None:
        """Take them back, at any stage and number of ranks. Raises SetupError when they are another model's."""
        from r1_plugins.deepspeed._state import restore

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
    """The DeepSpeed policy."""
    return [DeepSpeedPolicy]
