"""From a micro-batch to what a loss reads: log-probabilities, entropies, logits or scores of the counted tokens.

Only the hidden states of counted tokens reach the LM head, and only a chunk of them at a time (`CHUNK_LOGITS`), so that
the logits in memory are bounded; when there is more than one chunk, its logits are computed again in the backward pass.
Models that change their logits after the head (soft-capping, scaling) are found out once and take the full forward.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from r1core.nn.batch import Batch
from r1core.nn.loading import SCORE
from r1core.nn.view import TokenView

CHUNK_LOGITS = 2**26
"""Logits of one chunk: 256 MiB in float32, of which a backward pass needs about four at a time."""
MOST_TOKENS = 4096
"""Tokens of one chunk where the vocabulary is small."""


class TokenReader:
    """Reads the counted tokens of micro-batches through `module`, a Hugging Face causal language model, or one for
    sequence classification, which gives scores and nothing else."""

    def __init__(self, module: Any, *, chunk_tokens: int | None = None) -> None:
        self.module = module
        vocabulary = module.config.get_text_config(decoder=True).vocab_size
        self.chunk_tokens = chunk_tokens or max(1, min(MOST_TOKENS, CHUNK_LOGITS // vocabulary))
        self.head = getattr(module, SCORE, None)
        self.plain_head = self.head is not None or has_plain_head(module)

    def view(self, batch: Batch, reads: Collection[str]) -> TokenView:
        """The batch as a loss sees it. `reads`: of "logprob", "entropy", "logits"; "score" of a score head."""
        return TokenView(
            columns=batch.columns, sequence=batch.sequence, targets=batch.targets, given=self.read(batch, reads)
        )

    def read(self, batch: Batch, reads: Collection[str]) -> dict[str, Tensor]:
        """The tensors named in `reads`: (N,) each, (N, V) for "logits"; all float32."""
        states = self._states(batch)
        pieces = torch.split(states, self.chunk_tokens)
        if "logits" in reads or len(pieces) <= 1:
            return self._chunk(states, batch.targets, reads)
        chunks = [
            checkpoint(self._chunk, piece, targets, reads, use_reentrant=False)
            if torch.is_grad_enabled()
            else self._chunk(piece, targets, reads)
            for piece, targets in zip(pieces, torch.split(batch.targets, self.chunk_tokens), strict=True)
        ]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _states(self, batch: Batch) -> Tensor:
        """(N, H) hidden states of the predictors, or (N, V) logits where the head is not plain."""
        if self.plain_head:
            states: Tensor = self.module.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
        else:
            states = self.module(input_ids=batch.ids, use_cache=False).logits
        return states.flatten(0, 1).index_select(0, batch.predictors)

    def _chunk(self, states: Tensor, targets: Tensor, reads: Collection[str]) -> dict[str, Tensor]:
        if self.head is not None:
            return {"score": self.head(states).squeeze(-1).float()} if "score" in reads else {}
        logits = (self.module.get_output_embeddings()(states) if self.plain_head else states).float()
        given: dict[str, Tensor] = {}
        if "logprob" in reads:
            given["logprob"] = -functional.cross_entropy(logits, targets, reduction="none")
        if "entropy" in reads:
            logs = functional.log_softmax(logits, dim=-1)
            given["entropy"] = -(logs.exp() * logs).sum(-1)
        if "logits" in reads:
            given["logits"] = logits
        return given


@torch.no_grad()
def has_plain_head(module: Any) -> bool:
    """Whether the model's logits are exactly its output embedding applied to its last hidden state.

    Found out on a few tokens: the head's output is made large, and must arrive as the logits unchanged.
    """
    head = module.get_output_embeddings()
    if head is None:
        return False
    seen: dict[str, Tensor] = {}

    def enlarge(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen["hidden"], seen["logits"] = inputs[0], output * 1000.0
        return seen["logits"]

    ids = torch.arange(4, device=module.device).unsqueeze(0)
    hook = head.register_forward_hook(enlarge)
    try:
        logits = module(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    hidden = module.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return "logits" in seen and _same(logits, seen["logits"]) and _same(hidden, seen["hidden"])


def _same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.allclose(left.float(), right.float(), rtol=1e-5, atol=1e-6)
