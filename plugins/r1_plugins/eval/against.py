"""An earlier evaluation beside this one: refused where it was measured otherwise, then paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1core.comparison.finished import FinishedRun, Model
from r1core.comparison.tables import paired, score_of
from r1core.errors import RecipeError
from r1core.untrusted import untrusted


def _measured(folder: Path) -> tuple[FinishedRun, list[Model], str]:
    run = FinishedRun(folder)
    models = list(run.models.values())
    if not models:
        raise RecipeError("no model is measured", where=str(folder), fix="let the evaluation come to its end")
    return run, models, next(iter(run.sets(models[0].evaluation)))


def check_alike(folder: Path, earlier: Path) -> None:
    """Raise RecipeError with the keys that differ."""
    (mine, own, metric), (theirs, others, other) = _measured(folder), _measured(earlier)
    here, there = mine.measure(own[0], metric), theirs.measure(others[0], other)
    lines = [*([f"metric: {other} -> {metric}"] if metric != other else []), *_changes(there, here)]
    if lines:
        said = "".join(f"\n  {line}" for line in lines)
        raise RecipeError(
            f"not measured in the same way:{said}", where=f"{earlier} and {folder}", fix="measure both alike"
        )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        old, new, at = before.get(key), after.get(key), f"{path}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{at}.")
        elif old != new:
            yield f"{at}: {old} -> {new}"


def beside(folder: Path, earlier: Path) -> Iterator[str]:
    """Rows of both, and how each model of this one differs from each of the earlier, on the same problems."""
    (_, own, metric), (_, others, _) = _measured(folder), _measured(earlier)
    for at, models in ((folder, own), (earlier, others)):
        for model in models:
            found = score_of([model], metric)
            yield untrusted(f"{at}: {model.id}  {metric} {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]")
    for model in own:
        for other in others:
            if (gap := paired([(model, other)], metric)) is not None:
                sure = "the same on every problem" if gap.low != gap.low else f"[{gap.low:+.3f}, {gap.high:+.3f}]"
                yield untrusted(f"{model.id} less {other.id} (earlier): {gap.mean:+.3f} {sure}")


def floor_of(earlier: Path) -> str:
    """A gate: not below the interval of the best model of an earlier evaluation."""
    run, models, metric = _measured(earlier)
    best = max((run.reported(model) for model in models), key=lambda own: float(own.get(metric) or 0.0))
    return f"{metric}>={best[metric + '_ci95'][0]!r}"
