"""Writes small recipes and profiles into a folder, and resolves or plans them with the toy host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from third_party import toy_host

from r1core.errors import R1Error
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import Resolved, resolve

HEAD = """\
r1: 1
name: toys
models: {base: null}
problems: {reasoning: null}
rewards: {accuracy: null}
"""
STAGES = """\
stages:
  zero:
    train: {use: reinforce, preset: plain}
    model: base
    problems: reasoning
    rewards: [accuracy, {use: toy, weight: 0.5, mode: hard}]
  kept:
    sample: {prompts: 4}
    model: zero
    problems: reasoning
    rewards: [accuracy]
    filters: [keep]
  final:
    train: fit
    model: base
    data: kept
  table:
    evaluate: {sets: {score: {problems: reasoning, limit: 3}}}
    models: [base, zero, final]
    rewards: [accuracy]
"""
TINY = """\
description: the toy profile
models:
  base: {train: fit, model: {scratch: {model_type: toy}}, data: {use: numbers}}
problems: {reasoning: {use: numbers, limit: 5}}
rewards: {accuracy: {use: toy, strictness: 0.25}}
engines: {policy: {use: net, width: 4}, sampler: draw}
sampling: {max_new_tokens: 16}
stages:
  zero: {train: {steps: 3}}
  not_in_this_recipe: {train: {steps: 3}}
"""


def write(folder: Path, recipe: str = HEAD + STAGES, **profiles: str) -> Path:
    """`recipe.yaml` in the folder, and its profiles beside it (`tiny` unless another is given)."""
    (folder / "profiles").mkdir(exist_ok=True)
    for name, text in ({"tiny": TINY} | profiles).items():
        (folder / "profiles" / f"{name}.yaml").write_text(dedent(text))
    path = folder / "recipe.yaml"
    path.write_text(dedent(recipe))
    return path


def resolved(folder: Path, recipe: str = HEAD + STAGES, *sets: str, profile: str | None = None) -> Resolved:
    """The recipe, resolved."""
    return resolve(write(folder, recipe), profile, sets)


def planned(folder: Path, recipe: str = HEAD + STAGES, *sets: str) -> Plan:
    """The recipe, planned with the toys."""
    return make_plan(resolved(folder, recipe, *sets), toy_host())


def refused(folder: Path, recipe: str = HEAD + STAGES, sets: Sequence[str] = ()) -> str:
    """What planning the recipe says is wrong; `FOLDER/` stands for nothing in it."""
    with pytest.raises(R1Error) as caught:
        planned(folder, recipe, *sets)
    return str(caught.value).replace(f"{folder}/", "")
