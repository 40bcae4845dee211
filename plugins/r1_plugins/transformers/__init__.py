"""`transformers`: a policy that trains one Hugging Face language model, or score model, on one device.

One optimizer step goes over all micro-batches with one global denominator (the sequences' own weights), so that the
step does not depend on how it is split. Only safetensors are read and written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from r1core.components import Policy
from r1core.estimates import Load, Memory, ModelShape
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Head

if TYPE_CHECKING:
    from r1_plugins.transformers._engine import Engine
    from r1core.nn import ChatText


class TransformersPolicy(HuggingFacePolicy):
    """A Hugging Face model, its tokenizer and AdamW, in one process."""

    name = "transformers"
    preload = ("r1_plugins.transformers._engine", "r1core.nn")

    def engine(self, folder: Path, *, trainable: bool, head: Head, text: ChatText) -> Engine:
        """The model on its device, with an optimizer from the first update on."""
        from r1_plugins.transformers._engine import Engine

        return Engine.opened(folder, self.config, trainable=trainable, head=head, text=text)

    def memory(self, shape: ModelShape, load: Load) -> Memory:
        """Float32 weights, gradients and moments; activations of the fullest micro-batch."""
        from r1_plugins.transformers._memory import memory

        return memory(self.config, shape, load)


@hookimpl
def r1_policies() -> list[type[Policy]]:
    """The transformers policy."""
    return [TransformersPolicy]
