"""What the policy takes: float32 weights, gradients and AdamW's two moments where it trains, and a micro-batch's work.

Measured against the process in tests/benchmarks/bench_estimates.py.
"""

from __future__ import annotations

from r1core.estimates import NOTHING, Load, Memory, ModelShape, Range
from r1core.estimates.arithmetic import (
    CAST,
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
from r1core.policies import HuggingFacePolicy


def memory(config: HuggingFacePolicy.Config, shape: ModelShape, load: Load) -> Memory:
    """One process."""
    shape = shape.scoring() if load.scores else shape
    count, half, on_gpu = shape.parameters, config.dtype == "bfloat16", config.device == "cuda"
    tokens = micro_batch(load, config.micro_batch_tokens)
    if not load.trained:
        return only_read(shape, load, tokens, number_bytes=(HALF if half else FLOAT32).number, on_gpu=on_gpu)
    lora = config.lora
    learning = count if lora is None else adapter_weights(shape, rank=lora.rank, targets=lora.targets)
    kept = activations(shape, tokens, form=CAST if half else FLOAT32, recomputed=config.gradient_checkpointing)
    held = logits(shape, tokens, trained=True, scores=load.scores, on_gpu=on_gpu)
    of_embeddings = NOTHING
    if lora is None and not load.scores:
        waiting = head_gradient(shape, tokens, in_place=True)
        of_embeddings = waiting + input_gradient(shape, kept + held + waiting)
    casts = Range.exactly(2.0 * shape.body) if half else Range.exactly(0)
    return Memory(
        weights=Range.exactly(4 * learning if lora is None else (2 if half else 4) * count + 4 * learning),
        gradients=Range.exactly(4 * learning),
        optimizer=Range.exactly(8 * learning),
        activations=kept,
        logits=held,
        buffers=casts + holes(kept + held, on_gpu=on_gpu) + of_embeddings,
    )
