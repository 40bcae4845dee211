"""What a loss sees of one micro-batch: its counted tokens, flattened.

Padding and prompts are gone before a loss is called, so no loss can forget a mask. N = counted
tokens of the micro-batch, S = its sequences, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from r1core.nn.batch import Batch
from r1core.nn.lm_head import LMHead


@dataclass(kw_only=True)
class TokenView:
    """The counted tokens of a micro-batch. Tensors that the loss did not ask for in `reads` raise when read."""

    columns: Mapping[str, Tensor]
    """Each (N,) or (N, K): `weight`, and whatever the trainer supplied; whole numbers are int64, others float32."""
    sequence: Tensor
    """(N,) the number of the sequence, 0..S-1, that each token belongs to."""
    targets: Tensor
    """(N,) token ids."""
    given: Mapping[str, Tensor]
    """The differentiable tensors: "logprob" (N,), "entropy" (N,), "logits" (N, V), "score" (N,)."""
    batch: Batch | None = None
    """The micro-batch that the tokens come from: another policy reads the same tokens of it (`Policy.head`)."""
    lm_head: LMHead | None = None
    recorded: dict[str, Tensor] = field(default_factory=dict)

    def _read(self, name: str) -> Tensor:
        if name not in self.given:
            raise KeyError(f"the loss reads {name!r} but does not declare it in `reads`")
        return self.given[name]

    @property
    def logprob(self) -> Tensor:
        """(N,) log-probability of each target at temperature 1."""
        return self._read("logprob")

    @property
    def entropy(self) -> Tensor:
        """(N,) entropy of each next-token distribution, nats."""
        return self._read("entropy")

    @property
    def logits(self) -> Tensor:
        """(N, V) logits that predict each target."""
        return self._read("logits")

    @property
    def score(self) -> Tensor:
        """(N,) the score head's output where each target is predicted."""
        return self._read("score")

    @property
    def head(self) -> LMHead:
        """The model's head, of which whole next-token distributions are read."""
        if self.lm_head is None:
            raise KeyError("the loss reads 'head' but does not declare it in `reads`")
        return self.lm_head

    def take(self, mask: Tensor) -> TokenView:
        """The view of some tokens, those where `mask` (N,) is true; what it records is this view's."""
        return TokenView(
            columns={name: values[mask] for name, values in self.columns.items()},
            sequence=self.sequence[mask],
            targets=self.targets[mask],
            given={name: values[mask] for name, values in self.given.items()},
            batch=None if self.batch is None else self.batch.take(mask),
            lm_head=None if self.lm_head is None else self.lm_head.take(mask),
            recorded=self.recorded,
        )

    def record(self, name: str, per_token: Tensor) -> None:
        """Log the token mean (over the whole step) of an (N,) tensor under `name`."""
        self.recorded[name] = per_token.detach().to(torch.float64).sum()
