"""`deepspeed`: a policy trained by DeepSpeed, one rank or many: ZeRO 0 to 3, offload, bfloat16 with float32 masters.

The loss is computed inside the wrapped module's forward, in chunks, so that partitioned weights (stage 3) and large
vocabularies work. The step has one global denominator (the sequences' own weights), whatever the number of ranks and
of micro-batches. What is saved is safetensors, parameter by parameter: it can be gone on with at any stage and any
number of ranks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from r1core.components import Policy
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Head

if TYPE_CHECKING:
    from r1_plugins.deepspeed._engine import Engine
    from r1core.nn import ChatText


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

    def engine(self, folder: Path, *, trainable: bool, head: Head, text: ChatText) -> Engine:
        """The model in a DeepSpeed engine; this process's share of it where there are several ranks."""
        from r1_plugins.deepspeed._engine import Engine

        return Engine.opened(folder, self.config, trainable=trainable, head=head, text=text)


@hookimpl
def r1_policies() -> list[type[Policy]]:
    """The DeepSpeed policy."""
    return [DeepSpeedPolicy]
