"""What one rank takes: what ZeRO spreads is divided by the ranks, what it gathers comes back for a while.

    stage 0    weights, gradients and moments whole, as without DeepSpeed
    stage 1, 2 weights whole; a float32 copy and both moments in parts; gradients in buckets, then in parts twice over:
               as they were reduced, and flat and float32 for the step
    stage 3    weights in parts, too, and gathered while a layer computes

Measured at one rank in tests/benchmarks/bench_estimates.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from r1core.estimates import NOTHING, Load, Memory, ModelShape, Range
from r1core.estimates.arithmetic import (
    FLOAT32,
    HALF,
    activations,
    adapter_weights,
    head_gradient,
    holes,
    input_gradient,
    logits,
    micro_batch,
    only_read,
)

if TYPE_CHECKING:
    from r1_plugins.deepspeed import DeepSpeedPolicy

MIB = 2**20
LIVE_BUCKETS = 10
"""Buckets of weights that stage 3 keeps gathered (_settings.py)."""


def memory(config: DeepSpeedPolicy.Config, ranks: int, shape: ModelShape, load: Load) -> Memory:
    """One rank of `ranks`."""
    shape = shape.scoring() if load.scores else shape
    form = HALF if config.dtype == "bfloat16" else FLOAT32
    number, count, on_gpu = form.number, shape.parameters, config.device == "cuda"
    tokens = micro_batch(load, config.micro_batch_tokens)
    if not load.trained:
        return only_read(shape, load, tokens, number_bytes=number, on_gpu=on_gpu)
    lora = config.lora
    learning = count if lora is None else adapter_weights(shape, rank=lora.rank, targets=lora.targets)
    kept = activations(shape, tokens, form=form, recomputed=config.gradient_checkpointing)
    held = logits(shape, tokens, trained=True, scores=load.scores, on_gpu=on_gpu)
    saving = Range.exactly(12 * learning / ranks + 4 * shape.embedding)  # a tensor is gathered before it is copied
    work: dict[str, Any] = {"activations": kept, "logits": held, "saving": saving}
    slack = holes(kept + held, on_gpu=on_gpu)
    if lora is None and not load.scores:
        waiting = head_gradient(shape, tokens, in_place=False)
        slack += waiting + input_gradient(shape, kept + held + waiting)
    if config.stage == 0:
        gradients = Range.exactly(4 * learning)
        whole = Range.exactly(4 * count + (0 if lora is None else 4 * learning))
        return Memory(weights=whole, gradients=gradients, optimizer=gradients * 2, buffers=slack, **work)
    part = learning / ranks
    weights = Range.exactly(number * (count / ranks if config.stage == 3 else count))
    optimizer = Range.exactly(12 * part)
    reduced = number * (part if config.stage > 1 else learning)
    bucket = float(min(config.bucket_mib * MIB, number * count))
    gathered = min(number * count, LIVE_BUCKETS * bucket) if config.stage == 3 else 0.0
    offloaded = {"none": NOTHING, "optimizer": optimizer, "weights": optimizer + weights}[config.offload]
    return Memory(
        weights=weights,
        gradients=Range.about((reduced + 4 * part, reduced + (number + 4) * part, number * learning + 8 * part)),
        passing=Range.about((reduced, reduced + number * part / 2, number * learning + number * part)),
        optimizer=optimizer,
        buffers=Range.exactly(bucket + gathered) + slack,
        host=offloaded,
        **work,
    )
