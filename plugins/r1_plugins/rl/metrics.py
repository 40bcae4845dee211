"""What a rollout batch looked like, under TRL's metric names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from r1core.types import At, Group, Rollout, Score


def rollout_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Rewards, their spread, answer lengths and entropy of one rollout batch."""
    scores = [score for group in groups for score in group.scores if score.known]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = np.array([len(rollout.completion_ids) for rollout in rollouts], dtype=float)
    stopped = np.array([rollout.response.finish == "stop" for rollout in rollouts], dtype=bool)
    spreads = [float(np.nanstd(group.rewards_G)) for group in groups if np.isfinite(group.rewards_G).any()]
    metrics = {
        "reward": _mean([score.value for score in scores]),
        "reward_std": _mean(spreads),
        "frac_reward_zero_std": _mean([spread < 1e-9 for spread in spreads]),
        "completions/mean_length": _mean(lengths),
        "completions/min_length": float(lengths.min(initial=np.inf)) if lengths.size else 0.0,
        "completions/max_length": float(lengths.max(initial=0)),
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
    return metrics


def _mean(values: object) -> float:
    array = np.asarray(values, dtype=float)
    return float(array.mean()) if array.size else 0.0


class Shown(TypedDict):
    """The answer that a progress display shows."""

    sample: Rollout | None
    score: Score | None


def shown(groups: Sequence[Group], at: At) -> Shown:
    """One answer of the batch to look at: another problem each step, its first answer."""
    if not groups:
        return {"sample": None, "score": None}
    group = groups[at.step % len(groups)]
    return {"sample": group.rollouts[0], "score": group.scores[0] if group.scores else None}
