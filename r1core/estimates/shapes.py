"""The numbers of a transformer that memory and time follow from, read from the keys of its Hugging Face config.

Only plain decoders are known: keys and values in every layer, one feed-forward block of `intermediate_size`, no
experts. Of anything else the shape is `Unknown`, with the reason, and nothing is estimated for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

WANTED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size")
OTHER_ATTENTION = ("kv_lora_rank", "mamba_d_state", "linear_num_key_heads", "state_size")


@dataclass(frozen=True)
class Unknown:
    """Why nothing can be said of a model."""

    why: str


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder. `head_size` is that of queries, keys and values."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    """Whether input and output embedding are one matrix."""
    positions: int | None = None
    """Tokens that it was made for, prompt and answer; None where its config does not say."""
    counted: int | None = None
    """Its weights where they were counted, in a folder."""
    norms: int | None = None
    """Widths of all normalisations, summed over the layers, where they were counted."""

    @property
    def parameters(self) -> int:
        """How many weights it has: as counted, or a gated decoder's of this shape, biases left out."""
        return self.counted if self.counted is not None else self.body + self.embedding * (1 if self.tied else 2)

    @property
    def embedding(self) -> int:
        """The weights of one embedding."""
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """The weights of all layers and the last normalisation, of a gated decoder."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        return self.layers * (attention + 3 * self.hidden * self.intermediate + 2 * self.hidden) + self.hidden

    @property
    def queries(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all keys of a token, and of all values."""
        return self.kv_heads * self.head_size

    @property
    def computed(self) -> int:
        """The weights that each token is multiplied with: all but an input embedding, which is looked up."""
        return self.parameters - (0 if self.tied else self.embedding)

    def scoring(self) -> ModelShape:
        """The same model ending in one number."""
        known = None if self.counted is None else self.counted - (0 if self.tied else self.embedding)
        return replace(self, tied=True, counted=known)


def shape_of(config: Mapping[str, Any], *, vocabulary: int | None = None) -> ModelShape | Unknown:
    """The shape that a config says; `vocabulary` is the tokenizer's, where the config does not decide."""
    config = {**({"vocab_size": vocabulary} if vocabulary is not None else {}), **config}
    for keys, what in ((EXPERTS, "it has experts"), (OTHER_ATTENTION, "its layers keep more than keys and values")):
        if any(config.get(key) for key in keys):
            return Unknown(f"{what}, whose arithmetic is not known here")
    absent = [key for key in WANTED if not _whole(config.get(key))]
    if absent:
        return Unknown(f"its config does not say {', '.join(absent)}")
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    return ModelShape(
        layers=config["num_hidden_layers"],
        hidden=hidden,
        intermediate=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or max(1, hidden // heads),
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        positions=config["max_position_embeddings"] if _whole(config.get("max_position_embeddings")) else None,
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
