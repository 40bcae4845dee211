"""The two losses that more than one trainer uses. Research objectives are plugins.

They need no torch themselves: a policy hands them a view of its own tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


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
