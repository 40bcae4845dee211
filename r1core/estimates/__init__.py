"""What a stage will take before it runs: memory in named parts, each low, expected and high. No torch.

    shape = shape_of(config)                               # the numbers of a Hugging Face config.json
    kv = arithmetic.cache_bytes(shape, number_bytes=2)     # bytes of one token

A policy and a sampler tell their own `Memory` (components.py); the arithmetic of a transformer is here once.
"""

from r1core.estimates.amounts import NOTHING, Load, Memory, Misfit, Quote, Range, Role, RolloutBatches, biggest, total
from r1core.estimates.shapes import ModelShape, Unknown, shape_of

__all__ = [
    "NOTHING",
    "Load",
    "Memory",
    "Misfit",
    "ModelShape",
    "Quote",
    "Range",
    "Role",
    "RolloutBatches",
    "Unknown",
    "biggest",
    "shape_of",
    "total",
]
