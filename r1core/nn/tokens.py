"""From a micro-batch to what a loss reads: log-probabilities, entropies, logits or scores of the counted tokens.

Only the hidden states of counted tokens reach the LM head, and where their logits would be many (`WHOLE_LOGITS`) these
exist a tile at a time (`r1core.nn.head`) and are computed again in the backward pass. Models that change their logits
after the head (soft-capping, scaling) are found out once and take the full forward; what a loss reads of those, or of a
head that is no plain matrix, is computed in chunks of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from r1core.errors import SetupError
from r1core.nn.batch import Batch
from r1core.nn.head import ReadHead
from r1core.nn.lm_head import LMHead
from r1core.nn.loading import SCORE
from r1core.nn.view import TokenView

_read: Any = ReadHead.apply
WHOLE_LOGITS = 2**24
"""Logits that are computed at once: 64 MiB in float32, of which a backward pass needs about four at a time."""


class TokenReader:
    """Reads the counted tokens of micro-batches through `module`, a Hugging Face causal language model, or one for
    sequence classification, which gives scores and nothing else."""

    def __init__(
        self, module: Any, *, whole_logits: int | None = None, into_grad: bool = False, vocabulary: int | None = None
    ) -> None:
        """`into_grad`: nobody but this process's optimizer waits for the gradient of the head's weight, so that it may
        be added in place. `vocabulary`: tokens of the tokenizer, where the head may have more rows."""
        self.module = module
        self.width: int = module.config.get_text_config(decoder=True).vocab_size
        self.vocabulary = vocabulary
        self.into_grad = into_grad
        self.chunk_tokens = max(1, (WHOLE_LOGITS if whole_logits is None else whole_logits) // self.width)
        self.head = getattr(module, SCORE, None)
        self.plain_head = self.head is not None or has_plain_head(module)
        self.tiles = self.head is None and self.plain_head and _reads_tiles(module)

    def view(self, batch: Batch, reads: Collection[str]) -> TokenView:
        """The batch as a loss sees it. `reads`: of "logprob", "entropy", "logits", "head"; "score" of a score head."""
        states = self._states(batch)
        return TokenView(
            columns=batch.columns,
            sequence=batch.sequence,
            targets=batch.targets,
            given=self._given(states, batch.targets, reads),
            batch=batch,
            lm_head=self._lm_head(states) if "head" in reads else None,
        )

    def read(self, batch: Batch, reads: Collection[str]) -> dict[str, Tensor]:
        """The tensors named in `reads`: (N,) each, (N, V) for "logits"; all float32."""
        return self._given(self._states(batch), batch.targets, reads)

    def lm_head(self, batch: Batch) -> LMHead:
        """The head, with the hidden states that predict the batch's counted tokens. A batch of no rows needs none."""
        if len(batch.ids):
            return self._lm_head(self._states(batch))
        return LMHead(
            torch.zeros(0, self.width, device=self.module.device), width=self.width, vocabulary=self.vocabulary
        )

    def _given(self, states: Tensor, targets: Tensor, reads: Collection[str]) -> dict[str, Tensor]:
        if "logits" in reads or len(states) <= self.chunk_tokens:
            return self._chunk(states, targets, reads)
        if not {"logprob", "entropy", "score"} & set(reads):
            return {}
        if self.tiles:
            entropy, into_grad = "entropy" in reads, self.into_grad
            found = self.module.get_output_embeddings()(
                states, lambda states, weight, bias: _read(states, weight, bias, targets, entropy, into_grad)
            )
            return {name: value for name, value in zip(("logprob", "entropy"), found, strict=True) if name in reads}
        pieces = torch.split(states, self.chunk_tokens)
        chunks = [
            checkpoint(self._chunk, piece, part, reads, use_reentrant=False)
            if torch.is_grad_enabled()
            else self._chunk(piece, part, reads)
            for piece, part in zip(pieces, torch.split(targets, self.chunk_tokens), strict=True)
        ]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _lm_head(self, states: Tensor) -> LMHead:
        if self.head is not None:
            raise SetupError("this model has no next-token logits", where="policy", fix="open it with another head")
        module = self.module.get_output_embeddings()
        if self.tiles:
            return LMHead(states, module, width=self.width, vocabulary=self.vocabulary, into_grad=self.into_grad)
        logits = module(states) if self.plain_head else states
        return LMHead(logits, width=self.width, vocabulary=self.vocabulary)

    def _states(self, batch: Batch) -> Tensor:
        """(N, H) hidden states of the predictors, or (N, V) logits where the head is not plain."""
        given = {"input_ids": batch.ids, "use_cache": False}
        if batch.positions is not None:
            given["position_ids"] = batch.positions
        if self.plain_head:
            states: Tensor = self.module.base_model(**given).last_hidden_state
        else:
            states = self.module(**given).logits
        return states.flatten(0, 1).index_select(0, batch.predictors)

    def _chunk(self, states: Tensor, targets: Tensor, reads: Collection[str]) -> dict[str, Tensor]:
        if self.head is not None:
            return {"score": self.head(states).squeeze(-1).float()} if "score" in reads else {}
        given: dict[str, Tensor] = {}
        if not {"logprob", "entropy", "logits"} & set(reads):
            return given
        logits = (self.module.get_output_embeddings()(states) if self.plain_head else states).float()
        if "logprob" in reads:
            given["logprob"] = -functional.cross_entropy(logits, targets, reduction="none")
        if "entropy" in reads:
            logs = functional.log_softmax(logits, dim=-1)
            given["entropy"] = -(logs.exp() * logs).sum(-1)
        if "logits" in reads:
            given["logits"] = logits
        return given


@torch.no_grad()
def _reads_tiles(module: Any) -> bool:
    """Let the head, called with a function of states, weight and bias, have its logits read in tiles: inside its call,
    so that whoever gathers its weight for a call (ZeRO) does so here. False for a head of another kind."""
    head: Any = module.get_output_embeddings()
    kind: Any = type(head)
    if kind is not torch.nn.Linear:  # adapters beside a head make it another kind
        return False
    plain = head.forward
    dtype = plain(head.weight[:1]).dtype

    def forward(states: Tensor, read: Callable[[Tensor, Tensor, Tensor | None], Any] | None = None) -> Any:
        return plain(states) if read is None else read(states.to(dtype), head.weight, head.bias)

    head.forward = forward
    return True


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
