"""Named sets of options of `rl`. What a recipe says beside the preset wins; `r1 explain grpo` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # DeepSeekMath 2402.03300 and DeepSeek-R1 v2, with what practice settled on since: no KL, an asymmetric
    # clip and the global token mean (DAPO 2503.14476), groups without a signal left out.
    "grpo": {
        "advantage": {"use": "grpo"},
        "objective": {"use": "ppo_clip", "clip_low": 0.2, "clip_high": 0.28},
        "aggregation": "token_mean",
        "filters": [{"use": "zero_variance"}],
    },
    # PPO with Monte-Carlo values of intermediate states (VinePPO 2410.01679): no critic. Fewer answers to each
    # problem, since each brings continuations of its own.
    "ppo_mc": {
        "advantage": {"use": "monte_carlo"},
        "objective": {"use": "ppo_clip", "clip_low": 0.2, "clip_high": 0.2},
        "aggregation": "token_mean",
        "filters": [{"use": "zero_variance"}],
        "samples": 4,
    },
}
