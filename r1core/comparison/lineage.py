"""What two models were made from, held against each other: the treatment, the seeds, and whatever else differs.

Everything that a stage's `made_from` says counts, for the model and all that it was made from. Stages go
by the recipe's names, so variants of one stage can be compared. Seeds make replicates, other sources of the
same components are worth a note, and all the rest is what was done: the treatment.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from r1core.comparison.finished import FinishedRun, Model
from r1core.recipe.difference import changes
from r1core.recipe.fingerprint import UNCOUNTED

NEVER = "nothing"
Lineage = Mapping[str, Mapping[str, Any]]
"""The recipe's name of each stage -> what it was made from."""


@functools.cache
def lineage(model: Model) -> Lineage:
    """What the model was made from, by the recipe's names, inputs first."""
    found: dict[str, Mapping[str, Any]] = {}
    _collect(model.run, model.id, found)
    return found


def _collect(run: FinishedRun, stage: str, found: dict[str, Mapping[str, Any]]) -> None:
    if run.name(stage) in found or stage not in run.records:
        return
    for above in run.records[stage].inputs:
        _collect(run, above, found)
    found[run.name(stage)] = facts(run, stage)


def facts(run: FinishedRun, stage: str) -> Mapping[str, Any]:
    """A stage's `made_from` with stages under the recipe's names."""
    facts: Mapping[str, Any] = _by_name(run, dict(run.records[stage].made_from))
    return facts


def _by_name(run: FinishedRun, value: Any) -> Any:
    """The value with every id of a variant by the recipe's name; such ids have an @ and are nothing else."""
    if isinstance(value, Mapping):
        return {_by_name(run, key): _by_name(run, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_name(run, item) for item in value]
    is_variant = isinstance(value, str) and "@" in value and value in run.stages
    return run.name(value) if is_variant else value


def treatment(found: Lineage) -> dict[str, Any]:
    """What was done, whatever the seed and the versions: equal ones are replicates."""
    return {name: made["stage"] for name, made in found.items()}


def seeds(found: Lineage) -> dict[str, Any]:
    """The seed of each stage on the way."""
    return {name: made["seed"] for name, made in found.items()}


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The paths at which two treatments differ -> `stages.r1_zero.train.lr: 0.001 -> 0.002`."""
    lines: list[str] = []
    for name in dict.fromkeys((*before, *after)):
        here, there = before.get(name, NEVER), after.get(name, NEVER)
        lines += changes(here, there, f"stages.{name}")
    return {line.partition(": ")[0]: line for line in lines}


def planned(model: Model) -> dict[str, Any]:
    """The treatment as the recipe has it now, for the stages that the model was made from."""
    names: dict[str, Any] = {}
    waiting = [model.id]
    while waiting:
        stage = waiting.pop()
        body = {key: value for key, value in model.run.stages[stage].items() if key not in UNCOUNTED}
        if model.run.name(stage) not in names:
            names[model.run.name(stage)] = _by_name(model.run, body)
            waiting += model.run.records[stage].inputs if stage in model.run.records else ()
    return names


def beyond(found: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """The paths of `found` that lie neither at nor below one of `allowed`, nor above."""
    limits = list(allowed)
    return [path for path in found if not any(_within(path, limit) or _within(limit, path) for limit in limits)]


def _within(path: str, above: str) -> bool:
    return path == above or path.startswith((f"{above}.", f"{above} "))


def common(paths: Iterable[str]) -> str:
    """The longest path that all lie at or below."""
    split = [path.split(" ")[0].split(".") for path in paths]
    shared: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def other_sources(one: Lineage, other: Lineage) -> list[str]:
    """Components and r1core itself, where the two were made with other code."""
    found: dict[str, None] = {}
    for name in one.keys() & other.keys():
        here, there = one[name], other[name]
        if here["r1core"] != there["r1core"]:
            found[f"r1core {here['r1core']} and {there['r1core']}"] = None
        for component in here["sources"].keys() & there["sources"].keys():
            if here["sources"][component] != there["sources"][component]:
                found[
                    f"{component}: source {here['sources'][component][:12]} and {there['sources'][component][:12]}"
                ] = None
    return sorted(found)
