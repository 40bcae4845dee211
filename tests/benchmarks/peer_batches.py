"""Random rollout batches as plain arrays, for us and for others: numpy alone, since two environments import it.

B answers in groups of G, T tokens at most. Rewards are multiples of 1/8, exact in float32, which some peers use inside.
A third of the answers leave the old policy far enough for every clip to be at work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float64]]


def random_batch(seed: int, *, groups: int = 5, samples: int = 4, longest: int = 9) -> Arrays:
    """One batch: the last group's rewards are all the same, one answer has a single token."""
    rng = np.random.default_rng(seed)
    count = groups * samples
    lengths = rng.integers(1, longest + 1, count)
    lengths[0], lengths[1] = longest, 1
    mask = (np.arange(longest)[None] < lengths[:, None]).astype(np.float64)
    parts = rng.integers(0, 9, (2, count)) / 8
    parts[:, -samples:] = 0.5
    old = -rng.exponential(1.0, (count, longest)) - 0.05
    scale = np.where(rng.uniform(size=count) < 1 / 3, 0.9, 0.15)[:, None]
    new = np.minimum(old + scale * rng.normal(size=old.shape), -1e-3)
    values = rng.uniform(-0.5, 1.5, old.shape)
    return {
        "group": np.repeat(np.arange(groups), samples).astype(np.float64),
        "mask": mask,
        "parts": parts,
        "rewards": parts.sum(0),
        "greedy": np.repeat(rng.integers(0, 9, groups) / 8, samples),
        "penalties": 0.1 * rng.normal(size=old.shape) * mask,
        "advantages": np.repeat(rng.normal(size=(count, 1)), longest, 1),
        "token_advantages": rng.normal(size=old.shape),
        "old": old,
        "new": new,
        "ref": np.minimum(new + 0.3 * rng.normal(size=old.shape), -1e-3),
        "sampler": np.minimum(old + 0.3 * rng.normal(size=old.shape), -1e-3),
        "values": values,
        "values_new": values + 0.4 * rng.normal(size=old.shape),
        "returns": rng.uniform(-0.5, 1.5, old.shape),
    }


def lonely(batch: Arrays) -> Arrays:
    """The same batch with a last group of one answer."""
    own = dict(batch)
    own["group"] = batch["group"].copy()
    own["group"][-1] += 1
    return own


def token_rewards(batch: Arrays, *, penalised: bool = False) -> NDArray[np.float64]:
    """(B, T) the reward at the last token of each answer, less each token's penalty where they are charged."""
    mask = batch["mask"]
    rewards = np.zeros_like(mask)
    rewards[np.arange(len(mask)), mask.sum(1).astype(int) - 1] = batch["rewards"]
    return rewards - batch["penalties"] if penalised else rewards
