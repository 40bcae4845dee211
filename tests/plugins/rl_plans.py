"""Plans of a recipe with one stage of reinforcement learning, on the engine that needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1core.errors import R1Error
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve

RECIPE = """\
r1: 1
name: planned
engines: {policy: %s, sampler: echo}
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 4}, model: {scratch: {model_type: echo}}, data: echo}
  zero: {train: {use: rl, steps: 2, prompts: 4, samples: 4, lr: 0.1, OPTIONS}, model: base, problems: echo,
         rewards: [accuracy]}
"""
HOST = PluginHost.discover(allow=())


def written(folder: Path, options: str, *, policy: str = "echo") -> Path:
    path = folder / "recipe.yaml"
    own = [option for option in ("prompts: 4", "samples: 4") if option.split(":")[0] + ":" in options]
    recipe = RECIPE % policy
    for option in own:
        recipe = recipe.replace(f"{option}, ", "", 1)
    path.write_text(recipe.replace("OPTIONS", options), encoding="utf-8")
    return path


def planned(folder: Path, options: str, *, policy: str = "echo") -> Plan:
    """The plan of the recipe with these options of `rl`."""
    return make_plan(resolve(written(folder, options, policy=policy), "none"), HOST)


def resolved(folder: Path, options: str) -> dict[str, object]:
    """All options of `rl`, as `recipe.resolved.yaml` has them."""
    train = planned(folder, options).stage("zero").resolved()["train"]
    assert isinstance(train, dict)
    return train


def refused(folder: Path, options: str) -> str:
    """What the plan says against these options."""
    with pytest.raises(R1Error) as caught:
        planned(folder, options)
    return str(caught.value)
