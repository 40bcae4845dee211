"""`deepspeed`: a policy trained by DeepSpeed, one rank or many: ZeRO 0 to 3, offload, bfloat16 with float32 masters.

The loss is computed inside the wrapped module's forward, in chunks, so that partitioned weights (stage 3) and large
vocabularies work. The step has one global denominator (the sequences' own weights), whatever the number of ranks and
of micro-batches. What is saved is safetensors, parameter by parameter: it can be gone on with at any stage and any
number of ranks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from r1_plugins.deepspeed import _launch
from r1core.components import Policy
from r1core.errors import R1Error
from r1core.estimates import Load, Memory, ModelShape
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Head
from r1core.world import Alone, World

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

        ranks: int = Field(1, ge=1, description="processes that train together on this machine, one for each GPU")
        hostfile: str | None = Field(
            None, description="machines that train together, one `name slots=8` a line; ranks is the sum of their slots"
        )
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
            if self.hostfile is not None and self.ranks != 1:
                raise ValueError(f"ranks: {self.ranks} beside a hostfile, whose slots say how many: leave it out")
            return self

    @property
    def world(self) -> World:
        """The ranks that DeepSpeed's launcher started."""
        if "RANK" not in os.environ:
            return Alone()
        from r1_plugins.deepspeed import _ranks

        return _ranks.Ranks(_ranks.device_of(self.config.device))

    @property
    def ranks(self) -> int:
        """Processes that train together: `ranks`, or the slots of the hostfile."""
        return sum(_launch.slots(self._hostfile).values()) if self._hostfile else int(self.config.ranks)

    @property
    def hosts(self) -> list[str]:
        """The hostfile's machines."""
        return list(_launch.slots(self._hostfile)) if self._hostfile else []

    def absent(self) -> Sequence[R1Error]:
        """A hostfile that cannot be read, and the tool that reaches its machines."""
        return _launch.absent(self._hostfile) if self._hostfile else ()

    @property
    def sharded_by(self) -> str:
        """Stage 3 spreads the weights, of one rank, too: the module has them only within the engine's forward."""
        return "stage: 3" if self.config.stage == 3 else ""

    def launch(self, program: Sequence[str], *, folder: Path) -> list[str]:
        """DeepSpeed's launcher; with a hostfile its runner, which reaches the machines over ssh."""
        options = {"ranks": self.config.ranks, "hostfile": self._hostfile, "device": self.config.device}
        return _launch.command(program, folder=folder, **options)

    @property
    def _hostfile(self) -> Path | None:
        return None if self.config.hostfile is None else Path(self.config.hostfile)

    def memory(self, shape: ModelShape, load: Load) -> Memory:
        """What one rank takes at this stage of ZeRO."""
        from r1_plugins.deepspeed._memory import memory

        return memory(self.config, self.ranks if load.trained else 1, shape, load)

    def engine(self, folder: Path, *, trainable: bool, head: Head, text: ChatText) -> Engine:
        """The model in a DeepSpeed engine; this process's share of it where there are several ranks."""
        from r1_plugins.deepspeed._engine import Engine

        return Engine.opened(folder, self.config, trainable=trainable, head=head, text=text)


@hookimpl
def r1_policies() -> list[type[Policy]]:
    """The DeepSpeed policy."""
    return [DeepSpeedPolicy]
