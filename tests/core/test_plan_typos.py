"""A slip in any key is an error with its line and the right suggestion: every key of a recipe that uses them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from third_party import toy_host
from toy_recipes import write

from r1core.errors import RecipeError
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve

EVERY_KEY = """\
r1: 1
name: toys
description: all keys
seed: 1
requires: [click]
models: {base: null}
problems: {reasoning: null}
rewards: {accuracy: null}
sampling: {max_new_tokens: 16, temperature: 1.0, top_p: 1.0}
scoring: {workers: 1, max_infrastructure_rate: 0.1}
threads: 1
stages:
  zero:
    train:
      use: reinforce
      preset: plain
      samples: 2
      penalty: {coefficient: 0.1, filters: [{use: keep, at_most: 2}]}
      advantage: {use: other, normalize_std: true}
    model: base
    problems: reasoning
    rewards: [accuracy, {use: toy, weight: 0.5, for: {domain: x}, active: last 4, mode: hard}]
    sampling: {temperature: 1.0}
    policy: {use: net, width: 3}
    sampler: draw
    gate: [{metric: loss, min: 0, max: 3}]
    evaluate:
      every: 3
      chunk: 3
      sets: {a: {problems: reasoning, limit: 3, samples: 2, k: 1, temperature: 0.5, top_p: 0.9, by: [x], models: []}}
    extend: {until: {metric: eval/a, min: 0.1}, by: 0.1, times: 2}
  kept:
    sample: {prompts: 4, samples: 2, chunk: 2}
    model: zero
    problems: reasoning
    rewards: [accuracy]
    filters: [keep]
    threads: 1
  final:
    train: {use: fit, lr: 0.1}
    model: base
    data: kept
  table:
    evaluate: {sets: {score: {problems: reasoning, limit: 3}}}
    models: [base, zero, final]
    rewards: [accuracy]
"""
NAMES = {"base", "reasoning", "accuracy", "zero", "kept", "final", "table", "score", "a", "domain"}
"""Keys that a person chooses freely."""


def slips(key: str) -> Iterator[str]:
    """The middle letter lost, and two letters swapped."""
    if len(key) > 1:
        half = len(key) // 2
        yield key[:half] + key[half + 1 :]
        yield key[: half - 1] + key[half] + key[half - 1] + key[half + 1 :]


def slipped() -> Iterator[tuple[str, str, int]]:
    """(recipe, the right key, its line) for each slip."""
    for match in re.finditer(r"(?<=[{ \n])([a-z_0-9]+):", EVERY_KEY):
        for wrong in slips(match[1]) if match[1] not in NAMES else ():
            if wrong != match[1]:
                line = EVERY_KEY.count("\n", 0, match.start(1)) + 1
                yield EVERY_KEY[: match.start(1)] + wrong + EVERY_KEY[match.end(1) :], match[1], line


def test_the_recipe_itself_is_fine(tmp_path: Path) -> None:
    assert make_plan(resolve(write(tmp_path, EVERY_KEY)), toy_host()).stages


def test_every_slip_is_found_and_nearly_all_are_understood(tmp_path: Path) -> None:
    host, understood, all_slips = toy_host(), 0, list(slipped())
    for recipe, key, line in all_slips:
        path = write(tmp_path, recipe)
        with pytest.raises(RecipeError) as caught:
            make_plan(resolve(path), host)
        understood += f"recipe.yaml:{line}:" in str(caught.value) and f"did you mean {key!r}?" in str(caught.value)
    assert len(all_slips) > 100
    assert understood >= 0.95 * len(all_slips)
