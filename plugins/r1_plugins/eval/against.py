"""An earlier evaluation: what is held against it before anything is computed, and the two beside each other after.

Both are gates of the recipe (r1core/recipe/limits.py), which refuse what was not measured in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.comparison.finished import FinishedRun
from r1core.comparison.tables import paired
from r1core.errors import RecipeError
from r1core.stages.earlier import Earlier, EarlierError, read_earlier
from r1core.untrusted import untrusted

ANY = 1.0
"""`by` of a gate that lets everything pass but what was measured otherwise: a metric may fall by all of it."""


def gates_against(path: Path, sets: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Every model (by set) must be measured as every model of the earlier evaluation was."""
    earlier = _read(path, "--against")
    for name, models in sets.items():
        for model in models:
            for other in earlier.metrics:
                yield {**_gate(path, model, name, other), "by": ANY}


def gates_not_below(path: Path, sets: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """No model may be significantly below the earlier one of its name, or below the best where there is none."""
    earlier = _read(path, "--gate-against")
    for name, models in sets.items():
        for model in models:
            best = max(earlier.metrics, key=lambda other: _number(earlier, other, name))
            yield _gate(path, model, name, model if model in earlier.metrics else best)


def _gate(path: Path, model: str, name: str, other: str) -> dict[str, Any]:
    return {"metric": f"{model}/{name}", "results": str(path.resolve()), "than": other}


def _number(earlier: Earlier, model: str, name: str) -> float:
    try:
        return earlier.number(model, name)
    except EarlierError:  # the recipe's check says so, with what there is
        return -1.0


def _read(path: Path, where: str) -> Earlier:
    try:
        return read_earlier(path)
    except EarlierError as error:
        fix = "give the folder of an evaluation, or its results.json with manifest.json beside it"
        raise RecipeError(str(error), where=where, fix=fix) from error


def _alike(mean: float) -> str:
    """Where the problems differ by so little that no interval can be told."""
    return "the same on every problem" if mean == 0 else "by as much on every problem"


def beside(folder: Path, path: Path, names: Sequence[str]) -> Iterator[str]:
    """Rows of both on each set, and how each model differs from each of the earlier, on the same problems."""
    for name in names:
        for at, found in ((folder, _read(folder, "--run-dir")), (path, _read(path, "--against"))):
            for model, metrics in found.metrics.items():
                if name in metrics:
                    low, high = found.interval(model, name)
                    line = f"{at}: {model}  {name} {found.number(model, name):.3f} [{low:.3f}, {high:.3f}]"
                    yield untrusted(line)
        yield from _paired(folder, path, name)


def _paired(folder: Path, path: Path, name: str) -> Iterator[str]:
    """Where both are runs, whose answers are there problem by problem."""
    try:
        own, others = FinishedRun(folder).models.values(), FinishedRun(path).models.values()
    except RecipeError:
        return
    for model in own:
        for other in others:
            if (gap := paired([(model, other)], name)) is not None:
                sure = f"[{gap.low:+.3f}, {gap.high:+.3f}]" if gap.low == gap.low else _alike(gap.mean)
                yield untrusted(f"{model.id} less {other.id} (earlier), {name}: {gap.mean:+.3f} {sure}")
