"""How far the policy has moved: by token, and as a mean over each answer. N tokens of S answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView

LOG_RATIO_BOUND = 20.0
"""As verl: e^20 is finite in float32."""


def log_ratios(view: TokenView) -> torch.Tensor:
    """(N,) log rho_t, unbounded."""
    return view.logprob - view.columns["old_logprob"]


def bounded_log_ratios(view: TokenView) -> torch.Tensor:
    """(N,) log rho_t within the bound; beyond it there is no gradient."""
    return log_ratios(view).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def answer_means(values_N: torch.Tensor, view: TokenView) -> torch.Tensor:
    """(N,) for each token the mean of its answer's `values_N`."""
    answers = int(view.sequence.max()) + 1 if len(view.sequence) else 0
    sums_S = values_N.new_zeros(answers).index_add(0, view.sequence, values_N)
    lengths_S = values_N.new_zeros(answers).index_add(0, view.sequence, values_N.new_ones(len(values_N)))
    return (sums_S / lengths_S.clamp(min=1))[view.sequence]
