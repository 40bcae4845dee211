"""Models of one run side by side, each over its seeds: arms of an experiment, at what they cost.

    r1 compare runs/distill-vs-rl --across --base rl_mid

Arms differ by design, in whatever the recipe says of them, so only how they were measured has to be like. Differences
are paired: the same problems, and the same variant of the recipe's matrix; a model that is the same in all variants is
the partner of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r1core.comparison.finished import FinishedRun, Model
from r1core.comparison.refusal import check_measured_alike
from r1core.comparison.spent import Spent, spent, teaching
from r1core.comparison.statistics import Estimate
from r1core.comparison.tables import paired, score_of
from r1core.errors import RecipeError
from r1core.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One model over its seeds. `beside` has what else was measured on the set; means over seeds, as all costs."""

    name: str
    models: tuple[str, ...]
    score: Estimate
    against: Estimate | None
    """None for the base."""
    beside: Mapping[str, float]
    spent: Spent


@dataclass(frozen=True, kw_only=True)
class Arms:
    """All arms, the base first."""

    metric: str
    seeds: int
    rows: tuple[Arm, ...]
    teaching: Spent
    """What the teachers' own training took, once for all arms."""


def arms(run: FinishedRun, *, metric: str | None = None, base: str | None = None) -> Arms:
    """The run's measured models by name. Raises RecipeError for a name that is none, and for what was not measured in
    the same way."""
    named: dict[str, list[Model]] = {}
    for model in run.models.values():
        named.setdefault(model.name, []).append(model)
    if not named:
        raise RecipeError(
            "no model is measured yet", where=str(run.path), fix="let the run come to its end: it goes on"
        )
    first = next(iter(named)) if base is None else base
    if first not in named:
        fix = did_you_mean(first, named, otherwise="there are: ")
        raise RecipeError(f"no model {first!r}", where="--base", fix=fix)
    sets = run.sets(named[first][0].evaluation)
    chosen = metric or next(iter(sets))
    if chosen not in sets:
        raise RecipeError(f"no set {chosen!r}", where="--metric", fix=did_you_mean(chosen, sets, otherwise="sets: "))
    order = [first, *(name for name in named if name != first)]
    measured = {name: [m for m in named[name] if run.score(m, chosen) is not None] for name in order}
    rows = [_arm(name, own, measured[first], chosen) for name, own in measured.items() if own]
    return Arms(
        metric=chosen,
        seeds=max(len(row.models) for row in rows),
        rows=tuple(rows),
        teaching=teaching(run, [model for own in measured.values() for model in own]),
    )


def _arm(name: str, models: Sequence[Model], base: Sequence[Model], metric: str) -> Arm:
    for model in models:
        check_measured_alike(base[0], model, metric)
    pairs = [(model, other) for model in models for other in base if _partners(model, other)]
    return Arm(
        name=name,
        models=tuple(model.id for model in models),
        score=score_of(models, metric),
        against=None if models == base else paired(pairs, metric),
        beside=_beside(models, metric),
        spent=_mean([spent(model) for model in models]),
    )


def _partners(model: Model, other: Model) -> bool:
    """Whether the two are of one variant, as far as the matrix concerns both."""
    shared = model.where.keys() & other.where.keys()
    return all(model.where[axis] == other.where[axis] for axis in shared)


def _beside(models: Sequence[Model], metric: str) -> dict[str, float]:
    """The means of the other numbers of `results.json` that are of the set or of no set."""
    rows = [model.run.reported(model) for model in models]
    sets = set(models[0].run.sets(models[0].evaluation))
    wanted = [
        name
        for name, value in rows[0].items()
        if isinstance(value, int | float) and (_of(name, metric) or name in sets)
    ]
    return {
        name: math.fsum(row[name] for row in rows) / len(rows) for name in wanted if all(name in row for row in rows)
    }


def _of(name: str, metric: str) -> bool:
    return name.startswith((f"{metric}/", f"{metric}_"))


def _mean(found: Sequence[Spent]) -> Spent:
    return sum(found, Spent()).over(len(found))
