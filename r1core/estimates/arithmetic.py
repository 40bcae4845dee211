"""The arithmetic of a transformer in training and sampling, bytes and operations, for one process.

Activations are what autograd keeps of a layer (counted with its own hooks, tests/plugins/test_memory.py), a token:

    2 norms x `norm` bytes x H  +  number x (2 Q + 2 K + 4 I)          H hidden, Q queries, K keys, I feed-forward

`norm` is 12 where all is float32 (input, normalised, output); 8 where weights are bfloat16 (they are normalised in
float32); 13 where bfloat16 is cast from float32 weights, since each product keeps a cast of its own.
Checkpointed, a layer keeps its input alone, and one layer at a time has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r1core.estimates.amounts import Load, Memory, Range
from r1core.estimates.shapes import ModelShape

WHOLE_LOGITS = 2**24
"""Logits that a policy computes at once, as r1core.nn does; of more it computes a tile at a time."""
TILE_LOGITS = {"cpu": 2**22, "cuda": 2**24}
COPIES = 3
"""Arrays of that size at once, where they are differentiated: logits, softmax, gradient. Two where they are read."""


UNUSED = Range(0.0, 0.2, 0.6)
UNTRIMMED = Range(0.0, 64.0 * 2**20, 128.0 * 2**20)


@dataclass(frozen=True)
class Format:
    """How a model computes: bytes of a number in its products, and of all that a normalisation keeps of one."""

    number: int
    norm: int


FLOAT32 = Format(4, 12)
HALF = Format(2, 8)
"""Weights are bfloat16."""
CAST = Format(2, 13)
"""Weights are float32, and cast for each product."""


def micro_batch(load: Load, most: int) -> Range:
    """Tokens of the fullest micro-batch of at most `most` padded tokens: whole sequences, a longer one alone. It may be
    half as full, since it is closed before sequences that are much shorter than its own."""
    own = load.update_tokens
    totals = own.all if own is not None else (float("inf"),) * 3
    full = [max(1, most // length) * length for length in load.length.all]
    found = Range.about(min(tokens, all_of) for tokens, all_of in zip(full, totals, strict=True))
    return Range(max(found.low / 2, min(load.length.low, found.low)), found.expected, found.high)


def activations(shape: ModelShape, tokens: Range, *, form: Format, recomputed: bool) -> Range:
    """What a forward keeps for its backward."""
    widths = 2 * shape.queries + 2 * shape.keys + 4 * shape.intermediate
    norms = shape.norms if shape.norms is not None else 2 * shape.hidden * shape.layers
    # A normalisation beyond the two that a layer begins its blocks with has an input of its own, but no products.
    beyond = max(0, norms - 2 * shape.hidden * shape.layers)
    all_layers = norms_bytes(shape, form) + form.number * widths * shape.layers + 8 * beyond
    one = all_layers / shape.layers
    kept = shape.layers * shape.hidden * residual_bytes(form) + one if recomputed else all_layers
    last = shape.hidden * (form.norm - form.number)
    return tokens * (kept + last)


def only_read(shape: ModelShape, load: Load, tokens: Range, *, number_bytes: int, on_gpu: bool) -> Memory:
    """What a model takes that is not trained: its weights, one layer's work at a time, logits."""
    return Memory(
        weights=Range.exactly(number_bytes * shape.parameters),
        activations=tokens * (4.0 * number_bytes * (shape.hidden + shape.intermediate)),
        logits=logits(shape, tokens, trained=False, scores=load.scores, on_gpu=on_gpu),
    )


def norms_bytes(shape: ModelShape, form: Format) -> int:
    """What the two normalisations of each layer keep of a token."""
    return 2 * form.norm * shape.hidden * shape.layers


def residual_bytes(form: Format) -> int:
    """Bytes of a number between layers."""
    return 2 if form is HALF else 4


def logits(shape: ModelShape, tokens: Range, *, trained: bool, scores: bool, on_gpu: bool) -> Range:
    """Next-token logits in memory at a time, float32, with their softmax, and their gradients where they have any."""
    if scores:
        return tokens * 0.0
    tile = TILE_LOGITS["cuda" if on_gpu else "cpu"]
    held = Range.about(float(tile if _in_tiles(shape, each) else each * shape.vocabulary) for each in tokens.all)
    return held * (4.0 * (COPIES if trained else COPIES - 1))


def head_gradient(shape: ModelShape, tokens: Range, *, in_place: bool) -> Range:
    """The gradient of the output embedding, which waits for the layers' where both embeddings are one matrix; computed
    in tiles it may be added in place."""
    whole = 4.0 * shape.embedding
    return Range.about(0.0 if in_place and _in_tiles(shape, each) else whole for each in tokens.all)


def input_gradient(shape: ModelShape, kept: Range) -> Range:
    """What the gradients of the embeddings need beyond what was `kept` until then: that of the input, and, where both
    are one matrix, that of the output and their sum (small micro-batches are never computed in tiles)."""
    whole = (3 if shape.tied else 1) * 4.0 * shape.embedding
    return Range(*(max(whole - each, 0.0) for each in reversed(kept.all)))


def _in_tiles(shape: ModelShape, tokens: float) -> bool:
    return tokens * shape.vocabulary > WHOLE_LOGITS


def holes(kept: Range, *, on_gpu: bool) -> Range:
    """What an allocator leaves unused between tensors: a share of what comes and goes, and on a CPU what is too little
    to be given back (r1core.nn trims the heap from 128 MiB on)."""
    return kept.times(UNUSED) if on_gpu else kept.times(UNUSED) + UNTRIMMED


def adapter_weights(shape: ModelShape, *, rank: int, targets: Sequence[str]) -> int:
    """Weights of low-rank adapters beside the linear layers whose names end so; none: beside all but the head."""
    h, q, k, i = shape.hidden, shape.queries, shape.keys, shape.intermediate
    ends = {"q_proj": h + q, "k_proj": h + k, "v_proj": h + k, "o_proj": q + h}
    ends |= {"gate_proj": h + i, "up_proj": h + i, "down_proj": i + h}
    chosen = [width for name, width in ends.items() if not targets or name.endswith(tuple(targets))]
    return shape.layers * rank * sum(chosen)


def cache_bytes(shape: ModelShape, *, number_bytes: int) -> int:
    """Keys and values of one token in all layers."""
    return 2 * shape.layers * shape.keys * number_bytes


def forward_operations(shape: ModelShape, length: float) -> float:
    """Floating-point operations of one token's forward, among `length` tokens: 2 for each weight, and attention."""
    return 2.0 * shape.computed + 2.0 * shape.layers * shape.queries * length
