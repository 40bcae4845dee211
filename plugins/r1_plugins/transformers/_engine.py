"""The torch side of the policy: log-probabilities without gradients, and one optimizer step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from r1_plugins.transformers import _state
from r1core.components import Loss
from r1core.errors import SetupError
from r1core.nn import (
    Batch,
    ChatText,
    LMHead,
    Proof,
    TokenReader,
    add_adapters,
    as_exported,
    checkpoint_gradients,
    collate,
    compute_in_half,
    first_counted,
    graded,
    micro_batches,
    open_model,
    pack,
    parts,
    recomputing,
    refuse_frozen,
    save_model,
    trained,
)
from r1core.policies import HuggingFacePolicy
from r1core.types import Floats, Head, TopLogprobs, TrainSequence

WHERE = "policy transformers"


class Engine:
    """A loaded model and, from the first update on, its optimizer."""

    def __init__(self, module: Any, config: HuggingFacePolicy.Config, *, trainable: bool, vocabulary: int) -> None:
        self.module = module
        self.config = config
        self.trainable = trainable
        self.reader = TokenReader(module, into_grad=True, vocabulary=vocabulary)
        self.optimizer: torch.optim.Optimizer | None = None
        self.proven = False
        """Whether a step of this process was seen to move all that is trained."""

    @classmethod
    def opened(
        cls, folder: Path, config: HuggingFacePolicy.Config, *, trainable: bool, head: Head, text: ChatText
    ) -> Self:
        """The folder's model on its device; weights that are trained, adapters or all, are float32."""
        half, lora = config.dtype == "bfloat16", config.lora if trainable else None
        whole = trainable and lora is None
        module = open_model(folder, dtype=torch.bfloat16 if half and not whole else torch.float32, head=head, text=text)
        device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        module.requires_grad_(trainable)
        if lora is not None:
            add_adapters(module, rank=lora.rank, alpha=lora.alpha, targets=lora.targets)
            for parameter in trained(module).values():
                parameter.data = parameter.data.float()
        module.to(device)
        if half and trainable:
            compute_in_half(module, device)
        if config.packing:
            pack(module, dtype=torch.bfloat16 if half else torch.float32, where=WHERE)
        if trainable and config.gradient_checkpointing:
            checkpoint_gradients(module)
        return cls(module, config, trainable=trainable, vocabulary=text.vocabulary)

    @torch.no_grad()
    def read(self, what: Literal["logprob", "score"], sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence, float64: its log-probabilities, or its score head's output."""
        if (what == "score") != (self.reader.head is not None):
            lacks = "score head" if what == "score" else "next-token logits"
            raise SetupError(f"this model has no {lacks}", where=WHERE, fix="open it with another head")
        results = [np.zeros(len(sequence.ids) - sequence.start) for sequence in sequences]
        for places in self._split(sequences):
            batch = collate(sequences, places, device=self.module.device, packed=self.config.packing)
            values = self.reader.read(batch, {what})[what].double().cpu().numpy()
            owners = batch.sequence.cpu().numpy()
            for row, place in enumerate(places):
                skipped = first_counted(sequences[place]) - sequences[place].start
                results[place][skipped:] = values[owners == row]
        return results

    @torch.no_grad()
    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        """The `k` likeliest tokens in each counted place, and the token itself, in float32."""
        found: dict[int, TopLogprobs] = {}
        for places in self._split(sequences):
            batch = collate(sequences, places, device=self.module.device, packed=self.config.packing)
            found |= graded(batch, sequences, self.reader.lm_head(batch).graded(batch.targets, k, temperature))
        return [found[place] for place in range(len(sequences))]

    @torch.no_grad()
    def lm_head(self, batch: Batch) -> LMHead:
        """The head for the counted tokens of another model's micro-batch."""
        return self.reader.lm_head(batch)

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One step of AdamW over all sequences; nothing changes when the loss or the gradient is not finite."""
        if not self.trainable:
            raise SetupError("this model is frozen", where=WHERE, fix="open it with trainable=True")
        self._make_room()
        proof = None if self.proven or lr == 0 else Proof(trained(self.module), self._own)
        total, tokens, recorded = 0.0, 0, dict[str, float]()
        for places in self._split(sequences):
            batch = collate(sequences, places, device=self.module.device, packed=self.config.packing)
            with recomputing(self.module):
                view = self.reader.view(batch, loss.reads)
                value = (view.columns["weight"] * loss(view)).sum()
                value.backward()
            total += value.item()
            tokens += len(view.targets)
            for name, summed in view.recorded.items():
                recorded[name] = recorded.get(name, 0.0) + summed.item()
        norm = float(torch.nn.utils.clip_grad_norm_(trained(self.module).values(), self.config.max_grad_norm))
        report = {
            "loss": total,
            "grad_norm": norm,
            **{name: value / max(tokens, 1) for name, value in recorded.items()},
        }
        if not (math.isfinite(total) and math.isfinite(norm)):
            if proof is not None:
                proof.end()
            return {**report, "skipped": 1.0}
        self._step(lr)
        if proof is not None:
            self._prove(proof, lr)
        return report

    def _split(self, sequences: Sequence[TrainSequence]) -> list[list[int]]:
        tokens, packed = self.config.micro_batch_tokens, self.config.packing
        return micro_batches(sequences, padded_tokens=tokens, packed=packed)

    def export(self, folder: Path) -> bool:
        """Write the model, adapters merged."""
        merged = None
        if self.trainable and self.config.lora is not None:
            merged = {part.name: part.merged(*part.parameters).detach().float() for part in parts(self.module)}
        save_model(self.module, folder, weights=merged)
        return True

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each weight under its exported name, in the format that it computes in."""
        dtype = torch.bfloat16 if self.config.dtype == "bfloat16" else torch.float32
        for part in parts(self.module):
            yield from as_exported(self.module, part.name, part.merged(*part.parameters).detach().to(dtype))

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` and, from the first update on, `optimizer.safetensors`."""
        _state.save(self, folder)

    def restore(self, folder: Path) -> None:
        """Take both back. Raises SetupError when they are another model's."""
        _state.restore(self, folder)

    def _make_room(self) -> None:
        """Gradients at nought, and the moments. Of what stays, all is allocated before the first activations: between
        them it would leave holes that a C library keeps (measured: a quarter of a process's peak)."""
        learning = trained(self.module).values()
        for parameter in learning:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.module.zero_grad(set_to_none=False)
        if self.optimizer is None:
            self.optimizer = self.new_optimizer()
            for parameter in learning:
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                self.optimizer.state[parameter] = {"step": step, **moments}

    def _step(self, lr: float) -> None:
        assert self.optimizer is not None, "room was made for it"
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def _prove(self, proof: Proof, lr: float) -> None:
        """Raise RefusedError when the step left out something that is trained."""
        assert self.optimizer is not None
        step = int(next(iter(self.optimizer.state.values()))["step"])
        refuse_frozen([proof.found(step=step, lr=lr, betas=self.config.betas, eps=self.config.eps)], WHERE)
        self.proven = True

    def _own(self, parameter: torch.nn.Parameter, key: str) -> torch.Tensor | None:
        """A parameter, or its moment; None where the optimizer does not have it."""
        if key == "weight" or self.optimizer is None:
            return parameter
        known = {id(each) for group in self.optimizer.param_groups for each in group["params"]}
        return self.optimizer.state[parameter].get(key) if id(parameter) in known else None

    def new_optimizer(self) -> torch.optim.Optimizer:
        """AdamW before its first step."""
        return torch.optim.AdamW(
            trained(self.module).values(),
            betas=self.config.betas,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
