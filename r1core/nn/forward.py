"""One forward of the decoder: the next-token logits of every row.

`forward` works for any Hugging Face causal language model whose layers keep keys and values. Shapes: R rows, n new
tokens of each (right-aligned), S slots of the cache after them, V vocabulary.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from r1core.nn.kv import KVCache


def unsupported_layers(module: Any) -> str:
    """Why the decoder cannot run this model; empty when it can."""
    layers = DynamicCache(config=module.config).layers
    strange = sorted({type(layer).__name__ for layer in layers if type(layer) not in _KNOWN})
    return f"its layers keep more than keys and values ({', '.join(strange)})" if strange else ""


_KNOWN = (DynamicLayer, DynamicSlidingWindowLayer)


class Forward:
    """Calls `module` with the decoder's cache."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.layers: int = module.config.get_text_config(decoder=True).num_hidden_layers
        self.last_only = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(module.forward).parameters else {}
        )

    def __call__(self, ids: Tensor, lengths: Tensor, cache: KVCache) -> Tensor:
        """(R, V) logits after `ids` (R, n); `lengths` (R,) counts the tokens of each row, these included."""
        slots = cache.live + ids.shape[1]
        begin = slots - lengths
        slot = torch.arange(slots, device=ids.device)
        output = self.module(
            input_ids=ids,
            attention_mask=(slot >= begin.unsqueeze(1)).long(),
            position_ids=(slot[cache.live :] - begin.unsqueeze(1)).clamp_(min=0),
            past_key_values=cache,
            use_cache=True,
            **self.last_only,
        )
        logits: Tensor = output.logits[:, -1]
        return logits
