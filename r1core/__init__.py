"""r1core: the complete DeepSeek-R1 pipeline, as a small core and plugins.

    import r1core
    run = r1core.run("recipes/deepseek_r1.yaml", profile="smoke", set={"seed": 1})
    run.metrics("student_distilled")["pass@1"]

The names below are the public API; everything else may change. They are imported when first used, so
that a verifier's package or `r1 --help` never waits for what it does not need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1core.api import run
    from r1core.choices import DataRef, ModelRef, Options, Use
    from r1core.components import (
        AdvantageEstimator,
        Component,
        DataFilter,
        Loss,
        Objective,
        Policy,
        ProblemSource,
        Reward,
        Sampler,
        Trainer,
    )
    from r1core.contexts import RewardContext, TrainContext
    from r1core.errors import R1Error
    from r1core.hookspecs import hookimpl
    from r1core.pipeline import Run
    from r1core.types import (
        Floats,
        Group,
        GroupSignals,
        Message,
        Problem,
        Response,
        Rollout,
        SampleRequest,
        Score,
        Sentinel,
        Step,
        Tokens,
        TrainSequence,
        Verdict,
    )

_HOME = {
    "r1core.api": ("run",),
    "r1core.choices": ("DataRef", "ModelRef", "Options", "Use"),
    "r1core.components": (
        "AdvantageEstimator",
        "Component",
        "DataFilter",
        "Loss",
        "Objective",
        "Policy",
        "ProblemSource",
        "Reward",
        "Sampler",
        "Trainer",
    ),
    "r1core.contexts": ("RewardContext", "TrainContext"),
    "r1core.errors": ("R1Error",),
    "r1core.hookspecs": ("hookimpl",),
    "r1core.pipeline": ("Run",),
    "r1core.types": (
        "Floats",
        "Group",
        "GroupSignals",
        "Message",
        "Problem",
        "Response",
        "Rollout",
        "SampleRequest",
        "Score",
        "Sentinel",
        "Step",
        "Tokens",
        "TrainSequence",
        "Verdict",
    ),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AdvantageEstimator",
    "Component",
    "DataFilter",
    "DataRef",
    "Floats",
    "Group",
    "GroupSignals",
    "Loss",
    "Message",
    "ModelRef",
    "Objective",
    "Options",
    "Policy",
    "Problem",
    "ProblemSource",
    "R1Error",
    "Response",
    "Reward",
    "RewardContext",
    "Rollout",
    "Run",
    "SampleRequest",
    "Sampler",
    "Score",
    "Sentinel",
    "Step",
    "Tokens",
    "TrainContext",
    "TrainSequence",
    "Trainer",
    "Use",
    "Verdict",
    "hookimpl",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'r1core' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
