"""What a rollout batch looked like, under TRL's metric names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from r1core.types import At, Group, Rollout, Score

FLAT = 1e-9
"""A spread of rewards below this is none."""


def rollout_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Rewards, their spread, answer lengths and entropy of one rollout batch. A mean of nothing is left out, not 0."""
    scores = [score for group in groups for score in group.scores if score.known]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = np.array([len(rollout.completion_ids) for rollout in rollouts], dtype=float)
    stopped = np.array([rollout.response.finish == "stop" for rollout in rollouts], dtype=bool)
    spreads = [float(np.nanstd(group.rewards_G)) for group in groups if np.isfinite(group.rewards_G).any()]
    metrics = {
        "reward": _mean([score.value for score in scores]),
        "reward_std": _mean(spreads),
        "frac_reward_zero_std": _mean([spread < FLAT for spread in spreads]),
        "completions/mean_length": _mean(lengths),
        "completions/min_length": float(lengths.min()) if lengths.size else math.nan,
        "completions/max_length": float(lengths.max()) if lengths.size else math.nan,
        "completions/mean_terminated_length": _mean(lengths[stopped]),
        "completions/clipped_ratio": _mean(~stopped),
        "num_tokens": float(lengths.sum()),
    }
    logprobs = [rollout.logprobs for rollout in rollouts if rollout.logprobs is not None]
    if logprobs:
        metrics["entropy"] = -_mean(np.concatenate(logprobs))  # the sampled tokens' own estimate, unbiased
    for name in dict.fromkeys(name for score in scores for name in score.parts):
        values = [score.parts[name] for score in scores if name in score.parts]
        metrics[f"rewards/{name}/mean"] = _mean(values)
        metrics[f"rewards/{name}/std"] = float(np.std(values))
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def _mean(values: object) -> float:
    array = np.asarray(values, dtype=float)
    return float(array.mean()) if array.size else math.nan


def nothing_learned(groups: Sequence[Group], kept: Sequence[Group]) -> str:
    """Why a batch had no signal, for people. `kept` is what the filters left of `groups`."""
    scores = [score for group in groups for score in group.scores]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    if not any(score.known for score in scores):
        return f"nothing to learn from: none of {len(scores)} answers has a verdict"
    if not any(len(rollout.completion_ids) for rollout in rollouts):
        return f"nothing to learn from: all {len(rollouts)} answers are empty"
    flat = [float(np.nanstd(group.rewards_G)) < FLAT for group in groups if np.isfinite(group.rewards_G).any()]
    if not kept and not all(flat):
        return f"nothing to learn from: the filters left none of {len(rollouts)} answers"
    cut = sum(rollout.response.finish == "length" for rollout in rollouts)
    cut_off = f"; {cut} of {len(rollouts)} answers were cut off at the limit" if cut else ""
    return f"nothing to learn from: all answers are worth the same in {sum(flat)} of {len(groups)} groups{cut_off}"


class Shown(TypedDict):
    """The answer that a progress display shows."""

    sample: Rollout | None
    score: Score | None


def shown_answer(groups: Sequence[Group], at: At) -> Shown:
    """One answer of the batch to look at: another problem each step, its first answer."""
    if not groups:
        return {"sample": None, "score": None}
    group = groups[at.step % len(groups)]
    return {"sample": group.rollouts[0], "score": group.scores[0] if group.scores else None}
