"""Heads of a language model without the model: hidden states, a weight that is trained, and the calls that read it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from r1core.nn import LMHead, head


class Matrix(torch.nn.Module):
    """A head as a model has it: called with states and a function."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.bias = None if bias is None else torch.nn.Parameter(bias.clone())

    def forward(self, states: Tensor, read: Any) -> Any:
        return read(states, self.weight, self.bias)


class Side:
    """One model's head on N tokens: V tokens of the tokenizer, `padding` more rows."""

    def __init__(
        self, seed: int, *, tokens: int = 11, vocabulary: int = 37, padding: int = 0, dtype: torch.dtype = torch.float64
    ) -> None:
        random = torch.Generator().manual_seed(seed)
        width = vocabulary + padding
        self.vocabulary, self.width = vocabulary, width
        self.states = torch.randn(tokens, 8, generator=random, dtype=dtype).requires_grad_()
        weight = torch.randn(width, 8, generator=random, dtype=dtype)
        self.module = Matrix(weight, torch.randn(width, generator=random, dtype=dtype))

    @property
    def logits(self) -> Tensor:
        """(N, V) whole, with the way back to states, weight and bias."""
        return (self.states @ self.module.weight.T + self.module.bias)[:, : self.vocabulary]

    def head(self, *, into_grad: bool = False) -> LMHead:
        """Read in tiles from the weight."""
        size = {"width": self.width, "vocabulary": self.vocabulary}
        return LMHead(self.states, self.module, into_grad=into_grad, **size)

    def whole(self) -> LMHead:
        """From logits that exist, as those of a model that changes them after its head."""
        logits = self.states @ self.module.weight.T + self.module.bias
        return LMHead(logits, width=self.width, vocabulary=self.vocabulary)

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Of states, weight and bias, and nothing left behind."""
        loss.backward()
        found = {"states": self.states, "weight": self.module.weight, "bias": self.module.bias}
        gradients = {}
        for name, tensor in found.items():
            assert tensor.grad is not None
            gradients[name], tensor.grad = tensor.grad, None
        return gradients


def small_tiles(patch: pytest.MonkeyPatch, logits: int, tokens: int) -> None:
    """Tiles of at most so many logits, and so many tokens high."""
    patch.setitem(head.TILE_LOGITS, "cpu", logits)
    patch.setattr(head, "TILE_TOKENS", tokens)
