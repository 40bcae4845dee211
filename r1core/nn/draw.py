"""The random numbers of sampling, and the draw itself.

The uniform number of token t of a sample is a pure function of (its 64-bit key, t): splitmix64, counter-based. One
number for each token is enough: inverse-CDF sampling (softmax, cumulative sum, search). So no batch composition, no
order and no refill can change what a sample draws. Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


def uniforms(keys: NDArray[np.uint64], steps: NDArray[np.int64]) -> NDArray[np.float32]:
    """(R,) numbers in [0, 1), each from its row's key and token number alone; multiples of 2**-24."""
    counter = (steps.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    bits = _mix(_mix(keys) + counter) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2.0**-24)


class Settings:
    """How each row of a batch is drawn: temperature (0 is greedy) and top-p, (R,) each."""

    def __init__(self, temperature: NDArray[np.float32], top_p: NDArray[np.float32], device: torch.device) -> None:
        self.greedy = _row_mask(temperature == 0, device)
        scale = np.where(temperature == 0, np.float32(1), temperature)
        self.scale = None if (scale == 1).all() else torch.from_numpy(scale).to(device).unsqueeze(1)
        nucleus = np.where(temperature == 0, np.float32(1), top_p)
        self.top_p = None if (nucleus >= 1).all() else torch.from_numpy(nucleus).to(device).unsqueeze(1)


def _row_mask(chosen: NDArray[np.bool_], device: torch.device) -> Tensor | None:
    return torch.from_numpy(chosen).to(device) if chosen.any() else None


def draw(logits: Tensor, uniform: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Tokens (R,) and their log-probabilities (R,) under the distribution drawn from (greedy: at temperature 1)."""
    logits = logits.float()
    if settings.scale is not None:
        logits = logits / settings.scale
    probs = torch.softmax(logits, dim=-1)
    if settings.top_p is not None:
        probs = _nucleus(probs, settings.top_p)
    mass = probs.cumsum(dim=-1)
    threshold = uniform.unsqueeze(1) * mass[:, -1:]
    tokens = torch.searchsorted(mass, threshold, right=True).clamp_(max=logits.shape[-1] - 1)
    if settings.greedy is not None:
        tokens = torch.where(settings.greedy.unsqueeze(1), logits.argmax(dim=-1, keepdim=True), tokens)
    return tokens.squeeze(1), probs.gather(1, tokens).squeeze(1).log()


def model_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """(R,) log-probabilities of tokens (R,) as the model itself gives them: neither tempered nor cut."""
    return logits.float().log_softmax(dim=-1).gather(1, tokens.unsqueeze(1)).squeeze(1)


def _nucleus(probs: Tensor, top_p: Tensor) -> Tensor:
    """The smallest set of likeliest tokens whose mass reaches `top_p`, scaled to one; rows at 1 stay as they are."""
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.where((before < top_p) | (top_p >= 1), ordered, torch.zeros_like(ordered))
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.empty_like(probs).scatter_(1, order, kept)
