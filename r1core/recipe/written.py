"""What may stand in a recipe or profile *file*, before profiles are laid over and slots are filled.

`Recipe` (schema.py) is what is left after that. The loader takes the known keys from here, and
`r1 schema` tells editors the same.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from r1core.choices import Kind, Options, Use
from r1core.recipe.schema import (
    Checkpointing,
    ProblemsInput,
    Recipe,
    RolloutRecord,
    Sampling,
    Scoring,
    Stage,
    UsePolicy,
    UseReward,
    UseSampler,
)

SLOTS = ("models", "problems", "rewards")
DEFAULTS = ("engines", "sampling", "scoring", "threads", "stall_s", "checkpoint", "rollouts")


def _default(key: str, value: Any) -> Any:
    return Field(value, description=f"{Stage.model_fields[key].description}; for all stages that use it")


class Engines(Options):
    """The engines of all stages that name none of their own."""

    policy: UsePolicy | None = _default("policy", None)
    sampler: UseSampler | None = _default("sampler", None)


class Written(Recipe):
    """A recipe for r1core, or a profile that completes one."""

    observers: list[Annotated[Use, Kind("observer")]] = Field(
        default_factory=list, description=Recipe.model_fields["observers"].description
    )
    extends: str | None = Field(
        None, description="the recipe that this one is laid over; relative to this file, or a shipped one"
    )
    profile: str | None = Field(None, description="the profile that completes it when none is asked for; or `none`")
    matrix: dict[str, list[Any] | dict[str, Any]] = Field(
        default_factory=dict,
        description="variants: a path and its values, or a name and variants by name, each with the paths that it sets",
    )
    models: dict[str, Stage | str | None] = Field(
        default_factory=dict, description="model slots: a folder, a hub id, a stage that trains one; null: left open"
    )
    problems: dict[str, ProblemsInput | None] = Field(
        default_factory=dict, description="problem slots: a source, or a schedule of sources; null: left open"
    )
    rewards: dict[str, UseReward | None] = Field(
        default_factory=dict, description="reward slots: a reward, with options; null: left open"
    )
    engines: Engines = Field(Engines(), description="the engines of all stages that name none of their own")
    sampling: Sampling = _default("sampling", Sampling())
    scoring: Scoring = _default("scoring", Scoring())
    threads: int = Field(1, ge=1, description=f"{Stage.model_fields['threads'].description}; for all stages")
    stall_s: float = Field(1800.0, gt=0, description=f"{Stage.model_fields['stall_s'].description}; for all stages")
    checkpoint: Checkpointing = _default("checkpoint", Checkpointing())
    rollouts: RolloutRecord = _default("rollouts", RolloutRecord())
