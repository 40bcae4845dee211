"""Variants of a model in numbers: its score over seeds, what it gained, how it differs from the base, what it cost.

    read -> refuse what cannot be compared (refusal.py) -> one table for each model that was made in several ways

Models that were made in the same way but for the seed are one variant. Differences are paired: the same
problems, the same seed, variant less base; gains likewise, against the model that training started from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from r1core.comparison.costs import Course, course, watched
from r1core.comparison.finished import FinishedRun, Model, Scored, table_of
from r1core.comparison.lineage import differing, lineage, other_sources, seeds, treatment
from r1core.comparison.refusal import check_comparable
from r1core.comparison.statistics import Estimate, crossed
from r1core.errors import RecipeError
from r1core.recipe.fingerprint import digest
from r1core.stages.estimates import interval
from r1core.suggest import did_you_mean
from r1core.types import Floats

LABEL = " "


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant. `where` names it; `against` is None for the base, `tokens_to_reach` where no seed got there."""

    where: Mapping[str, str]
    models: tuple[str, ...]
    score: Estimate
    gain: Estimate | None
    against: Estimate | None
    tokens: float
    tokens_to_reach: float | None
    reached: int
    """Seeds that reached the score."""
    entropy: float
    silent: float
    wall_s: float
    cpu_s: float
    differences: tuple[str, ...]
    """What it was made from otherwise than the base."""

    @property
    def label(self) -> str:
        """Its name in a table."""
        return LABEL.join(self.where.values())


@dataclass(frozen=True, kw_only=True)
class Table:
    """The variants of one model, the base first."""

    name: str
    metric: str
    problems: int
    seeds: int
    start: str
    watched: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """The models that were made in one way, by their seeds."""

    models: tuple[Model, ...]

    @property
    def by_seed(self) -> dict[str, Model]:
        """Each by the seeds of all that it was made from."""
        return {digest(seeds(lineage(model))): model for model in self.models}


def tables(
    runs: Sequence[FinishedRun],
    *,
    metric: str | None = None,
    reach: float | None = None,
    base: str | None = None,
    differ: Sequence[str] = (),
) -> list[Table]:
    """A table for every model that was made in more than one way, or with more than one seed. Raises RecipeError for
    what cannot be compared. `differ` are the paths in which separate runs are meant to differ."""
    found = []
    for name, variants in _by_name(runs).items():
        chosen = metric or next(iter(variants[0].models[0].run.sets(variants[0].models[0].evaluation)))
        measured = [v for v in variants if all(model.run.score(model, chosen) is not None for model in v.models)]
        if sum(len(variant.models) for variant in measured) > 1:
            found.append(_table(name, measured, chosen, reach, base, differ))
    if not found:
        raise _nothing(runs, metric)
    return found


def _nothing(runs: Sequence[FinishedRun], metric: str | None) -> RecipeError:
    where = ", ".join(str(run.path) for run in runs)
    models = [model for run in runs for model in run.models.values()]
    if not models:
        return RecipeError("no model is measured yet", where=where, fix="let the run come to its end: it goes on")
    sets = {name for model in models for name in model.run.sets(model.evaluation)}
    if metric is not None and metric not in sets:
        return RecipeError(f"no set {metric!r}", where=where, fix=did_you_mean(metric, sets, otherwise="sets: "))
    fix = "give the run of a recipe with a `matrix`, or several runs; --across compares the models of one"
    return RecipeError("each model was made once and in one way", where=where, fix=fix)


def _by_name(runs: Sequence[FinishedRun]) -> dict[str, list[Variant]]:
    """The recipe's name of each model -> its variants, in order. What two runs have in common counts once."""
    ways: dict[str, dict[str, dict[str, Model]]] = {}
    for model in (model for run in runs for model in run.models.values()):
        way = digest(treatment(lineage(model)))
        ways.setdefault(model.name, {}).setdefault(way, {}).setdefault(digest(seeds(lineage(model))), model)
    return {name: [Variant(tuple(models.values())) for models in own.values()] for name, own in ways.items()}


def _table(
    name: str, variants: list[Variant], metric: str, reach: float | None, base: str | None, differ: Sequence[str]
) -> Table:
    labels = _labels(variants)
    if base is not None:
        known = [LABEL.join(label.values()) for label in labels]
        wanted = LABEL.join(base.replace(",", LABEL).split())
        if wanted not in known:
            raise RecipeError(
                f"no variant {base!r}", where="--base", fix=did_you_mean(wanted, known, otherwise="there are: ")
            )
        place = known.index(wanted)
        variants.insert(0, variants.pop(place))
        labels.insert(0, labels.pop(place))
    check_comparable(name, [variant.models for variant in variants], metric, differ)
    first = variants[0]
    rows = [_row(v, label, first, metric, reach) for v, label in zip(variants, labels, strict=True)]
    start = first.models[0].start
    return Table(
        name=name,
        metric=metric,
        problems=_scores(first.models, metric)[1].shape[1],
        seeds=max(len(variant.models) for variant in variants),
        start=start.name if start is not None else "",
        watched=watched(first.models[0], metric),
        rows=tuple(rows),
        notes=tuple(_notes(variants, labels)),
    )


