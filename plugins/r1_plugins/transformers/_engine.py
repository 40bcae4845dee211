"""The torch side of the policy: log-probabilities without gradients, and one optimizer step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from r1_plugins.transformers import _state
from r1core.components import Loss
from r1core.errors import SetupError
from r1core.nn import (
    ChatText,
    TokenReader,
    checkpoint_gradients,
    collate,
    compute_in_half,
    first_counted,
    micro_batches,
    open_model,
    recomputing,
    save_model,
)
from r1core.policies import HuggingFacePolicy
from r1core.types import Floats, Head, TrainSequence


class Engine:
    """A loaded model and, from the first update on, its optimizer."""

    def __init__(self, module: Any, config: HuggingFacePolicy.Config, *, trainable: bool) -> None:
        self.module = module
        self.config = config
        self.trainable = trainable
        self.reader = TokenReader(module)
        self.optimizer: torch.optim.Optimizer | None = None

    @classmethod
    def opened(
        cls, folder: Path, config: HuggingFacePolicy.Config, *, trainable: bool, head: Head, text: ChatText
    ) -> Self:
        """The folder's model on its device; one that is trained keeps its weights in float32."""
        half = config.dtype == "bfloat16"
        module = open_model(
            folder, dtype=torch.bfloat16 if half and not trainable else torch.float32, head=head, text=text
        )
        device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        module.to(device).requires_grad_(trainable)
        if half and trainable:
            compute_in_half(module, device)
        if trainable and config.gradient_checkpointing:
            checkpoint_gradients(module)
        return cls(module, config, trainable=trainable)

    @torch.no_grad()
    def read(self, what: Literal["logprob", "score"], sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence, float64: its log-probabilities, or its score head's output."""
        if (what == "score") != (self.reader.head is not None):
            lacks = "score head" if what == "score" else "next-token logits"
            raise SetupError(f"this model has no {lacks}", where="policy transformers", fix="open it with another head")
        results = [np.zeros(len(sequence.ids) - sequence.start) for sequence in sequences]
        for places in micro_batches(sequences, padded_tokens=self.config.micro_batch_tokens):
            batch = collate(sequences, places, device=self.module.device)
            values = self.reader.read(batch, {what})[what].double().cpu().numpy()
            owners = batch.sequence.cpu().numpy()
            for row, place in enumerate(places):
                skipped = first_counted(sequences[place]) - sequences[place].start
                results[place][skipped:] = values[owners == row]
        return results

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One step of AdamW over all sequences; nothing changes when the loss or the gradient is not finite."""
        if not self.trainable:
            raise SetupError("this model is frozen", where="policy transformers", fix="open it with trainable=True")
        self.module.zero_grad(set_to_none=True)
        total, tokens, recorded = 0.0, 0, dict[str, float]()
        for places in micro_batches(sequences, padded_tokens=self.config.micro_batch_tokens):
            with recomputing(self.module):
                view = self.reader.view(collate(sequences, places, device=self.module.device), loss.reads)
                value = (view.columns["weight"] * loss(view)).sum()
                value.backward()
            total += value.item()
            tokens += len(view.targets)
            for name, summed in view.recorded.items():
                recorded[name] = recorded.get(name, 0.0) + summed.item()
        norm = float(torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.max_grad_norm))
        report = {
            "loss": total,
            "grad_norm": norm,
            **{name: value / max(tokens, 1) for name, value in recorded.items()},
        }
        if not (math.isfinite(total) and math.isfinite(norm)):
            self.module.zero_grad(set_to_none=True)
            return {**report, "skipped": 1.0}
        self._step(lr)
        return report

    def export(self, folder: Path) -> bool:
        """Write the model."""
        save_model(self.module, folder)
        return True

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` and, from the first update on, `optimizer.safetensors`."""
        _state.save(self, folder)

    def restore(self, folder: Path) -> None:
        """Take both back. Raises SetupError when they are another model's."""
        _state.restore(self, folder)

    def _step(self, lr: float) -> None:
        if self.optimizer is None:
            self.optimizer = self.new_optimizer()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def new_optimizer(self) -> torch.optim.Optimizer:
        """AdamW before its first step."""
        return torch.optim.AdamW(
            self.module.parameters(),
            betas=self.config.betas,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
