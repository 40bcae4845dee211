"""Whose conventions: what the papers leave open and implementations fill in, each in its own way.

    train: {use: rl, preset: grpo, numerics: trl}

lays the options of verl 0.9.1, of TRL 1.16 or of the method's own paper under those that the recipe and its preset
give, for whichever estimator and objective are chosen; the resolved recipe shows the numbers. Without it stand verl's,
but for three: the dual clip is off, a group of one is worth 0, and the KL in the loss has the right gradient.
`python tests/benchmarks/bench_peers.py` holds ours against their functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from r1core.choices import Use

Numerics: TypeAlias = Literal["verl", "trl", "paper"]
Laid: TypeAlias = Mapping[str, Mapping[str, Any]]

_KEPT = {"group_of_one": "reward"}
"""verl takes 0 for the mean of one."""
ADVANTAGE: Mapping[str, Laid] = {
    "verl": {
        "grpo": {"eps": 1e-6, **_KEPT},
        "dr_grpo": _KEPT,
        "rloo": _KEPT,
        "opo": _KEPT,
        "gpg": {"alpha": "rewards", **_KEPT},
        "pass_at_k": {"eps": 1e-6},
        "gdpo": {"eps": 1e-6, "whiten": "tokens", **_KEPT},
        "reinforce_pp": {"eps": 1e-8, "ddof": 1},
        "reinforce_pp_baseline": {"eps": 1e-8, "ddof": 1, **_KEPT},
    },
    "trl": {
        "grpo": {"eps": 1e-4},
        "gdpo": {"eps": 1e-4, "whiten": "answers"},
    },
    "paper": {
        "grpo": {"eps": 0.0},  # 2402.03300, eq. 4: no eps; groups without a spread are worth 0 all the same
        "gpg": {"alpha": "groups"},
        "reinforce_pp": {"eps": 1e-8, "ddof": 0},  # 2501.03262: the authors' own OpenRLHF
        "reinforce_pp_baseline": {"eps": 1e-8, "ddof": 0},
    },
}
OBJECTIVE: Mapping[str, Laid] = {
    "verl": {"ppo_clip": {"dual_clip": 3.0}, "cispo": {"cap": None}},
    "trl": {"ppo_clip": {"dual_clip": None}, "cispo": {"cap": 5.0}},  # TRL's docs recommend 5 after ScaleRL
    "paper": {"ppo_clip": {"dual_clip": None}, "cispo": {"cap": 5.0}},  # MiniMax-M1: one-sided, not printed
}
AGGREGATION: Mapping[str, Mapping[str, str]] = {
    "verl": {"gspo": "token_mean", "sapo": "sequence_mean", "gmpo": "sequence_mean"},
    "trl": {"gspo": "sequence_mean", "sapo": "sequence_mean", "gmpo": "sequence_mean"},
    "paper": {"gspo": "sequence_mean", "sapo": "sequence_mean", "gmpo": "sequence_mean"},
}
KL_IN_LOSS: Mapping[str, str] = {"verl": "k3", "trl": "k3_corrected", "paper": "k3"}


def with_conventions(options: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """The options with those of their `numerics` laid under them; `defaults` names estimator and objective where the
    options do not. What is no map or has another shape is left to validation."""
    whose = options.get("numerics")
    laid = dict(options)
    if not isinstance(whose, str) or whose not in KL_IN_LOSS:
        return laid
    for key, table in (("advantage", ADVANTAGE), ("objective", OBJECTIVE)):
        chosen = _chosen(options.get(key, defaults[key]))
        under = table[whose].get(chosen.get("use", ""), {})
        if under:
            laid[key] = {**under, **chosen}
    objective = _chosen(options.get("objective", defaults["objective"])).get("use", "")
    if objective in AGGREGATION[whose]:
        laid.setdefault("aggregation", AGGREGATION[whose][objective])
    kl = options.get("kl", {})
    if isinstance(kl, Mapping) and kl.get("placement", "loss") == "loss":
        laid["kl"] = {"estimator": KL_IN_LOSS[whose], **kl}
    return laid


def _chosen(written: Any) -> dict[str, Any]:
    """A component as a map: a name, `{use: name, ...}` or a `Use`."""
    if isinstance(written, Use):
        return {"use": written.use, **written.options}
    if isinstance(written, str):
        return {"use": written}
    return dict(written) if isinstance(written, Mapping) else {}