def _labels(variants: Sequence[Variant]) -> list[dict[str, str]]:
    """What tells the variants apart: the axes that their seeds do not vary, else the folders of their runs."""
    axes = dict.fromkeys(axis for v in variants for model in v.models for axis in model.where)
    chosen = [axis for axis in axes if all(len({m.where.get(axis) for m in v.models}) == 1 for v in variants)]
    labels = [{axis: v.models[0].where.get(axis, "-") for axis in chosen} for v in variants]
    if len({tuple(label.values()) for label in labels}) < len(variants) or not chosen:
        return [{"run": v.models[0].run.path.name, **label} for v, label in zip(variants, labels, strict=True)]
    return labels


def _row(variant: Variant, where: Mapping[str, str], base: Variant, metric: str, reach: float | None) -> Row:
    courses = [course(model, metric, reach) for model in variant.models]
    reached = [own.reached for own in courses if own.reached is not None]
    mine, theirs = treatment(lineage(variant.models[0])), treatment(lineage(base.models[0]))
    return Row(
        where=where,
        models=tuple(model.id for model in variant.models),
        score=score_of(variant.models, metric),
        gain=_gain(variant, metric),
        against=None if variant is base else _against(variant, base, metric),
        tokens=_mean(courses, "tokens"),
        tokens_to_reach=math.fsum(reached) / len(reached) if reached else None,
        reached=len(reached),
        entropy=_mean(courses, "entropy"),
        silent=_mean(courses, "silent"),
        wall_s=_mean(courses, "wall_s"),
        cpu_s=_mean(courses, "cpu_s"),
        differences=tuple(differing(theirs, mine).values()),
    )


def _scores(models: Sequence[Model], metric: str) -> tuple[list[Scored], Floats]:
    found = [score for model in models if (score := model.run.score(model, metric)) is not None]
    return found, table_of(found)


def score_of(models: Sequence[Model], metric: str) -> Estimate:
    """A share with the wider of two intervals: over seeds and problems, and Wilson's over problems, which is that of
    `results.json` and has a width at 0 and 1, too."""
    scores, table_SP = _scores(models, metric)
    found = crossed(table_SP)
    known_P = table_SP[:, ~np.isnan(table_SP).any(axis=0)].mean(axis=0)
    if len(known_P) < 2:
        return found
    low, high = interval(known_P, answers=scores[0].answers * len(scores))
    if len(scores) > 1 and not math.isnan(found.half):
        low, high = max(0.0, min(low, found.low)), min(1.0, max(high, found.high))
    return Estimate(mean=found.mean, low=low, high=high)


def _gain(variant: Variant, metric: str) -> Estimate | None:
    """What training brought, over the model that it started from."""
    pairs = [(model, start) for model in variant.models if (start := model.start) is not None]
    return paired(pairs, metric)


def _against(variant: Variant, base: Variant, metric: str) -> Estimate | None:
    """The difference to the base, seed by seed."""
    theirs = base.by_seed
    return paired([(model, theirs[key]) for key, model in variant.by_seed.items() if key in theirs], metric)


def paired(pairs: Sequence[tuple[Model, Model]], metric: str) -> Estimate | None:
    """The mean of the first's score less the second's, on the problems that all have; None without pairs."""
    scored = [(a.run.score(a, metric), b.run.score(b, metric)) for a, b in pairs]
    both = [(a, b) for a, b in scored if a is not None and b is not None]
    if not both:
        return None
    x_SP = table_of([*(a for a, _ in both), *(b for _, b in both)])
    return crossed(x_SP[: len(both)] - x_SP[len(both) :])


def _mean(courses: Sequence[Course], field: str) -> float:
    known = [float(getattr(each, field)) for each in courses if not math.isnan(getattr(each, field))]
    return math.fsum(known) / len(known) if known else math.nan


def _notes(variants: Sequence[Variant], labels: Sequence[Mapping[str, str]]) -> list[str]:
    """What a reader should know of the comparison, beyond the numbers."""
    base, notes = variants[0], []
    for variant, label in zip(variants[1:], labels[1:], strict=True):
        named = LABEL.join(label.values())
        if missing := len(base.by_seed.keys() - variant.by_seed.keys()):
            notes.append(f"{named}: {missing} of the base's seeds are not there; differences are over the others")
        code = other_sources(lineage(base.models[0]), lineage(variant.models[0]))
        notes += [f"{named}: made with other code: {each}" for each in code]
    return notes
