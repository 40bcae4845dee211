"""The two losses that more than one trainer uses. Research objectives are plugins."""

from __future__ import annotations

import torch

from r1core.nn.view import TokenView


class CrossEntropy:
    """- log pi of the token: supervised learning."""

    reads = frozenset({"logprob"})

    def __call__(self, view: TokenView) -> torch.Tensor:
        return -view.logprob


class PolicyGradient:
    """- A_t log pi of the token: REINFORCE, one update for each sampled batch. Column: `advantage`."""

    reads = frozenset({"logprob"})

    def __call__(self, view: TokenView) -> torch.Tensor:
        return -view.columns["advantage"] * view.logprob
