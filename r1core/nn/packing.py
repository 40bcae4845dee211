"""Sequences laid end to end, without padding: whether a model keeps them apart, found out on a few tokens.

Positions begin anew with every sequence, and the library's attention reads from them where one ends: flash-attention
then computes each by itself; torch's own attention masks the rest out, and pays for the whole square. Models that pay
no attention to positions (state spaces, biases by distance) would let sequences see each other, without an error.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from r1core.errors import SetupError

FLASH = "flash_attention_2"
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Share of the largest hidden state by which packed ones may differ: what rounding makes, an order of magnitude off."""


def pack(module: Any, *, dtype: torch.dtype, where: str) -> None:
    """Make the module, on its device and in eval mode, ready for packed batches. Raises SetupError where its sequences
    would not stay apart."""
    if module.device.type == "cuda" and dtype == torch.bfloat16 and importlib.util.find_spec("flash_attn"):
        module.set_attn_implementation(FLASH)
    apart = _difference(module)
    if apart > TOLERANCE[dtype]:
        raise SetupError(
            f"models of type {module.config.model_type!r} do not keep packed sequences apart (hidden states differ by"
            f" {apart:.1g} of the largest)",
            where=where,
            fix="packing: false",
        )


@torch.no_grad()
def _difference(module: Any) -> float:
    """How far the hidden states of two sequences packed are from those of each alone, as a share of the largest."""
    first, second = torch.arange(1, 8, device=module.device), torch.arange(3, 8, device=module.device)
    packed = _states(module, torch.cat([first, second]), torch.cat([torch.arange(7), torch.arange(5)]))
    alone = torch.cat([_states(module, ids, torch.arange(len(ids))) for ids in (first, second)])
    return float((packed - alone).abs().max() / alone.abs().max())


def _states(module: Any, ids: Tensor, positions: Tensor) -> Tensor:
    given = {"input_ids": ids.unsqueeze(0), "position_ids": positions.to(ids.device).unsqueeze(0), "use_cache": False}
    try:
        states: Tensor = module.base_model(**given).last_hidden_state[0].float()
    except TypeError:  # one that takes no positions
        states = module.base_model(input_ids=given["input_ids"], use_cache=False).last_hidden_state[0].float()
    return states
