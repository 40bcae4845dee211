"""Gates on earlier evaluations: measured alike, then not lower than there.

Without `by` a model must not be significantly lower: by Newcombe's interval for the difference of two means that have
intervals of their own (1998, method 10). It takes the two as independent; on the same problems they are alike, so it
refuses rather too little than too much.

    lower end of (earlier - now) = e - n - sqrt((e - low_e)^2 + (high_n - n)^2)  > 0   is a regression
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.choices import Use
from r1core.errors import RecipeError, RefusedError
from r1core.recipe.earlier import RESULTS, TEMPLATE, Earlier, EarlierError, read_earlier
from r1core.recipe.limits import Gate
from r1core.recipe.plan import Plan, StagePlan
from r1core.stages.manifest import sampled_facts, set_facts
from r1core.stages.problems import first

__all__ = ["Earlier", "EarlierError", "check_alike", "check_regression", "read_earlier"]

FIX = "measure both in the same way: with the recipe, the data and the versions of the earlier one"


def check_alike(plan: Plan, stages: Sequence[StagePlan]) -> None:
    """Before a run: hold what is known of each evaluation against the earlier ones that its gates name. Raises
    RecipeError with the keys that differ."""
    for stage in stages:
        known: dict[str, Mapping[str, Any] | None] = {}
        for gate in stage.stage.gate:
            name = gate.value.partition("/")[0]
            if gate.results is None:
                continue
            if name not in known:
                known[name] = _known(plan, stage, name)
            facts = known[name]
            if facts is not None:
                told = {**facts, **sampled_facts(plan, gate.model)}
                _refuse_unlike(stage.id, gate, told, known=frozenset({TEMPLATE}))


def check_regression(stage: str, gate: Gate, data: Path) -> None:
    """After it: RecipeError where it was measured otherwise after all, RefusedError where it is lower."""
    now = read_earlier(data / RESULTS)
    name = gate.value.partition("/")[0]
    _refuse_unlike(stage, gate, now.facts(gate.model, name), known=frozenset())
    earlier, other = _earlier(gate)
    value, before = now.number(gate.model, gate.value), earlier.number(other, gate.value)
    if gate.by is not None:
        lowest, why = before - gate.by, f"{before:.4g} less {gate.by:g}"
    else:
        (low, _), (_, high) = earlier.interval(other, gate.value), now.interval(gate.model, gate.value)
        lowest = before - math.hypot(before - low, high - value)
        why = f"{before:.4g} less what both intervals leave in doubt"
    if not value >= lowest - 1e-12:
        raise RefusedError(
            f"{gate.metric} is {value:.4g}, must be at least {lowest:.4g}: {other} of {gate.results} has {why}",
            where=f"stages.{stage}.gate",
            fix="it got worse: look at what changed since; loosen the gate by `by` or change the stage",
        )


def _earlier(gate: Gate) -> tuple[Earlier, str]:
    assert gate.results is not None, "only gates on earlier results come here"
    try:
        earlier = read_earlier(Path(gate.results))
        return earlier, earlier.chosen(gate.model, gate.than)
    except EarlierError as error:
        raise RecipeError(str(error), where="gate", fix="give a run, or a results.json with its manifest") from error


def _known(plan: Plan, stage: StagePlan, name: str) -> Mapping[str, Any] | None:
    """How the stage will measure a set, as far as that is known by now; None where its problems wait for a stage."""
    assert stage.stage.evaluate is not None, "the recipe's checks let such gates stand in evaluate stages only"
    wanted = stage.stage.evaluate.sets.get(name)
    if wanted is None or stage.stage.scoring.unreadable_golds == "skip":
        return None
    assert isinstance(wanted.problems, Use), "the plan resolves problem slots"
    try:
        source = plan.component("source", wanted.problems, {})
    except KeyError:  # it reads another stage's artifact, which is not there yet
        return None
    return set_facts(plan, stage, wanted, first(source, wanted.limit, seed=stage.seed))


def _refuse_unlike(stage: str, gate: Gate, facts: Mapping[str, Any], *, known: frozenset[str]) -> None:
    """`known` are keys that cannot be told yet."""
    earlier, other = _earlier(gate)
    name = gate.value.partition("/")[0]
    before = earlier.facts(other, name)
    lines = list(_changes({k: v for k, v in before.items() if k not in known}, facts)) if before else []
    if not before:
        lines = [f"set {name!r} was not measured there"]
    if lines:
        said = "".join(f"\n  {line}" for line in lines)
        raise RecipeError(
            f"{gate.metric} and {other} of {gate.results} are not measured in the same way:{said}",
            where=f"stages.{stage}.gate",
            fix=FIX,
        )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        old, new, at = before.get(key), after.get(key), f"{path}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{at}.")
        elif old != new:
            yield f"{at}: {old} -> {new}"
