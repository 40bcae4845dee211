"""Sampler and policy compute the same probabilities with other kernels, and sometimes with other weights.

    rho_t = pi_old(y_t) / mu(y_t)        pi_old computed by the policy, mu told by the sampler

How far they are apart is logged whenever both are known. `importance` corrects the gradient for it, by token or by
answer (the product of its tokens' ratios): truncated importance sampling (TIS: rho up to `high`), or masked (IcePop,
MIS: 0 where rho lies outside of `low`..`high`). The weights are numbers, not differentiated (verl 0.9.1,
rollout_corr_helper.py; TRL 1.16).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from r1core.choices import Options
from r1core.types import Floats, TrainSequence

from .kl import LOG_RATIO_BOUND

SAMPLER, WEIGHT = "sampler_logprob", "importance"
"""Columns: what the sampler said of each token, and the weight that follows."""


class Importance(Options):
    """Correcting the gradient for the gap between sampler and policy."""

    mode: Literal["none", "truncate", "mask"] = Field(
        "none", description="truncate: a ratio counts within low and high; mask: outside of them it weighs 0"
    )
    level: Literal["token", "sequence"] = Field(
        "token",
        description="token: each its own ratio; sequence: the product of an answer's ratios, for all its tokens",
    )
    low: float | None = Field(None, ge=0, description="smallest ratio; null: none (IcePop masks below 0.5)")
    high: float = Field(2.0, gt=0, description="largest ratio (verl 2; IcePop 5; TRL masks answers above 3)")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}: low must be below high")
        return self

    def weights(self, log_ratio_T: Floats) -> Floats:
        """(T,) what each token of one answer weighs."""
        logs = log_ratio_T if self.level == "token" else np.full_like(log_ratio_T, log_ratio_T.sum())
        ratio_T = _exp(logs)
        if self.mode == "truncate":
            return ratio_T.clip(self.low, self.high)
        inside = ratio_T <= self.high if self.low is None else (ratio_T >= self.low) & (ratio_T <= self.high)
        return np.where(inside, ratio_T, 0.0)


def log_ratio(sequence: TrainSequence) -> Floats:
    """log rho, (T,)."""
    return sequence.columns["old_logprob"] - sequence.columns[SAMPLER]


def mismatch(batch: Sequence[TrainSequence]) -> dict[str, float]:
    """How far sampler and policy are apart, over all tokens whose sampler told. After "sampler/", the names are TRL's
    and verl's; the effective sample size is that of the plain ratios, as a share of the tokens."""
    told = [sequence for sequence in batch if SAMPLER in sequence.columns]
    tokens_N = np.concatenate([*map(log_ratio, told), np.zeros(0)])
    if not tokens_N.size:
        return {}
    ratio_N, gap_N = _exp(tokens_N), np.abs(tokens_N)
    return {
        "sampler/sampling_logp_difference/mean": float(gap_N.mean()),
        "sampler/sampling_logp_difference/max": float(gap_N.max()),
        "sampler/kl": 0.0 - float(tokens_N.mean()),  # not -0.0 where they agree
        "sampler/k3_kl": float((ratio_N - tokens_N.clip(-LOG_RATIO_BOUND, LOG_RATIO_BOUND) - 1).mean()),
        "sampler/rollout_is_eff_sample_size": float(ratio_N.mean() ** 2 / np.square(ratio_N).mean()),
    }


def weight_metrics(weights: Sequence[Floats]) -> dict[str, float]:
    """What the corrected batch looks like, under TRL's names."""
    weights_N = np.concatenate([*weights, np.zeros(0)])
    if not weights_N.size:
        return {}
    name = "sampler/importance_sampling_ratio"
    return {
        f"{name}/min": float(weights_N.min()),
        f"{name}/mean": float(weights_N.mean()),
        f"{name}/max": float(weights_N.max()),
    }


def _exp(logs: Floats) -> Floats:
    ratio: Floats = np.exp(logs.clip(-LOG_RATIO_BOUND, LOG_RATIO_BOUND))
    return ratio
