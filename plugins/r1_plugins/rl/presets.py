"""Named sets of options of `rl`, and where each comes from. What a recipe says beside the preset wins.

    r1 explain dapo

prints the keys and the source. A preset is the method, not its run: sizes and learning rates are the recipe's, but
for `r1`, the published run. Reward shaping (DAPO's `overlong`) is among the stage's rewards. What a paper sums over
an answer's tokens is `token_mean` here: the same direction, and the same scale for every batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PPO = {"use": "ppo_clip", "clip_low": 0.2, "clip_high": 0.2}
PLAIN = {"use": "policy_gradient"}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "grpo": {
        "advantage": {"use": "grpo"},
        "objective": {"use": "ppo_clip", "clip_low": 0.2, "clip_high": 0.28},
        "aggregation": "token_mean",
        "filters": [{"use": "zero_variance"}],
    },
    "dr_grpo": {"advantage": {"use": "dr_grpo"}, "objective": PPO, "aggregation": "constant"},
    "dapo": {
        "advantage": {"use": "grpo"},
        "objective": {"use": "ppo_clip", "clip_low": 0.2, "clip_high": 0.28},
        "aggregation": "token_mean",
        "filters": [{"use": "zero_variance"}],
        "refill": {"times": 10},
    },
    "gspo": {
        "advantage": {"use": "grpo"},
        "objective": {"use": "gspo", "clip_low": 3e-4, "clip_high": 4e-4},
        "aggregation": "sequence_mean",
    },
    "cispo": {"advantage": {"use": "grpo"}, "objective": {"use": "cispo", "cap": 5.0}, "aggregation": "token_mean"},
    "rloo": {
        "advantage": {"use": "rloo"},
        "objective": PLAIN,
        "aggregation": "token_mean",
        "kl": {"coefficient": 0.05, "placement": "reward", "estimator": "k1"},
    },
    "reinforce_pp": {
        "advantage": {"use": "reinforce_pp"},
        "objective": PPO,
        "aggregation": "token_mean",
        "kl": {"coefficient": 0.01, "placement": "reward", "estimator": "k1"},
    },
    "remax": {"advantage": {"use": "remax"}, "objective": PLAIN, "aggregation": "token_mean"},
    "opo": {"advantage": {"use": "opo"}, "objective": PLAIN, "aggregation": "token_mean", "updates_per_rollout": 1},
    "ppo": {"advantage": {"use": "gae"}, "objective": PPO, "aggregation": "token_mean"},
    "ppo_mc": {
        "advantage": {"use": "monte_carlo"},
        "objective": PPO,
        "aggregation": "token_mean",
        "filters": [{"use": "zero_variance"}],
        "samples": 4,
    },
    "r1": {
        "numerics": "paper",
        "advantage": {"use": "grpo"},
        "objective": {"use": "ppo_clip", "clip_low": 10.0, "clip_high": 10.0},
        "aggregation": "sequence_mean",
        "kl": {"coefficient": 0.001, "estimator": "k3", "refresh_every": 400},
        "prompts": 512,
        "samples": 16,
        "updates_per_rollout": 16,
        "lr": 3e-6,
    },
}

SOURCES: Mapping[str, str] = {
    "grpo": "DeepSeekMath 2402.03300 and DeepSeek-R1 2501.12948, with what practice settled on since: no KL, an "
    "asymmetric clip and the global token mean (DAPO 2503.14476), groups without a signal left out",
    "dr_grpo": "Dr.GRPO 2503.20783, 3.1: neither the group's deviation nor an answer's length divides; `longest` is "
    "the constant that does",
    "dapo": "DAPO 2503.14476: clip-higher, token-level loss, dynamic sampling (in at most 10 rounds), no KL. Its "
    "fourth part, overlong shaping, is the reward `overlong`",
    "gspo": "GSPO 2507.18071, 5.1: one ratio and one clip for each answer",
    "cispo": "MiniMax-M1 2506.13585, 3.1: the weight is clipped, above only; the bound is not printed, 5 is ScaleRL's "
    "(2510.13786)",
    "rloo": "RLOO 2402.14740: leave-one-out baseline, plain policy gradient, KL in the reward; 0.05 is TRL's",
    "reinforce_pp": "REINFORCE++ 2501.03262: no group, KL in each token's reward, whitened over the batch; 0.01 is "
    "OpenRLHF's",
    "remax": "ReMax 2310.10505: a greedy answer's reward is the baseline, plain policy gradient",
    "opo": "OPO 2505.23585: exact on-policy steps, a length-weighted baseline, neither KL nor entropy term",
    "ppo": "PPO 1707.06347 with a learned critic and GAE (1506.02438)",
    "ppo_mc": "VinePPO 2410.01679: PPO with Monte-Carlo values of intermediate states, no critic. Fewer answers to "
    "each problem, since each brings continuations of its own",
    "r1": "DeepSeek-R1 2501.12948 v2, 2.1 and 3.2.1: what the published run printed, eps 10 included",
}
