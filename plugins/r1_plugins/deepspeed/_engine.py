"""The torch side: the model inside a DeepSpeed engine, log-probabilities, and one optimizer step over all ranks.

Every rank is given the whole batch, computes its share (`shares`: the same on all) and gets the whole answer. All call
the wrapped forward equally often, since at stage 3 a forward gathers weights from all: a rank with fewer micro-batches
adds empty ones (one token, weight 0).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from r1_plugins.deepspeed import _ranks, _state
from r1_plugins.deepspeed._settings import settings
from r1core.components import Loss
from r1core.errors import SetupError
from r1core.nn import (
    Batch,
    ChatText,
    LMHead,
    Proof,
    TokenReader,
    add_adapters,
    checkpoint_gradients,
    collate,
    first_counted,
    graded,
    micro_batches,
    open_model,
    pack,
    recomputing,
    refuse_frozen,
    shares,
    trained,
)
from r1core.types import Floats, Head, TopLogprobs, TrainSequence

if TYPE_CHECKING:
    from r1_plugins.deepspeed import DeepSpeedPolicy

WHERE = "policy deepspeed"


class Wrapped(torch.nn.Module):
    """What DeepSpeed wraps: the model, the reading of its counted tokens and the loss, in one forward."""

    def __init__(self, model: Any, vocabulary: int) -> None:
        super().__init__()
        self.model = model
        self.reader = TokenReader(model, vocabulary=vocabulary)
        self.recorded: dict[str, torch.Tensor] = {}

    def forward(
        self, batch: Batch, reads: Collection[str], loss: Loss | None, ask: Callable[[LMHead], Any] | None = None
    ) -> Any:
        """What is read; with a loss its sum, and what that recorded is in `recorded`; or what the head answers."""
        if ask is not None:
            return ask(self.reader.lm_head(batch))
        if loss is None:
            return self.reader.read(batch, reads)
        view = self.reader.view(batch, reads)
        value = (view.columns["weight"] * loss(view)).sum()
        self.recorded = view.recorded
        return value


class Engine:
    """A loaded model in its engine; one that is not trained has no optimizer and is not partitioned."""

    def __init__(
        self, module: Any, config: DeepSpeedPolicy.Config, *, device: str, trainable: bool, vocabulary: int
    ) -> None:
        library = _ranks.join(device)
        self.world = _ranks.Ranks(device)
        self.module = module
        self.config = config
        self.trainable = trainable
        self.device = torch.device(device, _ranks.local_rank()) if device == "cuda" else torch.device(device)
        module.to(self.device)
        if config.packing:
            pack(module, dtype=module.dtype, where=WHERE)
        self.wrapped = Wrapped(module, vocabulary)
        self.engine: Any = self._initialized(library) if trainable else None
        self.norm = math.nan
        self.proven = False
        """Whether a step of this process was seen to move all that is trained."""

    @classmethod
    def opened(
        cls, folder: Path, config: DeepSpeedPolicy.Config, *, trainable: bool, head: Head, text: ChatText
    ) -> Self:
        """The folder's model. Each rank reads it whole, in the format that it computes in, before it is spread."""
        device = _ranks.device_of(config.device)
        dtype = torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
        module = open_model(folder, dtype=dtype, head=head, text=text)
        module.requires_grad_(trainable)
        if trainable and config.lora is not None:
            lora = config.lora
            add_adapters(module, rank=lora.rank, alpha=lora.alpha, targets=lora.targets)
            for parameter in trained(module).values():
                parameter.data = parameter.data.to(dtype)  # the engine keeps float32 masters of what it trains
        if trainable and config.gradient_checkpointing:
            checkpoint_gradients(module)
        return cls(module, config, device=device, trainable=trainable, vocabulary=text.vocabulary)

    def _initialized(self, library: Any) -> Any:
        parameters = list(trained(self.module).values())
        optimizer = torch.optim.AdamW(
            parameters,
            betas=self.config.betas,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            fused=self.config.offload == "none",
        )
        with _ranks.quiet():
            engine, *_ = library.initialize(
                model=self.wrapped, optimizer=optimizer, config=settings(self.config, ranks=self.world.size)
            )
        engine.clip_fp32_gradients = self._clipped  # stage 0 in float32: DeepSpeed keeps no norm of its own
        return engine

    def _clipped(self) -> None:
        self.norm = float(torch.nn.utils.clip_grad_norm_(trained(self.module).values(), self.config.max_grad_norm))

    # --- reading -------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, what: Literal["logprob", "score"], sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence, float64: its log-probabilities ("logprob") or its score head's output ("score")."""
        if (what == "score") != (self.wrapped.reader.head is not None):
            lacks = "score head" if what == "score" else "next-token logits"
            raise SetupError(f"this model has no {lacks}", where=WHERE, fix="open it with another head")
        results: dict[int, Floats] = {}
        for batch in self._batches(sequences, {}):
            values = self._forward(batch, {what}, None)[what].double().cpu().numpy()
            owners = batch.sequence.cpu().numpy()
            for row, place in enumerate(batch.places):
                skipped = first_counted(sequences[place]) - sequences[place].start
                results[place] = np.concatenate([np.zeros(skipped), values[owners == row]])
        everywhere = {place: found for own in self.world.gather(results) for place, found in own.items()}
        return [everywhere[place] for place in range(len(sequences))]

    @torch.no_grad()
    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        """The `k` likeliest tokens in each counted place, and the token itself, in float32."""
        results: dict[int, TopLogprobs] = {}
        for batch in self._batches(sequences, {}):
            ask = functools.partial(LMHead.graded, targets=batch.targets, k=k, temperature=temperature)
            results |= graded(batch, sequences, (self.engine or self.wrapped)(batch, (), None, ask))
        everywhere = {place: found for own in self.world.gather(results) for place, found in own.items()}
        return [everywhere[place] for place in range(len(sequences))]

    @torch.no_grad()
    def lm_head(self, batch: Batch) -> LMHead:
        """The head for the counted tokens of another model's micro-batch. A model that is not trained lies whole on
        every rank, so that one may ask alone."""
        if self.trainable:
            raise SetupError("a model in training is no live teacher", where=WHERE, fix="open it with trainable=False")
        return self.wrapped.reader.lm_head(batch)

    def _forward(self, batch: Batch, reads: Collection[str], loss: Loss | None) -> Any:
        return (self.engine or self.wrapped)(batch, reads, loss)

    def _batches(self, sequences: Sequence[TrainSequence], columns: Mapping[str, NDArray[Any]]) -> list[Batch]:
        """This rank's micro-batches, as many as the rank with the most has: the rest are empty."""
        places = shares([len(sequence.ids) for sequence in sequences], self.world.size)
        tokens, packed = self.config.micro_batch_tokens, self.config.packing
        split = [micro_batches(sequences, own, padded_tokens=tokens, packed=packed) for own in places]
        own, rounds = split[self.world.rank], max(map(len, split))
        batches = [collate(sequences, places, device=self.device, packed=packed) for places in own]
        return [*batches, *(self._empty(columns) for _ in range(rounds - len(own)))]

    def _empty(self, columns: Mapping[str, NDArray[Any]]) -> Batch:
        """One token of nobody's, with weight 0 and noughts in columns like these."""
        noughts = {name: np.zeros((1, *values.shape[1:]), values.dtype) for name, values in columns.items()}
        nobody = TrainSequence(ids=np.zeros(2, dtype=np.int64), start=1, columns=noughts)
        batch = collate([nobody], [0], device=self.device, packed=self.config.packing)
        return Batch(**{**vars(batch), "places": ()})

    # --- learning ------------------------------------------------------------------------------------

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One step of AdamW over the sequences, shared out among the ranks."""
        if not self.trainable:
            raise SetupError("this model is frozen", where=WHERE, fix="open it with trainable=True")
        columns = sequences[0].columns if sequences else {}
        total, tokens, recorded = 0.0, 0, dict[str, float]()
        proof = None if self.proven or lr == 0 else Proof(trained(self.module), functools.partial(_state.own, self))
        for batch in self._batches(sequences, columns):
            with recomputing(self.module):
                value = self._forward(batch, loss.reads, loss)
                self.engine.backward(value * self.world.size)  # DeepSpeed takes the ranks' mean: the weights are shares
            total += value.item()
            tokens += len(batch.targets) * bool(batch.places)
            for name, summed in self.wrapped.recorded.items():
                recorded[name] = recorded.get(name, 0.0) + summed.item() * bool(batch.places)
        names = sorted(recorded)
        total, count, *sums = _ranks.summed([total, tokens, *(recorded[name] for name in names)], self.device)
        report = {"loss": total, **{name: value / max(count, 1) for name, value in zip(names, sums, strict=True)}}
        norm = self._step(lr) if math.isfinite(total) and self._finite_gradients() else self._drop(loss, columns)
        if proof is not None:
            self._prove(proof, lr, applied=math.isfinite(norm))
        return {**report, "grad_norm": norm, **({} if math.isfinite(norm) else {"skipped": 1.0})}

    def _prove(self, proof: Proof, lr: float, *, applied: bool) -> None:
        """Raise RefusedError, on every rank, when the step left out something that is trained."""
        proof.end()
        if applied:
            step = _state.steps(self)
            found = proof.found(step=step, lr=lr, betas=self.config.betas, eps=self.config.eps)
            refuse_frozen(self.world.gather(found), WHERE)
            self.proven = True

    def export(self, folder: Path) -> bool:
        """Rank 0 writes the model; whether this is the one."""
        return _state.export(self, folder)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each weight whole, on this rank's device."""
        return _state.weights(self)

    def save(self, folder: Path) -> None:
        """Every rank writes its share of the parameters."""
        _state.save(self, folder)

    def restore(self, folder: Path) -> None:
        """Take them back, at any stage and number of ranks. Raises SetupError when they are another model's."""
        _state.restore(self, folder)

    def _step(self, lr: float) -> float:
        """AdamW's step; the gradient's norm, which is not finite where the step was left out."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        norm = float(self.norm if self.config.stage == 0 else self.engine.get_global_grad_norm())
        return norm if self.engine.was_step_applied() else math.nan

    def _finite_gradients(self) -> bool:
        """Where ZeRO does not look itself (stage 0): whether every rank's own gradients are finite."""
        if self.config.stage > 0:
            return True
        norms = [p.grad.norm() for p in self.module.parameters() if p.grad is not None]
        broken = bool(norms) and not bool(torch.stack(norms).isfinite().all())
        return _ranks.largest(float(broken), self.device) == 0

    def _drop(self, loss: Loss, columns: Mapping[str, NDArray[Any]]) -> float:
        """Forget the gradients. ZeRO keeps them where only it finds them, and clears them in a step that it leaves out
        itself: so it is given one more gradient that is not a number."""
        if self.config.stage == 0:
            self.engine.zero_grad()
            return math.nan
        with recomputing(self.module):
            self.engine.backward(self._forward(self._empty(columns), loss.reads, loss) * math.nan)
        return self._step(0.0)
