"""Stages that were made alike but for their seeds, as one: the arms of a run with variants.

Variants of one stage are not always replicates: a matrix may vary a learning rate as well. Two are of one way when
their part of the recipe, and that of all that they read, differ in seeds alone; each way is an arm of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from r1_plugins.report.gather import RunFacts, Stage, inputs_of

SEEDS = ("seed", "variant")
"""The keys of a stage in which replicates differ."""


def arms(facts: RunFacts, stages: Iterable[Stage]) -> dict[str, list[Stage]]:
    """label -> the stages of one way, in order. The label is the recipe's name, and what tells its ways apart."""
    named: dict[str, dict[str, list[Stage]]] = {}
    for stage in stages:
        named.setdefault(stage.name, {}).setdefault(_way(facts, stage), []).append(stage)
    found: dict[str, list[Stage]] = {}
    for ways in named.values():
        for own in ways.values():
            label = _label(own, alone=len(ways) == 1)
            found[own[0].id if label in found else label] = own
    return found


def _label(own: list[Stage], *, alone: bool) -> str:
    """`r1_zero`, or `r1_zero lr=low` where another way has that name, too."""
    first = own[0]
    if alone or len(own) == 1:
        return first.name if alone else first.id
    where: Mapping[str, Any] = (first.body.get("variant") or {}).get("where") or {}
    shared = [axis for axis in where if all(each.body["variant"]["where"].get(axis) == where[axis] for each in own)]
    return " ".join([first.name, *(f"{axis}={where[axis]}" for axis in shared)]) if shared else first.id


def _way(facts: RunFacts, stage: Stage) -> str:
    """How a stage is made: its part of the recipe and those of all that it reads, by the recipe's names."""
    found: dict[str, Any] = {}
    waiting = [stage]
    while waiting:
        each = waiting.pop()
        if each.name not in found:
            own = {key: value for key, value in each.body.items() if key not in SEEDS}
            found[each.name] = _by_name(facts, own)
            waiting += [facts.stages[name] for name in inputs_of(each, facts.stages)]
    return json.dumps(found, sort_keys=True, default=str)


def _by_name(facts: RunFacts, value: Any) -> Any:
    """The value with each stage's id by the recipe's name."""
    if isinstance(value, Mapping):
        return {str(_by_name(facts, key)): _by_name(facts, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_name(facts, item) for item in value]
    return facts.stages[value].name if isinstance(value, str) and value in facts.stages else value
