"""Whose log-probabilities a batch is measured by: the sampler's, the old policy's, the reference's.

The old policy's are computed again where `old_logprobs: policy` says so (the default: two engines never agree to the
last digit), and then the sampler's show how far the two are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from r1core.components import Policy
from r1core.errors import RecipeError
from r1core.types import Floats, TrainSequence

from .importance import SAMPLER, WEIGHT, log_ratio, mismatch, weight_metrics
from .signals import known

if TYPE_CHECKING:
    from .config import RlConfig


def with_logprobs(
    batch: Sequence[TrainSequence], policy: Policy, reference: Policy | None, *, whose: Literal["sampler", "policy"]
) -> list[TrainSequence]:
    """The batch with `old_logprob`, and `ref_logprob` where there is a reference, (T,) each."""
    if whose == "sampler":
        old = [_told(sequence, "old_logprobs: sampler", "set old_logprobs: policy") for sequence in batch]
    else:
        old = policy.logprobs(batch)
    measured = known(batch, "old_logprob", old)
    return measured if reference is None else known(measured, "ref_logprob", reference.logprobs(batch))


def weighed(batch: Sequence[TrainSequence], c: RlConfig) -> tuple[list[TrainSequence], dict[str, float]]:
    """The batch with its importance weights where they are wanted, without the sampler's log-probs; and how far
    policy, sampler and (where the reward is charged for it) reference are apart."""
    metrics = {**(mismatch(batch) if c.old_logprobs == "policy" else {}), **c.kl.charged(batch)}
    bare = [replace(s, columns={k: v for k, v in s.columns.items() if k != SAMPLER}) for s in batch]
    if c.importance.mode == "none":
        return bare, metrics
    for sequence in batch:
        _told(sequence, f"importance.mode: {c.importance.mode}", "set importance.mode: none")
    weights = [c.importance.weights(log_ratio(sequence)) for sequence in batch]
    return known(bare, WEIGHT, weights), {**metrics, **weight_metrics(weights)}


def _told(sequence: TrainSequence, asked: str, instead: str) -> Floats:
    if SAMPLER not in sequence.columns:
        raise RecipeError(
            "the sampler's log-probs are the policy's only at temperature 1 and top_p 1",
            where=f"trainer rl, {asked}",
            fix=f"{instead}, or sample at temperature 1",
        )
    return sequence.columns[SAMPLER]
